"""Measures of representations: how alike, how spread out, of what rank (float64, no torch).

Sources: linear CKA arXiv:1905.00414; its unbiased form arXiv:2010.15327; mutual k-NN and CKNNA
arXiv:2405.07987; alignment and uniformity arXiv:2005.10242; RankMe arXiv:2210.02885; LiDAR
arXiv:2312.04000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

COLLAPSED_BELOW = 0.05
"""A :func:`feature_std` under this marks a collapsed encoder."""


def _matrix(x: ArrayLike, *, rows: int = 1) -> Array:
    found = np.asarray(x, dtype=np.float64)
    if found.ndim != 2 or len(found) < rows:
        raise ValueError(f"features of shape {found.shape}, not (at least {rows}, dim)")
    if not np.isfinite(found).all():
        raise ValueError("features hold NaN or infinity")
    return found


def _pair(x: ArrayLike, y: ArrayLike, *, rows: int) -> tuple[Array, Array]:
    a, b = _matrix(x, rows=rows), _matrix(y, rows=rows)
    if len(a) != len(b):
        raise ValueError(f"features of {len(a)} and of {len(b)} samples: must be the same samples")
    return a, b


def _unit(x: Array) -> Array:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else float("nan")


def linear_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Linear centred kernel alignment, 0..1: 1 = equal up to rotation and scale.

    Biased upwards where there are fewer samples than about five times the dimensions: see
    :func:`unbiased_cka`.

    Args:
        x: ``(n, dim_x)``, n at least 4.
        y: ``(n, dim_y)`` of the same samples.

    Returns:
        NaN where one of the two is constant.
    """
    a, b = (z - z.mean(0) for z in _pair(x, y, rows=4))
    if len(a) < max(a.shape[1], b.shape[1]):  # the smaller matrices
        k, m = a @ a.T, b @ b.T
        return _ratio(float((k * m).sum()), float(np.linalg.norm(k) * np.linalg.norm(m)))
    top = np.linalg.norm(b.T @ a) ** 2
    return _ratio(float(top), float(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def _unbiased_hsic(k: Array, m: Array) -> float:
    """Of kernels with zero diagonals; they need not be symmetric."""
    n = len(k)
    total = (k * m.T).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2))
    total -= 2 * (k.sum(0) @ m.sum(1)) / (n - 2)
    return float(total / (n * (n - 3)))


def _kernel(x: Array) -> Array:
    kernel = x @ x.T
    np.fill_diagonal(kernel, 0.0)
    return kernel


def unbiased_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Linear CKA from unbiased estimates of dependence; may be slightly negative.

    Args:
        x: ``(n, dim_x)``, n at least 4.
        y: ``(n, dim_y)`` of the same samples.
    """
    k, m = (_kernel(z) for z in _pair(x, y, rows=4))
    own = _unbiased_hsic(k, k) * _unbiased_hsic(m, m)
    return _unbiased_hsic(k, m) / float(np.sqrt(own)) if own > 0 else float("nan")


def _neighbours(x: Array, k: int) -> NDArray[np.bool_]:
    """``(n, n)``: column j is one of the k nearest of row i, itself excluded."""
    if not 1 <= k <= len(x) - 1:
        raise ValueError(f"k must be in 1..{len(x) - 1} for {len(x)} samples, given {k}")
    similarity = x @ x.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    mask = np.zeros(similarity.shape, dtype=bool)
    np.put_along_axis(mask, nearest, values=True, axis=1)
    return mask


def mutual_knn(x: ArrayLike, y: ArrayLike, k: int = 10) -> float:
    """Mean share of the k nearest neighbours, by cosine, that both features have in common.

    Args:
        x: ``(n, dim_x)``.
        y: ``(n, dim_y)`` of the same samples.
        k: 1..n - 1; chance level is ``k / (n - 1)``.
    """
    a, b = (_unit(z) for z in _pair(x, y, rows=2))
    return float((_neighbours(a, k) & _neighbours(b, k)).sum(1).mean() / k)


def cknna(x: ArrayLike, y: ArrayLike, k: int = 10) -> float:
    """CKA over pairs that are among each other's k nearest neighbours in both features.

    Args:
        x: ``(n, dim_x)``, n at least 4.
        y: ``(n, dim_y)`` of the same samples.
        k: 2..n - 1.
    """
    if k < 2:
        raise ValueError(f"CKNNA needs k of at least 2, given {k}")
    a, b = (_unit(z) for z in _pair(x, y, rows=4))
    near_a, near_b = _neighbours(a, k), _neighbours(b, k)
    kernel_a, kernel_b = _kernel(a), _kernel(b)
    both = near_a & near_b
    top = _unbiased_hsic(both * kernel_a, both * kernel_b)
    own_a = _unbiased_hsic(near_a * kernel_a, near_a * kernel_a)
    own_b = _unbiased_hsic(near_b * kernel_b, near_b * kernel_b)
    # Quirk: followed; the published code adds 1e-6 to the denominator, worth 4e-5 here
    return top / (float(np.sqrt(max(0.0, own_a * own_b))) + 1e-6)


def alignment(x: ArrayLike, positive: ArrayLike, power: float = 2.0) -> float:
    """Mean distance, to a power, of unit features from those of their partner; 0 = equal.

    Args:
        x: ``(n, dim)``.
        positive: ``(n, dim)``; for robustness the same clips, perturbed.
        power: Positive.
    """
    a, b = (_unit(z) for z in _pair(x, positive, rows=1))
    return float((np.linalg.norm(a - b, axis=1) ** power).mean())


def uniformity(x: ArrayLike, t: float = 2.0) -> float:
    """Log of the mean over pairs of ``exp(-t distance^2)`` of unit features; 0 = collapsed.

    Args:
        x: ``(n, dim)``, n at least 2.
        t: Positive.
    """
    a = _unit(_matrix(x, rows=2))
    upper = np.triu_indices(len(a), 1)
    square = np.maximum(0.0, 2 - 2 * (a @ a.T)[upper])
    low = square.min()
    return float(-t * low + np.log(np.exp(-t * (square - low)).mean()))


def _entropy_rank(values: NDArray[Any], floor: float) -> float:
    total = values.sum()
    if total <= 0:
        return 1.0
    share = values / total + floor
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def rankme(x: ArrayLike) -> float:
    """Exponential of the entropy of the singular values, uncentred: about 1..min(n, dim).

    All-zero features give 1.

    Args:
        x: ``(n, dim)``.
    """
    return _entropy_rank(np.linalg.svd(_matrix(x), compute_uv=False), 1e-7)


def effective_rank(x: ArrayLike) -> float:
    """:func:`rankme` of the centred features and without its small constant."""
    found = _matrix(x)
    return _entropy_rank(np.linalg.svd(found - found.mean(0), compute_uv=False), 0.0)


def lidar(views: ArrayLike, floor: float = 1e-4) -> float:
    """Effective rank of the variation between clips, in units of that between views of a clip.

    At most ``min(clips - 1, dim)``: take more clips than the rank you expect.

    Args:
        views: ``(clips, views, dim)``, at least two clips of at least two views.
        floor: Added to the variance within clips.
    """
    v = np.asarray(views, dtype=np.float64)
    if v.ndim != 3 or v.shape[0] < 2 or v.shape[1] < 2:
        raise ValueError(f"views of shape {v.shape}, not (at least 2 clips, at least 2, dim)")
    clips, count, dim = v.shape
    means = v.mean(1)
    between = means - means.mean(0)
    within = (v - means[:, None]).reshape(-1, dim)
    cov_within = within.T @ within / (clips * (count - 1)) + floor * np.eye(dim)
    values, vectors = np.linalg.eigh(cov_within)
    white = vectors / np.sqrt(values) @ vectors.T
    inner = white @ (between.T @ between / (clips - 1)) @ white
    found = np.linalg.eigvalsh((inner + inner.T) / 2)
    return _entropy_rank(np.maximum(found, 0.0), 1e-7)


def feature_std(x: ArrayLike) -> float:
    """Mean over channels of the deviation of unit features, times the root of their number.

    About 1 = healthy, 0 = collapsed (see ``COLLAPSED_BELOW``).

    Args:
        x: ``(n, dim)``, n at least 2.
    """
    unit = _unit(_matrix(x, rows=2))
    return float(unit.std(0).mean() * np.sqrt(unit.shape[1]))


def video_text_alignment(video: ArrayLike, text: ArrayLike) -> float:
    """Mean cosine of the pairs less the mean cosine of all that are no pairs.

    Args:
        video: ``(n, dim)``, n at least 2.
        text: ``(n, dim)``; row i belongs to row i.
    """
    a, b = (_unit(z) for z in _pair(video, text, rows=2))
    cosines = a @ b.T
    pairs = np.trace(cosines)
    n = len(a)
    return float(pairs / n - (cosines.sum() - pairs) / (n * (n - 1)))


def modality_gap(video: ArrayLike, text: ArrayLike) -> float:
    """Distance of the mean unit video feature from the mean unit text feature."""
    a, b = _unit(_matrix(video)), _unit(_matrix(text))
    return float(np.linalg.norm(a.mean(0) - b.mean(0)))
