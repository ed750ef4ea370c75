"""A placebo: the gradient of InfoNCE without what it teaches."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.parts.pairs import pair_cross_entropy


def infonce_shuffled(
    *,
    video_embed: Tensor,
    text_embed: Tensor,
    caption_ids: Tensor,
    temperature: float = 0.1,
) -> Tensor:
    """InfoNCE in which every clip is given the caption of a random clip of the batch, in nats.

    Its own caption is drawn as often as any other: were it always a negative, that would teach,
    too. Number, scale and path of the gradients are those of ``infonce``, so what a set of losses
    gains by it is no gain by learning.

    Args:
        video_embed: ``(batch, dim)``, L2-normalised.
        text_embed: ``(batch, dim)``, L2-normalised.
        caption_ids: ``(batch, words)`` int64, of the same clips.
        temperature: Positive divisor of the cosine similarities.
    """
    given = _shuffled(caption_ids, video_embed.detach())
    return pair_cross_entropy(video_embed, text_embed[given], caption_ids[given], temperature)


def _shuffled(caption_ids_BW: Tensor, video_BD: Tensor) -> Tensor:
    """int64 ``(batch,)``: a clip for every clip, by digits of the captions that mean nothing.

    No random state: the same batch is shuffled alike whatever the order of its clips, and again
    after a resume. Clips stand in a circle, by those digits (clips of one caption by what is seen),
    and all move on by as many places.
    """
    digits_B = (caption_ids_BW.double() @ _wave(caption_ids_BW) * 1e4).frac().abs()
    order_B = (digits_B + 1e-9 * (video_BD.double() @ _wave(video_BD))).argsort()
    count = len(order_B)
    moved = (digits_B.sum() * 1e4).frac() * count
    places_B = (torch.arange(count, device=order_B.device) + moved.long()) % count
    return torch.empty_like(order_B).scatter_(0, order_B, order_B[places_B])


def _wave(like: Tensor) -> Tensor:
    return torch.arange(1, like.shape[1] + 1, device=like.device).double().cos()
