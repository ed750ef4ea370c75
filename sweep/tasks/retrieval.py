"""Retrieval: the video of a caption and the caption of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweep.evaluation.captions import Told, captions_of
from sweep.evaluation.result import Evaluation, Tested
from sweep.metrics.retrieval import found_by_owner, relevant_ranks, summary
from sweep.runtime import heartbeat
from sweep.tasks.catalogue import CUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.encoders import Encoders
    from sweep.records.condition import Condition
    from sweep.tasks.catalogue import TaskSpec

#: Captions of a test set with this end fit several of its clips; any of them counts as found.
SHARED_CAPTIONS = "-known"


def test(
    bench: TestBench, encoders: Encoders, rows: Sequence[Condition], spec: TaskSpec
) -> Evaluation:
    """Rank every gallery under every condition, in both directions."""
    tested = Tested(bench, encoders, [metric.name for metric in spec.metrics])
    every = bench.settings.captions_per_clip == "all"
    encoders.prepare([row.of_video for row in rows])
    for number, condition in enumerate(rows, start=1):
        heartbeat.beat(f"testing {number}/{len(rows)}")
        shown = encoders.video(condition.of_video, "video_embed")
        said = encoders.text(condition, "text_embed")
        table = said.values.astype(np.float64) @ shown.values.T.astype(np.float64)
        told = captions_of(bench, condition.clips)
        found = _ranks(table, *_relevance(told, condition.clips))
        values = {}
        for direction, own in found.items():
            tested.keep(f"{direction}_rank", condition.name, own)
            for cut in CUTS:
                hits = own < cut
                if every and direction == "t2v":
                    hits = found_by_owner(hits, told.owners, table.shape[1])
                values[f"{direction}_R{cut}"] = hits
        # of the first caption of every clip
        tested.keep("predictions", condition.name, table[_firsts(told.owners)].argmax(1))
        pixels = f"{shown.pixels}-{said.pixels}" if condition.text else shown.pixels
        tested.add(condition, values, pixels=pixels, metrics=_scores(found))
    for name in tested.clip_sets:
        tested.keep("labels", name, np.arange(len(bench.prepared.evaluation[name].ids)))
        if every:
            tested.keep("queries", name, captions_of(bench, name).owners)
    return tested.evaluation()


def _firsts(owners: np.ndarray) -> np.ndarray:
    """Row of the first caption of every clip."""
    return np.unique(owners, return_index=True)[1]


def _relevance(told: Told, clips: str) -> tuple[np.ndarray, np.ndarray]:
    """Which clips each caption fits, bool ``(M, N)``, and the rows of the gallery of captions.

    A caption fits its clip; where captions are shared, all clips that have it, and it stands in the
    gallery once.
    """
    gallery = np.arange(len(told.texts))
    text = gallery
    if clips.endswith(SHARED_CAPTIONS):
        _, gallery, text = np.unique(told.texts, return_index=True, return_inverse=True)
    fits = np.zeros((len(gallery), told.owners.max() + 1), dtype=bool)
    fits[text, told.owners] = True
    return fits[text], gallery


def _ranks(table: np.ndarray, fits: np.ndarray, gallery: np.ndarray) -> dict[str, np.ndarray]:
    """Ranks from 0 of the best clip of every caption, and of the best caption of every clip."""
    return {
        "t2v": relevant_ranks(table, fits).astype(np.int32),
        "v2t": relevant_ranks(table[gallery].T, fits[gallery].T).astype(np.int32),
    }


def _scores(ranks: dict[str, np.ndarray]) -> dict[str, float]:
    """Recalls counted over queries, and the ranks themselves."""
    found: dict[str, float] = {}
    for direction, own in ranks.items():
        scores = summary(own, CUTS)
        found |= {f"{direction}_R{cut}": scores.recall[cut] for cut in CUTS}
        found[f"{direction}_MedR"] = scores.median_rank
        found[f"{direction}_MnR"] = scores.mean_rank
    return found
