"""What a trial asks of a node: from the study's settings, its rules, and measured memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from losses.views import caption_views, video_views
from sweep.settings.section import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sweep.settings.resources import ResourceSettings, ResourceWhen
    from sweep.settings.trial import TrialConfig

GIB = 1024**3
#: Measured memory is multiplied by this: fragments, a longer caption, another kernel's workspace.
MARGIN = 1.2
#: This share of a card is left alone.
CARD_RESERVE = 0.05
#: More trials than this on one card only get in each other's way.
MOST_PER_CARD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one trial asks for.

    Attributes:
        cpus: Of one rank.
        gpus: Of one rank; below 1 a card is shared.
        memory_bytes: Of one rank; 0 = not asked for.
        custom: Further Ray resources of one rank, such as ``{"a100": 0.01}``.
        ranks: Processes that train data-parallel.
    """

    cpus: float
    gpus: float = 0.0
    memory_bytes: int = 0
    custom: Mapping[str, float] = field(default_factory=dict)
    ranks: int = 1

    def bundle(self) -> dict[str, float]:
        """Of one rank, as Ray names it; what is 0 is left out."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes, **self.custom}
        return {name: amount for name, amount in named.items() if amount}

    def held(self) -> dict[str, float]:
        """Cores and GPUs of all ranks, as the ledger notes them."""
        return {"cores": self.cpus * self.ranks, "gpus": self.gpus * self.ranks}

    def fit(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """How many trials empty nodes hold at a time; a rank lies on one node, a trial on many."""
        asked = self.bundle()
        ranks = sum(
            min(math.floor(node.get(name, 0.0) / amount + 1e-6) for name, amount in asked.items())
            for node in nodes
        )
        return ranks // self.ranks

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} CPU", f"{self.gpus:g} GPU"]
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / GIB:.5g} GiB memory")
        parts += [f"{amount:g} {name}" for name, amount in self.custom.items()]
        each = " + ".join(parts)
        return each if self.ranks == 1 else f"{self.ranks} x ({each})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Memory that a dry step took, in bytes.

    Attributes:
        rss: Of the process, in main memory.
        gpu: Of the card, with the context; 0 without a card.
        card: Size of the card; 0 without one.
    """

    rss: int
    gpu: int = 0
    card: int = 0


def card_share(peak_bytes: int, card_bytes: int) -> float:
    """Share of a card for one trial: 1/n, rounded down to Ray's 1/10,000 so that n do fit.

    Ray adds shares up over cards: .15 of eight cards is 53 trials for it, while a card holds six.
    Shares of 1/n leave no such rest.

    Raises:
        ConfigError: if one trial does not fit.
    """
    usable = card_bytes * (1 - CARD_RESERVE)
    if peak_bytes > usable:
        raise ConfigError(
            f"a trial needs {peak_bytes / GIB:.1f} GiB of GPU memory, and the card has "
            f"{card_bytes / GIB:.1f}; lower train.batch, or share it among ranks with "
            "resources.workers_per_trial"
        )
    trials = max(1, min(MOST_PER_CARD, math.floor(usable / (peak_bytes * MARGIN))))
    return math.floor(10_000 / trials) / 10_000


def memory_kind(trial: TrialConfig) -> str:
    """Trials of one kind take about the same memory: model, clip, batch, views and combiner."""
    captions = len(caption_views(trial.losses))
    return (
        f"{trial.model.name} {trial.data.size_px} px, batch {trial.train.batch}, "
        f"{len(video_views(trial.losses))} views, {captions} of captions, {trial.combiner.name}"
    )


def heaviest(trials: Iterable[TrialConfig]) -> dict[str, TrialConfig]:
    """Kind -> its trial with the most losses, for a dry step."""
    found: dict[str, TrialConfig] = {}
    for trial in trials:
        old = found.get(memory_kind(trial))
        if old is None or len(trial.losses) > len(old.losses):
            found[memory_kind(trial)] = trial
    return found


def demand(
    resources: ResourceSettings, trial: TrialConfig, peaks: Mapping[str, Peak] | None = None
) -> Demand:
    """What this trial asks for: the settings, then every rule that fits it, the last one winning.

    Args:
        resources: Of the study.
        trial: Judged by the rules.
        peaks: Kind -> measured memory, for ``gpus_per_trial: auto``; without an entry, a whole
            card.

    Raises:
        ConfigError: if a trial does not fit on a card.
    """
    settings: dict[str, Any] = {
        "cpus_per_trial": resources.cpus_per_trial,
        "gpus_per_trial": resources.gpus_per_trial,
        "memory_gb_per_trial": resources.memory_gb_per_trial,
        "workers_per_trial": resources.workers_per_trial,
    }
    for rule in resources.rules:
        if matches(rule.when, trial):
            given = rule.model_dump(exclude={"when"}, exclude_none=True)
            settings |= given
    ranks = int(settings["workers_per_trial"])
    gpus, memory_gb = settings["gpus_per_trial"], settings["memory_gb_per_trial"]
    peak = (peaks or {}).get(memory_kind(trial))
    if gpus == "auto":
        gpus = 1.0
        if peak is not None:
            gpus = card_share(peak.gpu, peak.card) if peak.card else 0.0
            if memory_gb is None:
                memory_gb = ranks * peak.rss * MARGIN / GIB  # each rank loads all the code
        if ranks > 1 and gpus:
            gpus = float(ranks)
    return Demand(
        cpus=settings["cpus_per_trial"] / ranks,
        gpus=gpus / ranks,
        memory_bytes=round((memory_gb or 0.0) * GIB / ranks),
        custom=dict(resources.custom),
        ranks=ranks,
    )


def matches(when: ResourceWhen, trial: TrialConfig) -> bool:
    """Whether everything that a rule names holds for the trial."""
    return (
        (when.model is None or when.model == trial.model.name)
        and (when.combiner is None or when.combiner == trial.combiner.name)
        and (not when.losses or bool(set(when.losses) & set(trial.losses)))
        and len(trial.losses) >= when.min_losses
        and len(video_views(trial.losses)) >= when.min_views
    )
