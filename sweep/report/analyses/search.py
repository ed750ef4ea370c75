"""Section on what a search tried: its own numbers beside those at full fidelity and fresh seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sweep.cells.search.importance import FEWEST_TRIALS, distributions_of, importances
from sweep.cells.search.promotion import Candidate, rank
from sweep.cells.search.quantities import Measured, measure, violation
from sweep.records.files import read_record
from sweep.report import figures
from sweep.report.names import DAGGER
from sweep.report.page import Entry, Figure, Section, Table, Text, bracket, join, number, signed
from sweep.statistics.intervals import Interval, mean_interval
from sweep.studies.load import validate_study

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sweep.records.outcomes import Outcomes
    from sweep.records.record import TrialRecord
    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings

Clips = Literal["validation", "test"]
#: Rows of the table; the file has all.
MOST_ROWS = 15


@dataclass(frozen=True, kw_only=True)
class Try:
    """A finished trial of a search, or an anchor with the seed of the search.

    Attributes:
        name: For people.
        record: At the fidelity of the search, with its first seed.
        seeds: How many of the search's seeds it has.
        values: Objective -> the search's own number, a mean over these, with an interval over the
            clips that chose.
        settings: What the search chose, as text.
        number: Position among the suggestions; None for an anchor that was never suggested.
        feasible: Whether it keeps the constraints.
        full: Objective -> number with every clip tested; empty where there is none.
        confirmed: Its cell with fresh seeds.
        fresh: Objective -> mean of that cell over its seeds; empty where there is none.
    """

    name: str
    record: TrialRecord
    seeds: int
    values: Mapping[str, Measured]
    settings: str
    number: int | None
    feasible: bool
    full: Mapping[str, float]
    confirmed: Cell | None
    fresh: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Tries:
    """What a search tried.

    Attributes:
        evidence: The sweep.
        rows: Best first, those that break a bound last.
        objectives: Objective -> 1 if it is maximised, -1 if it is minimised.
        front: Feasible tries that none beats on every objective.
    """

    evidence: Evidence
    rows: Sequence[Try]
    objectives: Mapping[str, int]
    front: Sequence[Try]


def find(evidence: Evidence) -> Tries | None:
    """What was tried; None for a design that picks nothing."""
    if not evidence.row.picked:
        return None
    rows = tries(evidence)
    signs = objectives(evidence)
    return Tries(evidence=evidence, rows=rows, objectives=signs, front=_front(signs, rows))


def objectives(evidence: Evidence) -> dict[str, int]:
    """Objective -> 1 if it is maximised, -1 if it is minimised."""
    given = (evidence.study.get("search") or {}).get("objective") or evidence.headline[:1]
    names = [given] if isinstance(given, str) else list(given)
    return {name.removeprefix("-"): -1 if name.startswith("-") else 1 for name in names}


def tries(evidence: Evidence) -> list[Try]:
    """Everything that the search has a number for, best first, those that break a bound last."""
    suggested: dict[str, int] = {}
    params: dict[str, Mapping[str, Any]] = {}
    twins: dict[tuple[str, str], list[str]] = {}
    for event in evidence.events:
        if event.get("event") == "suggested":
            suggested.setdefault(event["key"], len(suggested))
            params.setdefault(event["key"], event.get("params") or {})
        elif event.get("event") == "promoted":
            for row in event["cells"]:
                twins.setdefault((event["stage"], row["of"]), []).append(row["key"])
    cells = evidence.tried or evidence.cells
    wanted = _seeds(evidence)
    seeds = sorted({s for cell in cells for s in cell.records})[:wanted]
    found = []
    for cell in cells:
        mine = [cell.records[seed] for seed in seeds if seed in cell.records]
        for group in [mine] if wanted > 1 else [[r] for r in cell.records.values()]:
            record = next((r for r in group if r.key in suggested), group[0] if group else None)
            if record is None or (record.key not in suggested and record.seed != seeds[0]):
                continue
            values = _means([_values(evidence, r, on=_chosen_on(evidence)) for r in group])
            if any(math.isnan(v.value) for v in values.values()):
                continue
            full = twins.get(("final", record.key), [])
            whole = read_record(evidence.folder / "cells" / full[0]) if full else None
            again = set(twins.get(("confirm", record.key), ()))
            confirmed = next((c for c in evidence.cells if again & set(c.keys.values())), None)
            if evidence.stage != "confirm":
                confirmed = None
            found.append(
                Try(
                    name=cell.name,
                    record=record,
                    seeds=len(group),
                    values=values,
                    settings=_settings(cell, params.get(record.key, {})),
                    number=suggested.get(record.key),
                    feasible=_feasible(evidence, group),
                    full={}
                    if whole is None or whole.status == "failed"
                    else {n: m.value for n, m in _values(evidence, whole).items()},
                    confirmed=confirmed,
                    fresh={} if confirmed is None else _fresh(evidence, confirmed),
                )
            )
    ranked = _ranked(evidence, found)  # those that a race dropped lack seeds: no mean to compare
    return sorted(ranked, key=lambda t: (not t.feasible, t.seeds < wanted))


def _ranked(evidence: Evidence, found: Sequence[Try]) -> list[Try]:
    signs = objectives(evidence)
    by_key = {t.record.key: t for t in found}
    rows = [
        Candidate(
            key,
            tuple(Measured(signs[n] * v.value, math.nan, math.nan) for n, v in t.values.items()),
        )
        for key, t in by_key.items()
    ]
    return [by_key[candidate.key] for candidate in rank(rows)]


def _values(evidence: Evidence, record: TrialRecord, *, on: Clips = "test") -> dict[str, Measured]:
    return {name: _measure(evidence, record, name, on=on) for name in objectives(evidence)}


def _chosen_on(evidence: Evidence) -> Clips:
    """The clips that the search chose by; older searches chose by test clips."""
    chosen = (evidence.study.get("search") or {}).get("objective_on", "test")
    return "validation" if chosen == "validation" else "test"


def _fresh(evidence: Evidence, cell: Cell) -> dict[str, Interval]:
    """Objective -> mean over the seeds of a cell, with an interval over them."""
    return {
        name: mean_interval([_measure(evidence, r, name).value for r in cell.records.values()])
        for name in objectives(evidence)
    }


def _measure(evidence: Evidence, record: TrialRecord, name: str, *, on: Clips = "test") -> Measured:
    named = evidence.study.get("outcomes") or {"clean": ["clean"]}
    outcomes: Outcomes | None = None
    if record.fidelity and on == "test":
        outcomes = evidence.outcome_table(record)
    return measure(name, named, record, outcomes, on=on)


def _seeds(evidence: Evidence) -> int:
    """Seeds by which the search judged a proposal."""
    return int((evidence.study.get("search") or {}).get("seeds") or 1)


def _means(rows: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    """Means over seeds, of the bounds likewise: they are about clips, equal in all seeds."""
    count = len(rows)
    return {
        name: Measured(
            sum(row[name].value for row in rows) / count,
            sum(row[name].low for row in rows) / count,
            sum(row[name].high for row in rows) / count,
        )
        for name in rows[0]
    }


def _feasible(evidence: Evidence, records: Sequence[TrialRecord]) -> bool:
    bounds = (evidence.study.get("search") or {}).get("constraints") or {}
    for name, bound in bounds.items():
        on = _chosen_on(evidence)
        value = sum(_measure(evidence, r, name, on=on).value for r in records) / len(records)
        if not violation(value, bound.get("low"), bound.get("high")) <= 0:
            return False
    return True


def _settings(cell: Cell, params: Mapping[str, Any]) -> str:
    """Weights and whatever else the search chose, shortest names first."""
    parts = [f"{n} {w:.3g}" for n, w in cell.weights.items() if math.isfinite(w)]
    kept = [n for n in params if "." in n and not n.endswith(".weight")]
    for path in kept:
        value = params[path]
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        parts.append(f"{path.replace('losses.', '').replace('.knobs.', '.')} {shown}")
    return f"{cell.combiner}: {', '.join(parts)}" if parts else cell.combiner


# ------------------------------------------------------------------------------------- section


def sections(findings: Findings, found: Tries) -> list[Section]:
    """What was tried, with the search's own number beside the confirmed one."""
    evidence, title = found.evidence, "What the search tried"
    if not found.rows:
        note = Text(text="No trial has every objective yet.", tone="note")
        return [Section(title=title, blocks=[note])]
    blocks: list[Text | Table | Figure] = [
        Text(
            text="**Exploratory.** The best of many tries is partly luck (winner's curse): the "
            "search's own number is biased upwards. What counts are the runs with fresh seeds."
            if evidence.claims
            else "**Exploratory.** The best of many tries is partly luck (winner's curse): its "
            "number is biased upwards, and no run with fresh seeds has confirmed it.",
            tone="warning",
        ),
        *_what_chose(found),
        _figure(findings, found),
        _table(found),
        *_mattered(found),
    ]
    blocks += _model_note(evidence)
    return [Section(title=title, blocks=blocks)]


def _what_chose(found: Tries) -> list[Text]:
    """On which clips the search chose; what is older than the choice says it in the protocol."""
    evidence = found.evidence
    if "objective_on" not in (evidence.study.get("search") or {}):
        return []
    if _chosen_on(evidence) == "validation":
        clips = {score.clips for t in found.rows for score in t.record.validation}
        return [
            Text(
                text=f"Configurations were chosen by {max(clips, default=0)} validation clips, "
                "which are kept out of training and of all tests: the columns of the search are "
                "of these, every other number in this report is of test clips.",
                tone="note",
            )
        ]
    return [
        Text(
            text="Configurations were chosen by the test clips that are reported "
            "(`search.objective_on: test`): fresh seeds take away the luck of a seed, not that of "
            "these clips.",
            tone="warning",
        )
    ]


def _bars(evidence: Evidence) -> str:
    """What the bars of a figure are."""
    if _chosen_on(evidence) == "validation":
        return "bars are 95 % intervals over the validation clips"
    return "bars are 95 % intervals over the test clips, where not all were tested"


def _unit(evidence: Evidence, name: str) -> str:
    named = evidence.study.get("outcomes") or {"clean": ["clean"]}
    return f"{name} ({evidence.score_name}, %)" if name in named else name


def _figure(findings: Findings, found: Tries) -> Figure:
    evidence, rows, names = found.evidence, found.rows, list(found.objectives)
    chosen = {t.record.key for t in rows if t.full or t.confirmed is not None}
    if len(names) > 1:
        front = found.front
        dots = [
            figures.Tried(
                label=t.name if t.number is None else "",
                x=t.values[names[0]].value,
                y=t.values[names[1]].value,
                low=t.values[names[1]].low,
                high=t.values[names[1]].high,
                role=_role(t, {f.record.key for f in front}),
            )
            for t in rows
        ]
        line = [(t.values[names[0]].value, t.values[names[1]].value) for t in front]
        return findings.figure(
            "pareto",
            figures.pareto(
                dots, line, x_unit=_unit(evidence, names[0]), y_unit=_unit(evidence, names[1])
            ),
            alt=f"{names[1]} against {names[0]} of {len(rows)} trials; on the front: "
            + "; ".join(f"{t.name} ({number(a)}, {number(b)})"
                        for t, (a, b) in zip(front, line, strict=True)),
            caption=f"{len(front)} of {len(rows)} configurations are beaten by none on every "
            "objective (blue, joined by the line); diamonds are anchors; "
            f"{_bars(evidence)}.",
        )  # fmt: skip
    name = names[0]
    ordered = sorted((t for t in rows if t.number is not None), key=lambda t: t.number or 0)
    last = max((t.number or 0 for t in ordered), default=0)
    anchors = [t for t in rows if t.number is None]
    dots = [_dot(t, t.number or 0, name, chosen) for t in ordered]
    dots += [_dot(t, last + 1 + i, name, chosen) for i, t in enumerate(anchors)]
    best = rows[0]
    return findings.figure(
        "search",
        figures.search_course(
            dots, y_unit=_unit(evidence, name), rising=found.objectives[name] > 0
        ),
        alt=f"{name} of {len(ordered)} suggestions in their order; best {best.name} "
        f"{number(best.values[name].value)}.",
        caption="Numbers of the search itself; line: best so far; blue: went on to full fidelity "
        "or fresh seeds; diamonds at the right: anchors; "
        + _bars(evidence).replace("bars are", "bars:")
        + ".",
    )


def _dot(t: Try, x: float, name: str, chosen: set[str]) -> figures.Tried:
    v = t.values[name]
    return figures.Tried(label="", x=x, y=v.value, low=v.low, high=v.high, role=_role(t, chosen))


def _role(t: Try, chosen: set[str]) -> str:
    if t.number is None:
        return "anchor"
    return "best" if t.record.key in chosen else "tried"


def _front(signs: Mapping[str, int], rows: Sequence[Try]) -> list[Try]:
    turned = {t.record.key: [s * t.values[n].value for n, s in signs.items()] for t in rows}
    front = []
    for t in (t for t in rows if t.feasible):
        mine = turned[t.record.key]
        beaten = any(
            all(a >= b for a, b in zip(turned[o.record.key], mine, strict=True))
            and turned[o.record.key] != mine
            for o in rows
            if o.feasible
        )
        if not beaten:
            front.append(t)
    return front


def _table(found: Tries) -> Table:
    rows, names = found.rows, list(found.objectives)
    many = len(names) > 1
    front = {t.record.key for t in found.front} if many else set()
    at_full = any(t.full for t in rows)
    confirmed = any(t.confirmed is not None for t in rows)
    columns = ["front" if many else "rank", "configuration"]
    for name in names:
        columns.append(f"{name}: the search")
        columns += [f"{name}: every clip"] if at_full else []
        columns += [f"{name}: fresh seeds"] if confirmed else []
    shown = [*rows[:MOST_ROWS], *(t for t in rows[MOST_ROWS:] if t.confirmed is not None)]
    body = []
    for place, t in enumerate(shown, start=1):
        mark = ("yes" if t.record.key in front else "") if many else str(place)
        untrained = f" {DAGGER}" if t.record.final.get("trained") is False else ""
        bound = () if t.feasible else ("breaks a constraint",)
        row: list[Entry | str] = [
            mark, Entry(text=f"{t.name}{untrained}", details=(t.settings, *bound))
        ]  # fmt: skip
        for name in names:
            v = t.values[name]
            interval = (bracket(v.low, v.high),) if v.high > v.low else ()
            row.append(Entry(text=number(v.value), details=(*interval, _of_seeds(found, t))))
            if at_full:
                row.append(number(t.full[name]) if t.full else "–")
            if confirmed:
                row.append(_confirmed(t, name))
        body.append(row)
    wanted = _seeds(found.evidence)
    fidelity = next((t.record.fidelity for t in rows if t.record.fidelity), {})
    how = "tested on every clip"
    if fidelity:
        how = (
            f"tested at `{fidelity['name']}` ({fidelity['clips_per_cell']} clips per perturbation "
            "and severity), intervals over the choice of clips"
        )
    if _chosen_on(found.evidence) == "validation":
        how = "tested on the validation clips"
    caption = (
        f"{len(shown)} of {len(rows)} finished configurations, best first. The search: "
        f"{'one seed' if wanted == 1 else f'mean over {wanted} seeds'}, {how}."
    )
    if confirmed:
        caption += (
            " Fresh seeds: mean ± half width of the 95 % t interval over seeds that the search "
            "never saw, every clip tested; below it, the difference to the search's own number."
        )
    return Table(columns=columns, rows=body, left=2, caption=caption, csv="search.csv")


def _of_seeds(found: Tries, t: Try) -> str:
    """The seeds behind the search's own number."""
    wanted = _seeds(found.evidence)
    if wanted == 1:
        return f"seed {t.record.seed}"
    if t.seeds == wanted:
        return f"{t.seeds} seeds"
    dropped = {e["key"] for e in found.evidence.events if e.get("event") == "dropped"}
    return f"{'dropped after ' * (t.record.key in dropped)}{t.seeds} of {wanted} seeds"


def _confirmed(t: Try, name: str) -> Entry:
    interval = t.fresh.get(name)
    if interval is None or interval.n == 0:
        return Entry(text="–")
    text = number(interval.mean) + (f" ± {number(interval.half)}" if interval.n > 1 else "")
    drop = interval.mean - t.values[name].value
    return Entry(text=text, details=(f"n={interval.n}", f"{signed(drop)} to the search"))


def _mattered(found: Tries) -> list[Table]:
    """Which dimensions the best trials agree on; nothing with few trials."""
    evidence = found.evidence
    suggested = [e for e in evidence.events if e.get("event") == "suggested"]
    params = {e["key"]: e.get("params") or {} for e in reversed(suggested)}
    whole = [t for t in found.rows if t.record.key in params and t.seeds == _seeds(evidence)]
    if len(whole) < FEWEST_TRIALS:
        return []
    mine = [params[t.record.key] for t in whole]
    try:
        study = validate_study(evidence.study, where="sweep.yaml")
        spreads = [distributions_of(study, one) for one in mine]
    except ValueError:  # the space of another version
        return []
    columns = ["dimension", "trials"]
    cells: dict[str, list[str]] = {}
    trials: dict[str, int] = {}
    for objective, sign in found.objectives.items():
        columns += [f"{objective}: importance", "p"]
        values = [sign * t.values[objective].value for t in whole]
        for one in importances(mine, spreads, values):
            trials[one.name] = one.trials
            cells.setdefault(one.name, []).extend([f"{one.excess:.2f}", f"{one.p:.2f}"])
    return [
        Table(
            columns=columns,
            rows=[[f"`{n}`", str(trials[n]), *row] for n, row in list(cells.items())[:MOST_ROWS]],
            left=1,
            caption="Exploratory: how far the values of the best quarter of the trials are from "
            "those of all trials that have the dimension (PED-ANOVA), less what chance gives; p by "
            f"permutation, not corrected. Dimensions of fewer than {FEWEST_TRIALS} trials are left "
            "out. A sampler that learns draws no dimension by itself, so this is no attribution.",
        )
    ]


def _model_note(evidence: Evidence) -> list[Text | Table | Figure]:
    """Which parameters the sampler could model together."""
    seen = [set(e.get("params") or {}) for e in evidence.events if e.get("event") == "suggested"]
    sampler = str((evidence.study.get("search") or {}).get("sampler", "tpe"))
    if not seen or sampler != "tpe":
        return []
    together = set.intersection(*seen)
    apart = sorted(set.union(*seen) - together)
    if not apart:
        return []
    return [
        Text(
            text=f"The sampler (TPE) models together what every trial has: "
            f"{join([f'`{n}`' for n in sorted(together)]) or 'nothing'}. Drawn each by itself, "
            f"since it exists in some trials only: {join([f'`{n}`' for n in apart])}.",
            tone="note",
        )
    ]


def tables(found: Tries) -> dict[str, pd.DataFrame]:
    """One row per finished configuration and objective."""
    import pandas as pd  # late: the answer alone needs none

    rows = []
    for t in found.rows:
        for name, value in t.values.items():
            interval = t.fresh.get(name) or mean_interval([])
            rows.append(
                {
                    "cell": t.name,
                    "key": t.record.key,
                    "suggestion": t.number,
                    "settings": t.settings,
                    "feasible": t.feasible,
                    "objective": name,
                    "search": value.value,
                    "search_low": value.low,
                    "search_high": value.high,
                    "every_clip": t.full.get(name, math.nan),
                    "fresh_mean": interval.mean,
                    "fresh_low": interval.low,
                    "fresh_high": interval.high,
                    "fresh_seeds": interval.n,
                }
            )
    return {"search": pd.DataFrame(rows)}


# ------------------------------------------------------------------------------------- answer


def sentences(findings: Findings, found: Tries) -> list[str]:
    """The winners: confirmed by fresh seeds, or the best tried with a warning."""
    rows = [t for t in found.rows if t.feasible]
    names = list(found.objectives)
    if not rows:
        return [f"**No finished trial has the objective {join(names)}.**"]
    confirmed = [t for t in rows if t.confirmed is not None and t.number is not None]
    if not confirmed:
        return _unconfirmed(rows, names, found.front)
    said = []
    for t in confirmed:
        assert t.confirmed is not None
        parts = []
        for name in names:
            interval = t.fresh[name]
            parts.append(
                f"{name} {number(interval.mean)} {bracket(interval.low, interval.high)}".strip()
                + f" (the search had seen {number(t.values[name].value)})"
            )
        count = len(t.confirmed.records)
        said.append(
            f"**{t.confirmed.name}, a winner of {len(rows)} tried configurations, with {count} "
            f"fresh seed{'s' if count != 1 else ''}**: {join(parts)}."
        )
    return said


def _unconfirmed(rows: Sequence[Try], names: Sequence[str], front: Sequence[Try]) -> list[str]:
    if len(names) > 1:
        shown = "; ".join(
            f"{t.name} ({', '.join(f'{n} {number(t.values[n].value)}' for n in names)})"
            for t in front[:6]
        )
        text = (
            f"**{len(front)} of {len(rows)} tried configurations are beaten by none on "
            f"{join(list(names))}**: {shown}"
        )
    else:
        name, best = names[0], rows[0]
        text = f"**Best of {len(rows)} tried configurations on {name}**: {best.name}, "
        text += f"{number(best.values[name].value)} %"
        none = next((t for t in rows if t.name == "none"), None)
        if none is not None and none is not best:
            text += f" (none: {number(none.values[name].value)} %)"
    return [
        f"{text}.",
        "**Winner's curse**: the best of a search is picked by its own luck. The number is biased "
        "upwards and no claim: run the winner and `none` again with seeds that the search never "
        "saw (`search.confirm` does).",
    ]
