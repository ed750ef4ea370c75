"""The comparison report on W&B: question, answer, and panels over the runs of one sweep.

The local report is the complete one; this is its counterpart for people who live on W&B. Even
building it asks the server (for the project's internal id), so it exists online only.

Quirk: panels address a config key with dots as a nested one, while our runs have flat keys. Panels
therefore use config keys without dots (`loss_set`, `combiner`) and summary keys (`weights/<loss>`).
"""

from __future__ import annotations

import os
import statistics
import warnings
from typing import TYPE_CHECKING, Any

from sweep.records.files import read_json, read_records, write_json
from sweep.records.patterns import outcome
from sweep.tracking.server import key_source, resolve_mode, unreachable
from sweep.tracking.track import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import wandb_workspaces.reports.v2 as wr

    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig

_MAX_TITLE_CHARS = 128
#: The panel grid of W&B is 24 units wide.
_GRID = 24


def publish(sweep: Path) -> str:
    """Save the report of a sweep on W&B; again for the same sweep replaces it.

    Returns:
        Its address.

    Raises:
        RuntimeError: without a key, offline, or if the server does not answer; says what to do.
    """
    from sweep.report.build import answer
    from sweep.studies.load import load_study

    sweep = sweep.resolve()
    study = load_study(str(sweep / "sweep.yaml"))
    _check_online(sweep)
    with environment(sweep):
        import wandb

        try:
            entity = study.track.entity or os.environ.get("WANDB_ENTITY")
            report = build(
                study,
                read_records(sweep),
                entity=entity or str(wandb.Api().default_entity),
                project=study.track.project,
                group=sweep.name,
                answer=answer(sweep),
            )
            return _save(report, sweep / "report" / "wandb.json")
        finally:
            wandb.teardown()


def build(
    study: StudyConfig,
    records: Sequence[TrialRecord],
    *,
    entity: str,
    project: str,
    group: str | None = None,
    answer: Iterable[str] = (),
) -> wr.Report:
    """The report as an object of W&B's client; not saved.

    Args:
        study: Question, outcomes, losses.
        records: Finished and failed cells, for the tables.
        entity: Owner of the project on W&B.
        project: Project of the runs.
        group: Sweep whose runs are shown (the name of its folder); None: all of the study.
        answer: Sentences of the answer, Markdown.
    """
    wr = _client()
    # as text: the client's own filter objects break on a quote in the name
    shown = f"Metric('Group') == {group!r}" if group else f"Config('study') == {study.name!r}"
    runs = wr.Runset(
        entity=entity,
        project=project,
        name=group or study.name,
        filters=shown,
    )

    def grid(panels: Sequence[Any], *, columns: int, height: int = 8) -> Any:
        width = _GRID // columns
        for i, panel in enumerate(panels):
            row, column = divmod(i, columns)
            panel.layout = wr.Layout(x=column * width, y=row * height, w=width, h=height)
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    blocks: list[Any] = [wr.MarkdownBlock(_lead(study, answer))]
    blocks += [
        wr.H2("Accuracy by loss set"),
        wr.P("Mean over seeds; whiskers are standard errors."),
        grid([_bars(name) for name in _headline(study)], columns=2),
    ]
    others = [name for name, patterns in study.outcomes.items() if patterns != ["clean"]]
    if "clean" in study.outcomes and others:
        blocks += [
            wr.H2("Robust against clean accuracy"),
            wr.P("One dot per run. Robust because accurate, or more robust than its accuracy?"),
            grid([_scatter(name) for name in others], columns=2),
        ]
    if study.losses:
        blocks += [
            wr.H2("Weights and robustness"),
            wr.P("What each loss finally weighed (mean slope dM/dl; 0 where it is off)."),
            grid([_coordinates(study)], columns=1),
            wr.H2("Weights during training"),
            grid([_slopes(name) for name in study.losses], columns=2),
        ]
    blocks += [
        wr.H2("Outcomes"),
        wr.MarkdownBlock("\n\n".join(_table(study, records, name) for name in study.outcomes)),
        wr.H2("What the runs differ in"),
        grid([wr.RunComparer(diff_only=True)], columns=1, height=12),
    ]
    return wr.Report(
        entity=entity,
        project=project,
        title=f"{study.title} ({group or study.name})"[:_MAX_TITLE_CHARS],
        description=study.question,
        blocks=blocks,
        width="fluid",
    )


def _client() -> Any:
    """W&B's report module; its import warns about its own use of pydantic."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import wandb_workspaces.reports.v2 as wr
    return wr


def _check_online(sweep: Path) -> None:
    """Refuse early, with the remedy."""
    local = f"the local report is {sweep / 'report' / 'report.html'}"
    if key_source() is None:
        raise RuntimeError(f"no key: set WANDB_API_KEY or run `wandb login`; {local}")
    if os.environ.get("WANDB_MODE") and resolve_mode("auto") != "online":
        mode = os.environ["WANDB_MODE"]
        raise RuntimeError(f"WANDB_MODE={mode}: set it to online to publish; {local}")
    if reason := unreachable():
        raise RuntimeError(f"{reason}; {local}")


def _save(report: wr.Report, note: Path) -> str:
    """Save under the id that ``note`` keeps from the last time."""
    known = read_json(note) or {}
    if (known.get("entity"), known.get("project")) == (report.entity, report.project):
        report.id = known["id"]
    try:
        report.save()
    except Exception:
        if not report.id:
            raise
        report.id = ""  # it was deleted there: make a new one
        report.save()
    note.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        note,
        {"id": report.id, "entity": report.entity, "project": report.project, "url": report.url},
    )
    return str(report.url)


# -------------------------------------------------------------------------------- panels, text


def _headline(study: StudyConfig) -> list[str]:
    return list(dict.fromkeys([*study.headline, *study.outcomes]))


def _bars(name: str) -> Any:
    wr = _client()
    return wr.BarPlot(
        title=f"{name}: accuracy, %",
        metrics=[wr.SummaryMetric(f"final/{name}")],
        groupby=wr.Config("loss_set"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stderr",
        title_x="accuracy, %",
    )


def _scatter(name: str) -> Any:
    wr = _client()
    return wr.ScatterPlot(
        title=f"{name} against clean accuracy, %",
        x=wr.SummaryMetric("final/clean"),
        y=wr.SummaryMetric(f"final/{name}"),
        regression=True,
    )


def _coordinates(study: StudyConfig) -> Any:
    wr = _client()
    weights = [f"weights/{name}" for name in study.losses]
    accuracies = [f"final/{name}" for name in _headline(study)]
    return wr.ParallelCoordinatesPlot(
        title="Final weights and accuracies",
        columns=[
            wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(name))
            for name in (*weights, *accuracies)
        ],
    )


def _slopes(name: str) -> Any:
    wr = _client()
    return wr.LinePlot(
        title=f"{name}: weight dM/dl",
        x="step",
        y=[f"train/slope/{name}"],
        title_x="training step",
        groupby=wr.Config("loss_set"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stderr",
    )


def _lead(study: StudyConfig, answer: Iterable[str]) -> str:
    parts = [f"**Question.** {study.question}"]
    if study.hypothesis:
        parts.append(f"**Hypothesis.** {study.hypothesis}")
    sentences = [f"- {sentence}" for sentence in answer]
    parts.append("\n".join(["**Answer.**\n", *sentences] if sentences else []))
    if study.disclosures:
        parts.append("\n".join(["**To know when reading it.**\n", *_items(study.disclosed)]))
    return "\n\n".join(part for part in parts if part)


def _items(texts: Iterable[str]) -> list[str]:
    return [f"- {text}" for text in texts]


def _table(study: StudyConfig, records: Sequence[TrialRecord], name: str) -> str:
    """Markdown table of one outcome: one row per cell, seeds side by side."""
    groups: dict[str, dict[int, float | None]] = {}
    for record in records:
        value = outcome(record, study.outcomes[name]) if record.status == "done" else None
        groups.setdefault(record.label, {})[record.seed] = value
    seeds = sorted({record.seed for record in records})
    lines = [
        f"**{name}** ({', '.join(study.outcomes[name])}), accuracy in %",
        "",
        "| losses | mean | sd | " + " | ".join(f"s{seed}" for seed in seeds) + " |",
        "|---|" + "--:|" * (2 + len(seeds)),
    ]
    for label, by_seed in groups.items():
        values = [v for v in by_seed.values() if v is not None and v == v]
        cells = [
            f"{statistics.mean(values):.1f}" if values else "-",
            f"{statistics.stdev(values):.1f}" if len(values) > 1 else f"n={len(values)}",
            *(_cell(by_seed, seed) for seed in seeds),
        ]
        lines.append(f"| {label.replace('|', '/')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(by_seed: dict[int, float | None], seed: int) -> str:
    if seed not in by_seed:
        return ""
    value = by_seed[seed]
    return "failed" if value is None else f"{value:.1f}"
