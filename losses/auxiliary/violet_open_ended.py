"""A question about the clip is answered from a list of all answers (VIOLET)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.fusion import token_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


def violet_open_ended(*, answer_logits: Tensor, answer_ids: Tensor) -> Tensor:
    """Mean cross-entropy over all answers, in nats; 0 if there is no question.

    Args:
        answer_logits: ``(batch, answers)``.
        answer_ids: ``(batch,)`` int64, -1 = no question.
    """
    return token_cross_entropy(answer_logits, answer_ids)
