"""Ranks and recall, on matrices small enough to count by hand."""

from pathlib import Path

import numpy as np
import pytest

from sweep.metrics.retrieval import (
    querybank_normalised,
    ranks,
    retrieval,
    sentence_owners,
    summary,
    video_to_group,
)
from tests import conformance

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"


def test_equal_scores_show_how_ties_count():
    scores = np.zeros((6, 6))
    assert retrieval(scores).recall[1] == 100
    assert ranks(scores).tolist() == [0] * 6
    assert retrieval(scores, ties="pessimistic").recall[5] == 0
    assert ranks(scores, ties="average").tolist() == [2.5] * 6
    assert len(ranks(scores, ties="reference")) == 36


def test_ranks_by_hand():
    scores = [[0.9, 0.1, 0.9], [0.3, 0.2, 0.1], [0.0, 0.0, 5.0]]
    assert ranks(scores).tolist() == [0, 1, 0]
    assert ranks(scores, ties="pessimistic").tolist() == [1, 1, 0]
    assert ranks(scores, [1, 0, 0], ties="pessimistic").tolist() == [2, 0, 2]
    found = retrieval(scores, cuts=(1, 2), ties="pessimistic")
    assert found.recall == {1: pytest.approx(100 / 3), 2: 100}
    assert (found.median_rank, found.queries) == (2, 3)
    assert found.mean_rank == pytest.approx(5 / 3)


@pytest.mark.parametrize("ties", ["pessimistic", "average", "optimistic"])
def test_without_ties_all_agree_with_sorting(ties):
    scores = np.random.default_rng(0).normal(size=(20, 20))
    expected = [sorted(row, reverse=True).index(row[i]) for i, row in enumerate(scores)]
    assert ranks(scores, ties=ties).tolist() == expected
    assert ranks(scores, ties="reference").tolist() == expected


def test_the_order_of_the_gallery_changes_nothing():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, size=(12, 12))
    order = rng.permutation(12)
    assert np.array_equal(ranks(scores)[order], ranks(scores[np.ix_(order, order)]))


def test_several_sentences_per_video():
    owners = sentence_owners([2, 1, 3])
    assert owners.tolist() == [0, 0, 1, 2, 2, 2]
    scores = np.arange(18.0).reshape(6, 3)
    assert ranks(scores, owners).tolist() == [2, 2, 1, 0, 0, 0]
    expected = [[scores[owners == g, v].max() for g in range(3)] for v in range(3)]
    assert video_to_group(scores, owners).tolist() == expected
    assert summary([0, 1, 2, 3]).median_rank == 2.5
    assert summary([0, 1, 2, 3]).lower_median_rank == 2


def test_querybank_lets_hubs_find_less():
    bank = np.zeros((4, 3))
    bank[:, 0] = 0.9
    scores = np.array([[0.8, 0.7, 0.0], [0.1, 0.9, 0.0], [0.5, 0.1, 0.45]])
    corrected = querybank_normalised(bank, scores)
    assert corrected.argmax(1).tolist() == [1, 1, 2]
    assert np.array_equal(corrected[1], scores[1])
    huge = querybank_normalised(bank * 12, scores * 10)  # exp(70 * 10.8) alone overflows
    assert np.isfinite(huge).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranks([[float("nan")]]), "1 of 1 scores are NaN"),
        (lambda: ranks([[1.0]], ties="best"), "ties 'best'"),
        (lambda: ranks(np.zeros((2, 3))), "need owners"),
        (lambda: ranks(np.zeros((2, 3)), [0, 3]), "one of 3 columns"),
        (lambda: sentence_owners([1, 0]), "at least one sentence"),
        (lambda: video_to_group(np.zeros((1, 2)), [0]), r"without a sentence: \[1\]"),
        (lambda: summary([]), "no rank"),
        (lambda: querybank_normalised(np.zeros((2, 3)), np.zeros((2, 2))), "differ"),
        (lambda: querybank_normalised(np.zeros((2, 3)), np.zeros((2, 3)), k=4), "k 4"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="no reference numbers here")
def test_reference_numbers(capsys):
    assert conformance.run(GOLDEN, ["retrieval"]) == 0, capsys.readouterr().out
