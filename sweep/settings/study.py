"""A study: one research question with all its sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from sweep.settings.data import DataSettings
from sweep.settings.design import DesignSettings
from sweep.settings.evaluate import EvaluateSettings
from sweep.settings.losses import LossSettings
from sweep.settings.model import ModelSettings
from sweep.settings.resources import ResourceSettings
from sweep.settings.search import SearchSettings
from sweep.settings.section import Section, Since, setting
from sweep.settings.track import TrackSettings
from sweep.settings.train import TrainSettings


class Disclosure(Section):
    """What qualifies a claim about one loss on one outcome: it stands in the very sentence."""

    loss: str = setting(role="words")
    outcome: str = setting(role="words")
    text: str = setting(role="words", description="a sentence that can stand after the claim")


class StudyConfig(Section):
    """One research question: what is fixed, what varies, what is measured."""

    name: str = setting(role="words", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str = setting(role="words")
    question: str = setting(role="words")
    hypothesis: str = setting("", role="words")
    disclosures: list[str | Disclosure] = setting(
        default_factory=list,
        role="words",
        description="printed in the report; one with `loss` and `outcome` in the claim itself",
    )
    scale: str = setting("mini", role="words")
    design: DesignSettings = setting(searched=False, default_factory=DesignSettings)
    primary: str = setting(
        "classification",
        since=Since("classification"),
        searched=False,
        description="the task's own loss; weight 1",
    )
    losses: dict[str, LossSettings] = setting()
    combiners: dict[str, dict[str, Any]] = setting(
        default_factory=lambda: dict[str, dict[str, Any]](static={})
    )
    seeds: int | list[int] = setting(3, searched=False)
    seed_base: int = setting(
        0, searched=False, ge=0, description="first seed when `seeds` is a number"
    )
    model: ModelSettings = setting(searched=False, default_factory=ModelSettings)
    data: DataSettings = setting(searched=False, default_factory=DataSettings)
    train: TrainSettings = setting(default_factory=TrainSettings)
    evaluate: EvaluateSettings = setting(searched=False, default_factory=EvaluateSettings)
    search: SearchSettings = setting(searched=False, default_factory=SearchSettings)
    outcomes: dict[str, list[str]] = setting(
        role="words",
        default_factory=lambda: {"clean": ["clean"]},
        description="name -> patterns of conditions whose accuracies are averaged",
    )
    headline: list[str] = setting(
        role="words",
        default_factory=lambda: ["clean"],
        description="outcomes of the answer, in order; `{ood: {margin: 1}}` gives one a margin",
    )
    primary_outcome: str | None = setting(
        None,
        role="words",
        description="outcome whose comparisons are judged first, the others only if all of it "
        "holds; None = all outcomes of the answer are one family",
    )
    margins: dict[str, float] = setting(
        role="words",
        default_factory=dict,
        description="outcome of the answer -> points within which a difference does not matter",
    )
    report: list[str] = setting(
        role="words",
        default_factory=list,
        description="analyses of the report, besides those of the design",
    )
    resources: ResourceSettings = setting(role="place", default_factory=ResourceSettings)
    reuse: list[str] = setting(
        role="place",
        default_factory=list,
        description="folders of sweeps whose finished cells of equal content are taken over",
    )
    track: TrackSettings = setting(role="place", default_factory=TrackSettings)

    @model_validator(mode="before")
    @classmethod
    def _margins_of_headline(cls, content: Any) -> Any:
        """`headline: {ood: {margin: 1}, clean: {}}` as a list and `margins`."""
        if not isinstance(content, Mapping) or not isinstance(content.get("headline"), Mapping):
            return content
        named = content["headline"]
        margins = dict(content.get("margins") or {})
        for outcome, settings in named.items():
            if settings in (None, {}):
                continue
            if not isinstance(settings, Mapping) or set(settings) != {"margin"}:
                raise ValueError(
                    f"headline.{outcome}: `margin` (points above 0) or nothing, given {settings!r}"
                )
            margins[outcome] = settings["margin"]
        return {**content, "headline": list(named), "margins": margins}

    @property
    def disclosed(self) -> list[str]:
        """Disclosures as sentences, those of a claim with what they are about."""
        return [
            row if isinstance(row, str) else f"{row.loss} on {row.outcome}: {row.text}"
            for row in self.disclosures
        ]

    @property
    def seed_list(self) -> list[int]:
        """Training seeds, in order; with `design.stopping` all that may run."""
        if isinstance(self.seeds, int):
            stopping = self.design.stopping
            count = self.seeds if stopping is None else stopping.max_seeds
            return list(range(self.seed_base, self.seed_base + count))
        return list(self.seeds)

    @property
    def least_seeds(self) -> int:
        """Seeds that run whatever a look at them says; all, without `design.stopping`."""
        if isinstance(self.seeds, int):
            return self.seeds
        return len(self.seeds) if self.design.stopping is None else 1
