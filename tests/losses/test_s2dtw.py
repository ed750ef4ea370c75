"""Soft-DTW and the contrast over it: slow references, limits, every switch."""

import copy
import math

import pytest
import torch
from torch import nn

import losses
from losses.auxiliary.s2dtw import contrast, similarities
from losses.parts import sequence_alignment as alignment
from losses.parts.local_permutations import local_permutations, permute, probabilities
from losses.parts.soft_dtw import _fits_float64, diagonal_scan, soft_dtw
from losses.parts.weak_alignment import fits_float64

DIMS = {"frames": 6, "word": 5}


def draw(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def softmin(values, gamma):
    low = min(values)
    if math.isinf(low):
        return low
    return low - gamma * math.log(sum(math.exp(-(v - low) / gamma) for v in values))


def slow(costs, gamma, bandwidth=0):
    """One pair, cell by cell."""
    n, m = len(costs), len(costs[0])
    table = [[math.inf] * (m + 1) for _ in range(n + 1)]
    table[0][0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            if not bandwidth or abs(i - j) <= bandwidth:
                before = (table[i - 1][j - 1], table[i - 1][j], table[i][j - 1])
                table[i][j] = costs[i - 1][j - 1] + softmin(before, gamma)
    return table[n][m]


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (5, 7), (9, 4)])
@pytest.mark.parametrize("gamma", [0.01, 0.1, 1.0])
def test_value_of_any_size(shape, gamma):
    costs = draw(3, *shape)
    expected = [slow(pair, gamma) for pair in costs.tolist()]
    torch.testing.assert_close(soft_dtw(costs, gamma), torch.tensor(expected).double())


def test_both_forms_agree_to_the_second_derivative():
    costs, grad = draw(3, 6, 7).requires_grad_(), draw(3, seed=1)
    assert _fits_float64(costs, 0.5)

    def derivatives(form):
        value = form(costs, 0.5)
        (first,) = torch.autograd.grad(value, costs, grad, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), costs)
        return value, first, second

    for ours, oracle in zip(derivatives(soft_dtw), derivatives(diagonal_scan), strict=True):
        torch.testing.assert_close(ours, oracle)
    first = derivatives(soft_dtw)[1] / grad[:, None, None]
    assert (first >= 0).all()
    torch.testing.assert_close(first[:, 0, 0], torch.ones(3).double())
    assert torch.autograd.gradcheck(lambda x: soft_dtw(x, 0.5), costs)


def test_shorter_pairs_are_as_if_cut():
    costs, columns = draw(3, 5, 6).requires_grad_(), torch.tensor([6, 1, 4])
    for gamma in (0.01, 0.5):  # both forms
        value = soft_dtw(costs, gamma, columns=columns)
        cut = [soft_dtw(costs[i : i + 1, :, :c], gamma) for i, c in enumerate(columns.tolist())]
        torch.testing.assert_close(value, torch.cat(cut))
        (ours,) = torch.autograd.grad(value.sum(), costs)
        (theirs,) = torch.autograd.grad(torch.cat(cut).sum(), costs)
        torch.testing.assert_close(ours, theirs)


def test_small_gamma_gives_the_best_path():
    costs = draw(2, 5, 5)
    hard = [slow(pair, 1e-9) for pair in costs.tolist()]
    torch.testing.assert_close(soft_dtw(costs, 1e-6), torch.tensor(hard).double())


def test_band():
    costs = draw(2, 6, 7)
    expected = torch.tensor([slow(pair, 0.3, 2) for pair in costs.tolist()]).double()
    torch.testing.assert_close(soft_dtw(costs, 0.3, bandwidth=2), expected)
    torch.testing.assert_close(soft_dtw(costs, 0.3, bandwidth=9), soft_dtw(costs, 0.3))


def test_precision_layout_and_emptiness():
    costs = draw(4, 17, 17)
    exact = soft_dtw(costs, 0.1)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        value = soft_dtw(costs.to(dtype), 0.1)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), exact, rtol=tolerance, atol=tolerance)
    strided = draw(17, 4, 17).transpose(0, 1)
    torch.testing.assert_close(soft_dtw(strided, 0.1), soft_dtw(strided.contiguous(), 0.1))
    assert soft_dtw(draw(0, 3, 4), 0.1).shape == (0,)


def test_huge_costs_take_the_logarithms():
    costs = 1e4 * draw(2, 6, 6).requires_grad_()
    assert not _fits_float64(costs, 0.1)
    value = soft_dtw(costs, 0.1)
    expected = torch.tensor([slow(pair, 0.1) for pair in costs.tolist()]).double()
    torch.testing.assert_close(value, expected)
    assert torch.autograd.grad(value.sum(), costs)[0].isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0.0}, "gamma must be positive"),
        ({"gamma": math.nan}, "gamma must be positive"),
        ({"bandwidth": -1.0}, "at least 0"),
        ({"bandwidth": 1.0}, "does not reach the last cell"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        soft_dtw(draw(2, 3, 6), **settings)
    with pytest.raises(ValueError, match="shape"):
        soft_dtw(draw(2, 3, 0))


@pytest.mark.parametrize("smoothing", [True, False])
@pytest.mark.parametrize("weak_alignment", [True, False])
def test_costs_cell_by_cell_and_every_switch(smoothing, weak_alignment):
    gamma, threshold = 0.2, 0.4
    costs = draw(2, 3, 4)
    expected = []
    for pair in costs.tolist():
        smoothed = [list(row) for row in pair]
        for i in range(3):
            for j in range(4):
                near = [(i, j - 1), (i - 1, j), (i - 1, j - 1)]
                near = [pair[a][b] for a, b in near if a >= 0 and b >= 0] or [0.0, 0.0, 0.0]
                smoothed[i][j] += softmin(near, gamma) * smoothing
        if weak_alignment:
            wide = [[threshold] * 9 for _ in range(7)]
            for i in range(3):
                for j in range(4):
                    wide[2 * i + 1][2 * j + 1] = smoothed[i][j]
            smoothed = wide
        expected.append(slow(smoothed, gamma))
    value = alignment.s2dtw(
        costs, gamma=gamma, threshold=threshold, smoothing=smoothing, weak_alignment=weak_alignment
    )
    torch.testing.assert_close(value, torch.tensor(expected).double())


@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # torch's own, first jvp
@pytest.mark.parametrize("smoothing", [True, False])
@pytest.mark.parametrize("columns", [None, [5, 1, 3]])
def test_dummies_are_left_out_of_the_matrix_without_a_difference(smoothing, columns):
    costs, grad = (0.3 * draw(3, 4, 5)).requires_grad_(), draw(3, seed=1)
    settings = {"gamma": 0.2, "threshold": 0.4, "smoothing": smoothing}
    assert fits_float64(costs, **settings)
    counted = None if columns is None else torch.tensor(columns)

    def whole_matrix(costs):
        smoothed = alignment.smooth(costs, 0.2) if smoothing else costs
        wide = None if counted is None else 2 * counted + 1
        return soft_dtw(alignment.surround(smoothed, 0.4), 0.2, columns=wide)

    def derivatives(form):
        value = form(costs)
        (first,) = torch.autograd.grad(value, costs, grad, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), costs)
        return value, first, second

    def in_one_pass(costs):
        return alignment.s2dtw(costs, columns=counted, **settings)

    ours = derivatives(in_one_pass)
    for found, oracle in zip(ours, derivatives(whole_matrix), strict=True):
        torch.testing.assert_close(found, oracle)
    tangent = draw(3, 4, 5, seed=2)
    _, forward_mode = torch.func.jvp(in_one_pass, (costs.detach(),), (tangent,))
    torch.testing.assert_close(forward_mode * grad, (ours[1] * tangent).sum((1, 2)))


def test_range_of_the_scan_over_real_rows_is_known_beforehand():
    for scale in (0.1, 1.0, 3.0, 10.0, 100.0, math.nan):
        costs = (scale * draw(5, 6, 6)).requires_grad_()
        for threshold in (-3.0, 0.5, 30.0):
            settings = {"gamma": 0.1, "threshold": threshold}
            value = alignment.s2dtw(costs, **settings)
            if math.isnan(scale):
                assert value.isnan().all()
                continue
            assert torch.autograd.grad(value.sum(), costs)[0].isfinite().all()
            wide = alignment.surround(alignment.smooth(costs, 0.1), threshold)
            torch.testing.assert_close(value, diagonal_scan(wide, 0.1))
    assert fits_float64(0.1 * draw(5, 6, 6), 0.1, 0.5, smoothing=True)
    assert not fits_float64(100 * draw(5, 6, 6), 0.1, 0.5, smoothing=True)


def test_smoothing_does_not_overflow_in_float32():
    costs = (100 * draw(2, 4, 4)).float().requires_grad_()
    value = alignment.s2dtw(costs)
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), costs)[0].isfinite().all()


def test_coincident_points_have_a_finite_derivative():
    x = draw(2, 3, 4).requires_grad_()
    value = soft_dtw(alignment.euclidean_costs(x, x.detach()), 0.5)
    assert torch.autograd.grad(value.sum(), x)[0].isfinite().all()
    torch.testing.assert_close(alignment.divergence(x, x, 0.5), torch.zeros(2).double())


def test_similarities_and_contrast_pair_by_pair():
    video = nn.functional.normalize(draw(3, 4, 5), dim=-1)
    text = nn.functional.normalize(draw(3, 6, 5, seed=1), dim=-1)
    logits = similarities(video, text)
    for i in range(3):
        for j in range(3):
            costs = -(video[j] @ text[i].T).unsqueeze(0)
            torch.testing.assert_close(logits[i, j], -alignment.s2dtw(costs)[0])
    rows = [
        math.log(sum(math.exp(x) for x in row)) - row[i] for i, row in enumerate(logits.tolist())
    ]
    assert float(contrast(logits)) == pytest.approx(sum(rows) / 3)
    both = (contrast(logits) + contrast(logits.T)) / 2
    torch.testing.assert_close(contrast(logits, symmetric=True), both)
    excluded = torch.zeros(3, 3, dtype=torch.bool)
    excluded[0, 1] = True
    row = logits[0, [0, 2]]
    expected = (row.logsumexp(0) - logits[0, 0] + rows[1] + rows[2]) / 3
    torch.testing.assert_close(contrast(logits, excluded=excluded), expected)


def inputs(words):
    ids = torch.arange(1, 13).view(3, 4) * (torch.arange(4) < torch.tensor(words)[:, None])
    return {
        "frames": draw(3, 5, 6),
        "text_tokens": draw(3, 4, 5, seed=1),
        "caption_mask": ids > 0,
        "caption_ids": ids,
    }


def build(**knobs):
    loss = losses.initialise(losses.build("s2dtw", DIMS, **knobs), 0, "s2dtw")
    return loss.double().requires_grad_(False)


def test_padding_and_captions_without_words_change_nothing():
    loss, given = build(), inputs([4, 2, 3])
    value = loss(**given)
    given["text_tokens"] = torch.where(given["caption_mask"].unsqueeze(-1), given["text_tokens"], 9)
    torch.testing.assert_close(loss(**given), value)
    longer = {"frames": given["frames"]}
    for name in ("text_tokens", "caption_mask", "caption_ids"):
        tail = torch.zeros_like(given[name][:, :2])
        longer[name] = torch.cat((given[name], tail), dim=1)
    torch.testing.assert_close(loss(**longer), value)
    empty = inputs([4, 0, 3])
    without = {name: x[[0, 2]] for name, x in empty.items()}
    torch.testing.assert_close(loss(**empty), loss(**without))


def test_equal_captions_are_no_negatives():
    loss, given = build(), inputs([4, 4, 4])
    given["caption_ids"] = torch.ones_like(given["caption_ids"])
    assert float(loss(**given)) == pytest.approx(0, abs=1e-12)


def test_permutations_are_local_ordered_and_counted():
    assert [len(local_permutations(n)) for n in range(2, 9)] == [2, 6, 14, 31, 73, 172, 400]
    table = local_permutations(6)
    assert list(table) == sorted(set(table))
    assert all(sorted(p) == list(range(6)) for p in table)
    assert all(abs(v - i) <= 2 for p in table for i, v in enumerate(p))
    share, order = probabilities(draw(2, 6, 4))
    torch.testing.assert_close(share.sum(1), torch.ones(2).double())
    assert (share.argmax(1) == 0).all()
    assert order[0].tolist() == list(range(6))


def test_augmentation_reorders_and_passes_gradients_through():
    sequence = (draw(2, 1, 4) + 0.01 * draw(2, 5, 4, seed=1)).requires_grad_()
    moved = permute(sequence, torch.tensor([0.0, 0.999]))
    assert torch.equal(moved[0], sequence[0])
    assert not torch.equal(moved[1], sequence[1])
    torch.testing.assert_close(moved.sum(1), sequence.sum(1))
    moved.sum().backward()
    assert torch.equal(sequence.grad, torch.ones_like(sequence))


def test_augmented_draws_go_on_after_a_resume():
    loss, given = build(temporal_augmentation=True), inputs([4, 4, 4])
    given["frames"] = given["frames"][:, :1] + 0.01 * given["frames"]
    state = torch.get_rng_state()
    values = [float(loss(**given)) for _ in range(6)]
    assert len(set(values)) > 1
    assert torch.equal(torch.get_rng_state(), state)
    twin = build(temporal_augmentation=True)
    for _ in range(3):
        twin(**given)
    resumed = build(temporal_augmentation=True)
    resumed.load_state_dict(copy.deepcopy(twin.state_dict()))
    assert [float(resumed(**given)) for _ in range(3)] == values[3:]
    resumed.eval()
    torch.testing.assert_close(resumed(**given), build()(**given))


@pytest.mark.parametrize("batch", [1, 3])
def test_bench_compares_with_the_published_recursion(batch):
    from sweep.bench import s2dtw as bench

    row = bench.loss(batch=batch)
    assert row.ratio > 0
    costs = draw(2, 3, 4).numpy()
    table = bench.forward_loops(costs, 0.3)
    for ours, theirs in (
        (bench.forward_cells(costs, 0.3), table),
        (
            bench.backward_cells(costs, table.copy(), 0.3),
            bench.backward_loops(costs, table.copy(), 0.3),
        ),
    ):
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs))
