"""Retrieval from score matrices: ranks, recall, and the QB-Norm correction (numpy alone).

A score matrix holds one row per query and one column per item of the gallery; higher is better.
Ranks are counted from 0 inside and from 1 in what people read. Recalls are in percent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

Ties = Literal["pessimistic", "average", "optimistic", "reference"]
"""What a query gets whose own item shares its score with others: the worst, the mean or the best
of the tied places; or all of them, as the published evaluations have it."""

CUTS = (1, 5, 10, 50)


@dataclass(frozen=True)
class RetrievalScores:
    """One direction of retrieval.

    Attributes:
        recall: Cut-off K -> percent of queries whose item is among the first K.
        median_rank: From 1; the mean of the two middle ranks for an even number of queries.
        lower_median_rank: From 1; the lower of the two instead.
        mean_rank: From 1.
        rank_deviation: Standard deviation of the ranks, divided by their number.
        queries: Number of ranks (more than queries only with ``ties="reference"``).
    """

    recall: Mapping[int, float]
    median_rank: float
    lower_median_rank: float
    mean_rank: float
    rank_deviation: float
    queries: int


def ranks(
    scores: ArrayLike, owners: ArrayLike | None = None, *, ties: Ties = "optimistic"
) -> np.ndarray:
    """Ranks from 0 of the right item of every query.

    The default counts strictly better items, as the field does. Beware of a model whose scores are
    all equal: it has a recall of 100 % then, and 0 % with ``ties="pessimistic"``.

    Quirk: fixed; the published evaluations look the score of the right item up in the sorted row,
    so that a query with ties counts once per tied place. ``ties="reference"`` does the same.

    Args:
        scores: ``(queries, items)``, finite or infinite.
        owners: ``(queries,)`` column of the right item; row i belongs to column i without it.
        ties: See :data:`Ties`.

    Returns:
        float64 ``(queries,)``; with ``reference`` row after row and ascending within a row.

    Raises:
        ValueError: NaN scores, an unknown way to treat ties, or shapes that do not fit.
    """
    if ties not in get_args(Ties):
        raise ValueError(f"ties {ties!r} (one of {', '.join(get_args(Ties))})")
    table, columns = _checked(scores, owners)
    own = table[np.arange(len(table)), columns][:, None]
    better = (table > own).sum(1)
    tied = (table == own).sum(1) - 1
    if ties == "reference":
        places = [np.arange(b, b + t + 1) for b, t in zip(better, tied, strict=True)]
        return np.concatenate(places).astype(np.float64)
    share = {"pessimistic": 1.0, "average": 0.5, "optimistic": 0.0}[ties]
    return better + share * tied


def relevant_ranks(scores: ArrayLike, relevant: ArrayLike) -> np.ndarray:
    """Ranks from 0 of the best item that belongs to each query, by strictly greater scores.

    With one item per query it is :func:`ranks`. Several belong to a video with several captions, or
    to a caption that fits several videos.

    Args:
        scores: ``(queries, items)``, finite or infinite.
        relevant: ``(queries, items)`` bool, which items belong to a query.

    Returns:
        float64 ``(queries,)``.

    Raises:
        ValueError: NaN scores, shapes that do not fit, or a query that no item belongs to.
    """
    table, belongs = np.asarray(scores), np.asarray(relevant, dtype=bool)
    if table.shape != belongs.shape or table.ndim != 2:
        raise ValueError(f"scores {table.shape}, but relevant {belongs.shape}")
    if np.isnan(table).any():
        raise ValueError(f"{int(np.isnan(table).sum())} of {table.size} scores are NaN")
    if not belongs.any(1).all():
        raise ValueError(f"nothing belongs to query {int(np.argmin(belongs.any(1)))}")
    own = np.where(belongs, table, -np.inf).max(1, keepdims=True)
    return (table > own).sum(1).astype(np.float64)


def _checked(scores: ArrayLike, owners: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    table = np.asarray(scores)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"scores of shape {table.shape}, not (queries, items) with at least one")
    if np.isnan(table).any():
        raise ValueError(f"{int(np.isnan(table).sum())} of {table.size} scores are NaN")
    if owners is None:
        if table.shape[0] != table.shape[1]:
            raise ValueError(f"scores of shape {table.shape} need owners: they are not square")
        return table, np.arange(len(table))
    columns = np.asarray(owners, dtype=np.int64)
    if columns.shape != (len(table),) or columns.min() < 0 or columns.max() >= table.shape[1]:
        raise ValueError(
            f"owners of shape {columns.shape} must name one of {table.shape[1]} columns for each "
            f"of {len(table)} queries"
        )
    return table, columns


def summary(found: ArrayLike, cuts: Sequence[int] = CUTS) -> RetrievalScores:
    """Recall, median and mean of ranks from 0.

    Raises:
        ValueError: No rank.
    """
    places = np.asarray(found, dtype=np.float64)
    if places.size == 0:
        raise ValueError("no rank to summarise")
    return RetrievalScores(
        recall={cut: float(100 * np.mean(places < cut)) for cut in cuts},
        median_rank=float(np.median(places)) + 1,
        lower_median_rank=float(np.sort(places)[(places.size - 1) // 2]) + 1,
        mean_rank=float(places.mean()) + 1,
        rank_deviation=float(places.std()),
        queries=int(places.size),
    )


def retrieval(
    scores: ArrayLike,
    owners: ArrayLike | None = None,
    *,
    ties: Ties = "optimistic",
    cuts: Sequence[int] = CUTS,
) -> RetrievalScores:
    """Score one direction: :func:`summary` of :func:`ranks`."""
    return summary(ranks(scores, owners, ties=ties), cuts)


def sentence_owners(sentences_per_video: ArrayLike) -> np.ndarray:
    """Video of every sentence, the sentences of video 0 first, then those of video 1, ..."""
    counts = np.asarray(sentences_per_video, dtype=np.int64)
    if counts.ndim != 1 or (counts < 1).any():
        raise ValueError(f"every video needs at least one sentence, not {counts.tolist()}")
    return np.repeat(np.arange(len(counts)), counts)


def video_to_group(scores: ArrayLike, owners: ArrayLike) -> np.ndarray:
    """``(videos, groups)``: a video scores a group of sentences by its best sentence.

    Args:
        scores: ``(sentences, videos)``.
        owners: ``(sentences,)`` video of each sentence.

    Raises:
        ValueError: As :func:`ranks`, or a video without a sentence.
    """
    table, columns = _checked(scores, owners)
    videos = table.shape[1]
    missing = sorted(set(range(videos)) - set(columns.tolist()))
    if missing:
        raise ValueError(f"videos without a sentence: {missing[:5]}")
    best = np.full((videos, videos), -np.inf, dtype=table.dtype)
    np.maximum.at(best, columns, table)
    return best.T


def querybank_normalised(
    bank: ArrayLike, scores: ArrayLike, *, k: int = 1, beta: float = 70.0, theta: int = 3
) -> np.ndarray:
    """QB-Norm (arXiv:2112.12777): take hubs of the gallery back by what training queries find.

    Items in the top ``k`` of at least ``theta`` bank queries are hubs. A row whose best item is a
    hub becomes ``exp(beta * score)`` over the sum of the same of that item's bank column; other
    rows stay as they are. Rows are to be ranked on their own. Computed in logarithms.

    Published settings: ``theta`` 3 for text to video and 5 for video to text, ``beta`` 50 on
    ActivityNet.

    Args:
        bank: ``(bank queries, items)``, training queries against the test gallery.
        scores: ``(queries, items)``.
        k: At least 1.
        beta: Positive inverse temperature.
        theta: At least 1.

    Raises:
        ValueError: Numbers of items differ, or a setting out of range.
    """
    known, table = np.asarray(bank, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if known.ndim != 2 or table.ndim != 2 or known.shape[1] != table.shape[1] or len(known) == 0:
        raise ValueError(f"bank {known.shape} and scores {table.shape} differ in their items")
    if not 1 <= k <= known.shape[1] or theta < 1 or beta <= 0:
        raise ValueError(
            f"k {k}, beta {beta}, theta {theta}: 1 <= k <= items, beta > 0, theta >= 1"
        )
    top = np.argsort(-known, axis=1, kind="stable")[:, :k]
    hubs = np.bincount(top.ravel(), minlength=known.shape[1]) >= theta
    peak = (beta * known).max(0)
    log_sum = peak + np.log(np.exp(beta * known - peak).sum(0))
    rows = hubs[table.argmax(1)]
    result = table.copy()
    result[rows] = np.exp(beta * table[rows] - log_sum)
    return result


def found_by_owner(hits: np.ndarray, owners: np.ndarray, clips: int) -> np.ndarray:
    """Captions that found their clip over the mean number of captions per clip, float64 ``(N,)``.

    Where every caption is a query, the mean over clips is so the recall over captions.

    Args:
        hits: bool ``(M,)`` whether a caption found its clip.
        owners: int64 ``(M,)`` clip of each caption.
        clips: N.
    """
    found: np.ndarray = np.bincount(owners, hits, clips) * (clips / len(owners))
    return found
