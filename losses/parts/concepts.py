"""Concepts of clips and captions, and what GLSCL asks of them (arXiv:2405.12710).

A concept is what one learned query reads in the frames or the words: ``(batch, queries, dim)``,
unit rows. Query q of the clip is compared with query q of the caption.

The published code has the names of two losses the wrong way round; here they are the paper's: the
inter-consistency of clip and caption, and the intra-diversity of the concepts of one of them.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses.parts.attention import DecoderLayer
from losses.parts.precision import at_least_float32

Norm = Literal["reference", "batch"]


class Queries(nn.Module):
    """Learned queries, ``(queries, dim)``, that start between 0 and 1."""

    def __init__(self, queries: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(queries, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw uniformly from [0, 1)."""
        nn.init.uniform_(self.weight)


class ConceptDecoder(nn.Module):
    """Queries read features through transformer decoder layers.

    Quirk: fixed; published layers start as copies of each other. Here each is drawn on its own.
    """

    def __init__(self, width: int, *, layers: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [DecoderLayer(width, heads, feedforward) for _ in range(layers)]
        )

    def forward(self, queries: Tensor, features: Tensor, keep: Tensor | None = None) -> Tensor:
        """Concepts ``(batch, queries, width)``, at least float32, unit rows.

        Quirk: fixed; published queries read padding too. Without ``keep`` they do here.

        Args:
            queries: ``(queries, width)``.
            features: ``(batch, steps, width)``.
            keep: ``(batch, steps)`` bool, True at what may be read.
        """
        x = queries.expand(len(features), *queries.shape)
        readable = None if keep is None else keep.unsqueeze(1)
        for layer in self.layers:
            x = layer(x, features, keep_memory=readable)
        return F.normalize(at_least_float32(x), dim=-1)


def concept_similarity(text: Tensor, video: Tensor) -> Tensor:
    """``(texts, videos)``: mean over queries of the inner products of concepts.

    Args:
        text: ``(texts, queries, dim)``, unit rows.
        video: ``(videos, queries, dim)``, unit rows.
    """
    with torch.autocast(text.device.type, enabled=False):  # the scale multiplies every error
        return (
            at_least_float32(text).flatten(1) @ at_least_float32(video).flatten(1).T / len(text[0])
        )


def _shares(concepts: Tensor, rows: Tensor | None) -> Tensor:
    """``(batch,)``: how much each clip counts in a mean over the batch; 0 all over if none does."""
    if rows is None:
        rows = torch.ones(len(concepts), dtype=torch.bool, device=concepts.device)
    return rows.to(concepts.dtype) / rows.sum().clamp(min=1)


def concept_gap(video: Tensor, text: Tensor, rows: Tensor | None = None) -> Tensor:
    """Mean squared difference of the mean concepts of clips and captions.

    Args:
        video: ``(batch, queries, dim)``.
        text: ``(batch, queries, dim)``.
        rows: ``(batch,)`` bool, which pairs count; all without it.
    """
    difference = at_least_float32(video) - at_least_float32(text)
    mean = (difference * _shares(difference, rows)[:, None, None]).sum(0)
    return mean.square().mean()


def concept_agreement(
    video: Tensor, text: Tensor, *, norm: Norm = "reference", rows: Tensor | None = None
) -> Tensor:
    """``(queries,)``: how well query q of the clip agrees with query q of its caption.

    Quirk: followed with ``norm="reference"``; the published code adds up the batch but divides by
    the number of queries, so that the value grows with the batch. ``norm="batch"`` is the mean.

    Args:
        video: ``(batch, queries, dim)``, unit rows.
        text: ``(batch, queries, dim)``, unit rows.
        norm: What to divide by.
        rows: ``(batch,)`` bool, which pairs count; all without it.

    Raises:
        ValueError: Another ``norm``.
    """
    if norm not in get_args(Norm):
        raise ValueError(f"norm {norm!r} (one of {', '.join(get_args(Norm))})")
    own = (at_least_float32(video) * at_least_float32(text)).sum(-1)
    mean = (own * _shares(own, rows).unsqueeze(1)).sum(0)
    if norm == "batch":
        return mean
    counted = len(own) if rows is None else rows.sum()
    return mean * counted / own.shape[1]


def mean_gram(concepts: Tensor, rows: Tensor | None = None) -> Tensor:
    """``(queries, queries)``: mean over the batch of the inner products of concepts.

    Args:
        concepts: ``(batch, queries, dim)``.
        rows: ``(batch,)`` bool, which clips count; all without it.
    """
    with torch.autocast(concepts.device.type, enabled=False):
        x = at_least_float32(concepts)
        return ((x @ x.transpose(1, 2)) * _shares(x, rows)[:, None, None]).sum(0)


def diversity_hinge(gram: Tensor, *, margin: float) -> Tensor:
    """Mean over pairs of different queries of relu(m + G_ij - G_ii); 0 for a single query.

    Args:
        gram: ``(queries, queries)``.
        margin: m.
    """
    queries = len(gram)
    other = ~torch.eye(queries, dtype=torch.bool, device=gram.device)
    hinge = F.relu(margin + gram - gram.diagonal().unsqueeze(1)) * other
    return hinge.sum() / max(1, queries * (queries - 1))


def intra_diversity(concepts: Tensor, *, margin: float = 0.1, rows: Tensor | None = None) -> Tensor:
    """Concepts of one clip may not coincide: the hinge against G_ii and against G_jj.

    It acts where two concepts have a mean cosine above 1 - margin.

    Args:
        concepts: ``(batch, queries, dim)``, unit rows.
        margin: How far below 1 the cosine of two concepts is to stay.
        rows: ``(batch,)`` bool, which clips count; all without it.
    """
    gram = mean_gram(concepts, rows)
    return diversity_hinge(gram, margin=margin) + diversity_hinge(gram.T, margin=margin)
