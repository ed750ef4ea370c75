"""Latents move little, or evenly, from frame to frame."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from losses.catalogue import nearest
from losses.parts.latents import split_channels, steps
from losses.parts.precision import at_least_float32

FORMS = ("l1", "acceleration", "huber", "split")


def kinematic(
    *, frames: Tensor, form: str = "l1", ratio: float = 0.5, threshold: float = 0.1
) -> Tensor:
    """Mean size of the first or second difference of latents over time; 0 for a single frame.

    Quirk: fixed; the published loss acts on the teacher's latents, where it has no gradient unless
    the teacher is switched off; here it acts on the student's. Alone it is least for constant
    features: combine it with a loss that keeps them apart. The published annealed form is
    ``acceleration`` with the factor of :func:`annealed`.

    Args:
        frames: ``(batch, time, *places, dim)``.
        form: ``l1``: absolute first difference. ``acceleration``: absolute second difference (the
            first one for two frames). ``huber``: Huber of the first difference. ``split``:
            ``acceleration`` of the first ``ratio`` of the channels.
        ratio: Share of the channels, for ``split``.
        threshold: Where Huber turns from square to linear.

    Raises:
        ValueError: Unknown form.
    """
    if form not in FORMS:
        hint = nearest(str(form), FORMS)
        raise ValueError(f"loss kinematic: unknown form {form!r}{hint} (forms: {', '.join(FORMS)})")
    latents = at_least_float32(frames)
    if form == "split":
        latents = latents[..., split_channels(latents.shape[-1], ratio)[0]]
    change = steps(latents)
    if form in ("acceleration", "split") and change.shape[1] > 1:
        change = steps(change)
    if change.numel() == 0:
        return frames.sum() * 0.0
    if form == "huber":
        return F.huber_loss(change, change.new_zeros(()).expand_as(change), delta=threshold)
    return change.abs().mean()


def annealed(start: float, progress: float) -> float:
    """Factor of the annealed form: half a cosine from ``start`` at progress 0 to 0 at 1."""
    return start * 0.5 * (1 + math.cos(math.pi * progress))
