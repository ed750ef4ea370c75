"""What the objectives on latents of a masked video share: which cells count, targets, errors.

Latents are one vector per frame, or one per cell of every frame: ``(batch, time, *places, dim)``
with no, one or two axes of places. A mask of hidden cells has the same shape without ``dim``.

Source: arXiv:2605.17165, by its released training code.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32


def as_target(latents: Tensor, *, normalise: bool = True) -> Tensor:
    """A teacher's latents as fixed targets.

    Args:
        latents: ``(..., dim)``; no gradient flows into them.
        normalise: Bring every vector to mean 0 and variance 1 over its channels. Latents that
            join several levels arrive normalised level by level: switch it off for them.
    """
    fixed = at_least_float32(latents.detach())
    return F.layer_norm(fixed, fixed.shape[-1:]) if normalise else fixed


def visible_pairs(frame_mask: Tensor) -> Tensor:
    """Cells that are visible at a step and at the next: ``(batch, time - 1, *places)`` bool."""
    return ~(frame_mask[:, 1:] | frame_mask[:, :-1])


def steps(latents: Tensor) -> Tensor:
    """Differences of neighbouring steps: ``(batch, time - 1, ...)``."""
    return latents[:, 1:] - latents[:, :-1]


def mean_where(error: Tensor, chosen: Tensor) -> Tensor:
    """Mean of ``error`` over the chosen cells; 0, still with a gradient, if none is chosen."""
    return (error * chosen).sum() / chosen.sum().clamp(min=1)


def distance(a: Tensor, b: Tensor, exponent: float = 1.0) -> Tensor:
    """Mean over the last axis of ``|a - b|^e / e``.

    Raises:
        ValueError: An exponent below 1, whose derivative is infinite at 0.
    """
    if exponent < 1:
        raise ValueError(f"exponent must be at least 1, given {exponent}")
    error = (a - b).abs()
    if exponent == 1:
        return error.mean(-1)
    return error.pow(exponent).mean(-1) / exponent


def softmax_weights(error: Tensor, chosen: Tensor, temperature: float, *, start: int) -> Tensor:
    """Weights of mean 1 over the chosen cells, larger where the error is; no gradient.

    Args:
        error: Per cell.
        chosen: Same shape, bool.
        temperature: Positive; large = all weights near 1.
        start: One softmax over all axes from this one on (0 = over the whole batch).

    Returns:
        The shape of ``error``; 0 where not chosen.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, given {temperature}")
    scores = (error.detach() / temperature).masked_fill(~chosen, float("-inf"))
    flat, which = (scores.flatten(start), chosen.flatten(start))
    high = flat.amax(-1, keepdim=True)
    share = (flat - torch.where(high.isfinite(), high, 0.0)).exp()
    total = share.sum(-1, keepdim=True)
    weights = share / torch.where(total > 0, total, 1.0) * which.sum(-1, keepdim=True)
    return weights.view(error.shape)


def split_channels(dim: int, ratio: float, levels: int = 1) -> tuple[list[int], list[int]]:
    """Channels of appearance (the first ``ratio`` of each level) and of dynamics (the rest).

    Quirk: fixed by ``levels``; the published code splits the channels of all levels together, so
    that with ratio .5 the lower levels are "appearance" and the level that is used later lies
    wholly in "dynamics". One level = as published.

    Raises:
        ValueError: Levels that do not divide the channels, or a part without channels.
    """
    if levels < 1 or dim % levels:
        raise ValueError(f"{dim} channels do not make {levels} equal levels")
    width = dim // levels
    first = max(1, int(width * ratio))
    if first >= width:
        raise ValueError(f"ratio {ratio} leaves no channel of {width} for dynamics")
    static = [level * width + c for level in range(levels) for c in range(first)]
    moving = [level * width + c for level in range(levels) for c in range(first, width)]
    return static, moving


def dynamics_channels(
    dim: int, inputs: str, ratio: float, levels: int, *, loss: str
) -> list[int] | None:
    """Channels that a head reads: None = all, else those of dynamics.

    Raises:
        ValueError: ``inputs`` is neither ``all`` nor ``dynamics``.
    """
    if inputs not in ("all", "dynamics"):
        raise ValueError(f"loss {loss}: inputs is 'all' or 'dynamics', given {inputs!r}")
    return None if inputs == "all" else split_channels(dim, ratio, levels)[1]
