"""`plan`: cells, seeds, cost and power of a study; nothing is started, nothing heavy imported."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.cells.resolve import cells
from sweep.engine.duration import duration
from sweep.engine.folder import folder, read_study
from sweep.engine.meter import spent
from sweep.engine.summary import ExitCode
from sweep.evaluation.conditions import clips_per_cell
from sweep.planning import budget as budgets
from sweep.planning import pilot as pilots
from sweep.planning.contents import Chance, Limit
from sweep.planning.plan import make
from sweep.planning.workers import local_workers, slots
from sweep.records.files import has_plan
from sweep.records.reuse import with_reuse
from sweep.report.analyses.catalogue import check_names
from sweep.settings.section import ConfigError
from sweep.studies.checks import check_idle
from sweep.studies.load import load_study, validate_study

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.planning.contents import Forwards, Plan, Selection, Trend
    from sweep.planning.cost import Rates
    from sweep.settings.study import StudyConfig

#: A plan that finds a named effect less often than this is refused.
LEAST_POWER = 0.5
#: Wall seconds per second of work above which the machine counts as busy.
BUSY = 1.25


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What `plan` and `study` are asked besides the study.

    Attributes:
        out: Folder of the sweep; None = the default one.
        reuse: Sweeps whose finished cells are taken over.
        workers: Cells at a time; None = what this machine holds.
        cluster: Ask the running Ray cluster instead.
        dry_step: Measure by a few real steps.
        budget: Such as `8gpuh`.
        effect: Smallest effect of interest, in points.
        yes: Go on although the power is low.
        ray: Whether Ray runs the cells.
    """

    out: Path | None = None
    reuse: tuple[str, ...] = ()
    workers: int | None = None
    cluster: bool = False
    dry_step: bool = False
    budget: str | None = None
    effect: float | None = None
    yes: bool = False
    ray: bool = True


class RefusedError(Exception):
    """The study fits no budget, or cannot find what it is meant to find."""


def run(
    source: str,
    *,
    scale: str | None,
    overrides: Sequence[str],
    as_json: bool,
    wishes: Wishes | None = None,
) -> int:
    """Print the plan; exit code 0, 3 if it is refused, or 2 through ConfigError."""
    wishes = wishes or Wishes()
    study = with_reuse(load_study(source, scale=scale, overrides=overrides), wishes.reuse)
    check_idle(study)
    check_names(study.report)
    try:
        study, plan, said = decide(study, wishes)
    except RefusedError as refused:
        print(f"auxsweep: {refused}", file=sys.stderr)
        return ExitCode.OVER_BUDGET
    if as_json:
        print(json.dumps(plan.to_json(), indent=1))
    else:
        _show(study, plan, said)
    return 0


def decide(study: StudyConfig, wishes: Wishes) -> tuple[StudyConfig, Plan, list[str]]:
    """The study at the fidelity that fits its budget, its plan, and what was decided, in words.

    Raises:
        RefusedError: if no fidelity fits the budget, or the power for the effect is too low.
        ConfigError: if something is wrong or nothing was measured.
    """
    limit = None if wishes.budget is None else budgets.parse(wishes.budget)
    if wishes.effect is not None and wishes.effect <= 0:
        raise ConfigError(f"--effect {wishes.effect:g}: points above 0 are expected, such as 2")
    workers = wishes.workers
    if wishes.cluster:
        workers = slots(_cluster_nodes(), study.resources)
    if workers is None:
        workers = local_workers(study.resources)
    elif workers < 1:
        raise ConfigError(f"--workers {workers}: at least 1")
    rates = _dry_step(study, workers) if wishes.dry_step else None
    own = folder(study, wishes.out)
    others = sorted(path.parent for path in Path("runs").glob("*/sweep.yaml"))

    def planned(one: StudyConfig) -> Plan:
        return make(one, own=own, rates=rates, workers=workers, ray=wishes.ray, others=others)

    said: list[str] = []
    choice = None
    if limit is not None and has_begun(own):
        study = _as_begun(study, own)
        said.append(_rest(planned(study), limit, own))
    elif limit is not None:
        choice = budgets.choose(study, limit, lambda one: planned(one).cost_in(limit.unit))
        if choice.study is None:
            raise RefusedError(budgets.refusal(choice, limit, ("seeds", "losses", "steps")))
        study = choice.study
        said.append(_chosen(choice, limit, planned(study)))
    plan = planned(study)
    if limit is not None:
        study = with_budget(study, wishes.budget)
        within = Limit(
            amount=limit.amount,
            unit=limit.unit,
            fidelity=study.evaluate.fidelity,
            costs={} if choice is None else choice.costs,
        )
        plan = replace(plan, budget=within)
    if wishes.effect is not None:
        power, text = _judge_power(study, plan, wishes)
        plan = replace(plan, power=power)
        said.append(text)
    return study, plan, said


def has_begun(sweep: Path) -> bool:
    """Whether a folder holds a sweep: what its cells are is then decided."""
    return has_plan(sweep)


def with_budget(study: StudyConfig, text: str | None) -> StudyConfig:
    """The study with another limit.

    Raises:
        ConfigError: if it cannot be read, or is of something that no trial uses.
    """
    content = study.model_dump(mode="json")
    content["resources"]["budget"] = text
    return validate_study(content, where="--budget")


def _as_begun(study: StudyConfig, sweep: Path) -> StudyConfig:
    """The study at the fidelity that was chosen when the sweep began."""
    return budgets.at_fidelity(study, read_study(sweep).evaluate.fidelity)


def _rest(plan: Plan, limit: budgets.Budget, sweep: Path) -> str:
    """What a sweep has spent, and what its rest takes."""
    meter = spent(sweep, read_study(sweep).resources)
    used = meter.spent(limit.unit)
    text = f"the sweep has spent {used:.3g} of {limit}"
    if plan.time is None:
        return f"{text}; what its {plan.to_run} remaining cells take is not known"
    rest = plan.cost_in(limit.unit)
    verdict = "is" if used + rest <= limit.amount else "is not"
    return f"{text}; the rest takes about {rest:.3g}, which {verdict} within the budget"


def _chosen(choice: budgets.Choice, limit: budgets.Budget, plan: Plan) -> str:
    """What was chosen and what it costs in precision."""
    name, price = choice.fidelity, choice.costs[choice.fidelity]
    text = f"fidelity {name} fits the budget ({price:.3g} of {limit})"
    if name == "full":
        return f"{text}: every clip is tested"
    dearer = ", ".join(f"{n} would take {v:.3g}" for n, v in choice.costs.items() if n != name)
    half = plan.grid_interval_points
    return (
        f"{text}; {dearer or 'as the study says'}. In exchange means over the perturbation grid "
        f"carry +-{half:.1f} points (95 %) of each cell, single severities are not shown"
    )


def _judge_power(study: StudyConfig, plan: Plan, wishes: Wishes) -> tuple[Chance | None, str]:
    """Whether the named effect would be found, as numbers (None: unknown) and in words.

    Raises:
        RefusedError: if the chance is below one half and nobody insists.
    """
    effect = wishes.effect
    assert effect is not None
    known = plan.pilot
    if known is None:
        return None, (
            f"power for {effect:g} points: unknown, no finished cells of two seeds to learn the "
            "spread from (give them with --reuse or --out)"
        )
    if plan.trend is not None:
        return None, (
            f"power for {effect:g} points: the question is a trend over {plan.trend.loss_sets} "
            "loss sets, of which a difference in points is no part"
        )
    from sweep.report.family import family_size
    from sweep.statistics.claims import FEWEST_PAIRS
    from sweep.statistics.detectable import pairs_needed

    seeds, family = len(plan.seeds), family_size(study)
    judged = study.headline if study.primary_outcome is None else [study.primary_outcome]
    name, chance = pilots.weakest(effect, known.sd, seeds, judged, family=family)
    spread = known.sd[name]
    needed = pairs_needed(effect, spread, family=family) if spread > 0 else FEWEST_PAIRS
    count = "1 seed" if seeds == 1 else f"{seeds} seeds"
    text = (
        f"power for {effect:g} points: {chance:.0%} on '{name}' (spread {known.sd[name]:.2g} "
        f"points of {known.cells} finished cells) with {count}, Holm over {family} tests; 80 % "
        + (f"takes {needed} seeds" if needed else "takes more than 200 seeds")
    )
    if chance < LEAST_POWER and not wishes.yes:
        raise RefusedError(f"{text}. It would rather not be found than found; --yes runs it anyway")
    return Chance(effect=effect, outcome=name, power=chance, seeds_for_80=needed), text


def _dry_step(study: StudyConfig, workers: int) -> Rates:
    from sweep.planning.dry_step import measure_rates

    print("dry step: a few real steps of every kind of cell ...", file=sys.stderr)
    return measure_rates(study, cells(study), workers=workers)


def _cluster_nodes() -> list[tuple[float, float]]:
    from sweep.engine.tune.probe import offered

    with tempfile.TemporaryDirectory(prefix="auxsweep-") as scratch:
        return offered(log=Path(scratch) / "ray.log")


# --------------------------------------------------------------------------------------- shown


def _show(study: StudyConfig, plan: Plan, said: Sequence[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{escape(study.title)}[/bold]")
    console.print(escape(study.question), highlight=False)
    console.print()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")

    def row(name: str, text: str) -> None:
        table.add_row(name, escape(text))  # labels have brackets: `all [meltr]`

    labels, seeds = plan.labels, plan.seeds
    row("design", f"{plan.design} ({plan.scale} scale)")
    row("estimates", plan.estimates)
    if plan.aliases:
        row("aliases", " ".join(plan.aliases))
    row("configurations", f"{len(labels)}: " + _first(labels, 24))
    if plan.duplicates:
        row("", f"{len(plan.duplicates)} equal to others: " + _first(plan.duplicates, 6))
    for text in plan.ignored_weights:
        row("weights", text)
    if plan.selection is not None:
        row("selection", _selection(plan.selection))
    row("seeds", f"{len(seeds)}: " + ", ".join(map(str, seeds)))
    if plan.looks:
        row("looks", _looks(plan))
    row("cells", _cells(plan))
    thinned = clips_per_cell(study.evaluate)
    row(
        "conditions",
        f"{len(plan.conditions)} (severity table {plan.ladder}), fidelity {plan.fidelity}"
        + (f": {thinned} clips per perturbation and severity" if thinned else ""),
    )
    for text in plan.equal_conditions:
        row("equal", text)
    if plan.withheld_share:
        row(
            "training",
            f"{plan.withheld_share:.0%} of the labelled clips are left out in every cell, as "
            "`data: holdout` keeps them for its meta steps: pairs train on the same clips",
        )
    if study.train.perturb != "none":
        row("training", _mix(study, plan.seen_in_training))
    row("data", f"{study.data.dataset}: {plan.data['note']}")
    row("disk", _disk(plan))
    row("forwards", _forwards(plan.forwards))
    for name, text in (("time", _time(plan)), ("memory", _memory(plan)), ("power", _power(plan))):
        row(name, text)
    for text in said:
        row("decided", text)
    console.print(table)


def _mix(study: StudyConfig, seen: Mapping[str, str]) -> str:
    """What training clips go through, and which tests that makes no tests of robustness."""
    share = study.train.perturb_probability
    text = f"{share:.0%} of the clips perturbed by the mix '{study.train.perturb}'"
    for much, said in (("condition", "seen in training"), ("kind", "its kind seen in training")):
        names = [name for name, value in seen.items() if value == much]
        if names:
            text += f"; {said}: {_first(names, 8)}"
    return text


def _first(names: Sequence[str], most: int) -> str:
    more = f", ... and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _looks(plan: Plan) -> str:
    """When a study with `design.stopping` looks, and when it ends."""
    return (
        f"after {', '.join(map(str, plan.looks))} seeds; ends when every comparison holds, with "
        f"{plan.least_cells} cells at the least. All looks that are declared share an error of 5 %"
    )


def _selection(about: Selection) -> str:
    """What decides which configuration is best, and on which clips."""
    text = f"by {', '.join(about.by)} on "
    if about.on == "test":
        text += "the test clips that are reported: the winners' numbers there are biased upwards"
    else:
        # one accuracy near one half
        half = 98 / max(1, about.clips) ** 0.5
        text += f"{about.clips} validation clips"
        if about.of_training:
            text += f" ({about.of_training:.0%} of the training clips"
            if about.spares_labels:
                text += ", those first whose label training does not use"
            text += ")"
        text += f", which know an accuracy to +-{half:.0f} points (95 %); no test decides anything"
    if about.early == "test":
        text += "; trials are stopped early by the clean test clips"
    elif about.early:
        text += "; trials are stopped early by validation clips"
    return text


def _cells(plan: Plan) -> str:
    text = f"{len(plan.cells)} planned" + (" at most" if plan.looks else "")
    if plan.search_trials:
        text += f" + {plan.search_trials} suggested by the search"
        if plan.search_seeds > 1:
            text += f" ({plan.search_seeds} seeds each)"
    if plan.search_promoted:
        text += f" + up to {plan.search_promoted} for its best"
    if plan.finished:
        text += f"; {plan.finished} finished in the sweep's folder"
    for origin, count in plan.reused.items():
        text += f"; {count} taken over from {origin}"
    if plan.finished or plan.reused:
        text += f"; {plan.to_run} to run"
    elif not plan.data["is_ready"]:
        text += " (cells finished elsewhere are recognised once the data is prepared)"
    return text


def _forwards(clips: Forwards) -> str:
    def shown(count: int) -> str:
        return f"{count:,}" if count < 10_000 else f"{count / 1e3:,.0f} thousand"

    text = f"{shown(clips.train)} clips of training, {shown(clips.evaluate)} of testing"
    return text + (f"; {shown(clips.avoided)} avoided" if clips.avoided else "")


def _disk(plan: Plan) -> str:
    cache = plan.cache_gb
    perturbed = f"{cache.perturbed:.2f} GB of test clips, perturbed once per node"
    if not cache.perturbed:
        perturbed = "perturbed clips are not stored but made again in every cell"
    return f"{cache.decoded:.2f} GB of decoded clips, {perturbed}"


def _time(plan: Plan) -> str:
    time, resources = plan.time, plan.resources
    if time is None:
        return (
            "not measured: no finished cell of this model and clip size in runs/; --dry-step makes "
            "a few steps of each kind of cell here"
        )
    gpus = resources.gpus_per_trial
    used = f"{time.gpu_hours:.3g} GPU-hours" if gpus else f"{time.core_hours:.3g} core-hours"
    if not plan.to_run:
        return "nothing is left to run"
    start = ", start of Ray included" if resources.ray else ""
    text = (
        f"about {duration(time.wall_s)} with {time.workers} at a time{start}; "
        f"{used}; {time.cell_s:.3g} s per cell, from {time.where}"
    )
    if plan.search_trials:
        text += ". An upper bound: suggested cells are counted as the largest set"
        text += " without early stopping"
        if plan.search_promoted:
            text += (
                f", and the {plan.search_promoted} runs for the best as trained again and "
                "tested on all clips"
            )
    if time.stretch > BUSY:
        text += (
            ". While that was measured the machine was busy, and a cell took "
            f"{time.stretch:.1f} times as long: at that load "
            f"{duration(time.wall_at_load_s)}"
        )
    if not plan.data["is_ready"] and not time.data_s:
        text += "; decoding the data comes on top"
    return text


def _memory(plan: Plan) -> str:
    memory = plan.memory_gb
    if memory.host is None:
        return "not measured"
    gpu = f", {memory.gpu:.2f} GB on the GPU" if memory.gpu else ""
    return f"{memory.host:.2f} GB per cell at its peak{gpu}"


def _power(plan: Plan) -> str:
    if plan.trend is not None:
        return _power_of_sets(plan.trend, len(plan.seeds))
    detectable = plan.detectable_sd
    if detectable is None:
        return "one seed: no interval, no claim; give seeds=3 or more"
    text = (
        f"{len(plan.seeds)} paired seeds resolve a mean difference of {detectable:.2f} standard "
        "deviations (80 % power, 5 % two-sided; of one comparison, --effect counts the correction "
        "for all of them)"
    )
    known = plan.pilot
    if known is not None:
        points = ", ".join(f"{n} {v:.1f}" for n, v in known.detectable_points.items())
        text += f": in points, from {known.cells} finished cells, {points}"
    others = ", ".join(f"{n}: {sd:.2f}" for n, sd in plan.detectable_sd_by_seeds.items())
    return f"{text}. By number of seeds: {others}"


def _power_of_sets(trend: Trend, seeds: int) -> str:
    """Of a trend over loss sets, which one seed of each supports."""
    sets, reach = trend.loss_sets, trend.detectable_correlation
    mean = "one run each" if seeds == 1 else f"each the mean of {seeds} seeds"
    text = f"the loss set is the unit: {sets} per combiner, {mean}"
    if sets < trend.fewest_sets:
        return f"{text}; a trend is not tested below {trend.fewest_sets}: give more sets"
    given = ", given which losses are in a set" if trend.given_losses else ""
    if reach is None:
        return f"{text}; too few for any correlation{given}: give more sets or fewer losses"
    return (
        f"{text}; they find a rank correlation of ±{reach:.2f} or more four times out of five"
        f"{given}. More sets do more than more seeds"
    )
