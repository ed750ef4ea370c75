"""How far the answers of a model agree with those of before: flips, rank distance, shift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from sweep.metrics.robustness import NAN, as_float, mean_or_nan, ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def consistency(clean: ArrayLike, perturbed: ArrayLike) -> float:
    """Return the share of clips whose prediction stays; the flip rate is 1 minus it.

    Args:
        clean: Predicted classes (N,).
        perturbed: Predicted classes of the same clips, perturbed (N,).
    """
    return mean_or_nan(np.asarray(clean) == np.asarray(perturbed))


def flip_rate(clean: ArrayLike, perturbed: ArrayLike) -> float:
    """Return the share of clips whose prediction changes.

    Args:
        clean: Predicted classes (N,).
        perturbed: Predicted classes of the same clips, perturbed (N,).
    """
    return 1 - consistency(clean, perturbed)


def resist_rate(clean: ArrayLike, perturbed: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of correctly classified clips that stay correct.

    Args:
        clean: Predicted classes (N,).
        perturbed: Predicted classes of the same clips, perturbed (N,).
        labels: Classes (N,).
    """
    right = np.asarray(clean) == np.asarray(labels)
    return mean_or_nan((np.asarray(perturbed) == np.asarray(labels))[right])


def temporal_sensitivity(clean: ArrayLike, disordered: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of correct predictions that change when the order of frames is destroyed.

    Args:
        clean: Predicted classes (N,).
        disordered: Predicted classes of the same clips in another order (N,).
        labels: Classes (N,).
    """
    right = np.asarray(clean) == np.asarray(labels)
    return mean_or_nan((np.asarray(disordered) != np.asarray(clean))[right])


def flip_probability(
    predictions: ArrayLike, *, against: Literal["previous", "first"] = "previous"
) -> float:
    """Return the mean share of changes along sequences such as clean, severity 1, ..., 5.

    Args:
        predictions: Classes (N, S).
        against: What each member is compared with.
    """
    found = np.asarray(predictions)
    reference = found[:, :-1] if against == "previous" else found[:, :1]
    return mean_or_nan(found[:, 1:] != reference)


def rank_distance(
    logits: ArrayLike,
    *,
    kind: Literal["zipf", "top5"] = "zipf",
    against: Literal["previous", "first"] = "previous",
) -> float:
    """Return how far class rankings move along sequences, mean over pairs.

    With sigma(i) the later rank of the class that was i-th, 1 = best: zipf is
    sum_i |1/i - 1/sigma(i)| / i; top5 is sum_{i <= 5} |i - 1 - min(sigma(i) - 1, 5)|.

    Args:
        logits: (N, S, V) over V classes.
        kind: Which distance.
        against: What each member is compared with.
    """
    scores = as_float(logits)
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranks = np.argsort(order, axis=-1, kind="stable")  # 0 = best
    reference = (
        order[:, :-1]
        if against == "previous"
        else np.broadcast_to(order[:, :1], order[:, 1:].shape)
    )
    sigma = np.take_along_axis(ranks[:, 1:], reference, axis=-1)
    place = np.arange(scores.shape[-1])
    if kind == "top5":
        first = slice(0, 5)
        return mean_or_nan(np.abs(place[first] - np.minimum(sigma[..., first], 5)).sum(-1))
    inverse = 1 / (place + 1)
    return mean_or_nan((np.abs(inverse - 1 / (sigma + 1)) * inverse).sum(-1))


def representation_shift(clean: ArrayLike, perturbed: ArrayLike) -> tuple[float, float]:
    """Return the mean and the 95th percentile of 1 - cosine between features.

    Args:
        clean: Features (N, D).
        perturbed: Features of the same clips, perturbed (N, D).
    """
    a, b = as_float(clean), as_float(perturbed)
    if not len(a):
        return NAN, NAN
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    shift = 1 - ratio((a * b).sum(-1), norms)
    return float(shift.mean()), float(np.quantile(shift, 0.95))
