"""What a plan says: plain, frozen data, printed by `plan` and written by `plan --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sweep.settings.section import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Parts that `plan --json` leaves out where nobody asked for them.
_ASKED_FOR = ("budget", "power")


@dataclass(frozen=True, kw_only=True)
class CellState:
    """One cell of a plan.

    Attributes:
        label: Name of its loss set and combiner, such as `all [meltr]`.
        seed: Its seed.
        key: Names its content.
        state: `planned`, `finished` in the sweep's folder, or `reused` from another sweep.
    """

    label: str
    seed: int
    key: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Forwards:
    """Clips that go through a model; a training step counts three per view.

    Attributes:
        train: In training, of all cells.
        evaluate: In tests, of all cells.
        avoided: Of finished cells, and of clips that the fidelity leaves out.
    """

    train: int
    evaluate: int
    avoided: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a search chooses by.

    Attributes:
        by: Its objectives.
        on: `validation` or `test`.
        clips: How many of these.
        early: The clips that trials are stopped early by; None = none are stopped.
        of_training: Share of the training clips that is kept out to choose by; 0 = none.
        spares_labels: Whether clips without a label for training are kept out before others.
    """

    by: tuple[str, ...]
    on: str
    clips: int
    early: str | None
    of_training: float
    spares_labels: bool


@dataclass(frozen=True, kw_only=True)
class CacheSize:
    """GB on disk: decoded clips, and perturbed ones, made once per node."""

    decoded: float
    perturbed: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """GB per worker at its peak, as measured; None = not measured."""

    host: float | None
    gpu: float | None


@dataclass(frozen=True, kw_only=True)
class TimeNeeded:
    """Predicted time of what is left to run.

    Attributes:
        source: Where the rates come from: `cells` or `dry step`.
        where: What was measured, for people.
        workers: Cells at a time.
        wall_s: Seconds from start to end on a machine with nothing else to do.
        wall_at_load_s: The same at the load while measuring.
        data_s: Of these, to prepare the data.
        cell_s: Seconds per cell, mean.
        core_hours: CPU hours that workers hold.
        gpu_hours: GPU hours that workers hold.
        stretch: Wall seconds per second of work while measuring, 1 or more.
        parts_s: Seconds of work by kind: `train`, `test`, `perturb`, `rest`.
    """

    source: str
    where: str
    workers: int
    wall_s: float
    wall_at_load_s: float
    data_s: float
    cell_s: float
    core_hours: float
    gpu_hours: float
    stretch: float
    parts_s: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Places:
    """What a cell holds, how many of them run at a time, and whether Ray runs them."""

    cpus_per_trial: float
    gpus_per_trial: float
    workers: int
    ray: bool


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What finished cells tell of the precision to come, in points.

    Attributes:
        cells: Finished cells that were read.
        sd: Outcome -> standard deviation of paired differences over seeds.
        detectable_points: Outcome -> smallest mean difference that the seeds resolve (80 %).
    """

    cells: int
    sd: Mapping[str, float]
    detectable_points: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A budget: `amount` in `unit` (`h`, `cpuh`, `gpuh`), the fidelity taken, and their costs."""

    amount: float
    unit: str
    fidelity: str
    costs: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Whether an effect would be found.

    Attributes:
        effect: In points.
        outcome: The headline outcome with the least power.
        power: Probability, 0 to 1, that a paired t test at 5 % finds it.
        seeds_for_80: Fewest seeds with a power of .8; None beyond 200.
    """

    effect: float
    outcome: str
    power: float
    seeds_for_80: int | None


@dataclass(frozen=True, kw_only=True)
class Trend:
    """What a trend over loss sets rests on: the set is the unit, whatever its seeds.

    Attributes:
        loss_sets: Per combiner.
        fewest_sets: Below which the trend is not tested.
        given_losses: Whether it is tested given which losses are in a set.
        detectable_correlation: Rank correlation that the sets find four times out of five; None
            where none.
    """

    loss_sets: int
    fewest_sets: int
    given_losses: bool
    detectable_correlation: float | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study would run, what that takes and what it can resolve.

    Attributes:
        study: Its name.
        scale: Its scale.
        design: Kind of the design.
        estimates: What its cells estimate, in words.
        aliases: Effects that its cells cannot tell apart, one sentence each.
        cells: All cells but those that a search will suggest.
        labels: Their labels, each once.
        seeds: Seeds of every label.
        looks: Numbers of seeds after which a study with `design.stopping` looks; () of others.
        least_cells: Cells up to the first look; all, if nobody looks.
        search_trials: Cells that a search will suggest.
        search_seeds: Of every proposal of a search; 0 = this is none.
        search_promoted: Cells that it may add for its best.
        selection: What a search chooses by; None for designs that choose nothing.
        withheld_share: Share of the labelled clips that every cell leaves out of training.
        duplicates: Labels that are equal to an earlier one: `none [meltr] = none`.
        ignored_weights: Combiners that ignore given weights, one sentence each.
        finished: Number of cells that are finished in the sweep's folder.
        reused: Folder of another sweep -> number of cells that are taken over from it.
        to_run: Number of cells that will run.
        conditions: What every model is tested under.
        equal_conditions: Those with the frames of another, which count once; a sentence each.
        seen_in_training: Condition -> `condition` or `kind`, as training has shown it.
        ladder: Name of the severity table.
        fidelity: `probe`, `screen` or `full`.
        forwards: Clips that go through models.
        data: What is known of the data set without decoding (``sweep.data.survey.plan``).
        cache_gb: Disk.
        memory_gb: Memory.
        time: Predicted time; None = nothing was measured.
        resources: What a cell holds.
        trend: Of a design that asks for one over loss sets; None of others.
        detectable_sd: Smallest mean difference that the seeds resolve, in standard deviations of
            the paired differences (80 % power, 5 % two-sided); None for one seed.
        detectable_sd_by_seeds: The same for other numbers of seeds.
        pilot: Spread in finished cells; None without any.
        grid_interval_points: Half of the 95 % interval of a mean over the perturbation grid that
            thinned clips leave, in points.
        budget: The limit; None = none was given.
        power: Of the effect that was named; None = none was, or nothing tells.
    """

    study: str
    scale: str
    design: str
    estimates: str
    aliases: tuple[str, ...]
    cells: tuple[CellState, ...]
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    least_cells: int
    search_trials: int
    search_seeds: int
    search_promoted: int
    selection: Selection | None
    withheld_share: float
    duplicates: tuple[str, ...]
    ignored_weights: tuple[str, ...]
    finished: int
    reused: Mapping[str, int]
    to_run: int
    conditions: tuple[str, ...]
    equal_conditions: tuple[str, ...]
    seen_in_training: Mapping[str, str]
    ladder: str
    fidelity: str
    forwards: Forwards
    data: Mapping[str, Any]
    cache_gb: CacheSize
    memory_gb: Memory
    time: TimeNeeded | None
    resources: Places
    trend: Trend | None
    detectable_sd: float | None
    detectable_sd_by_seeds: Mapping[int, float]
    pilot: Spread | None
    grid_interval_points: float
    budget: Limit | None = None
    power: Chance | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, in the order of the fields."""
        content = asdict(self)
        return {k: v for k, v in content.items() if k not in _ASKED_FOR or v is not None}

    def cost_in(self, unit: str) -> float:
        """Predicted cost in the unit of a budget.

        Raises:
            ConfigError: if nothing was measured, or the unit is none of this study.
        """
        if self.time is None:
            raise ConfigError(
                "--budget: no finished cell tells how long one takes; add --dry-step, which makes "
                "a few steps of every kind of cell on this machine"
            )
        if unit == "gpuh":
            if not self.resources.gpus_per_trial:
                raise ConfigError(
                    "--budget in gpuh: this study uses no GPU (resources.gpus_per_trial is 0); "
                    "give cpuh, or h for the time from start to end"
                )
            return self.time.gpu_hours
        if unit == "cpuh":
            return self.time.core_hours
        return self.time.wall_at_load_s / 3600
