"""Whether diverse loss sets are robust: rank correlations over the loss sets of a design.

The unit is the loss set (a cell, mean over its seeds). Robustness and clean accuracy are
confounded, so the number to read is the partial correlation given clean accuracy (and the number of
losses, where sets differ in it). One measure and one outcome are declared before the runs; all
others are exploratory and corrected for their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sweep.report import figures
from sweep.report.effects import gamma_of
from sweep.report.names import DAGGER, unit_of
from sweep.report.page import (
    Entry,
    Figure,
    Section,
    Table,
    Text,
    bracket,
    join,
    number,
    p_value,
    signed,
    thousands,
)
from sweep.statistics.contrasts import adjust
from sweep.statistics.correlation import (
    Association,
    configurations_needed,
    detectable_correlation,
    partial_spearman,
    spearman,
)
from sweep.statistics.diversity import recorded
from sweep.statistics.regression import standardised_regression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings

NAN = math.nan
#: Points of the training that are tested, and what they are called. `start` and `half` are in the
#: file of values only: three times as many tests of nearly the same would cost power.
TESTED = {"set": "before training", "end": "at the end"}
#: What the declared measure is drawn beside: how unlike the losses turned out to be.
MEASURED = "end/gradient/distance"
#: Terms of the regression, beside clean accuracy (and only where they vary).
REGRESSORS = ("set/losses", "end/weight_entropy", "end/gradient/vendi", "end/mean_level")
#: Fewer loss sets than this have no correlation worth printing.
FEWEST_SETS = 6
#: Correlations that would need more loss sets than this are called hopeless.
MOST_SETS = 10_000


@dataclass(frozen=True, kw_only=True)
class Response:
    """What is correlated with diversity.

    Attributes:
        name: Outcome, or `γr` and the outcome.
        values: Cell name -> mean over seeds.
        unit: Axis label.
    """

    name: str
    values: Mapping[str, float]
    unit: str


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One measure against one response, over loss sets.

    Attributes:
        measure: `set/...` or `end/...`, as in the records.
        response: Name of the response.
        plain: Spearman's rho.
        partial: The same given clean accuracy (and the number of losses where it varies).
        adjusted_p: Benjamini-Hochberg over the measures of one response, of the partial p.
    """

    measure: str
    response: str
    plain: Association
    partial: Association
    adjusted_p: float = NAN

    @property
    def resolved(self) -> bool:
        """Whether interval and test agree that the partial correlation is not 0."""
        rho = self.partial
        return rho.p < 0.05 and (rho.low > 0 or rho.high < 0)


@dataclass(frozen=True, kw_only=True)
class Diversities:
    """Diversity against robustness under one combiner.

    Attributes:
        combiner: Name.
        cells: Loss sets, without `none` and the full set.
        declared: The measure that the design spread the sets over.
        given: Names of the covariates of the partial correlations.
        measures: Measure -> cell name -> mean over seeds; those that do not vary are left out.
        constant: Measures that are equal in all sets or not defined.
        responses: What is correlated with them; the first one is the declared outcome.
        relations: Every measure with every response.
        trained: The declared measure with every response, without cells that did not train; empty
            where all did.
    """

    combiner: str
    cells: Sequence[Cell]
    declared: str
    given: tuple[str, ...]
    measures: Mapping[str, Mapping[str, float]] = field(repr=False)
    constant: Sequence[str]
    responses: Sequence[Response] = field(repr=False)
    relations: Sequence[Relation] = field(repr=False)
    trained: Sequence[Relation] = ()

    def of(self, measure: str) -> list[Relation]:
        """Relations of a measure, in the order of the responses."""
        return [row for row in self.relations if row.measure == measure]


def find(evidence: Evidence) -> list[Diversities]:
    """One per combiner with enough loss sets; empty without an outcome."""
    found = []
    sets = [c for c in evidence.finished if c.losses and c.losses != evidence.losses]
    for combiner in dict.fromkeys(c.combiner for c in sets):
        cells = [c for c in sets if c.combiner == combiner]
        responses = _responses(evidence, cells)
        if len(cells) >= FEWEST_SETS and responses:
            found.append(_relate(evidence, combiner, cells, responses))
    return found


def _relate(
    evidence: Evidence, combiner: str, cells: Sequence[Cell], responses: Sequence[Response]
) -> Diversities:
    measures, constant = _measures(cells)
    covariates = {"clean accuracy": [_mean(c.values(["clean"]).values()) for c in cells]}
    counts = [float(len(c.losses)) for c in cells]
    if len(set(counts)) > 1:
        covariates["number of losses"] = counts
    declared = f"set/{evidence.design_settings.measure}"
    relations: list[Relation] = []
    for response in responses:
        rows = [
            _relation(name, response, values, cells, [*covariates.values()])
            for name, values in measures.items()
        ]
        p = adjust([row.partial.p for row in rows], "bh")
        relations += [replace(row, adjusted_p=q) for row, q in zip(rows, p, strict=True)]
    kept = [i for i, c in enumerate(cells) if not c.untrained]
    trained: list[Relation] = []
    if FEWEST_SETS <= len(kept) < len(cells) and declared in measures:
        trained = [
            _relation(
                declared, response, measures[declared], [cells[i] for i in kept],
                [[column[i] for i in kept] for column in covariates.values()],
            )
            for response in responses
        ]  # fmt: skip
    return Diversities(
        combiner=combiner,
        cells=cells,
        declared=declared,
        given=tuple(covariates),
        measures=measures,
        constant=constant,
        responses=responses,
        relations=relations,
        trained=trained,
    )


def _relation(
    name: str,
    response: Response,
    values: Mapping[str, float],
    cells: Sequence[Cell],
    covariates: Sequence[Sequence[float]],
) -> Relation:
    x = [values.get(c.name, NAN) for c in cells]
    y = [response.values[c.name] for c in cells]
    return Relation(
        measure=name,
        response=response.name,
        plain=spearman(x, y),
        partial=partial_spearman(x, y, covariates),
    )


def _responses(evidence: Evidence, cells: Sequence[Cell]) -> list[Response]:
    found = []
    for outcome in evidence.headline:
        patterns = evidence.outcomes[outcome]
        if patterns == ["clean"]:
            continue
        accuracy = {c.name: _mean(c.values(patterns).values()) for c in cells}
        gamma = {c.name: _mean(gamma_of(r, patterns)[1] for r in c.records.values()) for c in cells}
        found.append(
            Response(name=outcome, values=accuracy, unit=f"{outcome}: {unit_of(evidence)}")
        )
        found.append(Response(name=f"γr {outcome}", values=gamma, unit=f"{outcome}: γr"))
    return found


def _measures(cells: Sequence[Cell]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Measure -> cell -> mean over seeds, and the names of those that do not vary."""
    names = dict.fromkeys(
        name for c in cells for r in c.records.values() for name in recorded(r.diversity, TESTED)
    )
    found: dict[str, dict[str, float]] = {}
    constant = []
    for name in names:
        values = {
            c.name: _mean(recorded(r.diversity, TESTED).get(name, NAN) for r in c.records.values())
            for c in cells
        }
        known = [v for v in values.values() if math.isfinite(v)]
        if len(known) >= FEWEST_SETS and np.ptp(known) > 1e-9 * max(1.0, np.abs(known).max()):
            found[name] = values
        else:
            constant.append(name)
    return found, constant


def _mean(values: object) -> float:
    rows = [float(v) for v in values if math.isfinite(v)]  # type: ignore[attr-defined]
    return float(np.mean(rows)) if rows else NAN


# ------------------------------------------------------------------------------------ the answer


def sentences(findings: Findings, found: Sequence[Diversities]) -> list[str]:
    """Whether the declared correlation is resolved, and how many loss sets it takes otherwise."""
    several = len(found) > 1
    rows = []
    for item in found:
        relations = item.of(item.declared)
        suffix = f" [{item.combiner}]" if several else ""
        if not relations:
            rows.append(
                f"**No answer{suffix}**: {_spoken(item.declared)} does not vary over the "
                f"{len(item.cells)} loss sets, or no record holds it."
            )
            continue
        rows.append(_sentence(relations, item, suffix))
        rows.append(_others(item, suffix))
    return rows


def _sentence(relations: Sequence[Relation], item: Diversities, suffix: str) -> str:
    first = relations[0]
    n, given = first.partial.n, join(item.given)
    measure = _spoken(item.declared)
    texts = [
        f"{row.response} not defined (values are equal, or follow from {given})"
        if math.isnan(row.partial.rho)
        else f"{row.response} ρ {number(row.partial.rho, 2)} "
        f"{bracket(row.partial.low, row.partial.high, 2)}, p {p_value(row.partial.p)} "
        f"(plain ρ {number(row.plain.rho, 2)})"
        for row in relations
    ]
    body = f"partial rank correlation with {measure} given {given}, over {n} loss sets{suffix}: "
    body += "; ".join(texts)
    open_rows = [row for row in relations if not row.resolved]
    if first.resolved:
        verb = "rises" if first.partial.rho > 0 else "falls"
        lead = f"**{first.response} {verb} with the diversity of the losses, at equal {given}**"
    else:
        lead = (
            "**No correlation of diversity and robustness resolved**"
            if len(open_rows) == len(relations)
            else f"**Not resolved on {join([row.response for row in open_rows])}**"
        )
    text = f"{lead}: {body}."
    if open_rows:
        reach = detectable_correlation(n, len(item.given))
        needs = [
            f"{_needed(row)} for the ρ of {number(row.partial.rho, 2)} seen on {row.response}"
            for row in open_rows
            if math.isfinite(row.partial.rho)
        ]
        text += (
            f" {n} loss sets find a correlation of ±{number(reach, 2)} or more four times out of "
            "five"
        )
        text += f"; it would take about {'; '.join(needs)}." if needs else "."
        text += ' Not resolved is not "no correlation".'
    if item.trained:
        again = [
            f"{row.response} ρ {number(row.partial.rho, 2)} "
            f"{bracket(row.partial.low, row.partial.high, 2)}"
            for row in item.trained
        ]
        left = len(item.cells) - item.trained[0].partial.n
        sets = "the set" if left == 1 else f"the {left} sets"
        text += f" Without {sets} with a run that did not train: {'; '.join(again)}."
    return text


def _needed(row: Relation) -> str:
    n = configurations_needed(row.partial.rho, row.partial.given)
    if not n <= MOST_SETS:
        return f"more than {thousands(MOST_SETS)}"
    return thousands(math.ceil(n))


def _others(item: Diversities, suffix: str) -> str:
    others = [row for row in item.relations if row.measure != item.declared]
    standing = [row for row in others if row.adjusted_p < 0.05]
    tested = len({row.measure for row in others})
    if not standing:
        return (
            f"**Exploratory{suffix}**: none of {tested} other measures of diversity correlates "
            "with a headline outcome after correction for their number (Benjamini-Hochberg)."
        )
    shown = [
        f"{_spoken(row.measure)} with {row.response} (ρ {number(row.partial.rho, 2)}, corrected p "
        f"{p_value(row.adjusted_p)})"
        for row in sorted(standing, key=lambda row: row.adjusted_p)[:3]
    ]
    more = f" and {len(standing) - 3} more" if len(standing) > 3 else ""
    return (
        f"**Exploratory{suffix}**: of {tested} other measures, after correction for their number: "
        f"{'; '.join(shown)}{more}."
    )


def _spoken(measure: str) -> str:
    """Key of a measure for people: `end/gradient/vendi` as `gradient vendi at the end`."""
    point, _, name = measure.partition("/")
    text = name.replace("/", " ").replace("_", " ")
    return text if point == "set" else f"{text} {TESTED.get(point, point)}"


# ------------------------------------------------------------------------------------ the section


def sections(findings: Findings, items: Sequence[Diversities]) -> list[Section]:
    """Tables and drawings of the correlations."""
    if not items:
        text = f"Fewer than {FEWEST_SETS} loss sets have finished: no correlation yet."
        return [Section(title="Diversity", blocks=[Text(text=text, tone="note")])]
    blocks: list[Text | Table | Figure] = []
    for item in items:
        suffix = f" [{item.combiner}]" if len(items) > 1 else ""
        blocks += _blocks(findings, item, suffix)
    return [Section(title="Diversity", blocks=blocks)]


def _blocks(findings: Findings, item: Diversities, suffix: str) -> list[Text | Table | Figure]:
    declared = _spoken(item.declared)
    untrained = [c for c in item.cells if c.untrained]
    intro = (
        f"One dot is one loss set (mean over its seeds); {len(item.cells)} sets, without `none` "
        f"and `all`. The design spread them over **{declared}**, the one measure declared before "
        f"the runs. Partial ρ holds {join(item.given)} constant; brackets are 95 % intervals from "
        "2,000 resamples of the loss sets. Loss sets overlap in their losses, and which losses are "
        "in a set goes with its diversity: a correlation is no proof that diversity is the cause."
    )
    blocks: list[Text | Table | Figure] = [Text(text=intro)]
    drawn = [m for m in dict.fromkeys((item.declared, MEASURED)) if m in item.measures]
    if drawn:
        blocks.append(_figure(findings, item, drawn, suffix))
    if untrained:
        names = ", ".join(f"{c.name} (seed {join(list(map(str, c.untrained)))})" for c in untrained)
        blocks.append(
            Text(
                text=f"{DAGGER} Sets with a run that did not train, hollow in the figure: {names}. "
                "They are in every number.",
                tone="note",
            )
        )
    blocks.append(_table(item, suffix))
    regression = _regression(item, suffix)
    if regression is not None:
        blocks.append(regression)
    if item.constant:
        text = "Equal in all loss sets, or not defined: "
        text += f"{', '.join(_spoken(name) for name in item.constant)}."
        blocks.append(Text(text=text, tone="note"))
    return blocks


def picture(findings: Findings, items: Sequence[Diversities], outcome: str) -> Figure | None:
    """One outcome against the declared measure of diversity, of the first combiner."""
    item = next((i for i in items if i.declared in i.measures), None)
    if item is None or outcome not in findings.evidence.outcomes:
        return None
    x, patterns = item.measures[item.declared], findings.evidence.outcomes[outcome]
    dots = [
        (x[c.name], y, bool(c.untrained))
        for c in item.cells
        if math.isfinite(x[c.name]) and math.isfinite(y := _mean(c.values(patterns).values()))
    ]
    if not dots:
        return None
    declared = _spoken(item.declared)
    cloud = figures.Cloud(
        title=outcome, points=dots, x_unit=declared, y_unit=unit_of(findings.evidence)
    )
    return findings.figure(
        "answer",
        figures.clouds([cloud], width_in=4.6),
        alt=f"{outcome} against {declared} of {len(dots)} loss sets.",
        caption=f"{outcome} against {declared}. A dot is a loss set; hollow: a run of it did not "
        "train; the line is that of least squares.",
    )


def _figure(findings: Findings, item: Diversities, drawn: Sequence[str], suffix: str) -> Figure:
    clean = Response(
        name="clean",
        values={c.name: _mean(c.values(["clean"]).values()) for c in item.cells},
        unit=f"clean: {unit_of(findings.evidence)}",
    )
    rows = []
    for measure in drawn:
        for response in (*item.responses[:2], clean):
            relation = next(
                (r for r in item.of(measure) if r.response == response.name),
                None,
            )
            x, y = item.measures[measure], response.values
            points = [
                (x[c.name], y[c.name], bool(c.untrained))
                for c in item.cells
                if math.isfinite(x[c.name]) and math.isfinite(y[c.name])
            ]
            rho = (
                relation.plain
                if relation
                else spearman([p[0] for p in points], [p[1] for p in points])
            )
            partial = f", partial {number(relation.partial.rho, 2)}" if relation else ""
            rows.append(
                figures.Cloud(
                    title=f"ρ {number(rho.rho, 2)}{partial}",
                    points=points,
                    x_unit=_spoken(measure),
                    y_unit=response.unit,
                )
            )
    several = f"_{item.combiner}" if suffix else ""
    return findings.figure(
        f"diversity{several}",
        figures.clouds(rows, columns=3),
        alt="Robustness and clean accuracy against diversity, one dot per loss set: "
        + "; ".join(f"{row.y_unit} against {row.x_unit}, {row.title}" for row in rows),
        caption=f"Top: the declared measure, {_spoken(item.declared)}."
        + (f" Bottom: {_spoken(MEASURED)}, measured." if len(drawn) > 1 else "")
        + " Line: least squares, to guide the eye.",
    )


def _table(item: Diversities, suffix: str) -> Table:
    rows: list[list[Entry | str]] = []
    for measure in sorted(item.measures, key=lambda name: name != item.declared):
        name = f"**{_spoken(measure)}**" if measure == item.declared else _spoken(measure)
        row: list[Entry | str] = [Entry(text=name)]
        for relation in item.of(measure):
            plain, partial = relation.plain, relation.partial
            strong = relation.resolved if measure == item.declared else relation.adjusted_p < 0.05
            row += [
                Entry(text=number(plain.rho, 2), details=(bracket(plain.low, plain.high, 2),)),
                Entry(
                    text=number(partial.rho, 2),
                    details=(bracket(partial.low, partial.high, 2),),
                    tone=("good" if partial.rho > 0 else "bad") if strong else "",
                ),
                Entry(text=p_value(relation.adjusted_p), details=(f"raw {p_value(partial.p)}",)),
            ]
        rows.append(row)
    columns = ["measure"]
    for response in item.responses:
        columns += [f"{response.name}: ρ", "partial ρ", "BH p"]
    return Table(
        columns=columns,
        rows=rows,
        caption=f"Spearman's ρ over {len(item.cells)} loss sets{suffix}, plain and given "
        f"{join(item.given)}; Benjamini-Hochberg over the {len(item.measures)} measures of a "
        "column. Coloured: the declared measure where its own interval and test exclude 0, any "
        "other where the corrected p is below .05.",
        csv="diversity.csv",
    )


def _regression(item: Diversities, suffix: str) -> Table | None:
    """Robustness on weights, directions, level and clean accuracy together."""
    columns = {
        _spoken(name): [item.measures[name].get(c.name, NAN) for c in item.cells]
        for name in REGRESSORS
        if name in item.measures
    }
    columns["clean accuracy"] = [_mean(c.values(["clean"]).values()) for c in item.cells]
    rows: dict[str, list[Entry | str]] = {}
    for response in item.responses:
        try:
            found = standardised_regression([response.values[c.name] for c in item.cells], columns)
        except ValueError:
            return None
        digits = 3 if response.name.startswith("γr") else 2
        for term in found:
            row = rows.setdefault(term.name, [term.name, number(term.vif)])
            row.append(
                Entry(
                    text=signed(term.mean, digits),
                    details=(bracket(term.low, term.high, digits), f"p {p_value(term.p)}"),
                )
            )
    return Table(
        columns=["term", "VIF", *(response.name for response in item.responses)],
        rows=list(rows.values()),
        caption=f"Exploratory: all terms together, least squares over loss sets{suffix}. Change of "
        "the response (points, or γr) per standard deviation of the term, 95 % intervals with HC3 "
        "errors; a VIF above 5 marks a term that the others nearly determine.",
    )


def tables(items: Sequence[Diversities]) -> dict[str, pd.DataFrame]:
    """One row per combiner, measure and response."""
    rows = pd.DataFrame(
        [
            {
                "combiner": item.combiner,
                "measure": row.measure,
                "declared": row.measure == item.declared,
                "response": row.response,
                "loss_sets": row.partial.n,
                "rho": row.plain.rho,
                "rho_low": row.plain.low,
                "rho_high": row.plain.high,
                "p": row.plain.p,
                "partial_rho": row.partial.rho,
                "partial_low": row.partial.low,
                "partial_high": row.partial.high,
                "partial_p": row.partial.p,
                "partial_p_bh": row.adjusted_p,
                "given": " and ".join(item.given),
            }
            for item in items
            for row in item.relations
        ]
    )
    return {"diversity": rows}
