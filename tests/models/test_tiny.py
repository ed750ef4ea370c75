"""The tiny model: size, values, batch normalisation modes, forward-mode differentiation."""

import copy

import pytest
import torch
import torch.nn.functional as F

import models
from models.initialisation import initialise
from models.words import Vocabulary

WORDS = Vocabulary({f"word{n}": n for n in range(3, 11)}, 5)
VOCABULARY = WORDS.size


def build(*, text=False, classes=5, **settings):
    settings = {"frames": 3, "size_px": 32} | settings
    heads = {"classes": classes}
    if text:
        settings["words"] = WORDS
        heads["joint"] = 64
    return models.build("tiny", heads=heads, **settings)


def clips(batch=4, frames=3, size_px=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, frames, 3, size_px, size_px, generator=generator)


def shifted(weight, x):
    """Slow reference of the temporal convolution: x (batch, steps, width), zero padded."""
    result = torch.zeros_like(x)
    for step in range(x.shape[1]):
        for k, offset in enumerate((-1, 0, 1)):
            if 0 <= step + offset < x.shape[1]:
                result[:, step] += x[:, step + offset] @ weight[:, :, k].T
    return result


def reference_video(model, pixels):
    """The layers of the recipe one by one, patches and shifts as plain matrix products."""
    trunk, pixels = model.trunk, (pixels - 0.5) / 0.25
    batch, frames = pixels.shape[:2]
    n = batch * frames

    def norm(layer, x):  # (rows, width), training mode
        centred = x - x.mean(0)
        scaled = centred / (x.var(0, unbiased=False) + layer.eps).sqrt()
        return scaled * layer.weight + layer.bias

    patches = F.unfold(pixels.flatten(0, 1), 4, stride=4).transpose(1, 2)  # (n, places, 48)
    maps = patches @ trunk.stem.patch.weight.reshape(32, 48).T
    side = int(maps.shape[1] ** 0.5)
    maps = F.relu(norm(trunk.stem.norm, maps.reshape(-1, 32))).reshape(n, side, side, 32)
    for block in trunk.blocks:
        out = F.conv2d(maps.permute(0, 3, 1, 2), block.space.weight, stride=2, padding=1)
        side = out.shape[-1]
        out = F.relu(norm(block.space_norm, out.permute(0, 2, 3, 1).reshape(-1, 64)))
        steps = out.reshape(batch, frames, side * side, 64).transpose(1, 2).flatten(0, 1)
        mixed = shifted(block.time.kernel.weight[..., 0], steps)
        mixed = mixed.reshape(batch, side * side, frames, 64).transpose(1, 2).reshape(-1, 64)
        maps = (out + F.relu(norm(block.time_norm, mixed))).reshape(n, side, side, 64)
    pooled = F.avg_pool2d(maps.permute(0, 3, 1, 2), side // 2).flatten(1)
    frame = trunk.frame_norm(trunk.frame(pooled)).reshape(batch, frames, 128)
    mixed = shifted(trunk.time.kernel.weight[..., 0], frame) + trunk.time.kernel.bias
    video = trunk.clip_norm(trunk.clip(F.relu(frame + F.relu(mixed)).flatten(1)))
    return F.relu(frame), video, model.classifier(F.relu(video))


def test_number_of_parameters_is_that_of_the_recipe():
    model = build(classes=8, frames=8)
    assert sum(p.numel() for p in model.parameters()) == 296_904
    text = build(classes=8, frames=8, text=True)
    assert sum(p.numel() for p in text.parameters()) == 296_904 + 24_768 + 64 * VOCABULARY


def test_equals_the_layers_written_out():
    model = build(size_px=64).double()
    pixels = clips(size_px=64).double()
    frames, video, logits = reference_video(model, pixels)
    ours = model.encode_video(pixels)
    torch.testing.assert_close(ours["frames"], frames)
    torch.testing.assert_close(ours["video"], video)
    torch.testing.assert_close(ours["logits"], logits)


def test_features_are_those_of_the_catalogue():
    model = build(text=True)
    ids = torch.tensor([[1, 2, 3], [4, 5, 0]])
    features = model(clips(2), caption_ids=ids, caption_mask=ids > 0)
    assert set(features) == models.MODELS["tiny"].features
    assert features["frames"].shape == (2, 3, 128)
    assert features["video"].shape == (2, 128)
    assert features["logits"].shape == (2, 5)
    assert features["text_tokens"].shape == (2, 3, 64)
    for name in ("video_embed", "text_embed"):
        assert features[name].shape == (2, 64)
        torch.testing.assert_close(features[name].norm(dim=-1), torch.ones(2))
    assert features["frames"].min() >= 0
    assert set(build().encode_video(clips(1))) == {"frames", "video", "logits"}


def test_padding_does_not_change_a_caption_but_word_order_does():
    model = build(text=True)
    short = torch.tensor([[1, 2, 3]])
    padded = torch.tensor([[1, 2, 3, 0, 0]])
    swapped = torch.tensor([[3, 2, 1]])
    embed = [model.encode_text(ids, ids > 0)["text_embed"] for ids in (short, padded, swapped)]
    torch.testing.assert_close(embed[0], embed[1])
    assert (embed[0] - embed[2]).abs().max() > 1e-3
    empty = torch.zeros(1, 3, dtype=torch.int64)
    assert model.encode_text(empty, empty > 0)["text_embed"].isfinite().all()


def test_parts_are_drawn_independently_of_each_other():
    plain, with_text = build(seed=7), build(text=True, seed=7)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, with_text.state_dict()[name]), name
    assert not torch.equal(build(seed=8).classifier.weight, plain.classifier.weight)
    more = build(classes=9, seed=7)
    assert torch.equal(more.trunk.clip.weight, plain.trunk.clip.weight)


def test_initialise_leaves_the_global_random_state():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = build()
    initialise(model, 0)
    assert torch.equal(torch.get_rng_state(), before)


class Drawn(torch.nn.Module):
    """A module that draws itself with everything inside, beside a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.token = torch.nn.Parameter(torch.ones(2))
        self.inside = torch.nn.Linear(2, 2)

    def reset_parameters(self):
        with torch.no_grad():
            self.inside.weight.fill_(3)


def test_what_a_constructor_or_a_module_draws_is_left_alone():
    holder, plain = torch.nn.Module(), torch.nn.Module()
    plain.token = torch.nn.Parameter(torch.full((2,), 7.0))
    plain.linear = torch.nn.Linear(2, 2)
    kept = torch.nn.Linear(2, 2)
    kept.drawn_by_constructor = True
    holder.drawn, holder.plain, holder.kept = Drawn(), plain, kept
    before = copy.deepcopy(holder.state_dict())
    initialise(holder, 0)
    after = holder.state_dict()
    assert (after["drawn.inside.weight"] == 3).all()
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {"drawn.token", "drawn.inside.bias", "plain.token", "kept.weight", "kept.bias"}


def test_only_view_a_moves_the_running_statistics():
    model = build()
    before = copy.deepcopy(model.state_dict())
    with models.frozen_statistics(model):
        first = model.encode_video(clips(seed=1))["logits"]
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    second = model.encode_video(clips(seed=1))["logits"]
    assert torch.equal(first, second)
    changed = [k for k, v in model.state_dict().items() if not torch.equal(before[k], v)]
    norms = [n for n in before if "running" in n or "num_batches" in n]
    assert sorted(changed) == sorted(norms)


def test_frozen_batchnorm_is_evaluation_mode_of_those_layers_only():
    model = build()
    model.encode_video(clips(seed=1))
    with models.frozen_batchnorm(model):
        inside = model.encode_video(clips(seed=2))["logits"]
        assert model.training
    assert all(m.training for m in model.modules())
    model.eval()
    assert torch.equal(inside, model.encode_video(clips(seed=2))["logits"])
    with models.frozen_batchnorm(model), models.frozen_statistics(model):
        pass
    assert not any(m.training for m in model.modules())


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, first jvp
@pytest.mark.parametrize("context", [models.frozen_batchnorm, models.frozen_statistics])
@pytest.mark.parametrize("batch", [1, 3])
def test_forward_mode_equals_reverse_mode(context, batch):
    model = build(text=True).double()
    pixels = clips(batch).double()
    ids = torch.randint(1, VOCABULARY, (batch, 4), generator=torch.Generator().manual_seed(0))
    names = [name for name, _ in model.named_parameters()]
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    tangents = {name: torch.randn_like(p) for name, p in parameters.items()}

    def outcome(values):
        features = torch.func.functional_call(
            model, values, (pixels,), {"caption_ids": ids, "caption_mask": ids > 1}
        )
        weights = (features[name].cos().sum() for name in sorted(features))
        return torch.stack(list(weights)).sum()

    with context(model):
        _, forward = torch.func.jvp(outcome, (parameters,), (tangents,))
        leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
        grads = torch.autograd.grad(outcome(leaves), [leaves[name] for name in names])
    reverse = sum((g * tangents[n]).sum() for g, n in zip(grads, names, strict=True))
    torch.testing.assert_close(forward, reverse)


def test_one_clip_trains():
    model = build()
    model.encode_video(clips(1))["logits"].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_bf16_autocast_stays_close():
    model = build(text=True)
    with models.frozen_statistics(model):
        expected = model.encode_video(clips())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours = model.encode_video(clips())
    for name, value in expected.items():
        error = (ours[name].float() - value).norm() / value.norm()
        assert error < 0.03, name


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"size_px": 48}, r"size_px: 48 given; .* a multiple of 32, at least 32 .*nearest: 32"),
        ({"frames": 0}, "frames: 0 given; .* at least 1"),
        ({"heads": {"classes": 0}}, "at least 1 output, not 0"),
        ({"heads": {"clases": 2}}, "unknown head 'clases'; did you mean 'classes'"),
        ({"frame": 4}, "did you mean 'frames'"),
        ({"weights": "randum"}, "unknown weights 'randum'; did you mean 'random'"),
    ],
)
def test_wrong_settings_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        models.build("tiny", **{"heads": {"classes": 2}, **settings})


def test_wrong_clips_and_missing_text_are_named():
    model = build()
    with pytest.raises(ValueError, match=r"batch, 3, 3, 32, 32"):
        model.encode_video(clips(frames=2))
    with pytest.raises(ValueError, match="words="):
        model.encode_text(torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool))
