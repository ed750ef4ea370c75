"""Combiners that weigh by gradients: what theory says of them, and closed forms for two losses."""

import math

import pytest
import torch
from torch import nn

import losses
from losses.combine.catalogue import COMBINERS
from losses.combine.gradients import cosines, gram_matrix, loss_gradients, recorded
from losses.combine.simplex import most_common_gain, smallest_norm

NAMES = ("classification", "caption", "infonce", "pixel")
GRADIENT = [name for name, spec in COMBINERS.items() if spec.gradients]
WEIGHERS = [name for name in GRADIENT if name != "gradnorm"]


def build(name, names=NAMES, seed=0, **knobs):
    combiner = COMBINERS[name].load()(names=names, primary=names[0], **knobs)
    return losses.initialise(combiner, seed, name).double()


def gradients(count=4, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


def weights(name, rows, values=None, *, names=None, **knobs):
    combiner = build(name, (names or NAMES)[: len(rows)], **knobs)
    values = torch.ones(len(rows), dtype=torch.float64) if values is None else values
    combiner.prepare(values, rows @ rows.T)
    return combiner.weights


SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_mgda_finds_the_shortest_mean_and_no_loss_objects(seed):
    rows = gradients(size=3 if seed % 2 else 8, seed=seed)
    x = weights("mgda", rows) / 4
    assert x.min() >= 0
    assert float(x.sum()) == pytest.approx(1)
    direction = x @ rows
    # the shortest vector: every gradient is at least as far along it as it is long
    assert (rows @ direction >= direction.square().sum() - 1e-9).all()
    assert ((rows @ direction)[x > 1e-9] - direction.square().sum()).abs().max() < 1e-8


@pytest.mark.parametrize("seed", SEEDS)
def test_cagrad_is_the_best_for_the_worst_off_within_its_radius(seed):
    rows, c = gradients(seed=seed), 0.5
    direction = weights("cagrad", rows, c=c) @ rows * (1 + c**2) / 4
    mean = rows.mean(0)
    assert float((direction - mean).norm()) == pytest.approx(c * float(mean.norm()), rel=1e-6)
    worst = (rows @ direction).min()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(200):
        away = torch.randn(6, generator=generator, dtype=torch.float64)
        other = mean + c * mean.norm() * away / away.norm()
        assert (rows @ other).min() <= worst + 1e-9
    plain = weights("cagrad", rows, c=0.0)
    torch.testing.assert_close(plain, torch.ones_like(plain))


@pytest.mark.parametrize("seed", SEEDS)
def test_imtl_is_equally_far_along_every_gradient(seed):
    rows = gradients(seed=seed)
    found = weights("imtl", rows)
    along = rows / rows.norm(dim=1, keepdim=True) @ (found @ rows)
    torch.testing.assert_close(along, along[:1].expand(4), rtol=1e-6, atol=1e-9)
    assert float(found.sum()) == pytest.approx(4)


def test_pcgrad_of_two_has_no_conflict_left_and_leaves_friends_alone():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    found = weights("pcgrad", rows)
    inner = -1.0
    # g1 loses <g1,g2>/|g2|^2 g2, g2 loses <g1,g2>/|g1|^2 g1
    torch.testing.assert_close(
        found, torch.tensor([1 - inner / 1.0, 1 - inner / 2.0], dtype=torch.float64)
    )
    assert ((rows @ (found @ rows)) >= -1e-12).all()
    friends = rows.abs()
    torch.testing.assert_close(weights("pcgrad", friends), torch.ones(2, dtype=torch.float64))


def test_pcgrad_against_a_slow_reference():
    rows = gradients(seed=3)
    combiner = build("pcgrad")
    expected = torch.zeros(6, dtype=torch.float64)
    for i, name in enumerate(NAMES):
        one = rows[i].clone()
        order = sorted(
            (j for j in range(4) if j != i),
            key=lambda j: combiner.draws.number(name, NAMES[j]),
        )
        for j in order:
            if one @ rows[j] < 0:
                one = one - (one @ rows[j]) / (rows[j] @ rows[j]) * rows[j]
        expected += one
    combiner.prepare(torch.ones(4), rows @ rows.T)
    torch.testing.assert_close(combiner.weights @ rows, expected)
    orders = set()
    for _ in range(20):
        orders.add(tuple(sorted(range(1, 4), key=lambda j: combiner.draws.number("a", NAMES[j]))))
        combiner.draws.advance()
    assert len(orders) > 2


@pytest.mark.parametrize(("long", "cosine"), [(1.0, 0.0), (2.0, -0.5), (3.0, 0.9), (0.2, -0.9)])
def test_closed_forms_of_two(long, cosine):
    sine = math.sqrt(1 - cosine**2)
    rows = torch.tensor([[1.0, 0.0], [long * cosine, long * sine]], dtype=torch.float64)
    inner = long * cosine
    # MGDA: the point of the segment nearest to the origin
    first = min(1.0, max(0.0, (long**2 - inner) / (1 + long**2 - 2 * inner)))
    assert weights("mgda", rows).tolist() == pytest.approx([2 * first, 2 - 2 * first])
    # IMTL: weights against the lengths
    assert weights("imtl", rows).tolist() == pytest.approx([2 * long / (1 + long), 2 / (1 + long)])
    # CAGrad: scan the one free number
    c, mean = 0.5, rows.mean(0)
    radius = c * float(mean.norm())

    def value(x):
        mixed = x * rows[0] + (1 - x) * rows[1]
        return float(mixed @ mean + radius * mixed.norm())

    x = most_common_gain((rows @ rows.T).tolist(), radius)
    assert value(x[0]) <= min(value(i / 1000) for i in range(1001)) + 1e-9


@pytest.mark.parametrize("name", WEIGHERS)
def test_order_of_the_losses_does_not_matter(name):
    rows, values = gradients(seed=5), torch.tensor([1.0, 0.5, 2.0, 0.1], dtype=torch.float64)
    order = [2, 0, 3, 1]
    found = weights(name, rows, values)
    names = tuple(NAMES[i] for i in order)
    torch.testing.assert_close(
        weights(name, rows[order], values[order], names=names), found[order], rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("name", WEIGHERS)
@pytest.mark.parametrize("factor", [1e-4, 1e3])
def test_the_scale_of_all_gradients_does_not_matter(name, factor):
    rows = gradients(seed=7)
    torch.testing.assert_close(
        weights(name, factor * rows), weights(name, rows), rtol=1e-5, atol=1e-7
    )


def test_the_scale_of_one_loss_does_not_matter_to_the_direction_of_imtl():
    rows = gradients(seed=8)
    scaled = rows * torch.tensor([[1.0], [10.0], [0.1], [3.0]], dtype=torch.float64)
    one, two = weights("imtl", rows) @ rows, weights("imtl", scaled) @ scaled
    torch.testing.assert_close(one / one.norm(), two / two.norm(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", GRADIENT)
@pytest.mark.parametrize(
    "rows",
    [
        torch.zeros(3, 2),
        torch.ones(3, 2),
        torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[1e-20, 0.0], [1e8, 0.0], [0.0, 1.0]]),
        torch.ones(1, 2),
    ],
    ids=["zero", "parallel", "opposed", "scales", "one"],
)
def test_degenerate_gradients_give_finite_weights(name, rows):
    names = NAMES[: len(rows)]
    combiner = build(name, names)
    values = torch.ones(len(rows), dtype=torch.float64)
    combiner.prepare(values, rows.double() @ rows.double().T)
    value = combiner(values)
    assert value.isfinite()
    if len(rows) == 1 and name != "cagrad":
        assert float(value.detach()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", WEIGHERS)
def test_gradients_that_are_not_finite_show_in_the_combined_loss(name):
    combiner = build(name)
    combiner.prepare(torch.ones(4), torch.full((4, 4), float("inf")))
    assert combiner(torch.ones(4, dtype=torch.float64)).isnan()


@pytest.mark.parametrize("name", GRADIENT)
def test_unknown_level_is_named(name):
    with pytest.raises(ValueError, match="did you mean 'representation'"):
        build(name, level="representatoin")


def test_simplex_problems_stop_at_the_answer():
    assert smallest_norm([[4.0]]) == [1.0]
    assert smallest_norm([[1.0, 0.0], [0.0, 3.0]]) == pytest.approx([0.75, 0.25])
    assert most_common_gain([[1.0, 0.0], [0.0, 1.0]], 0.5) == pytest.approx([0.5, 0.5])


# ---------------------------------------------------------------------------------- GradNorm


def test_gradnorm_moves_weights_to_equal_norms():
    combiner = build("gradnorm", NAMES[:2], alpha=0.0)
    optimizer = torch.optim.Adam(combiner.parameters(), lr=0.02)
    rows = torch.tensor([[4.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    values = torch.tensor([1.0, 1.0], dtype=torch.float64)
    for _ in range(300):
        combiner.prepare(values, rows @ rows.T)
        optimizer.zero_grad()
        combiner(values).backward()
        optimizer.step()
    found = 2 * combiner.logits.detach().softmax(0)
    torch.testing.assert_close(
        found, torch.tensor([0.4, 1.6], dtype=torch.float64), rtol=0.05, atol=0
    )


def test_gradnorm_pushes_the_slow_loss_and_not_by_the_losses_themselves():
    combiner = build("gradnorm", NAMES[:2])
    gram = torch.eye(2, dtype=torch.float64)
    combiner.prepare(torch.tensor([1.0, 1.0]), gram)
    combiner.prepare(torch.tensor([1.0, 0.25]), gram)
    value = combiner(torch.tensor([1.0, 0.25], dtype=torch.float64))
    assert float(value.detach()) == pytest.approx(1.25)  # the balance has value 0
    value.backward()
    assert combiner.logits.grad[0] < 0 < combiner.logits.grad[1]


# ------------------------------------------------------------------------------ where gradients are


class Two(nn.Module):
    """An encoder for two views, and a head per loss; the last loss reads nothing."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(5, 4)
        self.heads = nn.ModuleList(nn.Linear(4, 1) for _ in range(2))

    def forward(self, x, y):
        a, b = torch.tanh(self.encoder(x)), torch.tanh(self.encoder(y))
        first = self.heads[0](a).square().mean()
        second = (self.heads[1](b) - 1).square().mean()
        return [first, second, (a * b).mean(), 0 * y.sum()]


@pytest.fixture
def two():
    torch.manual_seed(0)
    return Two().double(), torch.randn(6, 5).double(), torch.randn(6, 5).double()


def test_gram_at_the_weights_is_that_of_separate_backward_passes(two):
    model, x, y = two
    points = {name: [p] for name, p in model.encoder.named_parameters()}
    values = model(x, y)
    gram = gram_matrix(values, points)
    rows = []
    for value in values[:3]:
        found = torch.autograd.grad(value, list(model.encoder.parameters()), retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in found]))
    rows = torch.stack([*rows, torch.zeros_like(rows[0])])
    torch.testing.assert_close(gram, rows @ rows.T)
    sum(values[:3]).backward()  # the graph is still there
    assert not gram.requires_grad
    assert cosines(gram)[0, 0] == pytest.approx(1)
    assert not cosines(gram)[3].any()


def test_what_a_single_loss_reaches_is_its_own(two):
    model, x, y = two
    values = model(x, y)
    shared = {name: [p] for name, p in model.encoder.named_parameters()}
    own = {"own": [model.heads[0].weight]}
    everything = gram_matrix(values, shared | own)
    found = gram_matrix(values, shared | own, shared_only=True)
    torch.testing.assert_close(found, gram_matrix(values, shared))
    different = everything - found
    assert different[0, 0] > 0
    assert (different != 0).sum() == 1
    torch.testing.assert_close(
        gram_matrix(values[:1], shared | own, shared_only=True), everything[:1, :1]
    )


@pytest.mark.parametrize("level", ["representation", "full"])
def test_encoders_follow_the_weights_and_heads_their_own_loss(two, level):
    model, x, y = two
    weights = torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
    with recorded(model, ["encoder"]) as points:
        values = model(x, y)
    if level == "full":
        points = {name: [p] for name, p in model.named_parameters()}
    loss_gradients(values, points, shared_only=True).backward(sum(values), weights)
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    sum(w * v for w, v in zip(weights, model(x, y), strict=True)).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    sum(model(x, y)).backward()
    for name, p in model.named_parameters():
        right = expected[name] if name.startswith("encoder") else p.grad
        torch.testing.assert_close(found[name], right)


def test_gram_at_the_representation_adds_the_views_of_a_clip(two):
    model, x, y = two
    with recorded(model, ["encoder"]) as points:
        values = model(x, y)
    assert [len(made) for made in points.values()] == [2]
    model(x, y)
    assert len(points["encoder"]) == 2, "nothing is collected outside the context"
    # a shift of the representation, the same in both views, has the same derivatives
    shift = torch.zeros(6, 4, dtype=torch.float64, requires_grad=True)
    handle = model.encoder.register_forward_hook(lambda _m, _i, made: made + shift)
    moved = model(x, y)
    handle.remove()
    rows = torch.stack(
        [torch.autograd.grad(v, shift, retain_graph=True)[0].flatten() for v in moved[:3]]
    )
    rows = torch.cat((rows, torch.zeros(1, 24, dtype=torch.float64)))
    torch.testing.assert_close(gram_matrix(values, points), rows @ rows.T)
    assert gram_matrix(values, {"nothing": []}).abs().sum() == 0


# --------------------------------------------------------------------------- an outside oracle


@pytest.mark.parametrize("seed", range(4))
def test_torchjd_agrees(seed):
    from torchjd import aggregation as torchjd

    rows = gradients(size=8, seed=seed)
    torch.testing.assert_close(
        weights("imtl", rows) @ rows / 4, torchjd.IMTLG()(rows), rtol=1e-5, atol=1e-8
    )
    ours, theirs = weights("mgda", rows) @ rows / 4, torchjd.MGDA(1e-6, 5000)(rows)
    assert ours.norm() <= theirs.norm() + 1e-9  # theirs converges slowly
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)
    pair = rows[:2]
    torch.testing.assert_close(weights("pcgrad", pair) @ pair, torchjd.PCGrad()(pair))


@pytest.mark.parametrize("method", ["upgrad", "dual_proj", "aligned_mtl", "mgda", "imtl_g"])
def test_methods_of_torchjd(method):
    for seed in range(4):
        rows = gradients(size=8, seed=seed)
        direction = weights("torchjd", rows, method=method) @ rows
        if method in {"upgrad", "dual_proj", "mgda"}:  # directions that harm no loss
            assert (rows @ direction >= -1e-3 * direction.norm() * rows.norm(dim=1)).all()
        orthogonal = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
        torch.testing.assert_close(
            weights("torchjd", orthogonal, method=method),
            torch.ones(4, dtype=torch.float64),
            rtol=0,
            atol=1e-3,
        )
    own = {"imtl_g": "imtl"}.get(method)
    if own is not None:
        torch.testing.assert_close(
            weights("torchjd", rows, method=method), weights(own, rows), rtol=1e-5, atol=1e-8
        )
    with pytest.raises(ValueError, match="did you mean 'upgrad'"):
        build("torchjd", method="upgrade")
