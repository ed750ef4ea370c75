"""Whether diverse loss sets are robust: rank correlations over the loss sets of a design.

The unit of the data is the loss set (a cell, mean over its seeds), but sets share losses: where the
effects of losses add up, sets with like losses have like outcomes, whatever their diversity. So the
declared test is the rank correlation **given which losses are in a set**
(``membership_spearman``). A plain rho is description.

What may be claimed is declared before the runs: one measure of diversity, and **robustness beyond
ability** on an outcome of the answer, the log odds under stress less those on clean clips. The
question of such a study is whether diverse losses keep more of what a model can do; accuracy under
stress is mostly that ability, and both in the family of the report would ask it twice at half the
power. The correlation of accuracy, given the same, stands beside it. Given clean accuracy as a
covariate it is exploratory: clean accuracy is measured with error, and leaves ability behind. All
other measures are exploratory, too, and corrected for their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sweep.report import figures
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
)
from sweep.report.sets import DELAY, beyond_ability, delayed, is_clean, mean, mean_of
from sweep.report.verdict import graded, standing
from sweep.statistics.claims import Claim
from sweep.statistics.contrasts import adjust
from sweep.statistics.correlation import (
    Association,
    membership_spearman,
    partial_spearman,
    spearman,
)
from sweep.statistics.diversity import recorded
from sweep.statistics.power import detectable_correlation
from sweep.statistics.regression import standardised_regression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

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
BEYOND = "beyond ability"


@dataclass(frozen=True, kw_only=True)
class Response:
    """What is correlated with diversity.

    Attributes:
        name: Outcome, or the outcome and `beyond ability`.
        outcome: Its outcome.
        beyond: Whether it is log odds under stress less those on clean clips.
        values: Cell name -> mean over seeds.
        unit: Axis label.
    """

    name: str
    outcome: str
    beyond: bool
    values: Mapping[str, float]
    unit: str


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One measure against one response, over loss sets.

    Attributes:
        measure: `set/...` or `end/...`, as in the records.
        response: What it is set against.
        x: The measure, one per set.
        y: The response.
        ability: Clean accuracy.
        given: Rank correlation given which losses are in a set: the test.
        adjusted_p: Benjamini-Hochberg over the measures of one response, of the p of ``given``.
    """

    measure: str
    response: Response
    x: Sequence[float] = field(repr=False)
    y: Sequence[float] = field(repr=False)
    ability: Sequence[float] = field(repr=False)
    given: Association
    adjusted_p: float = NAN

    @cached_property
    def plain(self) -> Association:
        """Spearman's rho: description."""
        return spearman(self.x, self.y)

    @cached_property
    def clean(self) -> Association | None:
        """Of accuracy, the rank correlation given clean accuracy: exploratory."""
        return None if self.response.beyond else partial_spearman(self.x, self.y, [self.ability])


@dataclass(frozen=True, kw_only=True)
class Diversities:
    """Diversity against robustness under one combiner.

    Attributes:
        combiner: Name.
        about: How the declared correlation is called in claims.
        cells: Loss sets, without `none` and the full set.
        declared: The measure that the design spread the sets over.
        measures: Measure -> cell name -> mean over seeds; those that do not vary are left out.
        constant: Measures that are equal in all sets or not defined.
        responses: What is correlated with them, per outcome beyond ability first.
        relations: Every measure with every response.
        trained: Response -> the declared correlation over sets of which every run trained; empty
            where all did.
        delayed: Number of losses -> (runs that did not train, runs), where that is most.
    """

    combiner: str
    about: str
    cells: Sequence[Cell]
    declared: str
    measures: Mapping[str, Mapping[str, float]] = field(repr=False)
    constant: Sequence[str]
    responses: Sequence[Response] = field(repr=False)
    relations: Sequence[Relation] = field(repr=False)
    trained: Mapping[str, Association]
    delayed: Mapping[int, tuple[int, int]]

    def of(self, measure: str) -> list[Relation]:
        """Relations of a measure, in the order of the responses."""
        return [row for row in self.relations if row.measure == measure]

    @property
    def tests(self) -> list[Relation]:
        """The declared measure against robustness beyond ability, one per outcome."""
        return [row for row in self.of(self.declared) if row.response.beyond]

    def p(self, row: Relation) -> float:
        """Of a claim: the correlation has to be there with and without sets that did not train."""
        if self.delayed:
            return NAN
        trained = self.trained.get(row.response.name, row.given)
        return max(row.given.p, trained.p) if math.isfinite(trained.p) else NAN

    def disagrees(self, row: Relation) -> bool:
        """Whether sets that trained say something else than all."""
        trained = self.trained.get(row.response.name, row.given)
        return _sign(trained) != _sign(row.given)


def find(evidence: Evidence) -> list[Diversities]:
    """One per combiner with enough loss sets; empty without an outcome."""
    found = []
    sets = [c for c in evidence.finished if c.losses and c.losses != evidence.losses]
    names = list(dict.fromkeys(c.combiner for c in sets))
    for combiner in names:
        cells = [c for c in sets if c.combiner == combiner]
        responses = _responses(evidence, cells)
        if len(cells) >= FEWEST_SETS and responses:
            about = f"diversity ({combiner})" if len(names) > 1 else "diversity"
            found.append(_relate(evidence, combiner, about, cells, responses))
    return found


def _relate(
    evidence: Evidence,
    combiner: str,
    about: str,
    cells: Sequence[Cell],
    responses: Sequence[Response],
) -> Diversities:
    measures, constant = _measures(cells)
    declared = f"set/{evidence.design_settings.measure}"
    clean = [mean_of(c, ["clean"]) for c in cells]
    relations: list[Relation] = []
    for response in responses:
        rows = [
            _relation(name, response, values, cells, clean) for name, values in measures.items()
        ]
        p = adjust([row.given.p for row in rows], "bh")
        relations += [replace(row, adjusted_p=q) for row, q in zip(rows, p, strict=True)]
    kept = [c for c in cells if not c.untrained]
    trained = {}
    if len(kept) < len(cells) and declared in measures:
        trained = {r.name: _given(measures[declared], r, kept) for r in responses}
    return Diversities(
        combiner=combiner,
        about=about,
        cells=cells,
        declared=declared,
        measures=measures,
        constant=constant,
        responses=responses,
        relations=relations,
        trained=trained,
        delayed=delayed(cells),
    )


def _relation(
    name: str,
    response: Response,
    values: Mapping[str, float],
    cells: Sequence[Cell],
    clean: Sequence[float],
) -> Relation:
    return Relation(
        measure=name,
        response=response,
        x=[values.get(c.name, NAN) for c in cells],
        y=[response.values[c.name] for c in cells],
        ability=clean,
        given=_given(values, response, cells),
    )


def _given(values: Mapping[str, float], response: Response, cells: Sequence[Cell]) -> Association:
    return membership_spearman(
        [values.get(c.name, NAN) for c in cells],
        [response.values[c.name] for c in cells],
        [c.losses for c in cells],
    )


def _responses(evidence: Evidence, cells: Sequence[Cell]) -> list[Response]:
    found = []
    for outcome in evidence.headline:
        patterns = evidence.outcomes[outcome]
        if is_clean(patterns):
            continue
        found += [
            Response(
                name=f"{outcome} {BEYOND}",
                outcome=outcome,
                beyond=True,
                values={c.name: beyond_ability(c, patterns) for c in cells},
                unit=f"{outcome} {BEYOND}: log odds",
            ),
            Response(
                name=outcome,
                outcome=outcome,
                beyond=False,
                values={c.name: mean_of(c, patterns) for c in cells},
                unit=f"{outcome}: {unit_of(evidence)}",
            ),
        ]
    return found


def _sign(rho: Association) -> int:
    return 0 if not rho.p < 0.05 else 1 if rho.rho > 0 else -1


def _measures(cells: Sequence[Cell]) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Measure -> cell -> mean over seeds, and the names of those that do not vary."""
    names = dict.fromkeys(
        name for c in cells for r in c.records.values() for name in recorded(r.diversity, TESTED)
    )
    found: dict[str, dict[str, float]] = {}
    constant = []
    for name in names:
        values = {
            c.name: mean(recorded(r.diversity, TESTED).get(name, NAN) for r in c.records.values())
            for c in cells
        }
        known = [v for v in values.values() if math.isfinite(v)]
        if len(known) >= FEWEST_SETS and np.ptp(known) > 1e-9 * max(1.0, np.abs(known).max()):
            found[name] = values
        else:
            constant.append(name)
    return found, constant


# ------------------------------------------------------------------------------------ the claims


def claims(items: Sequence[Diversities]) -> list[Claim]:
    """The declared measure against robustness beyond ability on the outcomes of the answer."""
    return [
        Claim(
            comparison=item.about,
            outcome=row.response.outcome,
            p=item.p(row),
            pairs=(item.trained.get(row.response.name) or row.given).n,
            disagrees=item.disagrees(row),
        )
        for item in items
        for row in item.tests
    ]


# ------------------------------------------------------------------------------------ the answer


def sentences(findings: Findings, found: Sequence[Diversities]) -> list[Text]:
    """What the declared correlation is, what it could have been, and what others are."""
    rows: list[Text] = []
    for item in found:
        suffix = item.about.removeprefix("diversity")
        if not item.tests:
            rows.append(
                _open(
                    f"**No answer{suffix}**: {_spoken(item.declared)} does not vary over the "
                    f"{len(item.cells)} loss sets, or no record holds it."
                )
            )
            continue
        if item.delayed:
            counts = [f"{failed} of {n}" for failed, n in item.delayed.values()]
            rows.append(
                _open(
                    f"No verdict on diversity{suffix}: {join(counts)} runs did not train. {DELAY}"
                )
            )
            continue
        rows += [_sentence(findings, item, row, suffix) for row in item.tests]
        rows.append(_others(item, suffix))
    return rows


def _open(text: str) -> Text:
    return Text(text=text, tone="open")


def _sentence(findings: Findings, item: Diversities, row: Relation, suffix: str) -> Text:
    outcome, rho = row.response.outcome, row.given
    claim = findings.claims[item.about, outcome]
    losses = len({name for c in item.cells for name in c.losses})
    if not math.isfinite(rho.rho):
        return _open(
            f"No test of diversity{suffix} on {outcome}: {len(item.cells)} loss sets of {losses} "
            "losses leave nothing to correlate once the losses are held constant, or all are equal."
        )
    measure = _spoken(item.declared)
    body = (
        f"rank correlation with {measure}, given which losses are in a set, "
        f"{_rho(rho)} over {rho.n} loss sets ({standing(claim)})"
    )
    if row.response.name in item.trained:
        trained = item.trained[row.response.name]
        left = len(item.cells) - trained.n
        sets = "the set" if left == 1 else f"the {left} sets"
        body += f"; without {sets} with a run that did not train {_rho(trained)}"
    beside = next((r for r in item.of(item.declared) if r.response.name == outcome), None)
    described = f"plain ρ {number(row.plain.rho, 2)}"
    if beside is not None:
        described = (
            f"accuracy given the same ρ {number(beside.given.rho, 2)}, p "
            f"{p_value(beside.given.p)}; {described} and {number(beside.plain.rho, 2)}"
        )
    if claim.grade == "unresolved":
        lead = f"Not resolved, whether robustness on {outcome} {BEYOND} goes with diversity{suffix}"
        if claim.disagrees:
            lead = f"No verdict on diversity{suffix} and robustness on {outcome} {BEYOND}"
        reach = detectable_correlation(rho.n, rho.given)
        least = f" a correlation of ±{number(reach, 2)} or more" if reach < 1 else " hardly any"
        end = (
            f" {rho.n} sets of {losses} losses find{least} four times out of five. Not resolved is "
            'not "no correlation".'
        )
        return _open(f"{lead}: {body}. Described: {described}.{end}")
    verb = "rises" if rho.rho > 0 else "falls"
    text = (
        f"**Robustness on {outcome} {BEYOND} {verb} with the diversity of the losses{suffix}**: "
        f"{body}. Described: {described}."
    )
    return graded(text, claim)


def _rho(rho: Association) -> str:
    return f"ρ {number(rho.rho, 2)} {bracket(rho.low, rho.high, 2)}".strip()


def _others(item: Diversities, suffix: str) -> Text:
    others = [row for row in item.relations if row.measure != item.declared]
    found = [row for row in others if row.adjusted_p < 0.05]
    tested = len({row.measure for row in others})
    if not found:
        return _open(
            f"Exploratory{suffix}: none of {tested} other measures of diversity correlates with an "
            "outcome of the answer, given the losses of a set, after correction for their number "
            "(Benjamini-Hochberg)."
        )
    shown = [
        f"{_spoken(row.measure)} with {row.response.name} (ρ {number(row.given.rho, 2)}, corrected "
        f"p {p_value(row.adjusted_p)})"
        for row in sorted(found, key=lambda row: row.adjusted_p)[:3]
    ]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return _open(
        f"Exploratory{suffix}: of {tested} other measures, given the losses of a set and after "
        f"correction for their number: {'; '.join(shown)}{more}."
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
        "the runs. Sets share losses, and which losses are in a set goes with its diversity: the "
        "test holds membership constant (one indicator per loss; ranks), a plain ρ does not. "
        f"`{BEYOND}` is log odds under stress less those on clean clips. A correlation is no proof "
        "that diversity is the cause."
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
    blocks.append(_table(findings, item, suffix))
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
        if math.isfinite(x[c.name]) and math.isfinite(y := mean(c.values(patterns).values()))
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
        outcome="clean",
        beyond=False,
        values={c.name: mean_of(c, ["clean"]) for c in item.cells},
        unit=f"clean: {unit_of(findings.evidence)}",
    )
    rows = []
    for measure in drawn:
        for response in (*item.responses[:2], clean):
            relation = next(
                (r for r in item.of(measure) if r.response.name == response.name),
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
            partial = f", given losses {number(relation.given.rho, 2)}" if relation else ""
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


def _table(findings: Findings, item: Diversities, suffix: str) -> Table:
    rows: list[list[Entry | str]] = []
    for measure in sorted(item.measures, key=lambda name: name != item.declared):
        declared = measure == item.declared
        row: list[Entry | str] = [
            Entry(text=f"**{_spoken(measure)}**" if declared else _spoken(measure))
        ]
        for relation in item.of(measure):
            given, response = relation.given, relation.response
            claim = findings.claims.get((item.about, response.outcome))
            strong = relation.adjusted_p < 0.05
            if declared:
                strong = response.beyond and claim is not None and claim.grade == "holds"
            row += [
                _entry(relation.plain),
                _entry(given, ("good" if given.rho > 0 else "bad") if strong else ""),
                Entry(text=p_value(relation.adjusted_p), details=(f"raw {p_value(given.p)}",)),
            ]
            if relation.clean is not None:
                row.append(_entry(relation.clean))
        rows.append(row)
    columns = ["measure"]
    for response in item.responses:
        columns += [f"{response.name}: ρ", "given losses", "BH p"]
        if not response.beyond:
            columns.append("given clean (exploratory)")
    return Table(
        columns=columns,
        rows=rows,
        caption=f"Spearman's ρ over {len(item.cells)} loss sets{suffix}: plain (description; "
        "bootstrap of the sets), and given which losses are in a set (t with sets - losses - 1 "
        f"degrees of freedom); Benjamini-Hochberg over the {len(item.measures)} measures of a "
        "column. Coloured: the declared measure where its claim holds over the whole report, any "
        "other where the corrected p is below .05. Given clean accuracy: it is measured with "
        "error, so that what is left is not free of ability.",
        csv="diversity.csv",
    )


def _entry(rho: Association, tone: str = "") -> Entry:
    return Entry(
        text=number(rho.rho, 2), details=(bracket(rho.low, rho.high, 2) or "–",), tone=tone
    )


def _regression(item: Diversities, suffix: str) -> Table | None:
    """Robustness on weights, directions, level and clean accuracy together."""
    columns = {
        _spoken(name): [item.measures[name].get(c.name, NAN) for c in item.cells]
        for name in REGRESSORS
        if name in item.measures
    }
    columns["clean accuracy"] = [mean_of(c, ["clean"]) for c in item.cells]
    rows: dict[str, list[Entry | str]] = {}
    for response in item.responses:
        try:
            found = standardised_regression([response.values[c.name] for c in item.cells], columns)
        except ValueError:
            return None
        digits = 3 if response.beyond else 2
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
        "the response (points, or log odds) per standard deviation of the term, 95 % intervals "
        "with HC3 errors; a VIF above 5 marks a term that the others nearly determine.",
    )


def tables(items: Sequence[Diversities]) -> dict[str, pd.DataFrame]:
    """One row per combiner, measure and response."""
    import pandas as pd  # late: the answer alone needs none

    rows = pd.DataFrame(
        [
            {
                "combiner": item.combiner,
                "measure": row.measure,
                "declared": row.measure == item.declared,
                "response": row.response.name,
                "loss_sets": row.given.n,
                **_numbers("rho", row.plain),
                **_numbers("given_losses", row.given),
                "given_losses_p_bh": row.adjusted_p,
                "held_constant": row.given.given,
                **_numbers("given_clean", row.clean),
                **_numbers("trained", _trained(item, row)),
            }
            for item in items
            for row in item.relations
        ]
    )
    return {"diversity": rows}


def _trained(item: Diversities, row: Relation) -> Association | None:
    return item.trained.get(row.response.name) if row.measure == item.declared else None


def _numbers(name: str, rho: Association | None) -> dict[str, float]:
    columns = (name, f"{name}_low", f"{name}_high", f"{name}_p")
    values = (NAN,) * 4 if rho is None else (rho.rho, rho.low, rho.high, rho.p)
    return dict(zip(columns, values, strict=True))
