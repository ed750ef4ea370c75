"""The captions of the tested clips, as they are and perturbed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perturb.text import perturb_captions

if TYPE_CHECKING:
    from sweep.evaluation.bench import TestBench
    from sweep.records.condition import Condition


@dataclass(frozen=True)
class Told:
    """The captions of a test set, clip after clip.

    Attributes:
        texts: The M captions.
        owners: int64 ``(M,)`` row of the clip that each belongs to.
        ids: Identities that their perturbations are drawn by; that of the clip for its first one.
    """

    texts: tuple[str, ...]
    owners: np.ndarray
    ids: tuple[str, ...]


def captions_of(bench: TestBench, clips: str) -> Told:
    """The captions of every clip of a set: its first one, or all.

    Raises:
        ValueError: A clip without a caption.
    """
    clip_set = bench.prepared.evaluation[clips]
    silent = [n for n, own in zip(clip_set.ids, clip_set.captions, strict=True) if not own]
    if silent:
        raise ValueError(f"{len(silent)} clips of '{clips}' have no caption, such as {silent[0]}")
    most = 1 if bench.settings.captions_per_clip == "first" else None
    told = [
        (text, row, name if number == 0 else f"{name}#{number}")
        for row, (name, own) in enumerate(zip(clip_set.ids, clip_set.captions, strict=True))
        for number, text in enumerate(own[:most])
    ]
    texts, owners, ids = zip(*told, strict=True)
    return Told(texts, np.asarray(owners, dtype=np.int64), ids)


def perturbed(bench: TestBench, condition: Condition) -> list[str]:
    """The captions of a condition, as they are shown to the model."""
    told = captions_of(bench, condition.clips)
    if not condition.text:
        return list(told.texts)
    return perturb_captions(
        told.texts,
        condition.text,
        condition.text_severity,
        caption_ids=told.ids,
        seed=bench.settings.seed,
    )
