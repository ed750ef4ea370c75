"""Some channels stay as they are over time, and are uncorrelated with the others."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.parts.latents import mean_where, split_channels, steps, visible_pairs
from losses.parts.precision import at_least_float32


def static_error(latents: Tensor, frame_mask: Tensor, static: list[int]) -> Tensor:
    """Mean absolute change of the channels ``static``, over cells visible before and after."""
    change = steps(latents[..., static]).abs().mean(-1)
    return mean_where(change, visible_pairs(frame_mask))


def cross_covariance(
    latents: Tensor, frame_mask: Tensor, static: list[int], moving: list[int]
) -> Tensor:
    """Mean squared covariance of the two groups of channels over the visible cells."""
    visible = ~frame_mask.unsqueeze(-1)
    count = visible.sum().clamp(min=1)
    flat = (latents * visible).flatten(0, -2)
    centred = (flat - flat.sum(0) / count) * visible.flatten(0, -2)
    with torch.autocast(latents.device.type, enabled=False):
        covariance = centred[:, static].T @ centred[:, moving] / (count - 1).clamp(min=1)
    return covariance.square().mean()


def factorised(
    *,
    frames_masked: Tensor,
    frame_mask: Tensor,
    static: float = 0.05,
    orthogonality: float = 0.01,
    ratio: float = 0.5,
    levels: int = 1,
) -> Tensor:
    """Weighted sum of the two terms; 0 if no cell is visible.

    Args:
        frames_masked: ``(batch, time, *places, dim)`` of the view with hidden cells.
        frame_mask: ``(batch, time, *places)`` bool, True = hidden.
        static: Factor of the change over time of the appearance channels.
        orthogonality: Factor of their covariance with the dynamics channels.
        ratio: Share of channels for appearance, of every level.
        levels: Equal groups that the channels consist of.
    """
    latents = at_least_float32(frames_masked)
    still, moving = split_channels(latents.shape[-1], ratio, levels)
    change = static_error(latents, frame_mask, still)
    return static * change + orthogonality * cross_covariance(latents, frame_mask, still, moving)
