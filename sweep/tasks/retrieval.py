"""Retrieval: the video of a caption and the caption of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweep.evaluation.bench import level
from sweep.evaluation.encoders import Encoder
from sweep.evaluation.result import Evaluation
from sweep.metrics.retrieval import relevant_ranks, summary
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import CUTS
from sweep.records.record import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from models.interface import Tokenizer, VideoModel
    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.conditions import Condition
from sweep.evaluation.captions import Told, captions_of
from sweep.evaluation.encoders import SHARED_CAPTIONS, CaptionEncoder


def evaluate_retrieval(
    model: VideoModel,
    bench: TestBench,
    rows: Sequence[Condition],
    *,
    vocabulary: Tokenizer,
    precision: str,
    device: torch.device,
) -> Evaluation:
    """Rank every gallery under every condition, in both directions."""
    videos = Encoder(model, bench, feature="video_embed", precision=precision, device=device)
    captions = CaptionEncoder(model, bench, vocabulary, precision=precision, device=device)
    scores: list[Score] = []
    predictions: dict[str, np.ndarray] = {}
    ranks: dict[str, np.ndarray] = {}
    for condition in rows:
        shown, pixels = videos(condition.of_video)
        told, words = captions(condition)
        table = told.astype(np.float64) @ shown.T.astype(np.float64)
        told_of = captions_of(bench, condition.clips)
        found = _ranks(table, *_relevance(told_of, condition.clips))
        ranks |= {f"{direction}:{condition.name}": own for direction, own in found.items()}
        # of the first caption of every clip
        predictions[condition.name] = table[_firsts(told_of.owners)].argmax(1)
        recalls = _recalls(found)
        scores.append(
            Score(
                condition=condition.name,
                category=condition.category,
                accuracy=recalls["t2v_R1"],
                clips=table.shape[1],
                level=level(condition, bench),
                pixels=f"{pixels}-{words}" if condition.text else pixels,
                retrieval=recalls,
            )
        )
    sets = list(dict.fromkeys(c.clips for c in rows))
    ids = {name: tuple(bench.prepared.evaluation[name].ids) for name in sets}
    queries = {}
    if bench.settings.captions_per_clip == "all":
        queries = {name: captions_of(bench, name).owners for name in sets}
    outcomes = Outcomes(
        conditions=tuple(c.name for c in rows),
        clips={c.name: c.clips for c in rows},
        ids=ids,
        labels={name: np.arange(len(own)) for name, own in ids.items()},
        predictions=predictions,
        ranks=ranks,
        queries=queries,
    )
    return Evaluation(tuple(scores), outcomes, videos.forwards, {})


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


def _recalls(ranks: dict[str, np.ndarray]) -> dict[str, float]:
    found: dict[str, float] = {}
    for direction, own in ranks.items():
        scores = summary(own, CUTS)
        found |= {f"{direction}_R{cut}": scores.recall[cut] for cut in CUTS}
        found[f"{direction}_MedR"] = scores.median_rank
        found[f"{direction}_MnR"] = scores.mean_rank
    return found
