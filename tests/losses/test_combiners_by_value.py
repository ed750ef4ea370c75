"""Combiners that weigh by values, progress or chance; MELTR's options; averaging the direction."""

import copy
import threading

import pytest
import torch

import losses
from losses.catalogue import LOSSES, moving_targets
from losses.combine import meta as meta_module
from losses.combine.catalogue import COMBINERS
from losses.combine.meta import MetaOptimizer, choose_method, meta_gradient
from losses.combine.slopes import slopes

NAMES = ("classification", "pixel", "infonce")
VALUES = torch.tensor([1.5, 0.25, 3.0], dtype=torch.float64)


def build(name, names=NAMES, *, weights=None, seed=0, **knobs):
    combiner = COMBINERS[name].load()(names=names, primary=names[0], weights=weights, **knobs)
    return losses.initialise(combiner, seed, name).double()


# ----------------------------------------------------------------------------------------- values


def test_gls_is_the_geometric_mean_and_forgets_units():
    combiner = build("gls", floor=0.0)
    assert float(combiner(VALUES)) == pytest.approx(float(VALUES.prod()) ** (1 / 3))
    factor = torch.tensor([2.0, 10.0, 0.1], dtype=torch.float64)
    one, two = (
        slopes(combiner, VALUES) * VALUES,
        slopes(combiner, factor * VALUES) * factor * VALUES,
    )
    torch.testing.assert_close(one / one.sum(), two / two.sum())
    assert combiner(-VALUES).isnan()
    with pytest.raises(ValueError, match="floor"):
        build("gls", floor=-1.0)


def test_famo_starts_with_equal_relative_progress():
    combiner = build("famo", floor=1e-8)
    found = slopes(combiner, VALUES)
    torch.testing.assert_close(found * VALUES, (found * VALUES)[:1].expand(3))
    assert float(found.sum()) == pytest.approx(1)


def test_famo_moves_to_the_loss_that_falls_least_by_the_steps_of_adam():
    combiner = build("famo")
    after = VALUES * torch.tensor([0.9, 0.99, 0.5], dtype=torch.float64)
    other = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([other], lr=0.025, weight_decay=1e-3)
    for _ in range(5):
        fall = (VALUES + 0.01).log() - (after + 0.01).log()
        (other.grad,) = torch.autograd.grad(other.softmax(0), other, fall)
        optimizer.step()
        combiner.review(VALUES, after)
        torch.testing.assert_close(combiner.xi.detach(), other.detach(), rtol=1e-6, atol=1e-9)
    z = combiner.xi.detach().softmax(0)
    assert z[1] > z[0] > z[2]
    before = combiner.xi.detach().clone()
    combiner.review(VALUES, torch.full_like(VALUES, float("nan")))
    assert torch.equal(combiner.xi, before)


# --------------------------------------------------------------------------------- time and chance


def test_dwa_follows_the_last_two_periods():
    combiner = build("dwa", period=2, temperature=2.0)
    steps = torch.tensor(
        [[4.0, 1.0, 1.0], [2.0, 1.0, 1.0], [1.0, 1.0, 3.0], [2.0, 1.0, 1.0]], dtype=torch.float64
    )
    for row in steps[:3]:
        combiner.prepare(row)
        assert combiner.weights.tolist() == [1.0, 1.0, 1.0]
    combiner.prepare(steps[3])
    rate = torch.tensor([1.5 / 3.0, 1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(combiner.weights, 3 * (rate / 2).softmax(0))
    assert float(combiner(VALUES)) == pytest.approx(float(combiner.weights @ VALUES))
    with pytest.raises(ValueError, match="period"):
        build("dwa", period=0)


def test_dwa_takes_a_loss_that_is_zero_as_steady():
    combiner = build("dwa", period=1)
    for _ in range(2):
        combiner.prepare(torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(combiner.weights, torch.ones(3, dtype=torch.float64))


def test_rlw_draws_by_seed_name_and_step():
    combiner = build("rlw", seed=1)
    drawn = []
    for _ in range(200):
        combiner.prepare(VALUES)
        drawn.append(combiner.weights)
        assert float(combiner.weights.sum()) == pytest.approx(3)
    drawn = torch.stack(drawn)
    assert (drawn.mean(0) - 1).abs().max() < 0.25
    assert (drawn.std(0) > 0.3).all()
    other, few = build("rlw", seed=2), build("rlw", ("classification", "infonce"), seed=1)
    other.prepare(VALUES)
    few.prepare(VALUES[:2])
    assert not torch.equal(other.weights, drawn[0])
    ratio = drawn[0][0] / drawn[0][2]
    torch.testing.assert_close(few.weights[0] / few.weights[1], ratio)


@pytest.mark.parametrize("name", [n for n in COMBINERS if hasattr(build(n), "prepare")])
def test_state_continues_where_it_was_saved(name):
    generator = torch.Generator().manual_seed(0)
    steps = [torch.rand(3, generator=generator).double() for _ in range(60)]
    rows = [torch.randn(3, 4, generator=generator).double() for _ in range(60)]

    def advance(combiner, some):
        for step in some:
            combiner.prepare(steps[step], rows[step] @ rows[step].T)
        return slopes(combiner, VALUES)

    whole = build(name, seed=5)
    first = build(name, seed=5)
    end = advance(whole, range(60))
    advance(first, range(37))
    second = build(name, seed=9)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(advance(second, range(37, 60)), end)


# -------------------------------------------------------------------------------------- meta steps


def test_meta_linear_is_the_weighted_sum_that_the_meta_step_moves():
    combiner = build("meta_linear", weights={"pixel": 0.2})
    assert slopes(combiner, VALUES).tolist() == pytest.approx([1.0, 0.2, 1.0])
    torch.testing.assert_close(combiner.base(VALUES), combiner(VALUES).detach())
    assert slopes(build("meta_linear", initial=0.1), VALUES).tolist() == pytest.approx([0.1] * 3)
    target = torch.tensor([1.0, -2.0], dtype=torch.float64)
    params = {"w": torch.zeros(2, dtype=torch.float64)}

    def train(p):
        w = p["w"]
        return torch.stack(
            ((w - target).square().sum(), (w + target).square().sum(), (w[0] - 1) ** 2)
        )

    found = meta_gradient(combiner, params, train, lambda p: train(p)[0], gamma=0.0)
    # the gradient of a weight is - <v, gradient of its loss>
    torch.testing.assert_close(found.grads["weights"], -found.s)
    assert found.grads["weights"][0] < 0 < found.grads["weights"][1]


def test_meta_mlp_is_the_primary_loss_and_a_monotone_network():
    combiner = build("meta_mlp")
    found = slopes(combiner, VALUES)
    assert found[0] > 1
    assert found.min() > 0
    assert found.max() < 2
    two = build("meta_mlp", ("classification", "infonce"))
    assert torch.equal(two.inner.weight, combiner.inner.weight[[0, 2]])
    with torch.no_grad():
        combiner.inner.weight[1] = -0.5
    assert slopes(combiner, VALUES)[1] < 0
    combiner.project()
    assert slopes(combiner, VALUES)[1] == 0
    free = build("meta_mlp", monotone=False)
    with torch.no_grad():
        free.inner.weight[1] = -0.5
    free.project()
    assert slopes(free, VALUES)[1] < 0
    with pytest.raises(ValueError, match="hidden"):
        build("meta_mlp", hidden=0)


def test_a_meta_step_projects():
    combiner = build("meta_mlp")
    params = {"w": torch.ones(2, dtype=torch.float64)}

    def train(p):
        return torch.stack([p["w"].square().sum(), -3 * p["w"].square().sum(), p["w"].sum()])

    optimizer = MetaOptimizer(combiner, lr=0.5)
    optimizer.step(
        combiner, meta_gradient(combiner, params, train, lambda p: train(p)[0], gamma=0.0)
    )
    assert all((p >= 0).all() for n, p in combiner.named_parameters() if n.endswith("weight"))


# --------------------------------------------------------------------------------- MELTR's options


def shaken(seed=0, scale=1.0, **knobs):
    combiner = build("meltr", **knobs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in combiner.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return combiner


@pytest.mark.parametrize("output", ["residual", "plain"])
def test_positive_slopes_are_positive_and_else_the_same(output):
    negative = 0
    for seed in range(10):
        free = shaken(seed, 2.0, output=output).eval()
        kept = shaken(seed, 2.0, output=output, slope="positive").eval()
        point = VALUES * (1 + seed)
        one, two = slopes(free, point), slopes(kept, point)
        assert (two > 0).all()
        large = one > 0.1
        torch.testing.assert_close(one[large], two[large])
        assert (two[~large] <= 0.1 + 1e-12).all()
        negative += int((one < 0).sum())
    assert negative > 0
    start = build("meltr", slope="positive", weights={"pixel": 0.2})
    assert slopes(start, VALUES).tolist() == pytest.approx([1.0, 0.2, 1.0])
    with torch.no_grad():
        assert start(VALUES).isfinite()


def toy(seed=0, size=8):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(size, 3, generator=generator, dtype=torch.float64)
    params = {
        "a": torch.randn(4, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64),
        "b": torch.randn(4, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64),
    }

    def train(p, rows=slice(None)):
        return (torch.tanh(x[rows] @ p["a"]) @ p["b"] - y[rows]).square().mean(0)

    return params, train


def test_positive_slopes_have_the_meta_gradient_of_the_oracle():
    params, train = toy()
    found = [
        meta_gradient(
            shaken(scale=0.2, slope="positive").eval(), params, train, lambda p: train(p)[0],
            method=method, gamma=0.1,
        ).grads
        for method in ("jvp", "loop", "double_backward")
    ]  # fmt: skip
    for other in found[1:]:
        for name, gradient in found[0].items():
            if gradient is not None:
                torch.testing.assert_close(gradient, other[name])
    assert any(g is not None and g.abs().max() > 0 for g in found[0].values())


def test_normal_first_weights():
    combiner = build("meltr", output="plain", input="raw", init="normal", size="reference")
    for name in ("loss_fc2.weight", "encoder.linear1.weight", "encoder.self_attn.out_proj.weight"):
        weight = combiner.get_parameter(name)
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(combiner.task_embedding.weight.detach().std()) == pytest.approx(0.02, rel=0.15)
    assert not combiner.encoder.linear1.bias.any()
    assert combiner.encoder.self_attn.in_proj_weight.abs().max() > 0.05  # Xavier, as published
    assert slopes(combiner, VALUES).abs().max() < 0.05
    assert not build("meltr", init="normal").fc1.weight.any()  # a residual still starts at 0
    with pytest.raises(ValueError, match="did you mean 'normal'"):
        build("meltr", init="normla")


def test_auto_takes_forward_mode_where_it_runs(monkeypatch, caplog):
    params, train = toy()
    assert choose_method(params, train) == "jvp"

    class NoForwardMode(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    def without(p):
        return NoForwardMode.apply(train(p))

    assert choose_method(params, without) == "loop"
    combiner = shaken(scale=0.2).eval()
    found = meta_gradient(combiner, params, without, lambda p: train(p)[0], method="auto")
    exact = meta_gradient(combiner, params, train, lambda p: train(p)[0], method="jvp")
    torch.testing.assert_close(found.s, exact.s)
    monkeypatch.setattr(meta_module, "AGREEMENT", -1.0)
    with caplog.at_level("WARNING"):
        assert choose_method(params, train) == "loop"
    assert "forward mode differs" in caplog.text
    optimizer = MetaOptimizer(combiner, method="auto")
    optimizer.method = "loop"
    resumed = MetaOptimizer(combiner, method="auto")
    resumed.load_state_dict(optimizer.state_dict())
    assert resumed.method == "loop"


def test_losses_that_hold_something_fixed_are_known():
    assert moving_targets(["classification", "pixel", "latent_prediction"]) == []
    assert set(moving_targets(LOSSES)) >= {"consistency", "masked_frame"}


class Ranks:
    """Threads in the place of processes: everyone gives a vector and gets the mean of all."""

    def __init__(self, count):
        self.given = [None] * count
        self.meet = threading.Barrier(count, timeout=30)

    def average(self, rank):
        def mean(vector):
            self.given[rank] = vector
            self.meet.wait()
            result = torch.stack(self.given).mean(0)
            self.meet.wait()
            return result

        return mean


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_averaged_directions_are_those_of_the_whole_batch(gamma):
    params, train = toy()
    halves = (slice(0, 4), slice(4, 8))
    ranks, found = Ranks(2), [None, None]
    copies = [shaken(scale=0.2, input="raw").eval() for _ in range(2)]

    def work(rank):
        def local(p):
            return train(p, halves[rank])

        found[rank] = meta_gradient(
            copies[rank], params, local, lambda p: local(p)[0],
            method="loop", gamma=gamma, average=ranks.average(rank),
        )  # fmt: skip

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    one, two = found
    for name, gradient in one.grads.items():
        assert gradient is None or torch.equal(gradient, two.grads[name])
    if gamma == 0:  # the regulariser's sign is taken on each rank's own losses
        combiner = shaken(scale=0.2, input="raw").eval()
        whole = meta_gradient(
            combiner, params, train, lambda p: train(p)[0], method="loop", gamma=0.0
        )
        torch.testing.assert_close(one.s, whole.s)
        torch.testing.assert_close(one.val, whole.val)
        for name, gradient in whole.grads.items():
            if gradient is not None:
                torch.testing.assert_close(gradient, one.grads[name])
    with pytest.raises(ValueError, match="one process"):
        meta_gradient(
            combiner if gamma == 0 else shaken(), params, train, lambda p: train(p)[0],
            method="double_backward", average=lambda vector: vector,
        )  # fmt: skip
