"""Clip and caption fill the same concepts (GLSCL, inter-consistency)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.concepts import concept_agreement, concept_gap

if TYPE_CHECKING:
    from torch import Tensor

    from losses.parts.concepts import Norm


def glscl_icl(
    *,
    video_concepts: Tensor,
    text_concepts: Tensor,
    gap: float = 1.0,
    beta: float = 0.005,
    target: float = 0.75,
    norm: Norm = "reference",
) -> Tensor:
    """Mean concepts coincide over the batch, and the agreement of each query nears a target.

    Quirk: followed; see :func:`losses.parts.concepts.concept_agreement` for ``norm``.

    Args:
        video_concepts: ``(batch, queries, dim)``, unit rows.
        text_concepts: ``(batch, queries, dim)``, unit rows.
        gap: Factor of the mean squared difference of the mean concepts; 0 takes it out.
        beta: Factor of the summed squared distance of the agreements from the target; 0 takes it
            out.
        target: Wanted agreement.
        norm: ``reference`` or ``batch``.
    """
    agreement = concept_agreement(video_concepts, text_concepts, norm=norm)
    return (
        gap * concept_gap(video_concepts, text_concepts)
        + beta * (agreement - target).square().sum()
    )
