"""Losses on latents of masked clips: cells of a grid, slow references, quirks and switches."""

import math

import pytest
import torch
from torch import nn

import losses
from losses.auxiliary.frame_order import ORDERS
from losses.auxiliary.jepa_context import context_coefficient, root_distance
from losses.auxiliary.kinematic import annealed
from losses.auxiliary.spectral import spectrum_error
from losses.masks import motion as motion_masks
from losses.parts.latents import softmax_weights, split_channels
from losses.parts.normality import epps_pulley, unit_directions

BATCH, TIME, ROWS, COLUMNS, DIM = 2, 4, 3, 2, 6
DIMS = {"frames": DIM, "time": TIME}
ON_A_GRID = (
    "delta", "factorised", "hamiltonian", "jepa_context", "jepa_prediction", "latent_dynamics",
    "pixel_delta", "temporal_contrast", "velocity_gate",
)  # fmt: skip


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def grid_features():
    grid = (BATCH, TIME, ROWS, COLUMNS)
    mask = draw(*grid, seed=5) > 0.3
    return {
        "frames_masked": draw(*grid, DIM),
        "frames": draw(*grid, DIM),
        "predictions": draw(*grid, DIM, seed=1),
        "frames_target": draw(*grid, DIM, seed=2),
        "frame_mask": mask,
        "prediction_mask": mask & (draw(*grid, seed=6) > 0),
        "pixels": draw(BATCH, 2 * TIME, 3, 2 * ROWS, 4 * COLUMNS, seed=3),
    }


def build(name, **knobs):
    loss = losses.build(name, DIMS, **knobs)
    if isinstance(loss, nn.Module):
        loss = losses.initialise(loss, 0, name).double().requires_grad_(False)
    return loss


def value(name, features, **knobs):
    return build(name, **knobs)(**{n: features[n] for n in losses.LOSSES[name].needs})


@pytest.mark.parametrize("name", ON_A_GRID)
def test_hidden_cells_do_not_matter(name):
    features = grid_features()
    first = value(name, features)
    assert first > 0
    hidden = features["frame_mask"].unsqueeze(-1)
    features["frames_masked"] = torch.where(hidden, 99.0, features["frames_masked"])
    unread = hidden & ~features["prediction_mask"].unsqueeze(-1)
    features["predictions"] = torch.where(unread, 99.0, features["predictions"])
    torch.testing.assert_close(value(name, features), first)


@pytest.mark.parametrize("name", ["delta", "kinematic", "temporal_similarity", "velocity_gate"])
def test_a_single_frame_gives_zero_with_a_gradient(name):
    features = {n: x[:, :1] for n, x in grid_features().items()}
    leaf = "frames" if "frames" in losses.LOSSES[name].needs else "frames_masked"
    features[leaf] = features[leaf].clone().requires_grad_()
    found = value(name, features)
    assert found.detach() == 0
    found.backward()
    assert not features[leaf].grad.any()


def test_delta_cell_by_cell():
    f = grid_features()
    z, h = f["frames_masked"], nn.functional.layer_norm(f["frames_target"], (DIM,))
    errors = []
    for b, i, j in torch.cartesian_prod(*(torch.arange(n) for n in (BATCH, ROWS, COLUMNS))):
        for t in range(TIME - 1):
            if not f["frame_mask"][b, t : t + 2, i, j].any():
                change = z[b, t + 1, i, j] - z[b, t, i, j]
                errors.append((change - h[b, t + 1, i, j] + h[b, t, i, j]).abs().mean())
    torch.testing.assert_close(value("delta", f), torch.stack(errors).mean())


def test_targets_arrive_normalised_or_not():
    f = grid_features()
    scaled = f | {"frames_target": 7 * f["frames_target"] + 3}
    torch.testing.assert_close(value("delta", f), value("delta", scaled), rtol=1e-4, atol=0)
    assert value("delta", f, normalise=False) != value("delta", scaled, normalise=False)


def test_levels_split_the_channels_each():
    assert split_channels(6, 0.5) == ([0, 1, 2], [3, 4, 5])
    assert split_channels(8, 0.5, levels=2) == ([0, 1, 4, 5], [2, 3, 6, 7])
    assert split_channels(6, 0.01)[0] == [0]
    for dim, ratio, levels, message in ((6, 0.5, 4, "equal levels"), (6, 1.0, 1, "no channel")):
        with pytest.raises(ValueError, match=message):
            split_channels(dim, ratio, levels)


def test_factorised_terms():
    f = grid_features()
    constant = f["frames_masked"].clone()
    constant[..., :3] = 1.0
    assert value("factorised", f | {"frames_masked": constant}) == pytest.approx(0)
    twin = torch.cat((constant[..., 3:], constant[..., 3:]), -1)
    alone = {"static": 0.0, "orthogonality": 1.0}
    visible = twin[..., :3][~f["frame_mask"]]
    expected = torch.cov(visible.T).square().mean()
    torch.testing.assert_close(value("factorised", f | {"frames_masked": twin}, **alone), expected)


def test_latent_dynamics_weights_and_the_published_quirk():
    f = grid_features()
    f["frames_masked"] = f["frames_masked"].requires_grad_()
    plain, flat = (
        value("latent_dynamics", f),
        value("latent_dynamics", f, hard=True, temperature=1e9),
    )
    torch.testing.assert_close(plain, flat)
    assert value("latent_dynamics", f, hard=True).detach() > plain.detach()
    for detached in (False, True):
        found = value("latent_dynamics", f, hard=True, detached=detached)
        (gradient,) = torch.autograd.grad(found, f["frames_masked"])
        assert bool(gradient.any()) != detached
    with pytest.raises(ValueError, match="'all' or 'dynamics'"):
        build("latent_dynamics", inputs="static")


def test_softmax_weights_have_mean_one():
    error, chosen = draw(3, 5).abs(), draw(3, 5, seed=1) > 0
    chosen[2] = False
    weights = softmax_weights(error, chosen, 0.5, start=1)
    torch.testing.assert_close(weights.sum(1), chosen.sum(1).double())
    assert not weights[~chosen].any()
    for row in range(2):
        exponents = (error[row][chosen[row]] / 0.5).softmax(0) * chosen[row].sum()
        torch.testing.assert_close(weights[row][chosen[row]], exponents)
    with pytest.raises(ValueError, match="temperature must be positive"):
        softmax_weights(error, chosen, 0.0, start=1)


def test_hamiltonian_gradient_is_that_of_its_energy():
    loss = build("hamiltonian", hidden=5)
    q, p = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    hidden = nn.functional.gelu(loss.first(torch.cat((q, p), -1)))
    energy = loss.energy(nn.functional.gelu(loss.second(hidden))).sum()
    expected = torch.autograd.grad(energy, (q, p))
    for ours, theirs in zip(loss.energy_gradient(q, p), expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs)
    with pytest.raises(ValueError, match="halves the channels"):
        losses.build("hamiltonian", {"frames": 5})


def test_pixel_delta_of_cells_and_of_whole_frames():
    f = grid_features()
    loss = build("pixel_delta")
    cell = f["pixels"].view(BATCH, TIME, 2, 3, ROWS, 2, COLUMNS, 4)
    b, t, i, j = next(
        key
        for key in torch.cartesian_prod(*(torch.arange(n) for n in (BATCH, 3, ROWS, COLUMNS)))
        if not f["frame_mask"][key[0], key[1] : key[1] + 2, key[2], key[3]].any()
    )
    mask = torch.ones_like(f["frame_mask"])
    mask[b, t : t + 2, i, j] = False
    means = [cell[b, step, :, :, i, :, j].mean((0, 2, 3)) for step in (t, t + 1)]
    predicted = loss.predict(f["frames_masked"][b, t, i, j])
    found = loss(frames_masked=f["frames_masked"], frame_mask=mask, pixels=f["pixels"])
    torch.testing.assert_close(found, (predicted - (means[1] - means[0]) / 0.25).abs().mean())
    with pytest.raises(ValueError, match="do not divide"):
        loss(frames_masked=f["frames_masked"], frame_mask=mask, pixels=f["pixels"][..., :3])


def test_spectra_of_shifted_and_fast_signals():
    slow = torch.sin(torch.arange(8.0).double() * math.pi / 4).view(1, 8, 1)
    fast = torch.cos(torch.arange(8.0).double() * math.pi).view(1, 8, 1)
    none = torch.zeros_like(slow)
    assert spectrum_error(slow, none) < spectrum_error(fast, none)
    torch.testing.assert_close(spectrum_error(fast, none), torch.tensor(8.0).double() / 5)
    assert spectrum_error(slow[:, :3], none[:, :3]) == 0
    visible = torch.ones(1, 8, dtype=torch.bool)
    visible[0, 3] = False
    assert spectrum_error(slow, none, visible) == 0


@pytest.mark.parametrize("form", ["l1", "acceleration", "huber", "split"])
def test_kinematic_forms(form):
    line = torch.arange(5.0).double().view(1, 5, 1) * torch.linspace(1, 2, 6).double()
    expected = {"l1": 1.5, "acceleration": 0.0, "huber": 0.1 * (1.5 - 0.05), "split": 0.0}
    assert float(value("kinematic", {"frames": line}, form=form)) == pytest.approx(expected[form])
    two = float(value("kinematic", {"frames": line[:, :2]}, form="acceleration"))
    assert two == pytest.approx(1.5)
    with pytest.raises(ValueError, match="did you mean 'acceleration'"):
        value("kinematic", {"frames": line}, form="accelerate")


def test_schedules():
    assert [annealed(0.1, p) for p in (0, 0.5, 1)] == pytest.approx([0.1, 0.05, 0])
    found = [context_coefficient(p) for p in (0, 0.5, 0.75, 1, 2)]
    assert found == pytest.approx([0, 0, 0.25, 0.5, 0.5])


def test_distance_to_the_nearest_cell_to_predict():
    mask = torch.zeros(2, 3, 4, 5, dtype=torch.bool)
    mask[0, 0, 0, 0] = mask[0, 2, 3, 4] = True
    weights = root_distance(mask)
    assert weights[0, 1, 2, 2] == pytest.approx(math.sqrt(math.sqrt(6)))
    assert weights[0, 0, 0, 0] == 1
    assert (weights[1] == 1).all()


def test_velocity_gate_counts_cells_or_steps():
    f = grid_features()
    f["frame_mask"] = torch.zeros_like(f["frame_mask"])
    everything = value("velocity_gate", f, percentile=1.0)
    change = (f["frames_masked"][:, 1:] - f["frames_masked"][:, :-1]).abs().mean()
    torch.testing.assert_close(everything, change)
    assert 0 < value("velocity_gate", f, percentile=0.0) < value("velocity_gate", f) < change
    single = {n: x[:, :, 0, 0] for n, x in f.items() if n != "pixels"}
    assert value("velocity_gate", single) < value("velocity_gate", single, percentile=1.0)


def test_sigreg_is_small_for_normal_and_large_for_collapsed_features():
    normal = draw(512, 8)
    found = {
        kind: float(value("sigreg", {"video": x}))
        for kind, x in (("normal", normal), ("wide", 3 * normal), ("collapsed", 0 * normal))
    }
    assert found["normal"] < 0.01 < 0.1 < min(found["wide"], found["collapsed"])
    assert found["collapsed"] == pytest.approx(0.4020, abs=1e-4)
    scaled = value("sigreg", {"video": normal}, normalise_n=False)
    assert float(scaled) == pytest.approx(512 * found["normal"])
    directions = unit_directions(8, 5, 0)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(5).double())
    assert epps_pulley(normal, directions).shape == (5,)


def test_frame_spread_and_similarity():
    spread = draw(200, 4, 6) * 2
    spread = spread - spread.mean((0, 1))
    assert value("frame_spread", {"frames": spread}, covariance=0.0) == 0
    same = torch.ones(3, 4, 6).double()
    assert float(value("frame_spread", {"frames": same})) == pytest.approx(0.99)
    assert value("temporal_similarity", {"frames": same}) == 0


def test_order_of_equal_parts_cannot_be_told_and_of_distinct_parts_can():
    loss = build("frame_order")
    same = torch.ones(3, TIME, DIM).double()
    assert loss(frames=same) >= math.log(len(ORDERS)) - 1e-9
    loss.requires_grad_(True)
    frames = draw(1, TIME, DIM).expand(3, -1, -1)
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        loss(frames=frames).backward()
        optimiser.step()
    assert loss(frames=frames).detach() < 0.1
    with pytest.raises(ValueError, match="needs 3 frames"):
        losses.build("frame_order", DIMS | {"time": 2})


def test_masks_follow_motion():
    video = torch.zeros(2, 3, 8, 32, 32)
    video[0, :, 4:, :8, :8] = 1.0  # moves once, in one corner
    grid, block = (4, 4, 4), (1, 2, 2)
    motion = motion_masks.motion_map(video, grid)
    assert motion[0].max() == 1
    assert not motion[1].any()
    places = motion_masks.origins(grid, block)
    assert len(places) == 4 * 3 * 3
    policy = motion_masks.POLICIES["aggressive"]
    share = motion_masks.origin_probabilities(motion, block, policy)
    torch.testing.assert_close(share.sum(1), torch.ones(2).double())
    assert places[share[0].argmax()].tolist()[1:] == [0, 0]
    torch.testing.assert_close(share[1], torch.full((36,), 1 / 36).double())
    mixed = motion_masks.origin_probabilities(
        motion, block, motion_masks.MaskPolicy(strength=5.0, random_rate=0.5)
    )
    torch.testing.assert_close(mixed[0], (share[0] + 1 / 36) / 2)
    with pytest.raises(ValueError, match="does not fit"):
        motion_masks.origins(grid, (5, 1, 1))


@pytest.mark.parametrize("name", motion_masks.POLICIES)
def test_hidden_blocks_leave_something_to_see(name):
    policy = motion_masks.POLICIES[name]
    motion = motion_masks.motion_map(draw(3, 3, 8, 16, 16).float(), (4, 4, 4))
    for block in ((2, 2, 2), (4, 4, 4)):
        drawn = [
            motion_masks.hide_blocks(motion, block, 2, policy, torch.Generator().manual_seed(1))
            for _ in range(2)
        ]
        assert torch.equal(*drawn)
        hidden = drawn[0].flatten(1).sum(1)
        assert ((hidden >= 8) & (hidden < 64)).all()
        assert not policy.future or drawn[0][:, 2:].all()
