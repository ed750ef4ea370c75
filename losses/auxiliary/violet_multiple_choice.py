"""The right one of several answers fits clip and question best (VIOLET)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.fusion import token_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor


def violet_multiple_choice(*, option_logits: Tensor, correct_option: Tensor) -> Tensor:
    """Mean cross-entropy over the options of every question, in nats; 0 if there is none.

    Quirk: fixed; the published masking takes the numbers of options for places of words. Hiding is
    no matter of this loss.

    Args:
        option_logits: ``(batch, options)``, one score per option, read with all the others.
        correct_option: ``(batch,)`` int64, -1 = no question.
    """
    return token_cross_entropy(option_logits, correct_option)
