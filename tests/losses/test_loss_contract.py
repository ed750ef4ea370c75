"""What every loss of the catalogue keeps, whichever it is."""

import dataclasses
import functools
import inspect
import math
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import pytest
import torch
from torch import nn

import losses
from losses import construction
from losses.catalogue import DATA_FEATURES, GRANULARITIES, LOSSES, Family, index_by_name, loss_table
from losses.combine.catalogue import combiner_table

ROOT = Path(__file__).resolve().parents[2]
DIMS = {
    "frames": 6,
    "video": 7,
    "embed": 8,
    "token": 10,
    "vocabulary": 13,
    "classes": 4,
    "time": 5,
    "size_px": 8,
    "word": 9,
}
WORDS = 6
NAMES = list(LOSSES)
SEE_THE_VISIBLE = {
    "delta",
    "factorised",
    "hamiltonian",
    "jepa_context",
    "latent_dynamics",
    "pixel_delta",
    "temporal_contrast",
    "velocity_gate",
}
"""Losses that a clip without visible frames leaves nothing to compare."""
DRAWS_NOTHING = {"siglip", "glscl_contrast"}  # their parameters start at published constants
LOOKS_AT_VALUES = {"s2dtw"}  # to choose a precision; a device without data has none


def make(name, **knobs):
    loss = losses.build(name, DIMS, **knobs)
    return losses.initialise(loss, 0, name) if isinstance(loss, nn.Module) else loss


def all_features(batch=4, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    def unit(*shape):
        return nn.functional.normalize(draw(*shape), dim=-1)

    length = torch.arange(batch) % WORDS + 1
    mask = torch.arange(WORDS) < length.unsqueeze(1)
    ids = torch.randint(1, DIMS["vocabulary"], (batch, WORDS), generator=g) * mask
    hidden = mask & (torch.arange(WORDS) == 0)
    frame_mask = torch.zeros(batch, DIMS["time"], dtype=torch.bool)
    frame_mask[:, 1] = frame_mask[::2, 3] = True
    labels = torch.randint(DIMS["classes"], (batch,), generator=g)
    labels[1:2] = -1
    clip = (batch, DIMS["time"], 3, DIMS["size_px"], DIMS["size_px"])
    features = {
        "labels": labels,
        "pixels": draw(*clip),
        "caption_ids": ids,
        "caption_mask": mask,
        "caption_ids_masked": ids.masked_fill(hidden, 0),
        "caption_targets": ids.masked_fill(~hidden, -1),
        "frame_mask": frame_mask,
        "prediction_mask": frame_mask & (torch.arange(DIMS["time"]) > 1),
        "visual_codes": torch.randint(-1, 9, (batch, 7), generator=g).index_fill(
            1, torch.tensor([0]), 3
        ),
        "correct_option": labels.clone(),
        "answer_ids": labels.clone(),
    }
    features["predictions"] = draw(batch, DIMS["time"], DIMS["frames"])
    for suffix in ("", "_b", "_masked", "_target"):
        features[f"frames{suffix}"] = draw(batch, DIMS["time"], DIMS["frames"]).relu() + 0.01
        features[f"video{suffix}"] = draw(batch, DIMS["video"])
        features[f"logits{suffix}"] = draw(batch, DIMS["classes"])
        features[f"video_embed{suffix}"] = unit(batch, DIMS["embed"])
        features[f"text_embed{suffix}"] = unit(batch, DIMS["embed"])
        features[f"text_tokens{suffix}"] = draw(batch, WORDS, DIMS["word"])
        features |= concept_features(suffix, batch, draw)
    return features


def concept_features(suffix, batch, draw):
    """What a model with concepts, space-time tokens and answers gives."""
    concepts = draw(1, 3, DIMS["embed"])
    concepts[:, 1] = concepts[:, 0] + 0.05  # two that all but coincide, so that diversity acts
    unit = functools.partial(nn.functional.normalize, dim=-1)
    return {
        f"frame_embeds{suffix}": draw(batch, DIMS["time"], DIMS["embed"]),
        f"text_pooled{suffix}": draw(batch, DIMS["embed"]),
        f"video_concepts{suffix}": unit(concepts + 0.1 * draw(batch, 3, DIMS["embed"])),
        f"text_concepts{suffix}": unit(concepts + 0.1 * draw(batch, 3, DIMS["embed"])),
        f"tokens{suffix}": draw(batch, 7, DIMS["token"]),
        f"option_logits{suffix}": draw(batch, DIMS["classes"]),
        f"answer_logits{suffix}": draw(batch, DIMS["classes"]),
    }


def needed(name, **settings):
    features = all_features(**settings)
    return {feature: features[feature] for feature in LOSSES[name].needs}


def in_double(name):
    loss = make(name)
    return loss.double() if isinstance(loss, nn.Module) else loss


def differentiable(name):
    return sorted(LOSSES[name].needs - DATA_FEATURES - LOSSES[name].detached)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 4])
def test_scalar_finite_and_gradient_reaches_every_needed_feature(name, batch):
    loss, features = in_double(name), needed(name, batch=batch)
    leaves = [features[f].requires_grad_() for f in differentiable(name)]
    for feature in LOSSES[name].detached:
        features[feature].requires_grad_()
    value = loss(**features)
    assert value.shape == ()
    assert value.dtype == torch.float64
    assert value.isfinite()
    value.backward()
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert batch == 1 or leaf.grad.any()
    assert all(features[feature].grad is None for feature in LOSSES[name].detached)
    if isinstance(loss, nn.Module):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_order_of_the_batch_does_not_matter(name):
    loss, features = in_double(name), needed(name)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {feature: value[order] for feature, value in features.items()}
    torch.testing.assert_close(loss(**features), loss(**shuffled))


@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_with_float64(name):
    single = make(name)(**needed(name, dtype=torch.float32))
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), in_double(name)(**needed(name)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_bf16_autocast_stays_close_and_returns_float32(name):
    expected = make(name)(**needed(name, dtype=torch.float32))
    features = {
        feature: value.bfloat16() if feature not in DATA_FEATURES else value
        for feature, value in needed(name, dtype=torch.float32).items()
    }
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = make(name)(**features)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_selected_is_zero_and_stays_connected(name):
    features = needed(name, batch=2)
    selections = {
        "labels": lambda x: torch.full_like(x, -1),
        "caption_targets": lambda x: torch.full_like(x, -1),
        "frame_mask": torch.ones_like if name in SEE_THE_VISIBLE else torch.zeros_like,
        "prediction_mask": torch.zeros_like,
        "caption_mask": torch.zeros_like,
        "visual_codes": lambda x: torch.full_like(x, -1),
        "correct_option": lambda x: torch.full_like(x, -1),
        "answer_ids": lambda x: torch.full_like(x, -1),
    }
    chosen = [feature for feature in selections if feature in features]
    for feature in chosen:
        features[feature] = selections[feature](features[feature])
    leaves = [features[f].requires_grad_() for f in differentiable(name)]
    value = in_double(name)(**features)
    assert value.isfinite()
    assert not chosen or value == 0
    gradients = torch.autograd.grad(value, leaves)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, first jvp
@pytest.mark.parametrize("name", NAMES)
def test_forward_mode_equals_reverse_mode(name):
    loss, features = in_double(name), needed(name)
    own = dict(loss.named_parameters()) if isinstance(loss, nn.Module) else {}
    moved = {f"feature {f}": features[f] for f in LOSSES[name].needs - DATA_FEATURES}
    moved |= {f"own {n}": p.detach() for n, p in own.items()}
    tangents = {n: torch.randn_like(x) for n, x in moved.items()}

    def value(point):
        given = {f: point.get(f"feature {f}", x) for f, x in features.items()}
        if not own:
            return loss(**given)
        weights = {n: point[f"own {n}"] for n in own}
        return torch.func.functional_call(loss, weights, (), given)

    _, forward = torch.func.jvp(value, (moved,), (tangents,))
    leaves = {n: x.clone().requires_grad_() for n, x in moved.items()}
    gradients = torch.autograd.grad(value(leaves), list(leaves.values()), allow_unused=True)
    pairs = zip(gradients, tangents.values(), strict=True)
    reverse = sum((g * t).sum() for g, t in pairs if g is not None)
    torch.testing.assert_close(forward, reverse)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_left_alone_and_no_random_number_is_drawn(name):
    features = needed(name)
    before = {feature: value.clone() for feature, value in features.items()}
    loss = in_double(name)
    state = torch.get_rng_state()
    first, second = loss(**features), loss(**features)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(features[feature], value) for feature, value in before.items())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in LOOKS_AT_VALUES])
def test_nothing_is_made_on_another_device(name, monkeypatch):
    """The device without data stands in for a GPU: tensors of two devices do not mix."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it knows no meta
    loss = make(name)
    if isinstance(loss, nn.Module):
        loss = loss.to("meta")
    features = {f: x.to("meta") for f, x in needed(name, dtype=torch.float32).items()}
    assert loss(**features).device.type == "meta"


@pytest.mark.parametrize("name", NAMES)
def test_row_and_signature_agree(name):
    spec = LOSSES[name]
    attribute = spec.load()
    function = attribute.forward if inspect.isclass(attribute) else attribute
    parameters = {k: p for k, p in inspect.signature(function).parameters.items() if k != "self"}
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    required = {k for k, p in parameters.items() if p.default is p.empty}
    knobs = {k: p.default for k, p in parameters.items() if p.default is not p.empty}
    if inspect.isclass(attribute):
        assert not knobs
        own = inspect.signature(attribute).parameters
        assert own["dims"].default is inspect.Parameter.empty
        knobs = {k: p.default for k, p in own.items() if k != "dims"}
    assert required == spec.needs
    assert knobs == dict(spec.knobs)


def test_rows_are_well_formed():
    families = set(get_args(Family))
    assert len(families) == 16
    for spec in LOSSES.values():
        assert spec.family in families
        assert (spec.family == "supervised") == spec.primary
        assert 0 <= spec.granularity < len(GRANULARITIES)
        assert spec.detached <= spec.needs
        assert re.match(r"arXiv:\d{4}\.\d{4,5}\b|this project", spec.source)
        assert spec.description
        assert spec.cost_hint
    assert [spec.name for spec in LOSSES.values() if spec.primary] == ["classification"]


def test_every_file_has_one_row():
    folder = ROOT / "losses" / "auxiliary"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    rows = [spec.target.split(":")[0] for spec in LOSSES.values() if not spec.primary]
    assert sorted(rows) == sorted(f"losses.auxiliary.{stem}" for stem in files)


@pytest.mark.parametrize(
    ("name", "views", "text_views"),
    [
        ("classification", {"a"}, set()),
        ("consistency", {"a", "b"}, set()),
        ("infonce", {"a"}, {"a"}),
        ("latent_prediction", {"masked", "target"}, set()),
        ("masked_frame", {"a", "masked"}, set()),
        ("masked_text", {"a"}, {"masked"}),
        ("variance_covariance", {"a", "b"}, set()),
    ],
)
def test_views_follow_from_the_features(name, views, text_views):
    assert LOSSES[name].views == views
    assert LOSSES[name].text_views == text_views


@pytest.mark.parametrize("module", ["losses", "losses.catalogue"])
def test_reading_the_table_needs_neither_torch_nor_numpy(module):
    code = f"import sys, {module}; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_row_added_at_run_time_works(monkeypatch):
    module = type(sys)("throw_away")

    def magnitude(*, video, power=2.0):
        return video.abs().pow(power).mean()

    module.magnitude = magnitude
    monkeypatch.setitem(sys.modules, "throw_away", module)
    row = dataclasses.replace(
        LOSSES["consistency"],
        name="magnitude",
        needs=frozenset({"video"}),
        detached=frozenset(),
        knobs={"power": 2.0},
        target="throw_away:magnitude",
    )
    table = MappingProxyType(dict(index_by_name([*LOSSES.values(), row])))
    monkeypatch.setattr(construction, "LOSSES", table)
    value = losses.build("magnitude", DIMS, power=1.0)(video=torch.full((2, 3), -4.0))
    assert value == 4


def test_a_name_twice_is_refused_with_both_targets():
    row = LOSSES["pixel"]
    twin = dataclasses.replace(row, target="elsewhere:Pixel")
    message = r"'pixel' twice: losses\.auxiliary\.pixel:Pixel and elsewhere:Pixel"
    with pytest.raises(ValueError, match=message):
        index_by_name([row, twin])


@pytest.mark.parametrize(
    ("name", "dims", "knobs", "message"),
    [
        ("infonse", DIMS, {}, "did you mean 'infonce'"),
        ("infonce", DIMS, {"temprature": 1.0}, "did you mean 'temperature'"),
        ("pixel", DIMS, {"width": 3}, r"unknown knob 'width' \(knobs: none\)"),
        ("caption", DIMS | {"vocabulary": 0}, {}, "caption needs the size 'vocabulary'"),
        ("frame_difference", DIMS | {"time": 2}, {}, "needs 3 frames"),
    ],
)
def test_mistakes_are_named(name, dims, knobs, message):
    with pytest.raises(ValueError, match=message):
        losses.build(name, dims, **knobs)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = losses.nothing


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isclass(LOSSES[n].load())])
def test_initial_weights_depend_on_seed_and_name_alone(name):
    def weights(seed, label=name):
        built = losses.build(name, DIMS)
        return nn.utils.parameters_to_vector(losses.initialise(built, seed, label).parameters())

    torch.manual_seed(5)
    first = weights(1)
    torch.manual_seed(6)
    state = torch.get_rng_state()
    built = losses.build(name, DIMS)
    torch.set_rng_state(state)
    losses.initialise(built, 1, name)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, weights(1))
    if name not in DRAWS_NOTHING:
        assert not torch.equal(first, weights(2))
        assert not torch.equal(first, weights(1, "another"))


def test_readme_holds_the_generated_tables():
    text = (ROOT / "losses" / "README.md").read_text(encoding="utf-8")
    assert loss_table() in text
    assert combiner_table() in text


@pytest.mark.parametrize("name", [name for name, row in LOSSES.items() if row.chance])
@pytest.mark.parametrize("batch", [3, 8])
def test_a_model_that_tells_nothing_apart_is_at_chance(name, batch):
    features = needed(name, batch=batch)
    for feature in LOSSES[name].needs - DATA_FEATURES:  # every row of the batch the same
        features[feature] = features[feature][:1].expand_as(features[feature]).clone()
        if feature.startswith("logits"):
            features[feature].zero_()
    if "caption_mask" in features:
        features["caption_mask"][:] = True
    if "caption_ids" in features:
        features["caption_ids"] = torch.arange(batch * WORDS).reshape(batch, WORDS) + 1
    count = {"ln classes": DIMS["classes"], "ln batch": batch}[LOSSES[name].chance]
    value = in_double(name)(**features).detach()
    assert float(value) == pytest.approx(math.log(count))


IDLE_ALONE = {
    ("univl_joint", "block"): {"hard_rate": 0.3},
    ("univl_m_joint", "block"): {"hard_rate": 0.3},
    ("glscl", "diversity"): {"diversity_margin": 1.0},
    ("glscl", "diversity_sides"): {"diversity_margin": 1.0},
    ("kinematic", "ratio"): {"form": "split"},
    ("kinematic", "threshold"): {"form": "huber"},
    ("univl_joint", "hard_rate"): {"block": 2},
    ("univl_m_joint", "hard_rate"): {"block": 2},
    ("latent_dynamics", "ratio"): {"inputs": "dynamics"},
    ("latent_dynamics", "levels"): {"inputs": "dynamics"},
    ("latent_dynamics", "detached"): {"hard": True},
    ("latent_dynamics", "temperature"): {"hard": True},
    ("pixel_delta", "ratio"): {"inputs": "dynamics"},
    ("pixel_delta", "levels"): {"inputs": "dynamics"},
}
"""Settings under which a knob acts, where the defaults leave it without effect."""
KNOBS = [
    pytest.param(name, knob, id=f"{name}.{knob}")
    for name, row in LOSSES.items()
    for knob in row.knobs
    if (name, knob) != ("s2dtw", "seed")  # acts on like neighbours alone, see below
]


def another(name, knob):
    """A value of a knob that is not the default."""
    row = LOSSES[name]
    default = row.knobs[knob]
    if knob in row.choices:
        return next(value for value in row.choices[knob] if value != default)
    if isinstance(default, bool):
        return not default
    if knob in ("heads", "levels", "block", "layers"):
        return 2
    if isinstance(default, int):
        return 12 if knob == "seed" else 2 * default
    limits = row.ranges.get(knob)
    doubled = 2 * default if default else 1.0
    if limits is not None and default == limits.high:
        return default / 2
    return doubled if limits is None or limits.low <= doubled <= limits.high else default / 2


def with_twins(features):
    """Two clips of the batch have one caption: what deduplication is for."""
    for feature in ("caption_ids", "caption_mask", "text_embed", "text_tokens", "text_pooled"):
        if feature in features:
            features[feature] = features[feature].detach().clone()
            features[feature][2] = features[feature][3]
    return features


def outcome(name, knobs):
    """Value, gradients and the shapes of the parameters of a loss."""
    loss, features = make(name, **knobs), with_twins(needed(name))
    loss = loss.double() if isinstance(loss, nn.Module) else loss
    leaves = [features[feature].requires_grad_() for feature in differentiable(name)]
    torch.manual_seed(0)
    value = loss(**features)
    grads = torch.autograd.grad(value, leaves, allow_unused=True)
    state = loss.state_dict().items() if isinstance(loss, nn.Module) else ()
    return (
        value.detach().tolist(),
        [None if g is None else g.tolist() for g in grads],
        {key: tensor.tolist() for key, tensor in state},
    )


@pytest.mark.parametrize(("name", "knob"), KNOBS)
def test_every_knob_changes_something(name, knob):
    base = IDLE_ALONE.get((name, knob), {})
    assert outcome(name, base) != outcome(name, {**base, knob: another(name, knob)})


def test_the_seed_of_s2dtw_reaches_its_draws():
    sequence = 1e-3 * all_features(batch=8)["frames"]  # alike, so that any order may be drawn
    drawn = [
        make("s2dtw", temporal_augmentation=True, seed=seed)._augment(sequence) for seed in (0, 1)
    ]
    assert not torch.equal(*drawn)
