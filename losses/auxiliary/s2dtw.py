"""Frames of a clip, in order, go with the words of its own caption rather than of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.local_permutations import permute
from losses.parts.precision import at_least_float32
from losses.parts.sequence_alignment import pair_costs, s2dtw
from losses.parts.sizes import size

if TYPE_CHECKING:
    from collections.abc import Mapping


def similarities(
    video: Tensor,
    text: Tensor,
    *,
    gamma: float = 0.1,
    threshold: float = 0.5,
    smoothing: bool = True,
    weak_alignment: bool = True,
    lengths: Tensor | None = None,
) -> Tensor:
    """Negative S2DTW of every caption sequence with every video of the batch.

    Args:
        video: ``(videos, N, dim)``, L2-normalised over ``dim``.
        text: ``(texts, M, dim)``, L2-normalised.
        gamma: Positive; of smoothing and alignment.
        threshold: Cost of leaving a member out.
        smoothing: Add the soft minimum of the neighbouring costs.
        weak_alignment: Allow to leave members out.
        lengths: ``(texts,)``, members of each caption sequence, 1..M; None = all M.

    Returns:
        ``(texts, videos)``: row = caption sequence, column = video.
    """
    costs = pair_costs(video, text).transpose(0, 1)
    texts, videos = costs.shape[:2]
    distance = s2dtw(
        costs.flatten(0, 1),
        gamma=gamma,
        threshold=threshold,
        smoothing=smoothing,
        weak_alignment=weak_alignment,
        columns=None if lengths is None else lengths.repeat_interleave(videos),
    )
    return -distance.view(texts, videos)


def contrast(
    logits: Tensor,
    *,
    symmetric: bool = False,
    excluded: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of each caption sequence finding its video, in nats.

    Quirk: followed; the published loss has this direction alone. ``symmetric`` averages with the
    other one.

    Args:
        logits: ``(B, B)``, row = caption sequence, column = video, pairs on the diagonal.
        symmetric: Also let videos find their captions.
        excluded: ``(B, B)`` bool, pairs that are no negatives; never the diagonal.
        counted: ``(B,)`` bool, pairs that have a caption at all; the others are left out.
    """
    pairs = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    keep = torch.ones_like(pairs[0]) if counted is None else counted
    hidden = ~pairs & ~(keep[:, None] & keep)
    if excluded is not None:
        hidden = hidden | (excluded & ~pairs)
    logits = logits.masked_fill(hidden, float("-inf"))
    found = F.log_softmax(logits, dim=1).diagonal()
    if symmetric:
        found = (found + F.log_softmax(logits, dim=0).diagonal()) / 2
    return -torch.where(keep, found, 0.0).sum() / keep.sum().clamp(min=1)


class SequenceContrast(nn.Module):
    """Contrast of frame sequences and word sequences by S2DTW, each projected to a common width.

    Published for clips and captions of one long video; here the members are the frames of a clip
    and the words of its caption. Captions that are the same sentence are no negatives.

    With ``temporal_augmentation`` frames and words are reordered a little before they are aligned,
    in training only. The draws are a function of ``seed`` and of how many there were before, which
    is part of the state of the module, so that a resumed trial goes on as it would have.
    """

    def __init__(
        self,
        *,
        dims: Mapping[str, int],
        width: int = 64,
        gamma: float = 0.1,
        threshold: float = 0.5,
        smoothing: bool = True,
        weak_alignment: bool = True,
        symmetric: bool = False,
        temporal_augmentation: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.video = nn.Linear(size(dims, "frames", loss="s2dtw"), width)
        self.text = nn.Linear(size(dims, "word", loss="s2dtw"), width)
        self.alignment: dict[str, Any] = {
            "gamma": gamma,
            "threshold": threshold,
            "smoothing": smoothing,
            "weak_alignment": weak_alignment,
        }
        self.symmetric = symmetric
        self.temporal_augmentation = temporal_augmentation
        self.seed = seed
        self.draws = 0

    def get_extra_state(self) -> Tensor:
        """How many draws there were."""
        return torch.tensor(self.draws)

    def set_extra_state(self, state: Any) -> None:
        """Go on after so many draws."""
        self.draws = int(state)

    def _augment(self, sequence: Tensor) -> Tensor:
        # torch's generator on the CPU looks at the low 32 bits alone; an odd factor spreads seeds
        mixed = (self.draws + self.seed * 0x9E3779B1) & 0xFFFFFFFF
        rng = torch.Generator().manual_seed(mixed)
        self.draws += 1
        return permute(sequence, torch.rand(len(sequence), generator=rng).to(sequence.device))

    def forward(
        self, *, frames: Tensor, text_tokens: Tensor, caption_mask: Tensor, caption_ids: Tensor
    ) -> Tensor:
        """Cross-entropy in nats; 0 if no caption has a word.

        Args:
            frames: ``(batch, time, dim)``.
            text_tokens: ``(batch, words, dim)``, words first, padding last.
            caption_mask: ``(batch, words)`` bool, True at words.
            caption_ids: ``(batch, words)`` int64.
        """
        video = F.normalize(at_least_float32(self.video(frames)), dim=-1)
        text = F.normalize(at_least_float32(self.text(text_tokens)), dim=-1)
        if self.temporal_augmentation and self.training:
            video, text = self._augment(video), self._augment(text)
        lengths = caption_mask.sum(1)
        logits = similarities(video, text, lengths=lengths.clamp(min=1), **self.alignment)
        same = (caption_ids.unsqueeze(0) == caption_ids.unsqueeze(1)).all(-1)
        return contrast(logits, symmetric=self.symmetric, excluded=same, counted=lengths > 0)
