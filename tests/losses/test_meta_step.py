"""The meta step: all methods agree, nothing is disturbed, and it does what it is for."""

import copy

import pytest
import torch
from torch import nn

import losses
from losses.combine.catalogue import COMBINERS
from losses.combine.meta import METHODS, MetaOptimizer, meta_gradient
from losses.combine.slopes import slopes

NAMES = ("classification", "pixel", "infonce")


class Toy(nn.Module):
    """A shared layer, a head per loss, attention, dropout, and an unused parameter."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.shared = nn.Linear(8, 8)
        self.heads = nn.ModuleList(nn.Linear(8, 2) for _ in NAMES)
        self.unused = nn.Parameter(torch.ones(3))
        self.dropout = dropout

    def forward(self, x, y):
        h = nn.functional.dropout(torch.tanh(self.shared(x)), self.dropout, training=True)
        h = nn.functional.scaled_dot_product_attention(h[None, None], h[None, None], h[None, None])
        h = h[0, 0]
        return torch.stack([(f(h) - y[:, i]).square().mean() for i, f in enumerate(self.heads)])


def problem(*, combiner="meltr", dropout=0.0, dtype=torch.float64, **knobs):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(1)
    toy = Toy(dropout).to(dtype)
    params = {name: p.detach() for name, p in toy.named_parameters()}

    def batch():
        x = torch.randn(6, 8, generator=generator, dtype=torch.float64).to(dtype)
        y = torch.randn(6, len(NAMES), 2, generator=generator, dtype=torch.float64).to(dtype)
        return x, y

    train, validation = batch(), batch()
    module = COMBINERS[combiner].load()(names=NAMES, primary=NAMES[0], **knobs)
    module = losses.initialise(module, 0, combiner).to(dtype)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator).to(dtype))
    return (
        module,
        params,
        lambda weights: torch.func.functional_call(toy, weights, train),
        lambda weights: torch.func.functional_call(toy, weights, validation)[0],
    )


def flat(result):
    return torch.cat([g.flatten() for g in result.grads.values() if g is not None])


@pytest.mark.parametrize("gamma", [0.0, 0.1])
@pytest.mark.parametrize("direct_term", [True, False])
@pytest.mark.parametrize(
    "knobs",
    [
        {"combiner": "meltr"},
        {"combiner": "meltr", "output": "plain", "input": "raw"},
        {"combiner": "uncertainty"},
        {"combiner": "meltr", "dropout": 0.3},  # of the model
    ],
    ids=["residual", "plain", "uncertainty", "dropout"],
)
def test_every_method_finds_the_gradient_of_the_oracle(gamma, direct_term, knobs):
    setting = {"gamma": gamma, "direct_term": direct_term}
    found = {m: meta_gradient(*problem(**knobs), method=m, **setting) for m in METHODS}
    oracle = found["double_backward"]
    for method, result in found.items():
        tolerance = {"rtol": 1e-4, "atol": 1e-7} if method == "fd" else {}
        torch.testing.assert_close(flat(result), flat(oracle), **tolerance)
        torch.testing.assert_close(result.s, oracle.s, **tolerance)
        torch.testing.assert_close(result.losses, oracle.losses)
        torch.testing.assert_close(result.val, oracle.val)
        torch.testing.assert_close(result.slopes, oracle.slopes)
        torch.testing.assert_close(result.v_norm, oracle.v_norm)
        assert set(result.grads) == set(oracle.grads)
        none = [name for name, g in result.grads.items() if g is None]
        assert none == [name for name, g in oracle.grads.items() if g is None]
        plain = knobs.get("output") == "plain" or knobs["combiner"] == "meltr"
        dropped = gamma == 0 or not direct_term
        assert none == (["encoder.norm2.bias"] if plain and dropped else [])
        assert not result.v["unused"].any()


def test_gradient_predicts_what_a_small_step_does_to_the_validation_loss():
    combiner, params, train, validate = problem(output="plain", input="raw")
    result = meta_gradient(combiner, params, train, validate, gamma=0.0)
    rate, change = 1e-5, 1e-4

    def after(module):
        leaves = {n: p.clone().requires_grad_() for n, p in params.items()}
        gradient = torch.autograd.grad(
            module(train(leaves)), list(leaves.values()), allow_unused=True
        )
        moved = {
            n: p if g is None else p - rate * g
            for (n, p), g in zip(params.items(), gradient, strict=True)
        }
        return validate(moved)

    ahead, behind = copy.deepcopy(combiner), copy.deepcopy(combiner)
    expected = 0.0
    with torch.no_grad():
        for name, direction in result.grads.items():
            if direction is not None:
                ahead.get_parameter(name).add_(change * direction)
                behind.get_parameter(name).sub_(change * direction)
                expected += float(direction.square().sum())
    measured = float((after(ahead) - after(behind)).detach()) / (2 * change * rate)
    assert measured == pytest.approx(expected, rel=1e-3)


def test_meta_steps_turn_down_a_loss_that_works_against_the_primary():
    torch.manual_seed(0)
    combiner = COMBINERS["meltr"].load()(names=NAMES[:2], primary=NAMES[0])
    losses.initialise(combiner, 0, "meltr")
    optimizer = MetaOptimizer(combiner, lr=0.02, gamma=0.0)
    x, target = torch.randn(16, 4), torch.randn(4)
    params = {"w": torch.zeros(4)}

    def train(weights):
        error = x @ (weights["w"] - target)
        against = x @ (weights["w"] + 3 * target)
        return torch.stack([error.square().mean(), against.square().mean()])

    def validate(weights):
        return train(weights)[0]

    before = slopes(combiner, train(params))
    for _ in range(60):
        optimizer.step(combiner, meta_gradient(combiner, params, train, validate, gamma=0.0))
    after = slopes(combiner, train(params))
    assert before.tolist() == [1.0, 1.0]
    assert after[0] > 1.2
    assert after[1] < 0.8


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_disturbed(method):
    combiner, params, train, validate = problem(dropout=0.3)
    combiner(train(params))  # sets the references of the ratio
    before = {n: p.clone() for n, p in params.items()}
    state = copy.deepcopy(combiner.state_dict())
    random = torch.get_rng_state()
    result = meta_gradient(combiner, params, train, validate, method=method)
    assert all(torch.equal(params[n], p) and not params[n].requires_grad for n, p in before.items())
    assert all(torch.equal(state[n], p) for n, p in combiner.state_dict().items())
    assert all(p.grad is None for p in combiner.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(t.requires_grad for t in (result.s, result.losses, result.val, result.v_norm))


def test_constant_primary_gives_no_direction_and_finite_numbers():
    combiner, params, train, _ = problem()
    for method in ("jvp", "fd", "loop"):
        result = meta_gradient(
            combiner,
            params,
            train,
            lambda weights: 0 * weights["shared.weight"].sum(),
            method=method,
            gamma=0.0,
        )
        assert not result.s.any()
        assert not flat(result).any()


def test_a_combiner_without_parameters_has_no_gradient():
    result = meta_gradient(*problem(combiner="static"))
    assert result.grads == {}


def test_clipping_skipping_and_state():
    combiner, *rest = problem()
    result = meta_gradient(combiner, *rest)
    norm = float(flat(result).norm())
    start = copy.deepcopy(combiner.state_dict())
    clipped = MetaOptimizer(combiner, clip_norm=norm / 10, weight_decay=0.0)
    assert clipped.step(combiner, result) == pytest.approx(norm)
    assert all(p.grad is None for p in combiner.parameters())
    state = clipped.state_dict()
    moments = state["optimizer"]["state"]
    sums = sum(float(entry["exp_avg"].square().sum()) for entry in moments.values())
    assert sums**0.5 == pytest.approx(0.1 * norm / 10, rel=1e-4)
    resumed = copy.deepcopy(combiner)
    other = MetaOptimizer(resumed, clip_norm=norm / 10, weight_decay=0.0)
    other.load_state_dict(copy.deepcopy(state))
    clipped.step(combiner, result)
    other.step(resumed, result)
    assert other.steps == clipped.steps == 2
    now = resumed.state_dict()
    assert all(torch.equal(now[n], value) for n, value in combiner.state_dict().items())
    assert any(not torch.equal(start[n], value) for n, value in now.items())

    result.grads["fc1.weight"][:] = float("nan")
    assert clipped.step(combiner, result) is None
    assert clipped.skipped == 1
    assert all(torch.equal(now[n], value) for n, value in combiner.state_dict().items())


def test_an_infinite_loss_skips_the_step():
    combiner, params, train, validate = problem()
    result = meta_gradient(combiner, params, train, lambda w: validate(w) / 0)
    optimizer = MetaOptimizer(combiner)
    assert optimizer.step(combiner, result) is None
    assert (optimizer.steps, optimizer.skipped) == (0, 1)


def test_interval_starts_with_the_first_step():
    optimizer = MetaOptimizer(problem()[0], interval=3)
    assert [step for step in range(8) if optimizer.is_due(step)] == [0, 3, 6]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"method": "jpv"}, "did you mean 'jvp'"),
        ({"gamma": -1.0}, "gamma"),
        ({"interval": 0}, "interval"),
        ({"data": "memry"}, "did you mean 'memory'"),
        ({"clip_norm": 0.0}, "clip_norm"),
    ],
)
def test_wrong_settings_are_named(knobs, message):
    with pytest.raises(ValueError, match=message):
        MetaOptimizer(problem()[0], **knobs)


def test_differences_of_half_precision_are_refused():
    combiner, params, train, validate = problem()
    half = {n: p.bfloat16() for n, p in params.items()}
    with pytest.raises(ValueError, match="32 bits"):
        meta_gradient(combiner, half, train, validate, method="fd")


@pytest.mark.gpu
def test_methods_agree_on_the_accelerator():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    name = "cuda"
    combiner, params, _, _ = problem()
    params = {n: p.to(name) for n, p in params.items()}
    toy, combiner = Toy().double().to(name), combiner.to(name)
    x = torch.randn(6, 8, device=name, dtype=torch.float64)
    y = torch.randn(6, len(NAMES), 2, device=name, dtype=torch.float64)

    def train(weights):
        return torch.func.functional_call(toy, weights, (x, y))

    found = [
        flat(meta_gradient(combiner, params, train, lambda w: train(w)[0], method=m))
        for m in ("jvp", "double_backward")
    ]
    torch.testing.assert_close(*found)
