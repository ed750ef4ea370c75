"""Testing a model by retrieval: captions find videos and videos find captions.

The first caption of a test clip is a query, or every one (``evaluate.captions_per_clip: all``); the
clips of a set are the gallery. Videos and captions are perturbed alone and together; what is
perturbed on one side alone is encoded on that side alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perturb.text import perturb_captions
from sweep.evaluate import Encoder, Evaluation, level
from sweep.record import CUTS, Outcomes, Score
from sweep.retrieval import relevant_ranks, summary
from sweep.text import PAD, Vocabulary
from sweep.training.learner import mixed_precision

if TYPE_CHECKING:
    from sweep.conditions import Condition
    from sweep.evaluate import TestBench

#: Captions of a test set with this end fit several of its clips; any of them counts as found.
SHARED_CAPTIONS = "-known"


class CaptionEncoder:
    """Embeddings of the test captions, perturbed or not; each is computed once.

    Args:
        model: The trained model.
        bench: Its test clips.
        vocabulary: Of the training captions; other words are unknown ones.
        precision: Of the forward.
        device: Of the model.
    """

    def __init__(
        self,
        model: Any,
        bench: TestBench,
        vocabulary: Vocabulary,
        *,
        precision: str,
        device: torch.device,
    ) -> None:
        self.model = model
        self.bench = bench
        self.vocabulary = vocabulary
        self.precision = precision
        self.device = device
        self._known: dict[tuple[str, str, int], tuple[np.ndarray, str]] = {}

    def __call__(self, condition: Condition) -> tuple[np.ndarray, str]:
        """Embeddings float32 ``(M, D)`` and the hash of the captions."""
        key = condition.clips, condition.text, condition.text_severity
        if key not in self._known:
            captions = perturbed(self.bench, condition)
            digest = hashlib.blake2b("\n".join(captions).encode(), digest_size=8).hexdigest()
            self._known[key] = self._encode(captions), digest
        return self._known[key]

    @torch.inference_mode()
    def _encode(self, captions: Sequence[str]) -> np.ndarray:
        was_training = self.model.training
        self.model.eval()
        ids = torch.from_numpy(self.vocabulary.encode(captions)).to(self.device)
        batch = self.bench.settings.batch
        found = []
        for part in ids.split(batch):
            with mixed_precision(self.precision, self.device):
                made = self.model.encode_text(part, part != PAD)["text_embed"]
            found.append(made.float().cpu().numpy())
        self.model.train(was_training)
        return np.concatenate(found)


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


def evaluate_retrieval(
    model: Any,
    bench: TestBench,
    rows: Sequence[Condition],
    *,
    vocabulary: Vocabulary,
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
