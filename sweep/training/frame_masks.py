"""Which frames of a training clip the masked view hides.

The policies are those of Video-JEPA studies (``losses.masks.motion``), over whole frames: what the
losses of the masked view predict are frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from losses.masks.motion import FLOOR, POLICIES, MaskPolicy, origin_probabilities

if TYPE_CHECKING:
    from sweep.settings.train import ViewSettings

#: Values of `train.views.mask_policy` that follow motion -> where strength and rate come from.
MOTION_POLICIES = {"motion": POLICIES["motion_guided"], "aggressive": POLICIES["aggressive"]}


def frame_mask(size: int, clips: Tensor, views: ViewSettings, rng: torch.Generator) -> Tensor:
    """True at round(mask_frames * T) frames of every clip, at least 1 and at most T - 1.

    Policies: `random` draws frames alike; `block` draws one run of neighbouring frames; `future`
    hides the last frames; `motion` and `aggressive` draw frames in proportion to a power of how
    much they change from the frame before.

    Args:
        size: Clips in the batch.
        clips: uint8 ``(B, T, C, H, W)``; read by the motion policies, which need the whole batch.
        views: Share, policy and its knobs.
        rng: CPU generator; the only source of randomness.

    Returns:
        Bool ``(B, T)`` on the CPU.
    """
    time = clips.shape[1]
    count = min(max(1, round(views.mask_frames * time)), max(1, time - 1))
    mask = torch.zeros(size, time, dtype=torch.bool)
    if views.mask_policy == "future":
        mask[:, time - count :] = True
        return mask
    if views.mask_policy == "block":
        first = torch.randint(time - count + 1, (size, 1), generator=rng)
        place = torch.arange(time)
        return (place >= first) & (place < first + count)
    if views.mask_policy == "random":
        hidden = torch.rand(size, time, generator=rng).argsort(1)[:, :count]
    else:
        share = origin_probabilities(frame_motion(clips), (1, 1, 1), _policy(views)).cpu()
        hidden = torch.multinomial(share, count, generator=rng)
    return mask.scatter_(1, hidden, value=True)


def frame_motion(clips: Tensor) -> Tensor:
    """Mean absolute change from the frame before, largest 1 per clip, as ``(B, T, 1, 1)``.

    The first frame has no frame before it and takes the change of the second.
    """
    size, time = clips.shape[:2]
    if time < 2:
        return torch.zeros(size, time, 1, 1)
    x = clips.to(torch.int16)
    change = (x[:, 1:] - x[:, :-1]).abs_().flatten(2).float().mean(2)
    change = torch.cat((change[:, :1], change), dim=1)
    return (change / change.amax(1, keepdim=True).clamp(min=FLOOR)).view(size, time, 1, 1)


def _policy(views: ViewSettings) -> MaskPolicy:
    usual = MOTION_POLICIES[views.mask_policy]
    return MaskPolicy(
        strength=usual.strength if views.mask_strength is None else views.mask_strength,
        random_rate=usual.random_rate if views.mask_random is None else views.mask_random,
    )
