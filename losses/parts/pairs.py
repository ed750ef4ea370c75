"""Scores of all pairs of a batch: which pairs count, and what they cost.

Row i of a score matrix belongs to column i. ``allowed`` says which pairs are compared; the diagonal
always is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses.parts.precision import at_least_float32


def comparable_pairs(
    caption_ids: Tensor, *, dedupe: bool, captioned: Tensor | None = None
) -> Tensor:
    """``(batch, batch)`` bool, True where a pair may serve as right or wrong answer.

    Args:
        caption_ids: ``(batch, words)`` int64.
        dedupe: Leave pairs of clips with the same sentence out: they are no wrong answers.
        captioned: ``(batch,)`` bool; a clip without caption is nobody's answer.
    """
    itself = torch.eye(len(caption_ids), dtype=torch.bool, device=caption_ids.device)
    allowed = torch.ones_like(itself)
    if dedupe:
        allowed &= ~(caption_ids.unsqueeze(0) == caption_ids.unsqueeze(1)).all(-1)
    if captioned is not None:
        allowed &= captioned.unsqueeze(0) & captioned.unsqueeze(1)
    return allowed | itself


def mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of ``values`` where ``chosen`` (bool, same shape); 0 where nothing is."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def row_nce(scores: Tensor, allowed: Tensor, rows: Tensor | None = None) -> Tensor:
    """Mean over rows of -log softmax of the row at its own column, in nats.

    Args:
        scores: ``(batch, batch)``, divided by the temperature already.
        allowed: ``(batch, batch)`` bool, diagonal True.
        rows: ``(batch,)`` bool, rows that count; all without it. 0 if none does.
    """
    logits = at_least_float32(scores).masked_fill(~allowed, float("-inf"))
    found = F.log_softmax(logits, dim=1).diagonal()
    if rows is None:
        rows = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    return -mean_over(found, rows)


def max_margin(
    scores: Tensor, allowed: Tensor, *, margin: float, block: int = 1, hard_rate: float = 0.5
) -> Tensor:
    """Mean over allowed pairs of relu(m + S_ij - S_ii) + relu(m + S_ij - S_jj).

    Quirk: followed; the diagonal is one of the pairs, which adds the constant 2m/batch and no
    gradient.

    Args:
        scores: ``(batch, batch)``.
        allowed: ``(batch, batch)`` bool, diagonal True.
        margin: m.
        block: Neighbouring rows that come from the same video. Above 1, pairs within a video weigh
            more than pairs of different videos.
        hard_rate: Share of the weight of pairs within a video, in (0, 1].

    Raises:
        ValueError: The batch is not made of whole blocks.
    """
    scores = at_least_float32(scores)
    own = scores.diagonal()
    cost = F.relu(margin + scores - own.unsqueeze(1)) + F.relu(margin + scores - own.unsqueeze(0))
    if block > 1:
        cost = cost * _block_weights(len(scores), block, hard_rate).to(cost)
    return mean_over(cost, allowed)


def blocks(size: int, block: int) -> Tensor:
    """``(size, size)`` bool, True where both rows come from the same video.

    Raises:
        ValueError: The batch is not made of whole blocks.
    """
    if block < 1 or size % block:
        raise ValueError(f"a batch of {size} rows is not made of blocks of {block}")
    video = torch.arange(size) // block
    return video.unsqueeze(0) == video.unsqueeze(1)


def _block_weights(size: int, block: int, hard_rate: float) -> Tensor:
    """Weights whose mean is 1: ``hard_rate`` for the own video, the rest for the others."""
    inside = blocks(size, block)
    videos = size // block
    other = (1 - hard_rate) / ((videos - 1) * hard_rate) if videos > 1 else 0.0
    return torch.where(inside, 1.0, other) * videos * hard_rate


def mil_nce(scores: Tensor, allowed: Tensor, *, block: int = 1) -> Tensor:
    """Contrast of bags: any caption of the own video answers, in either direction, in nats.

    The softmax runs over the video's row and column at once; the row in the middle of every block
    counts.

    Args:
        scores: ``(batch, batch)``, texts by videos, divided by the temperature already.
        allowed: ``(batch, batch)`` bool, diagonal True.
        block: Neighbouring rows that come from the same video.

    Raises:
        ValueError: The batch is not made of whole blocks.
    """
    size, scores = len(scores), at_least_float32(scores)
    own = blocks(size, block).to(scores.device)
    counted = allowed | own
    by_video = scores.T.masked_fill(~counted.T, float("-inf"))
    by_text = scores.masked_fill(~counted | own, float("-inf"))
    log_all = torch.cat((by_video, by_text), dim=1).logsumexp(1)
    log_own = by_video.masked_fill(~own, float("-inf")).logsumexp(1)
    middle = torch.arange(block // 2, size, block, device=scores.device)
    return (log_all - log_own)[middle].mean()


def pair_cross_entropy(
    video_embed: Tensor, text_embed: Tensor, caption_ids: Tensor, temperature: float
) -> Tensor:
    """Mean of the cross-entropies of finding row i among the rows of the other side, in nats.

    A clip whose caption is the same sentence is not a negative: such off-diagonal pairs are left
    out of both directions.

    Args:
        video_embed: ``(batch, dim)``, L2-normalised; row i belongs to row i of ``text_embed``.
        text_embed: ``(batch, dim)``, L2-normalised.
        caption_ids: ``(batch, words)`` int64, of ``text_embed``.
        temperature: Positive divisor of the cosine similarities.
    """
    logits_BB = at_least_float32(video_embed @ text_embed.T) / temperature
    same_BB = (caption_ids.unsqueeze(0) == caption_ids.unsqueeze(1)).all(-1)
    self_BB = torch.eye(len(caption_ids), dtype=torch.bool, device=caption_ids.device)
    logits_BB = logits_BB.masked_fill(same_BB & ~self_BB, float("-inf"))
    to_text = F.log_softmax(logits_BB, dim=1).diagonal()
    to_video = F.log_softmax(logits_BB, dim=0).diagonal()
    return -(to_text.mean() + to_video.mean()) / 2
