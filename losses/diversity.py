"""How diverse a set of losses is: by kind, by weight, by gradient, by course of training.

Float64, numpy, no torch, so that reports can use it. An empty set has no diversity: every measure
of it is NaN. A single loss has entropies and distances 0, and Vendi score and volume 1.

Sources: Vendi score arXiv:2210.02410 and its orders arXiv:2310.12952; determinantal volume
arXiv:1207.6083; gradient conflict arXiv:2001.06782; the others are textbook measures.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from losses.catalogue import GRANULARITIES, LOSSES, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

DEAD_BELOW = 1e-12
"""Norm of a gradient, and sum of weights, that counts as none."""
DPP_EPS = 1e-6
FEWEST_STEPS = 4
NAN = float("nan")


def shares(weights: ArrayLike) -> Array:
    """Weights as shares of their absolute sum; equal shares where that is 0.

    Args:
        weights: ``(K,)``. Those that are not finite count as 0.
    """
    size = np.abs(np.asarray(weights, dtype=np.float64))
    size = np.where(np.isfinite(size), size, 0.0)
    largest = size.max(initial=0.0)
    if largest > 0:
        size = size / largest  # sums of huge weights would overflow
    if largest * size.sum() < DEAD_BELOW:
        return np.full(len(size), 1 / max(1, len(size)))
    return np.asarray(size / size.sum())


def entropy(share: ArrayLike) -> float:
    """``-sum p log p`` in nats, with 0 log 0 = 0; NaN of nothing."""
    p = np.asarray(share, dtype=np.float64)
    if len(p) == 0:
        return NAN
    p = p[p > 0]
    return max(0.0, float(-(p * np.log(p)).sum()))


def group_entropy(groups: Sequence[object], weights: ArrayLike | None = None) -> float:
    """Entropy of the shares of groups (families, levels), by count or by weight."""
    share = shares(np.ones(len(groups)) if weights is None else weights)
    total: dict[object, float] = {}
    for group, p in zip(groups, share, strict=True):
        total[group] = total.get(group, 0.0) + float(p)
    return entropy(list(total.values()))


def weight_measures(weights: ArrayLike) -> dict[str, float]:
    """Entropy of the weights, its share of the largest possible, and effective numbers."""
    p = shares(weights)
    if len(p) == 0:
        names = ("weight_entropy", "weight_entropy_norm", "effective_number", "inverse_simpson")
        return dict.fromkeys(names, NAN)
    found = entropy(p)
    return {
        "weight_entropy": found,
        "weight_entropy_norm": found / math.log(len(p)) if len(p) > 1 else 0.0,
        "effective_number": math.exp(found),
        "inverse_simpson": float(1 / (p**2).sum()),
    }


def gradient_cosines(gradients: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    """Cosines between the gradients of the losses.

    Args:
        gradients: ``(K, P)``, or ``(R, K, P)`` from R mini-batches, whose normalised gradients are
            averaged.

    Returns:
        ``(A, A)`` of the living losses, and ``(K,)`` which of them live: a gradient that is 0 or
        not finite in every batch says nothing about direction.
    """
    g = np.asarray(gradients, dtype=np.float64)
    if g.ndim == 2:
        g = g[None]
    if g.ndim != 3:
        raise ValueError(f"gradients of shape {g.shape}, not (losses, numbers) or with batches")
    finite = np.isfinite(g).all(-1, keepdims=True)
    g = np.where(finite, g, 0.0)
    mean = _normalised(g).sum(0)
    unit = _normalised(mean)
    alive = (np.abs(unit).max(-1, initial=0.0) > 0).astype(bool)
    return correlation_like(unit[alive] @ unit[alive].T), alive


def _normalised(g: Array) -> Array:
    """Rows of norm 1; those of norm below the floor become 0. Safe for huge entries."""
    largest = np.abs(g).max(-1, keepdims=True, initial=0.0)
    scaled = g / np.where(largest > 0, largest, 1.0)
    norm = np.linalg.norm(scaled, axis=-1, keepdims=True)
    dead = (norm == 0) | (norm * largest < DEAD_BELOW)
    return np.asarray(np.where(dead, 0.0, scaled / np.where(dead, 1.0, norm)))


def correlation_like(c: ArrayLike) -> Array:
    """Symmetric, clipped to -1..1, with a diagonal of 1."""
    found = np.asarray(c, dtype=np.float64)
    found = np.clip((found + found.T) / 2, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return found


def trajectory_correlations(series: ArrayLike, *, positive: ArrayLike = True) -> Array:
    """Correlations of the relative changes of losses in the course of training.

    Args:
        series: ``(K, T)``, values on a common grid of at least four steps.
        positive: Changes of logarithms; False for losses that may be negative: plain changes. One
            for all or ``(K,)``.

    Returns:
        ``(K, K)``; a loss that never changes has 0 with all others.

    Raises:
        ValueError: Fewer than four steps.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < FEWEST_STEPS:
        raise ValueError(f"series of shape {values.shape}, not (losses, at least 4 steps)")
    logs = np.log(np.maximum(values, DEAD_BELOW))
    is_log = np.broadcast_to(np.asarray(positive, dtype=bool), len(values))[:, None]
    change = np.diff(np.where(is_log, logs, values), axis=1)
    change = np.where(np.isfinite(change), change, 0.0)
    centred = change - change.mean(1, keepdims=True)
    # a series that is constant but for rounding counts as constant
    size = np.abs(change).max(1, keepdims=True, initial=0.0)
    still = np.abs(centred).max(1, keepdims=True, initial=0.0) <= 1e-12 * np.maximum(size, 1e-12)
    unit = _normalised(np.where(still, 0.0, centred))
    return correlation_like(unit @ unit.T)


def pair_distance(c: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean of ``1 - C_ij`` over pairs, 0..2; with weights each pair by the product of its two."""
    cosines = np.asarray(c, dtype=np.float64)
    count = len(cosines)
    if count < 2:
        return NAN if count == 0 else 0.0
    upper = np.triu_indices(count, 1)
    apart = 1 - cosines[upper]
    if weights is None:
        return float(apart.mean())
    p = shares(weights)
    product = np.outer(p, p)[upper]
    return float((apart * product).sum() / product.sum()) if product.sum() > 0 else 0.0


def conflict_rate(c: ArrayLike) -> float:
    """Share of pairs whose cosine is negative."""
    cosines = np.asarray(c, dtype=np.float64)
    if len(cosines) < 2:
        return NAN if len(cosines) == 0 else 0.0
    return float((cosines[np.triu_indices(len(cosines), 1)] < 0).mean())


def rao_q(c: ArrayLike, weights: ArrayLike) -> float:
    """Rao's quadratic entropy: ``sum_ij p_i p_j (1 - C_ij)``."""
    p = shares(weights)
    return float(p @ (1 - np.asarray(c, dtype=np.float64)) @ p) if len(p) else NAN


def vendi(
    c: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    order: float = 1.0,
    shifted: bool = False,
) -> float:
    """Vendi score: effective number of directions, 1..K.

    Opposite gradients share a direction and count once (their Vendi score is 1, their
    :func:`pair_distance` is 2): look at both.

    Args:
        c: ``(K, K)`` cosines.
        weights: ``(K,)``; None = equal.
        order: 1 = exponential of the entropy, 2 = inverse Simpson, infinity = 1 / largest.
        shifted: Kernel ``(1 + C) / 2``, for which opposite gradients count twice.
    """
    kernel = correlation_like(c) if len(np.asarray(c)) else np.zeros((0, 0))
    if len(kernel) == 0:
        return NAN
    if shifted:
        kernel = (1 + kernel) / 2
    root = np.sqrt(shares(np.ones(len(kernel)) if weights is None else weights))
    values = np.maximum(np.linalg.eigvalsh(kernel * np.outer(root, root)), 0.0)
    values = values / values.sum()
    if order == 1:
        values = values[values > DEAD_BELOW]
        return math.exp(entropy(values))
    if math.isinf(order):
        return float(1 / values.max())
    return float((values**order).sum() ** (1 / (1 - order)))


def dpp_measures(c: ArrayLike) -> dict[str, float]:
    """Log-determinant, volume 0..1, and volume free of the number of losses."""
    count = len(np.asarray(c))
    if count == 0:
        return dict.fromkeys(("dpp_logdet", "dpp_volume", "dpp_geo"), NAN)
    kernel = (correlation_like(c) + DPP_EPS * np.eye(count)) / (1 + DPP_EPS)
    logdet = min(0.0, float(np.linalg.slogdet(kernel)[1]))
    return {
        "dpp_logdet": logdet,
        "dpp_volume": math.exp(logdet / 2),
        "dpp_geo": math.exp(logdet / count),
    }


def direction_measures(c: ArrayLike, weights: ArrayLike) -> dict[str, float]:
    """All measures of a matrix of cosines or correlations."""
    return {
        "distance": pair_distance(c),
        "distance_weighted": pair_distance(c, weights),
        "conflict_rate": conflict_rate(c),
        "rao_q": rao_q(c, weights),
        "vendi": vendi(c),
        "vendi_weighted": vendi(c, weights),
        "vendi_q2": vendi(c, order=2),
        "vendi_qinf": vendi(c, order=math.inf),
        "vendi_shifted": vendi(c, shifted=True),
        **dpp_measures(c),
    }


def granularity_measures(levels: Sequence[float], weights: ArrayLike) -> dict[str, float]:
    """Mean level by weight, span of levels, and entropy of the weights over levels."""
    if len(levels) == 0:
        return dict.fromkeys(("mean_level", "span_level", "level_entropy"), NAN)
    g = np.asarray(levels, dtype=np.float64)
    return {
        "mean_level": float(shares(weights) @ g),
        "span_level": float(g.max() - g.min()),
        "level_entropy": group_entropy(list(levels), weights),
    }


def catalogue_distances(names: Sequence[str]) -> Array:
    """How unlike losses are by what the catalogue says of them, ``(K, K)``, 0..1.

    The mean of two parts: another family (0 or 1) and the distance of the levels (pixel to
    video-text is 1), a Gower distance.
    """
    rows = [LOSSES[name] for name in names]
    family = np.array([[a.family != b.family for a in rows] for b in rows], dtype=np.float64)
    level = np.array([row.granularity for row in rows], dtype=np.float64)
    apart = np.abs(level[:, None] - level) / (len(GRANULARITIES) - 1)
    return np.asarray((family.reshape(apart.shape) + apart) / 2)


def set_measures(
    names: Iterable[str], weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """What is known of a set of losses before training: counts, distance, entropies, levels.

    Primary losses do not count.

    Args:
        names: Losses of the catalogue.
        weights: Of each; None or missing = its default weight.

    Raises:
        ValueError: An unknown loss; the nearest name is given.
    """
    rows = []
    for name in sorted(set(names)):
        if name not in LOSSES:
            raise ValueError(f"unknown loss {name!r}{nearest(name, LOSSES)}")
        if not LOSSES[name].primary:
            rows.append(LOSSES[name])
    w = [(weights or {}).get(row.name, row.default_weight) for row in rows]
    families = [row.family for row in rows]
    return {
        "losses": float(len(rows)),
        "families": float(len(set(families))),
        "catalogue_distance": pair_distance(1 - catalogue_distances([row.name for row in rows])),
        "family_entropy": group_entropy(families),
        "family_entropy_weighted": group_entropy(families, w),
        **weight_measures(w),
        **granularity_measures([row.granularity for row in rows], w),
    }


def training_measures(
    weights: ArrayLike,
    *,
    gradients: ArrayLike | None = None,
    cosines: ArrayLike | None = None,
    series: ArrayLike | None = None,
    positive: ArrayLike = True,
) -> dict[str, float]:
    """What only training tells; outcomes and regressors, not dimensions of a search.

    Args:
        weights: ``(K,)`` of the losses now: weighted slopes, whatever the combiner.
        gradients: ``(K, P)`` or ``(R, K, P)`` at the shared representation or parameters.
        cosines: ``(K, K)`` between gradients, where only those were kept; NaN in the row of a loss
            without a gradient.
        series: ``(K, T)`` raw losses over training; left out where T is below 4.
        positive: See :func:`trajectory_correlations`.

    Returns:
        ``gradient/*`` with ``gradient/dead``, the number of losses without a gradient, and
        ``trajectory/*``.
    """
    w = np.asarray(weights, dtype=np.float64)
    found: dict[str, float] = {}
    if gradients is not None:
        living, alive = gradient_cosines(gradients)
    elif cosines is not None:
        known = np.asarray(cosines, dtype=np.float64).reshape(len(w), len(w))
        alive = np.isfinite(known.diagonal())
        living = correlation_like(known[np.ix_(alive, alive)])
    if gradients is not None or cosines is not None:
        measures = direction_measures(living, w[alive])
        found |= {f"gradient/{name}": value for name, value in measures.items()}
        found["gradient/dead"] = float((~alive).sum())
    if series is not None and np.shape(series)[1] >= FEWEST_STEPS:
        correlations = trajectory_correlations(series, positive=positive)
        measures = direction_measures(correlations, w)
        found |= {f"trajectory/{name}": value for name, value in measures.items()}
    return found
