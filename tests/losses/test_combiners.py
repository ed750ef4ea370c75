"""Combiners: values, slopes, names, weights, and the MELTR module's options."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

import losses
from losses.combine.catalogue import COMBINERS
from losses.combine.meltr import Meltr
from losses.combine.meta import MetaOptimizer
from losses.combine.slopes import slopes

NAMES = ("classification", "pixel", "infonce")
VALUES = torch.tensor([1.5, 0.25, 3.0], dtype=torch.float64)
CURVED = ("gls", "meltr", "meta_mlp")
GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden"


def build(name, names=NAMES, *, weights=None, seed=0, **knobs):
    combiner = COMBINERS[name].load()(
        names=names, primary="classification", weights=weights, **knobs
    )
    return losses.initialise(combiner, seed, name).double()


def shaken(name="meltr", *, seed=0, **knobs):
    """A combiner that no longer sits at its first point."""
    combiner = build(name, **knobs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in combiner.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return combiner


@pytest.mark.parametrize("name", COMBINERS)
def test_row_and_signatures_agree(name):
    spec = COMBINERS[name]
    parameters = dict(inspect.signature(spec.load()).parameters)
    assert [parameters.pop(key).name for key in ("names", "primary", "weights")]
    knobs = {key: p.default for key, p in parameters.items()}
    if spec.meta:
        own = dict(inspect.signature(MetaOptimizer).parameters)
        del own["combiner"]
        assert tuple(own) == MetaOptimizer.KNOBS
        assert not set(own) & set(knobs)
        assert set(own) == set(spec.knobs) - set(knobs)
        MetaOptimizer(build(name), **{key: spec.knobs[key] for key in own})
        knobs |= {key: spec.knobs[key] for key in own}
        if name == "meltr":
            assert knobs == {**knobs, **{key: p.default for key, p in own.items()}}
    assert spec.gradients == hasattr(build(name), "level")
    assert knobs == dict(spec.knobs)
    assert spec.learned == any(True for _ in build(name).parameters())


@pytest.mark.parametrize("name", COMBINERS)
def test_scalar_with_gradient_for_every_loss(name):
    combiner = build(name)
    for dtype in (torch.float64, torch.float32):
        combiner = combiner.to(dtype)
        point = VALUES.to(dtype).clone().requires_grad_()
        combined = combiner(point)
        assert combined.shape == ()
        assert combined.dtype == dtype
        combined.backward()
        torch.testing.assert_close(slopes(combiner, VALUES.to(dtype)), point.grad)
    with torch.no_grad():
        assert slopes(combiner, VALUES.float()).shape == (3,)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, first jvp
@pytest.mark.parametrize("name", COMBINERS)
def test_forward_mode_and_second_derivatives(name):
    combiner = shaken(name).eval()
    tangent = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    _, forward = torch.func.jvp(combiner, (VALUES,), (tangent,))
    torch.testing.assert_close(forward, slopes(combiner, VALUES) @ tangent)
    hessian = torch.autograd.functional.hessian(combiner, VALUES)
    if name == "famo":  # its scale is a constant to the gradient alone
        return
    if name in CURVED:
        step = 1e-5 * tangent
        difference = slopes(combiner, VALUES + step) - slopes(combiner, VALUES - step)
        torch.testing.assert_close(hessian @ step * 2, difference, rtol=1e-5, atol=1e-9)
    else:
        assert not hessian.any()


@pytest.mark.parametrize("name", COMBINERS)
def test_single_loss_zero_losses_and_large_losses_are_finite(name):
    for count in (1, 3):
        combiner = build(name, NAMES[:count])
        for scale in (0.0, 1e-12, 1e6):
            point = scale * VALUES[:count]
            assert combiner(point).isfinite()
            assert slopes(combiner, point).isfinite().all()


@pytest.mark.parametrize("name", COMBINERS)
def test_present_names_a_subset_in_any_order(name):
    combiner = shaken(name, weights={"pixel": 0.5} if name == "static" else None).eval()
    swapped = combiner(VALUES[[2, 0, 1]], present=("infonce", "classification", "pixel"))
    torch.testing.assert_close(swapped, combiner(VALUES))
    assert combiner(VALUES[[2, 0]], present=("infonce", "classification")).isfinite()
    with pytest.raises(ValueError, match="2 losses for the 3 names"):
        combiner(VALUES[:2])
    with pytest.raises(ValueError, match="did you mean 'pixel'"):
        combiner(VALUES[:1], present=("pixels",))


@pytest.mark.parametrize("name", COMBINERS)
@pytest.mark.parametrize(
    ("names", "primary", "message"),
    [
        (("a", "b"), "c", "primary loss 'c'"),
        (("a", "a"), "a", "each once"),
        ((), "a", "at least one"),
    ],
)
def test_wrong_names_are_refused(name, names, primary, message):
    with pytest.raises(ValueError, match=message):
        COMBINERS[name].load()(names=names, primary=primary)


def test_equal_and_static():
    assert build("equal")(VALUES) == VALUES.sum()
    assert build("equal", weights={"pixel": 9.0})(VALUES) == VALUES.sum()
    combiner = build("static", weights={"pixel": 0.2, "infonce": 0.0})
    assert combiner(VALUES) == pytest.approx(1.5 + 0.2 * 0.25)
    assert slopes(combiner, VALUES).tolist() == [1.0, 0.2, 0.0]
    assert build("static")(VALUES) == VALUES.sum()
    with pytest.raises(ValueError, match="did you mean 'pixel'"):
        build("static", weights={"pixl": 1.0})
    with pytest.raises(ValueError, match="not a finite number"):
        build("static", weights={"pixel": float("nan")})


@pytest.mark.parametrize(("form", "factor"), [("regression", 0.5), ("classification", 1.0)])
def test_uncertainty(form, factor):
    combiner = build("uncertainty", form=form)
    assert combiner.log_variance.tolist() == [-0.5] * 3
    with torch.no_grad():
        combiner.log_variance.copy_(torch.tensor([0.1, -1.0, 2.0]))
    s = combiner.log_variance.detach()
    torch.testing.assert_close(
        combiner(VALUES).detach(), sum(factor * VALUES / s.exp()) + s.sum() / 2
    )
    torch.testing.assert_close(slopes(combiner, VALUES), factor / s.exp())
    assert combiner.no_weight_decay == {name for name, _ in combiner.named_parameters()}
    with pytest.raises(ValueError, match="did you mean 'regression'"):
        build("uncertainty", form="regresion")


def test_uncertainty_settles_where_the_weight_is_one_over_the_loss():
    combiner = build("uncertainty")
    optimizer = torch.optim.Adam(combiner.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        combiner(VALUES).backward()
        optimizer.step()
    torch.testing.assert_close(slopes(combiner, VALUES), 0.5 / VALUES, rtol=1e-3, atol=0)


@pytest.mark.parametrize("form", ["raw", "log1p", "ratio"])
def test_residual_meltr_starts_as_the_weighted_sum(form):
    combiner = build("meltr", input=form)
    torch.testing.assert_close(combiner(VALUES), VALUES.sum())
    torch.testing.assert_close(slopes(combiner, VALUES), torch.ones_like(VALUES))
    weighted = build("meltr", input=form, weights={"pixel": 0.2})
    torch.testing.assert_close(weighted(VALUES), VALUES.sum() - 0.8 * VALUES[1])
    torch.testing.assert_close(weighted.base(VALUES), weighted(VALUES))


@pytest.mark.parametrize(
    ("size", "hidden", "width", "feedforward", "count"),
    [("small", 16, 32, 32, 7_200), ("reference", 128, 256, 512, 561_664)],
)
def test_meltr_sizes(size, hidden, width, feedforward, count):
    names = [f"loss{index}" for index in range(4)]
    of_size = Meltr(names=names, primary="loss0", size=size)
    spelt = Meltr(names=names, primary="loss0", hidden=hidden, width=width, feedforward=feedforward)
    for combiner in (of_size, spelt):
        assert sum(p.numel() for p in combiner.parameters()) == count


def test_meltr_is_the_encoder_layer_of_torch():
    combiner = shaken(output="plain", input="raw").eval()
    width = combiner.fc1.in_features
    layer = nn.TransformerEncoderLayer(width, 8, 32, batch_first=True, dtype=torch.float64)
    layer.load_state_dict(combiner.encoder.state_dict())
    layer.train()  # the plain path; without dropout
    for part in layer.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    layer.self_attn.dropout = 0.0
    scale = combiner.loss_fc2(combiner.loss_fc1(VALUES.unsqueeze(-1)).relu())
    tokens = layer((scale + combiner.task_embedding.weight).unsqueeze(0)).squeeze(0)
    torch.testing.assert_close(combiner(VALUES), combiner.fc1(tokens.mean(0)).squeeze())


def test_meltr_rows_belong_to_names():
    three = build("meltr", seed=3).task_embedding.weight
    two = build("meltr", ("infonce", "classification"), seed=3).task_embedding.weight
    assert torch.equal(two, three[[2, 0]])
    other = build("meltr", seed=4)
    assert not torch.equal(other.task_embedding.weight, three)
    same = build("meltr", NAMES[:2], seed=3).encoder.state_dict()
    for name, value in build("meltr", seed=3).encoder.state_dict().items():
        assert torch.equal(value, same[name])


def test_ratio_remembers_the_first_value_that_is_not_zero():
    combiner = build("meltr")
    combiner(torch.tensor([2.0, 0.0, float("inf")], dtype=torch.float64))
    assert combiner.reference.tolist() == [2.0, 1.0, 1.0]
    combiner.eval()
    combiner(VALUES)
    assert combiner.observed.tolist() == [True, False, False]
    combiner.train()
    combiner(VALUES[1:2], present=("pixel",))
    assert combiner.reference.tolist() == [2.0, 0.25, 1.0]
    combiner(VALUES).backward()  # the reference changes between the forward and the backward
    combiner(10 * VALUES)
    assert combiner.reference.tolist() == [2.0, 0.25, 3.0]
    copy = build("meltr", seed=1)
    copy.load_state_dict(combiner.state_dict())
    torch.testing.assert_close(copy(VALUES), combiner(VALUES))


def test_a_loss_that_starts_near_zero_does_not_get_a_steep_slope():
    combiner = shaken(output="plain")
    combiner(torch.tensor([1.0, 1e-4, 1.0], dtype=torch.float64))
    assert combiner.reference.tolist() == [1.0, 0.1, 1.0]


def test_inputs_differ_and_scale_as_they_say():
    raw, ratio, log1p = (shaken(input=form, output="plain") for form in ("raw", "ratio", "log1p"))
    assert not torch.allclose(raw(VALUES), log1p(VALUES))
    first = ratio(VALUES)
    torch.testing.assert_close(first, raw(torch.ones_like(VALUES)))
    torch.testing.assert_close(ratio(3 * VALUES), raw(torch.full_like(VALUES, 3)))
    torch.testing.assert_close(log1p(VALUES), raw(VALUES.log1p()))
    torch.testing.assert_close(log1p(-VALUES), raw(-VALUES.log1p()))


def test_dropout_acts_in_training_mode_alone():
    combiner = shaken(dropout=0.5)
    torch.manual_seed(0)
    assert combiner(VALUES) != combiner(VALUES)
    combiner.eval()
    assert combiner(VALUES) == combiner(VALUES)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"output": "residul"}, "did you mean 'residual'"),
        ({"input": "log"}, "unknown input"),
        ({"size": "large"}, "unknown size"),
        ({"width": 20}, "multiple of 8"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(ValueError, match=message):
        Meltr(names=NAMES, primary="classification", **knobs)


def test_stored_numbers_of_the_published_module():
    paths = sorted(GOLDEN.glob("meltr_*.npz"))
    if not paths:
        pytest.skip("no stored numbers beside the checkout")
    from tests import conformance, conformance_meltr

    formats = conformance_meltr.FORMATS
    for path in paths:
        name = conformance.format_of(path.stem, formats)
        if name is not None:
            verdict = conformance.check(path, name, formats[name])
            assert verdict.passed, "\n".join(verdict.lines)
