"""The concepts of a clip differ from one another (GLSCL, intra-diversity)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.parts.concepts import intra_diversity

if TYPE_CHECKING:
    from torch import Tensor


def glscl_idl(*, video_concepts: Tensor, margin: float = 0.1) -> Tensor:
    """Hinge on the mean cosines of the concepts of a clip; 0 for one concept.

    Quirk: followed; the publication speaks of clips and captions, its code looks at clips alone.
    The loss ``glscl`` offers both.

    Args:
        video_concepts: ``(batch, queries, dim)``, unit rows.
        margin: How far below 1 the mean cosine of two concepts is to stay.
    """
    return intra_diversity(video_concepts, margin=margin)
