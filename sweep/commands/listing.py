"""`list`: what can be named in a study, from the catalogues (no torch)."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweep.tasks.catalogue import Metric

#: Width of lists that no terminal shows: every row on one line, so that `grep` finds it.
PIPED_WIDTH = 100_000


def run(what: str | None, *, as_json: bool = False) -> int:
    """Print one catalogue, or all.

    Args:
        what: Name of a catalogue; None: all.
        as_json: One JSON object, catalogue -> rows (mappings by column), for programs.
    """
    tables = {
        "studies": _studies,
        "losses": _losses,
        "combiners": _combiners,
        "models": _models,
        "perturbations": _perturbations,
        "datasets": _datasets,
        "tasks": _tasks,
    }
    more = {
        "models": (_weights,),
        "perturbations": (_captions, _joint, _mixes),
        "tasks": (_probes,),
    }
    chosen = [what] if what else list(tables)
    if as_json:
        found = {name: _rows(tables[name]()) for name in chosen}
        for name in chosen:
            found |= {make.__name__.strip("_"): _rows(make()) for make in more.get(name, ())}
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for name in chosen:
        for make in (tables[name], *more.get(name, ())):
            console.print(make())
    return 0


def _rows(table: Table) -> list[dict[str, str]]:
    """Rows of a table by the titles of its columns."""
    titles = [str(column.header) for column in table.columns]
    cells = zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True)
    return [dict(zip(titles, row, strict=True)) for row in cells]


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _studies() -> Table:
    from sweep.studies.files import STUDIES_DIR, parse

    rows = []
    for path in sorted(STUDIES_DIR.glob("*.yaml")):
        content = parse(path)
        rows.append((path.stem, content["design"]["kind"], content["title"]))
    return _table("studies", ("name", "design", "question"), rows)


def _losses() -> Table:
    from losses.catalogue import LOSSES

    return _table(
        "losses",
        ("name", "family", "level", "needs", "what it does"),
        (
            (
                row.name + (" (primary)" if row.primary else ""),
                row.family,
                str(row.granularity),
                ", ".join(sorted(row.needs)),
                row.description,
            )
            for row in LOSSES.values()
        ),
    )


def _combiners() -> Table:
    from losses.combine.catalogue import COMBINERS

    return _table(
        "combiners",
        ("name", "looks at", "knobs", "what it does"),
        (
            (
                row.name,
                "gradients of every loss" if row.gradients else "losses",
                ", ".join(f"{k}={v}" for k, v in row.knobs.items()),
                row.description,
            )
            for row in COMBINERS.values()
        ),
    )


def _models() -> Table:
    from models.catalogue import MODELS

    return _table(
        "models (also hf:<folder or hub name> of transformers, timm:<architecture>)",
        ("name", "clip", "parameters", "checkpoints", "provides", "what it is"),
        (
            (
                row.name,
                f"{row.clip.frames} x {row.clip.size_px} px",
                row.parameters,
                ", ".join(f"{s.name} ({s.licence})" for s in row.weights) or "none",
                ", ".join(sorted(row.features)),
                row.description,
            )
            for row in MODELS.values()
        ),
    )


def _weights() -> Table:
    """Every checkpoint; `here` is where it was found, or the first place where it is looked for."""
    from models.catalogue import MODELS
    from models.weights import here, places

    rows = []
    for row in MODELS.values():
        for spec in row.weights:
            found, clip = here(spec), spec.clip
            picked = f"{clip.frames} x {clip.size_px} px, {clip.sampler}"
            picked += f" every {clip.stride}" if clip.sampler == "dense" else ""
            picked += f" at {clip.fps:g} fps" if clip.fps else ""
            state = str(found) if found is not None else f"no: put it at {places(spec)[0]}"
            rows.append((row.name, spec.name, picked, spec.file, state, spec.licence))
    return _table(
        "checkpoints of models", ("model", "name", "clip", "file", "here", "licence"), rows
    )


def _perturbations() -> Table:
    from perturb.catalogue import PERTURBATIONS

    def levels(table: Sequence[Sequence[float]]) -> str:
        return "  ".join(",".join(f"{value:g}" for value in level) for level in table)

    return _table(
        "perturbations (levels of the table paper_fixed)",
        ("name", "category", "severity 1..5", "unit", "source"),
        (
            (
                row.name,
                row.category,
                levels(row.levels["paper_fixed"]) if row.has_severity else "no severity",
                row.unit,
                row.source,
            )
            for row in PERTURBATIONS.values()
        ),
    )


def _captions() -> Table:
    from perturb.text_catalogue import TEXT_PERTURBATIONS

    def steps(severities: Sequence[int]) -> str:
        return str(severities[0]) if len(severities) == 1 else f"{severities[0]}..{severities[-1]}"

    return _table(
        "perturbations of captions",
        ("name", "group", "severity", "rule", "source"),
        (
            (
                row.name,
                row.group,
                steps(row.severities),
                row.rule + (" (needs a model of yours)" if row.needs_model else ""),
                row.source,
            )
            for row in TEXT_PERTURBATIONS.values()
        ),
    )


def _joint() -> Table:
    from perturb.text_catalogue import TEXT_PERTURBATIONS, VIDEO_TEXT_GRID

    of_video: dict[str, list[str]] = {}
    for video, text in VIDEO_TEXT_GRID:
        mark = "*" if TEXT_PERTURBATIONS[text].needs_model else ""
        of_video.setdefault(video, []).append(text + mark)
    blocks: dict[str, list[str]] = {}
    for video, texts in of_video.items():
        blocks.setdefault(", ".join(texts), []).append(video)
    return _table(
        f"videos and captions perturbed together: {len(VIDEO_TEXT_GRID)} pairs, arXiv:2207.02159",
        ("each of these videos", "with each of these captions (* needs a model of yours)"),
        ((", ".join(videos), texts) for texts, videos in blocks.items()),
    )


def _mixes() -> Table:
    from perturb.mixes import MIXES, TESTED_SEVERITIES, TRAINED_SEVERITIES

    def severities(levels: Sequence[int]) -> str:
        return f"{levels[0]}..{levels[-1]}"

    return _table(
        "training mixes: train.perturb=NAME, tests evaluate.profile=mix:NAME",
        (
            "name",
            f"trained on, severity {severities(TRAINED_SEVERITIES)}",
            f"tested on, severity {severities(TESTED_SEVERITIES)}",
            "what it does",
            "source",
        ),
        (
            (
                row.name,
                "; ".join(", ".join(group) for group in row.groups) or "mixed frames",
                ", ".join(row.tested),
                row.meaning,
                row.source,
            )
            for row in MIXES.values()
        ),
    )


def _datasets() -> Table:
    from sweep.data.catalogue import DATASETS

    return _table(
        "data sets",
        ("name", "embedded", "shifts", "what it is", "expected in data.root"),
        (
            (
                row.name,
                "yes" if row.embedded else "needs data.root",
                ", ".join(row.shifts),
                row.description,
                "; ".join(row.files),
            )
            for row in DATASETS.values()
        ),
    )


def _tasks() -> Table:
    from sweep.tasks.catalogue import TASKS

    return _table(
        "tasks: evaluate.task=NAME",
        ("name", "metrics", "clips need", "the model gives", "what it is"),
        (
            (
                row.name,
                ", ".join(map(_metric, row.metrics)),
                ", ".join(sorted(row.clips)),
                ", ".join(sorted(row.features)),
                row.description,
            )
            for row in TASKS.values()
        ),
    )


def _metric(metric: Metric) -> str:
    return f"{metric.name} (chance {metric.chance})" if metric.chance else metric.name


def _probes() -> Table:
    from sweep.evaluation.probes import PROBES

    return _table(
        "probes of the task `probing`: evaluate.probe=NAME",
        ("name", "what it is", "source"),
        ((row.name, row.description, row.source) for row in PROBES.values()),
    )
