"""What a model can be tested by: one row per task, with its metrics. Imports no torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from losses.catalogue import LOSSES, index_by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sweep.evaluation.bench import TestBench
    from sweep.evaluation.encoders import Encoders
    from sweep.evaluation.result import Evaluation
    from sweep.records.condition import Condition
    from sweep.settings.evaluate import EvaluateSettings

    Test = Callable[[TestBench, Encoders, Sequence[Condition], "TaskSpec"], Evaluation]

#: The value of `evaluate.task` that leaves the choice to the primary loss.
AUTO = "auto"
#: Cut-offs of recalls, and their directions: text to video and back.
CUTS, DIRECTIONS = (1, 5, 10), ("t2v", "v2t")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a task under a condition.

    Attributes:
        name: As in records, and before the colon of a pattern of conditions: `t2v_R5:clean`.
        label: Of axes and columns, such as `top-1 accuracy`.
        unit: What the number is in.
        better: Which direction is good.
        per_clip: Whether it is 100 times the mean of one number from 0 to 1 per clip, in `%`; then
            paired tests over clips exist.
        chance: Its value for a model that knows nothing, in words: `1/classes`; "" if unknown.
    """

    name: str
    label: str
    unit: Literal["%", "rank", "points", ""] = "%"
    better: Literal["higher", "lower"] = "higher"
    per_clip: bool = True
    chance: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What a study must know about a task before any model is built.

    Attributes:
        name: As in `evaluate.task`.
        metrics: The first is the headline: what is called accuracy; outcomes of a study name others
            before a colon. The headline is per clip.
        primaries: Losses that train it: with one of them as primary loss, `evaluate.task: auto`
            means this task.
        clips: What clips must have: `labels`, `captions`, or what else data sets name as `extras`.
        features: What the model must give.
        heads: Rows of ``models.catalogue.HEADS`` that models have for this task.
        sides: What can be perturbed: `video`, `text`; with both also the two together.
        thins: Whether some of the clips give a fair estimate (not of a gallery).
        fits: Whether something is fitted before the test, on features of the training clips.
        target: `module:function`, the test: see ``sweep.tasks``.
        description: One line for people.
        source: Where the protocol comes from.
    """

    name: str
    metrics: tuple[Metric, ...]
    primaries: tuple[str, ...] = ()
    clips: frozenset[str]
    features: frozenset[str]
    heads: tuple[str, ...] = ()
    sides: frozenset[str] = frozenset({"video"})
    thins: bool = True
    fits: bool = False
    target: str
    description: str
    source: str

    @property
    def headline(self) -> Metric:
        """What is called accuracy."""
        return self.metrics[0]

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Metrics that an outcome of a study may name: of single clips, more is better."""
        return tuple(m.name for m in self.metrics if m.per_clip and m.better == "higher")

    def load(self) -> Test:
        """The test."""
        module, _, name = self.target.partition(":")
        found: Test = getattr(importlib.import_module(module), name)
        return found


def _ranks(direction: str, label: str) -> tuple[Metric, ...]:
    recalls = [
        Metric(name=f"{direction}_R{cut}", label=f"R@{cut}, {label}", chance=f"{cut}/gallery")
        for cut in CUTS
    ]
    ranks = [
        Metric(
            name=f"{direction}_{name}", label=f"{words} rank, {label}",
            unit="rank", better="lower", per_clip=False,
        )
        for name, words in (("MedR", "median"), ("MnR", "mean"))
    ]  # fmt: skip
    return (*recalls, *ranks)


_ROWS = (
    TaskSpec(
        name="classification",
        metrics=(Metric(name="top1", label="top-1 accuracy", chance="1/classes"),),
        primaries=("classification",),
        clips=frozenset({"labels"}),
        features=frozenset({"logits"}),
        heads=("classes",),
        target="sweep.tasks.classification:test",
        description="the class of a clip",
        source="arXiv:2207.01398",
    ),
    TaskSpec(
        name="retrieval",
        metrics=(*_ranks("t2v", "text to video"), *_ranks("v2t", "video to text")),
        primaries=("infonce", "siglip"),
        clips=frozenset({"captions"}),
        features=frozenset({"video_embed", "text_embed"}),
        heads=("joint",),
        sides=frozenset({"video", "text"}),
        thins=False,
        target="sweep.tasks.retrieval:test",
        description="the video of a caption and the caption of a video",
        source="arXiv:2207.02159",
    ),
    TaskSpec(
        name="probing",
        metrics=(
            Metric(name="top1", label="top-1 accuracy of a probe", chance="1/classes"),
            Metric(name="top5", label="top-5 accuracy of a probe", chance="5/classes"),
        ),
        clips=frozenset({"labels"}),
        features=frozenset({"video"}),
        fits=True,
        target="sweep.tasks.probing:test",
        description="the class of a clip, told by a probe on the frozen model",
        source="arXiv:2404.08471",
    ),
)
TASKS: Mapping[str, TaskSpec] = index_by_name(_ROWS)


def task_of(settings: EvaluateSettings, primary: str) -> TaskSpec:
    """What a study tests its models by: as named, or told by the primary loss.

    A loss that no task names trains the first task that asks for labels if the loss reads labels
    itself, else the first one that does not.
    """
    if settings.task != AUTO:
        return TASKS[settings.task]
    named = [row for row in TASKS.values() if primary in row.primaries]
    labelled = "labels" in LOSSES[primary].needs
    fitting = [row for row in TASKS.values() if ("labels" in row.clips) == labelled]
    return (named or fitting)[0]
