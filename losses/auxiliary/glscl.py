"""Global and local contrast of clip and caption, consistency and diversity of concepts (GLSCL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from losses.parts.concepts import (
    ConceptDecoder,
    Norm,
    Queries,
    concept_agreement,
    concept_gap,
    concept_similarity,
    intra_diversity,
)
from losses.parts.pairs import comparable_pairs, row_nce
from losses.parts.similarity import LearnedScale, attended_similarity
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


class Glscl(nn.Module):
    """The whole objective of the publication, every term with its own switch.

    The network for concepts belongs to the loss, so that any model with frames and words can be
    trained with it. Frames and words are mapped to the width of the caption embedding where theirs
    differs.

    Quirk: fixed; published queries also read padding (``mask_padding=False`` does the same).
    Quirk: followed; agreement is normalised by the queries (``consistency_norm="batch"`` is the
    mean), diversity is asked of clips alone (``diversity_sides="both"`` adds captions), and two
    captions of one video are wrong answers for each other (``dedupe=True`` leaves equal ones out).
    Quirk: fixed; unused layers and queries are not created.

    The published sizes are three layers with eight heads and a feed-forward width of 2048.

    Raises:
        ValueError: No term left, a contrast without any score, or an unknown ``diversity_sides``.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        queries: int = 8,
        layers: int = 1,
        heads: int = 8,
        feedforward: int = 128,
        share_queries: bool = True,
        share_decoder: bool = True,
        mask_padding: bool = True,
        use_global: bool = True,
        use_local: bool = True,
        temperature: float = 3.0,
        local_weight: float = 0.5,
        scale: float = 100.0,
        dedupe: bool = False,
        contrast: float = 1.0,
        gap: float = 1.0,
        consistency: float = 0.005,
        consistency_target: float = 0.75,
        consistency_norm: Norm = "reference",
        diversity: float = 1e-4,
        diversity_margin: float = 0.1,
        diversity_sides: str = "video",
    ) -> None:
        super().__init__()
        if not any((contrast, gap, consistency, diversity)):
            raise ValueError("loss glscl: contrast, gap, consistency and diversity are all 0")
        if contrast and not (use_global or use_local):
            raise ValueError("loss glscl: the contrast needs use_global or use_local")
        if diversity_sides not in ("video", "both"):
            raise ValueError(f"loss glscl: diversity_sides {diversity_sides!r} (video, both)")
        width = size(dims, "embed", loss="glscl")
        self.frames = _mapping(size(dims, "frames", loss="glscl"), width)
        self.words = _mapping(size(dims, "word", loss="glscl"), width)
        sizes = {"layers": layers, "heads": heads, "feedforward": feedforward}
        self.queries = Queries(queries, width)
        self.text_queries = None if share_queries else Queries(queries, width)
        self.decoder = ConceptDecoder(width, **sizes)
        self.text_decoder = None if share_decoder else ConceptDecoder(width, **sizes)
        self.scale = LearnedScale(scale)
        self.mask_padding, self.dedupe = mask_padding, dedupe
        self.use_global, self.use_local = use_global, use_local
        self.temperature, self.local_weight = temperature, local_weight
        self.contrast, self.gap = contrast, gap
        self.consistency, self.consistency_target = consistency, consistency_target
        self.consistency_norm: Norm = consistency_norm
        self.diversity, self.diversity_margin = diversity, diversity_margin
        self.diversity_sides = diversity_sides

    def concepts(
        self,
        frames: Tensor,
        words: Tensor,
        frame_keep: Tensor | None = None,
        word_keep: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Concepts of clips and captions, ``(batch, queries, dim)`` each, unit rows.

        Args:
            frames: ``(batch, frames, dim)``, of the width of the caption embedding.
            words: ``(batch, words, dim)``, of the same width.
            frame_keep: ``(batch, frames)`` bool, True at frames that may be read.
            word_keep: ``(batch, words)`` bool, True at words that may be read.
        """
        text_queries = (self.text_queries or self.queries).weight
        video = self.decoder(self.queries.weight, frames, frame_keep)
        text = (self.text_decoder or self.decoder)(text_queries, words, word_keep)
        return video, text

    def forward(
        self,
        *,
        frames: Tensor,
        text_tokens: Tensor,
        text_embed: Tensor,
        caption_ids: Tensor,
        caption_mask: Tensor,
    ) -> Tensor:
        """Sum of the weighted terms over clips with a caption; 0 if there is none.

        Args:
            frames: ``(batch, frames, dim)``.
            text_tokens: ``(batch, words, dim)``.
            text_embed: ``(batch, dim)``.
            caption_ids: ``(batch, words)`` int64.
            caption_mask: ``(batch, words)`` bool, True at words.
        """
        seen, said = self.frames(frames), self.words(text_tokens)
        keep = caption_mask if self.mask_padding else None
        video, text = self.concepts(seen, said, word_keep=keep)
        captioned = caption_mask.any(1)
        logits = self.scale() * self.score(text_embed, seen, text, video)
        allowed = comparable_pairs(caption_ids, dedupe=self.dedupe, captioned=captioned)
        found = row_nce(logits, allowed, captioned) + row_nce(logits.T, allowed.T, captioned)
        total = self.contrast * found / 2 + self.concept_terms(video, text, captioned)
        return total * captioned.any()

    def score(
        self,
        text_embed: Tensor,
        frames: Tensor,
        text: Tensor,
        video: Tensor,
        frame_mask: Tensor | None = None,
    ) -> Tensor:
        """``(texts, videos)``: global score plus weighted local score, before the scale."""
        local = self.local_weight * concept_similarity(text, video)
        if not self.use_global:
            return local
        seen = attended_similarity(text_embed, frames, frame_mask, temperature=self.temperature)
        return seen + local if self.use_local else seen

    def concept_terms(self, video: Tensor, text: Tensor, rows: Tensor | None = None) -> Tensor:
        """Weighted consistency and diversity of concepts over the pairs that count."""
        agreement = concept_agreement(video, text, norm=self.consistency_norm, rows=rows)
        distance = (agreement - self.consistency_target).square().sum()
        diversity = intra_diversity(video, margin=self.diversity_margin, rows=rows)
        if self.diversity_sides == "both":
            diversity = diversity + intra_diversity(text, margin=self.diversity_margin, rows=rows)
        consistency = self.gap * concept_gap(video, text, rows) + self.consistency * distance
        return consistency + self.diversity * diversity


def _mapping(given: int, width: int) -> nn.Module:
    return nn.Identity() if given == width else nn.Linear(given, width)
