"""Testing a model by retrieval: captions find videos and videos find captions.

Every test clip has one caption; the clips of a set are the gallery. Videos and captions are
perturbed alone and together; what is perturbed on one side alone is encoded on that side alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perturb.text import perturb_captions
from sweep.evaluate import Encoder, Evaluation, level
from sweep.record import CUTS, Outcomes, Score
from sweep.retrieval import group_ranks, summary
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
        """Embeddings float32 ``(N, D)`` and the hash of the captions."""
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


def captions_of(bench: TestBench, clips: str) -> list[str]:
    """The caption of every clip of a set: its first one.

    Raises:
        ValueError: A clip without a caption.
    """
    clip_set = bench.prepared.evaluation[clips]
    silent = [n for n, own in zip(clip_set.ids, clip_set.captions, strict=True) if not own]
    if silent:
        raise ValueError(f"{len(silent)} clips of '{clips}' have no caption, such as {silent[0]}")
    return [own[0] for own in clip_set.captions]


def perturbed(bench: TestBench, condition: Condition) -> list[str]:
    """The captions of a condition, as they are shown to the model."""
    captions = captions_of(bench, condition.clips)
    if not condition.text:
        return captions
    return perturb_captions(
        captions,
        condition.text,
        condition.text_severity,
        caption_ids=bench.prepared.evaluation[condition.clips].ids,
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
        found = _ranks(table, _groups(bench, condition.clips))
        ranks |= {f"{direction}:{condition.name}": own for direction, own in found.items()}
        predictions[condition.name] = table.argmax(1)
        recalls = _recalls(found)
        scores.append(
            Score(
                condition=condition.name,
                category=condition.category,
                accuracy=recalls["t2v_R1"],
                clips=len(table),
                level=level(condition, bench),
                pixels=f"{pixels}-{words}" if condition.text else pixels,
                retrieval=recalls,
            )
        )
    sets = list(dict.fromkeys(c.clips for c in rows))
    ids = {name: tuple(bench.prepared.evaluation[name].ids) for name in sets}
    outcomes = Outcomes(
        conditions=tuple(c.name for c in rows),
        clips={c.name: c.clips for c in rows},
        ids=ids,
        labels={name: np.arange(len(own)) for name, own in ids.items()},
        predictions=predictions,
        ranks=ranks,
    )
    return Evaluation(tuple(scores), outcomes, videos.forwards, {})


def _groups(bench: TestBench, clips: str) -> np.ndarray:
    """Which clips belong together: all those of one caption where captions are shared."""
    captions = captions_of(bench, clips)
    if not clips.endswith(SHARED_CAPTIONS):
        return np.arange(len(captions))
    return np.unique(captions, return_inverse=True)[1]


def _ranks(table: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """Ranks from 0 of both directions; a shared caption stands in the gallery once."""
    _, first = np.unique(groups, return_index=True)
    return {
        "t2v": group_ranks(table, groups, groups).astype(np.int32),
        "v2t": group_ranks(table[first].T, groups, groups[first]).astype(np.int32),
    }


def _recalls(ranks: dict[str, np.ndarray]) -> dict[str, float]:
    found: dict[str, float] = {}
    for direction, own in ranks.items():
        scores = summary(own, CUTS)
        found |= {f"{direction}_R{cut}": scores.recall[cut] for cut in CUTS}
        found[f"{direction}_MedR"] = scores.median_rank
        found[f"{direction}_MnR"] = scores.mean_rank
    return found
