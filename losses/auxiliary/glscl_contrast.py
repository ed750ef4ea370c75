"""Clip and caption find each other by a global and a local score (GLSCL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.concepts import concept_similarity
from losses.parts.pairs import comparable_pairs, row_nce
from losses.parts.similarity import LearnedScale, attended_similarity

if TYPE_CHECKING:
    from collections.abc import Mapping


class GlsclContrast(nn.Module):
    """Mean of both cross-entropies over the sum of two scores, with a learned scale.

    For models that give concepts of their own, shared with ``glscl_icl`` and ``glscl_idl``. The
    loss ``glscl`` brings the network for concepts along.

    Quirk: followed by default; two captions of one video are wrong answers for each other.
    ``dedupe=True`` leaves pairs with equal captions out.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],  # noqa: ARG002  all sizes are those of the given features
        temperature: float = 3.0,
        local_weight: float = 0.5,
        scale: float = 100.0,
        dedupe: bool = False,
    ) -> None:
        super().__init__()
        self.temperature, self.local_weight, self.dedupe = temperature, local_weight, dedupe
        self.scale = LearnedScale(scale)

    def forward(
        self,
        *,
        frame_embeds: Tensor,
        text_pooled: Tensor,
        video_concepts: Tensor,
        text_concepts: Tensor,
        caption_ids: Tensor,
    ) -> Tensor:
        """Mean over clips and captions, in nats.

        Args:
            frame_embeds: ``(batch, frames, dim)`` in the space of the captions, not normalised.
            text_pooled: ``(batch, dim)``, not normalised.
            video_concepts: ``(batch, queries, dim)``, unit rows.
            text_concepts: ``(batch, queries, dim)``, unit rows.
            caption_ids: ``(batch, words)`` int64.
        """
        scores = attended_similarity(text_pooled, frame_embeds, temperature=self.temperature)
        scores = scores + self.local_weight * concept_similarity(text_concepts, video_concepts)
        allowed = comparable_pairs(caption_ids, dedupe=self.dedupe)
        logits = self.scale() * scores
        return (row_nce(logits, allowed) + row_nce(logits.T, allowed.T)) / 2
