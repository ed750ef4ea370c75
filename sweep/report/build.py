"""Build the report of a sweep: HTML, Markdown, CSV tables and figures, from its records alone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jinja2

from sweep.report import answer as box
from sweep.report import figures, looks, page, verdict
from sweep.report import latex as tables_for_papers
from sweep.report.analyses.catalogue import Place, asked
from sweep.report.comparisons import comparisons
from sweep.report.effects import graded, outcome_effects, resolution
from sweep.report.evidence import Evidence, collect, over_budget
from sweep.report.findings import Findings
from sweep.report.names import DAGGER
from sweep.report.robustness import Measures, measure_robustness
from sweep.report.sections import accuracies, effects, examples, measures, protocol, training

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPaths:
    """Where the report lies, and what it answers.

    Attributes:
        html: Self-contained page.
        markdown: The same in Markdown.
        tables: CSV files with the full numbers.
        figures: SVG and PNG files.
        latex: Tables for papers, where they were asked for.
        answer: Sentences and facts of the answer, as plain text.
        warnings: What a reader has to know first (cells missing, pixels that differ), plain text.
    """

    html: Path
    markdown: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    latex: tuple[Path, ...]
    answer: tuple[str, ...]
    warnings: tuple[str, ...]


def build(
    sweep: Path,
    *,
    partial_ok: bool = True,
    command: Callable[..., str] = box.plain_command,
    latex: bool = False,
) -> ReportPaths:
    """Write `report/` of a sweep folder; an existing report is replaced.

    Args:
        sweep: Sweep folder; may be unfinished.
        partial_ok: Report what is there and say at the top what is not.
        command: Words -> how they are typed here, for what is proposed to run next.
        latex: Write tables for papers, too; where there are some, they are always renewed.

    Raises:
        FileNotFoundError: if the folder is no sweep.
        ValueError: if its records differ in fidelity, or cells are missing and ``partial_ok`` is
            False, or its study asks for an analysis that there is not.
    """
    sweep = Path(sweep)
    evidence = collect(sweep)
    if evidence.missing and not partial_ok:
        names = ", ".join(f"{m.name} (seed {m.seed})" for m in evidence.missing[:5])
        raise ValueError(
            f"{sweep}: {len(evidence.missing)} of {evidence.planned} cells have no result: {names}"
        )
    folder = sweep / "report"
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []

    def draw(name: str, drawing: figures.Drawing) -> str:
        svg, paths = figures.save(drawing, folder / "figures", name)
        drawn.extend(paths)
        return svg

    excluded = _excluded(evidence.plan)
    findings = _findings(evidence, draw)
    measured = measure_robustness(evidence)
    content = _page(findings, measured, excluded, command)
    written = _write_tables(folder / "tables", findings, measured, excluded)
    paths = _render(folder, content)
    _remove_old(folder, keep={*drawn, *written})
    papers = folder / "latex"
    tex = tables_for_papers.write(findings, papers) if latex or papers.is_dir() else []
    return ReportPaths(
        html=paths[0],
        markdown=paths[1],
        tables=tuple(written),
        figures=tuple(drawn),
        latex=tuple(tex),
        answer=tuple(page.plain(line) for line in content.answer_lines),
        warnings=tuple(page.plain(sentence) for sentence in content.warnings),
    )


def answer(sweep: Path, *, command: Callable[..., str] = box.plain_command) -> list[str]:
    """The lines of the answer alone, with **strong** marks; nothing is drawn or written."""
    found = _findings(collect(Path(sweep)), lambda *_: "")
    said = [sentence.text for sentence in _answer(found)]
    return said + [fact.line for fact in box.facts(found, command)]


def answer_text(sweep: Path, *, command: Callable[..., str] = box.plain_command) -> list[str]:
    """The whole answer as plain lines, each with its grade before it.

    `[holds]`, `[suggestive]`, `[open]`, `[described]`, and `[warning]` for what a reader has to
    know first.
    """
    found = _findings(collect(Path(sweep)), lambda *_: "")
    evidence = found.evidence
    study = evidence.study
    lines = [str(study.get("title") or study.get("name") or evidence.folder.name)]
    if question := str(study.get("question", "")).strip():
        lines.append(f"Asked: {question}")
    lines += [f"[warning] {page.plain(text)}" for text in _warnings(evidence)]
    lines += [f"[{said.tone or 'described'}] {page.plain(said.text)}" for said in _answer(found)]
    for fact in box.facts(found, command):
        lines.append(f"{fact.label}: {page.plain(fact.text)}")
        lines += [f"    {fact.command}"] if fact.command else []
    return lines


def _answer(findings: Findings) -> list[page.Text]:
    rows = asked(findings.evidence)
    first, last = (
        [text for row in rows if row.ends == ends for text in row.sentences(findings)]
        for ends in (False, True)
    )
    return verdict.answer(findings, first=first, last=last)


def _findings(evidence: Evidence, draw: Callable[[str, figures.Drawing], str]) -> Findings:
    compared = comparisons(evidence)
    rows = asked(evidence)
    found = {row.name: row.find(evidence) for row in rows}
    others = [claim for row in rows for claim in row.claims(found[row.name])]
    looked = looks.looks(evidence)
    made = outcome_effects(evidence, compared)
    judged, claims = graded(evidence, made, others, price=looked.price)
    return Findings(
        evidence=evidence,
        compared=compared,
        effects=judged,
        claims=claims,
        resolutions=resolution(
            judged, evidence.outcomes, price=looked.price, next_price=looked.next_price
        ),
        found=found,
        draw=draw,
    )


def _sections_by_place(findings: Findings) -> dict[Place, list[page.Section]]:
    """Sections of the analyses. What the design does not name stands apart from its comparisons."""
    evidence = findings.evidence
    placed: dict[Place, list[page.Section]] = {place: [] for place in get_args(Place)}
    for row in asked(evidence):
        inside = row.place in {"opening", "closing"}
        apart = inside and row.name not in evidence.row.analyses
        placed["after" if apart else row.place] += row.sections(findings)
    return placed


def _page(
    findings: Findings,
    measured: Measures,
    excluded: list[dict[str, str]],
    command: Callable[..., str],
) -> page.Page:
    evidence = findings.evidence
    study = evidence.study
    said, facts = _answer(findings), box.facts(findings, command)
    blocks: list[page.Section] = []
    if evidence.records:
        placed = _sections_by_place(findings)
        estimates = measures.estimate_section(findings)
        shown = examples.example_section(evidence)
        blocks += [
            *placed["before"],
            effects.effect_section(findings, placed["opening"], placed["closing"]),
            *placed["after"],
            *([effects.resolution_section(findings)] if findings.resolutions else []),
            *([] if shown is None else [shown]),
            accuracies.accuracy_section(findings),
            *placed["accuracies"],
            *([] if estimates is None else [estimates]),
            measures.measure_section(findings, measured),
            accuracies.heat_section(findings),
            accuracies.scatter_section(findings),
            accuracies.severity_section(findings),
            *training.training_sections(findings),
        ]
    blocks.append(protocol.absence_section(findings, excluded))
    blocks.append(protocol.protocol_section(findings))
    return page.Page(
        title=str(study.get("title") or study.get("name") or evidence.folder.name),
        question=str(study.get("question", "")).strip(),
        hypothesis=str(study.get("hypothesis", "")).strip(),
        status=_status(evidence),
        warnings=_warnings(evidence),
        answer=said,
        facts=facts,
        picture=box.picture(findings),
        terms=box.terms(evidence, [*(s.text for s in said), *(f.text for f in facts)]),
        disclosures=_disclosures(study),
        sections=blocks,
        footer=(
            f"Sweep {evidence.folder.resolve().name}, made from its records by auxsweep. What "
            "holds is corrected over all tests of the page; intervals are 95 %, paired by seed."
        ),
    )


def _disclosures(study: Mapping[str, Any]) -> list[str]:
    """All of a study, those that are bound to a claim with what they are about."""
    rows = []
    for row in study.get("disclosures") or ():
        bound = isinstance(row, Mapping)
        text = str(row["text"] if bound else row).strip()
        rows.append(f"`{row['loss']}` on {row['outcome']}: {text}" if bound else text)
    return rows


def _status(evidence: Evidence) -> list[str]:
    """Facts about the sweep as short labels."""
    done = evidence.done
    states = [m.state for m in evidence.missing]
    rows = [f"{done} of {max(evidence.planned, done)} runs finished"]
    for state in ("failed", "stopped", "missing"):
        if state in states:
            word = "stopped early" if state == "stopped" else state
            rows.append(f"{states.count(state)} {word}")
    if over_budget(evidence.events):
        rows.append("ended by its budget")
    if evidence.untrained:
        rows.append(f"{len(evidence.untrained)} did not train")
    seeds = len(evidence.seeds)
    rows.append(f"{len(evidence.finished)} cells × {seeds} seed{'s' if seeds != 1 else ''}")
    data = evidence.study.get("data", {}).get("dataset")
    model = evidence.study.get("model", {}).get("name")
    rows += [str(name) for name in (data, model) if name]
    rows.append(f"scale {evidence.study.get('scale', '')}")
    thinned = evidence.fidelity
    rows.append(
        f"fidelity {thinned['name']}, {thinned['clips_per_cell']} clips per perturbation cell"
        if thinned
        else "fidelity full"
    )
    return rows


def _warnings(evidence: Evidence) -> list[str]:
    """What makes the numbers below partial or not comparable."""
    found = []
    open_cells = [m for m in evidence.missing if m.state != "stopped"]
    if open_cells:
        names = "; ".join(f"{m.name}, seed {m.seed} ({m.state})" for m in open_cells[:8])
        more = f"; and {len(open_cells) - 8} more" if len(open_cells) > 8 else ""
        budget = over_budget(evidence.events)
        ended = f" (ended by its budget: {budget})" if budget else ""
        found.append(
            f"**Partial sweep**{ended}: {len(open_cells)} of {evidence.planned} planned runs have "
            f"no result: {names}{more}. Comparisons use the pairs that exist."
        )
    if evidence.untrained:
        shown = [f"{r.label}, seed {r.seed}" for r in evidence.untrained]
        names = "; ".join(shown[:8])
        if len(shown) > 8:
            names += f"; and {len(shown) - 8} more ({len(shown)} of {len(evidence.records)} runs)"
        found.append(f"**Did not train**: {names}. Kept in all numbers and marked {DAGGER}.")
    if evidence.unequal_pixels:
        rows = []
        for condition, groups in evidence.unequal_pixels.items():
            smallest = min(groups.values(), key=len)
            made = evidence.made_with(condition)
            rows.append(f"`{condition}` ({', '.join(smallest[:3])} against the others: {made})")
        found.append(
            f"**Not comparable**: the tested pixels differ between cells for {'; '.join(rows)}. "
            "Another library version or machine made other clips: evaluate again in one place."
        )
    for mix, seen in evidence.seen_in_training.items():
        parts = []
        for much, said in (("condition", "trained on"), ("kind", "of a kind trained on")):
            marked = [f"`{name}`" for name, value in seen.items() if value == much]
            if marked:
                more = f" and {len(marked) - 12} more" if len(marked) > 12 else ""
                parts.append(f"{said}: {', '.join(marked[:12])}{more}")
        found.append(
            f"**Seen in training** (`train.perturb: {mix}`): {'; '.join(parts)}. What was trained "
            "on tests no robustness to the unknown, what is of its kind that to other strengths."
        )
    if evidence.unequal_protocol:
        found.append(
            f"**Not comparable**: cells differ in {page.join(evidence.unequal_protocol)}, beyond "
            "their losses and combiner."
        )
    found += [
        f"**No number** for outcome `{name}`: no finished cell was tested on {page.join(globs)}."
        for name, globs in evidence.unmeasured.items()
    ]
    return found


def _excluded(plan: Mapping[str, Any]) -> list[dict[str, str]]:
    """Excluded clips as rows, whatever form the plan stores them in."""
    content = (plan.get("data") or {}).get("excluded") or []
    if isinstance(content, Mapping):
        content = [{"id": key, "reason": value} for key, value in content.items()]
    rows = []
    for item in content:
        row = item if isinstance(item, Mapping) else {"id": item}
        rows.append({name: str(row.get(name, "")) for name in ("split", "id", "reason")})
    return rows


def _write_tables(
    folder: Path,
    findings: Findings,
    measured: Measures,
    excluded: list[dict[str, str]],
) -> list[Path]:
    from sweep.report import tables  # late: the answer alone needs no pandas

    evidence = findings.evidence
    frames: dict[str, pd.DataFrame] = {
        "runs": tables.runs(evidence),
        "conditions": tables.conditions(evidence),
        "leaderboard": tables.leaderboard(evidence),
        "measures": measures.table_of(measured),
        "estimates": tables.estimates(evidence),
        "contrasts": tables.contrasts(findings.effects),
        "contrasts_by_condition": tables.contrasts(findings.columns),
        "cells_by_condition": tables.contrasts(findings.cells),
        "weights": tables.weights(evidence),
        "detectable": tables.detectable(findings.resolutions),
        "diversity_values": tables.diversity_values(evidence),
        "failures": tables.failures(evidence, findings.compared),
        "missing": tables.missing(evidence),
        "excluded": tables.excluded(excluded),
    }
    for row in asked(evidence):
        frames |= row.tables(findings.found[row.name])
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, frame in frames.items():
        if not frame.empty:
            path = folder / f"{name}.csv"
            frame.to_csv(path, index=False)
            written.append(path)
    return written


def _render(folder: Path, content: page.Page) -> tuple[Path, Path]:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["rich"] = page.html
    environment.globals["headings"] = box.HEADINGS
    environment.filters["explained"] = page.explaining(content.terms)
    environment.filters["plain"] = page.plain
    environment.filters["breakable"] = page.breakable
    environment.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    environment.filters["grid"] = page.markdown_table
    paths = []
    for name in ("report.html", "report.md"):
        text = environment.get_template(f"{name}.j2").render(page=content)
        path = folder / name
        temporary = path.with_name(f".{name}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
        paths.append(path)
    return paths[0], paths[1]


def _remove_old(folder: Path, keep: set[Path]) -> None:
    """Tables and figures of an earlier state of the sweep would contradict the page."""
    for path in [*(folder / "tables").glob("*.csv"), *(folder / "figures").glob("*.*")]:
        if path not in keep:
            path.unlink()
