"""Which views of a clip and caption a set of losses needs, from the catalogue alone (no torch)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losses.catalogue import DATA_FEATURES, LOSSES, VIEWS

if TYPE_CHECKING:
    from collections.abc import Iterable

#: View -> suffix of its features: `b` -> `_b`, `a` -> "".
SUFFIX = {view: suffix for suffix, view in VIEWS.items()}


def video_views(loss_names: Iterable[str]) -> list[str]:
    """Distinct views of the clip, view `a` first and always."""
    found = set().union(*(LOSSES[name].views for name in loss_names)) - {"a"}
    return ["a", *sorted(found)]


def caption_views(loss_names: Iterable[str]) -> list[str]:
    """Distinct views of the caption that are encoded; empty without a text feature."""
    return sorted(set().union(*(LOSSES[name].text_views for name in loss_names)))


def data_features(loss_names: Iterable[str]) -> set[str]:
    """What a batch must hold: data features, `pixels` with view suffixes, caption ids."""
    names = list(loss_names)
    needs = {"pixels", "labels"}
    needs |= {f"pixels{SUFFIX[view]}" for view in video_views(names) if view != "target"}
    for view in caption_views(names):
        needs |= {f"caption_ids{SUFFIX[view]}", "caption_mask"}
    for name in names:
        needs |= LOSSES[name].needs & DATA_FEATURES
    return needs


def needs_captions(loss_names: Iterable[str]) -> bool:
    """Whether the data set must have captions."""
    return any(name.startswith("caption") for name in data_features(loss_names))
