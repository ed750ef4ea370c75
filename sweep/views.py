"""Which views of a clip a set of losses needs, from the catalogue alone (imports no torch).

A feature name is a base and a view suffix: `frames` is of view A, `frames_masked` of the clip
with frames masked out, `logits_b` of the second augmented view, `frames_target` of the EMA teacher.
"""

from __future__ import annotations

from collections.abc import Iterable

from losses.catalogue import LOSSES
from models.catalogue import TEXT_FEATURES
from sweep.config import DATA_FEATURES, VIEW_SUFFIXES

#: Features of the caption, not of the clip.
TEXT_BASES = TEXT_FEATURES - {"video_embed"}


def split_view(feature: str) -> tuple[str, str]:
    """`frames_masked` -> (`frames`, `_masked`); no suffix means view A."""
    for suffix in VIEW_SUFFIXES:
        if feature.endswith(suffix):
            return feature.removesuffix(suffix), suffix
    return feature, ""


def video_views(loss_names: Iterable[str]) -> set[str]:
    """Suffixes of the distinct clip views; view A ("") is always there."""
    views = {""}
    for name in loss_names:
        for feature in LOSSES[name].needs - DATA_FEATURES:
            base, suffix = split_view(feature)
            if base not in TEXT_BASES:
                views.add(suffix)
    return views


def caption_views(loss_names: Iterable[str]) -> set[str]:
    """Suffixes of the distinct caption views; empty without a text loss."""
    found = set()
    for name in loss_names:
        for feature in LOSSES[name].needs - DATA_FEATURES:
            base, suffix = split_view(feature)
            if base in TEXT_BASES:
                found.add(suffix)
    return found


def data_features(loss_names: Iterable[str]) -> set[str]:
    """What a batch must hold: data features, `pixels` with view suffixes, caption ids."""
    names = list(loss_names)
    needs = {"pixels", "labels"}
    needs |= {f"pixels{suffix}" for suffix in video_views(names) if suffix in {"_b", "_masked"}}
    for suffix in caption_views(names):
        needs |= {f"caption_ids{suffix}", "caption_mask"}
    for name in names:
        needs |= LOSSES[name].needs & DATA_FEATURES
    return needs


def needs_captions(loss_names: Iterable[str]) -> bool:
    """Whether the data set must have captions."""
    return any(name.startswith("caption") for name in data_features(loss_names))
