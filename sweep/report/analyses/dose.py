"""Outcomes against the number of losses, and combiners against each other at every number.

The unit is the loss set, its mean over seeds: sets of one size differ by which losses they hold,
and that does not average out over seeds. What may be claimed, each as one test of the report's
family:

* a curve of accuracy (``curve_test``: linear, quadratic and saturating at once against constant);
* a slope of robustness beyond ability, the log odds under stress less those on clean clips: losses
  that only raise ability leave it where it is;
* a slope of what one combiner has over another, one point per set that both have.

Sets with a run that did not train have to agree with those that trained; where most runs of a size
did not, no verdict is given: their accuracy is the step at which training starts.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweep.report import figures
from sweep.report.comparisons import common_sets
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
from sweep.report.sets import (
    DELAY,
    beyond_ability,
    delayed,
    is_clean,
    mean,
    mean_of,
    placebos,
    reads_captions,
)
from sweep.report.verdict import graded, standing
from sweep.report.weights import Weighing, weighings
from sweep.statistics.claims import Claim
from sweep.statistics.curves import CurveTest, curve_test
from sweep.statistics.intervals import NAN, Interval, mean_interval
from sweep.statistics.power import FEWEST_SETS
from sweep.statistics.regression import Fit, Slope, set_slope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings

#: An extremum inside the range is called one where it stands out of both ends by this share of
#: what the curve spans; else a bent curve just rises or falls.
STANDS_OUT = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPoint:
    """One loss set: number of losses, its mean over seeds, and whether all its runs trained."""

    size: int
    value: float
    cell: str
    trained: bool


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A slope over loss sets, one point each.

    Attributes:
        every: Over all sets; None with too few.
        trained: Over those of which every run trained; None where all did, or too few are left.
        failed: Number of sets with a run that did not train.
        sets: Number of all sets.
    """

    every: Slope | None
    trained: Slope | None
    failed: int
    sets: int

    @property
    def p(self) -> float:
        """The larger of both: the slope has to be there with and without them."""
        if self.every is None or (self.failed and self.trained is None):
            return NAN
        return max(self.every.p, self.trained.p) if self.trained else self.every.p

    @property
    def disagrees(self) -> bool:
        """Whether sets that trained say something else than all."""
        return self.trained is not None and _sign(self.every) != _sign(self.trained)


@dataclass(frozen=True, kw_only=True)
class Dose:
    """Outcome against the number of losses under one combiner.

    Attributes:
        outcome: Name.
        combiner: Name.
        about: How it is called in claims: the combiner stands there if there are several.
        points: One per loss set, `none` among them.
        means: k -> interval over loss sets.
        test: Of all curves against the constant.
        trained: The same over sets of which every run trained; None where all did.
        delayed: Number of losses -> (runs that did not train, runs), where that is most.
        slope: Points per further loss; None with too few sets.
        given: The same beside an indicator of sets that read captions; None where that is not told
            apart from the number.
        beyond: Trend of the log odds under stress less those on clean clips; None for `clean`.
    """

    outcome: str
    combiner: str
    about: str
    points: tuple[SetPoint, ...]
    means: Mapping[int, Interval]
    test: CurveTest
    trained: CurveTest | None
    delayed: Mapping[int, tuple[int, int]]
    slope: Slope | None
    given: Slope | None
    beyond: Trend | None

    @property
    def p(self) -> float:
        """Of the claim: the larger of both tests; NaN where one cannot be made."""
        if self.delayed or math.isnan(self.test.p):
            return NAN
        if self.trained is None:
            return self.test.p
        return max(self.test.p, self.trained.p) if math.isfinite(self.trained.p) else NAN

    @property
    def shape(self) -> str:
        """`rises`, `falls`, `rises and falls again` ..., of the curve that is named."""
        return _shape(self.test, [p.size for p in self.points])

    @property
    def disagrees(self) -> bool:
        """Whether sets that trained say something else than all."""
        if self.trained is None:
            return False
        sizes = [p.size for p in self.points if p.trained]
        return _shape(self.trained, sizes) != self.shape

    @property
    def named(self) -> str:
        """The curve, `untested`, or `no verdict` where it hangs on runs that did not train."""
        hangs = self.trained is not None and (self.disagrees or math.isnan(self.trained.p))
        if self.test.name != "untested" and (self.delayed or hangs):
            return "no verdict"
        return self.test.name


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One combiner minus another on the loss sets of one size that both have.

    Attributes:
        first, second: Combiners.
        size: Number of losses.
        outcome: Name.
        difference: Over the sets, each a mean over the seeds of both; in points.
    """

    first: str
    second: str
    size: int
    outcome: str
    difference: Interval


@dataclass(frozen=True, kw_only=True)
class GapTrend:
    """Whether one combiner gains on another with the number of losses.

    Attributes:
        first, second: Combiners.
        outcome: Name.
        about: How it is called in claims.
        trend: Change of the difference per further loss, in points.
        delayed: As of :class:`Dose`, of either combiner.
    """

    first: str
    second: str
    outcome: str
    about: str
    trend: Trend
    delayed: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class DoseFindings:
    """What the number of losses does.

    Attributes:
        headline: Outcomes of the answer.
        doses: Per outcome and combiner, headline first.
        gaps: Combiners against each other, per number of losses.
        trends: The same as a trend.
    """

    headline: Sequence[str]
    doses: Sequence[Dose]
    gaps: Sequence[Gap]
    trends: Sequence[GapTrend]


# ------------------------------------------------------------------------------- the numbers


def find(evidence: Evidence) -> DoseFindings:
    """Dose-responses, and what one combiner has over another at every number of losses."""
    names = list(dict.fromkeys(c.combiner for c in _counted(evidence) if c.losses))
    pairs = list(itertools.combinations(names, 2))
    found = [
        _dose(evidence, outcome, combiner, several=len(names) > 1)
        for outcome in evidence.outcomes
        for combiner in names
    ]
    return DoseFindings(
        headline=evidence.headline,
        doses=[dose for dose in found if len(dose.points) > 1],
        gaps=[gap for pair in pairs for gap in _gaps(evidence, *pair)],
        trends=[
            _gap_trend(evidence, *pair, outcome) for pair in pairs for outcome in evidence.outcomes
        ],
    )


def _counted(evidence: Evidence) -> list[Cell]:
    """Sets whose size is their number of losses: those without a placebo."""
    return [cell for cell in evidence.finished if not placebos(cell)]


def _dose(evidence: Evidence, outcome: str, combiner: str, *, several: bool) -> Dose:
    patterns = evidence.outcomes[outcome]
    cells = [c for c in _counted(evidence) if not c.losses or c.combiner == combiner]
    rows = [(c, value) for c in cells if math.isfinite(value := mean_of(c, patterns))]
    cells = [c for c, _ in rows]
    points = [
        SetPoint(size=len(c.losses), value=value, cell=c.name, trained=not c.untrained)
        for c, value in rows
    ]
    by_size: dict[int, list[float]] = {}
    for point in points:
        by_size.setdefault(point.size, []).append(point.value)
    sizes, values = [p.size for p in points], [p.value for p in points]
    trained = [p for p in points if p.trained]
    captions = {"reads captions": [float(reads_captions(c)) for c in cells]}
    return Dose(
        outcome=outcome,
        combiner=combiner,
        about=f"number of losses ({combiner})" if several else "number of losses",
        points=tuple(points),
        means={k: mean_interval(v) for k, v in sorted(by_size.items())},
        test=curve_test(sizes, values),
        trained=None
        if len(trained) == len(points)
        else curve_test([p.size for p in trained], [p.value for p in trained]),
        delayed=delayed(cells),
        slope=_slope(sizes, values),
        given=_slope(sizes, values, captions),
        beyond=None
        if is_clean(patterns)
        else _trend(cells, [beyond_ability(c, patterns) for c in cells]),
    )


def _trend(cells: Sequence[Cell], values: Sequence[float], beside: Sequence[Cell] = ()) -> Trend:
    """Of one value per set; ``beside`` are the cells that the values were set against."""
    failed = [bool(c.untrained) for c in cells]
    if beside:
        failed = [one or bool(c.untrained) for one, c in zip(failed, beside, strict=True)]
    sizes = [len(c.losses) for c in cells]
    kept = [i for i, lost in enumerate(failed) if not lost]
    return Trend(
        every=_slope(sizes, values),
        trained=_slope([sizes[i] for i in kept], [values[i] for i in kept])
        if len(kept) < len(failed)
        else None,
        failed=sum(failed),
        sets=sum(map(math.isfinite, values)),
    )


def _slope(
    sizes: Sequence[int],
    values: Sequence[float],
    covariates: Mapping[str, Sequence[float]] | None = None,
) -> Slope | None:
    try:
        return set_slope(values, sizes, covariates)
    except ValueError:  # too few sets, or one column follows from the other
        return None


def _gaps(evidence: Evidence, first: str, second: str) -> list[Gap]:
    found = []
    for outcome, patterns in evidence.outcomes.items():
        by_size: dict[int, list[float]] = {}
        for one, difference in _differences(evidence, first, second, patterns):
            by_size.setdefault(len(one.losses), []).append(difference)
        found += [
            Gap(first=first, second=second, size=k, outcome=outcome, difference=mean_interval(v))
            for k, v in sorted(by_size.items())
        ]
    return found


def _differences(
    evidence: Evidence, first: str, second: str, patterns: list[str]
) -> list[tuple[Cell, float]]:
    """Cell of the first combiner, mean difference over the seeds of both, per common set."""
    found = []
    for one, two in zip(*common_sets(_counted(evidence), first, second), strict=True):
        left, right = one.values(patterns), two.values(patterns)
        difference = mean(left[s] - right[s] for s in left if s in right)
        if math.isfinite(difference):
            found.append((one, difference))
    return found


def _gap_trend(evidence: Evidence, first: str, second: str, outcome: str) -> GapTrend:
    rows = _differences(evidence, first, second, evidence.outcomes[outcome])
    one = [cell for cell, _ in rows]
    by_losses = {c.losses: c for c in evidence.finished if c.combiner == second}
    two = [by_losses[c.losses] for c in one]
    return GapTrend(
        first=first,
        second=second,
        outcome=outcome,
        about=f"{first} against {second} by number of losses",
        trend=_trend(one, [difference for _, difference in rows], beside=two),
        delayed=delayed(one) | delayed(two),
    )


def _sign(slope: Slope | None) -> int:
    """1 or -1 where the interval excludes 0, else 0."""
    if slope is None or not (slope.low > 0 or slope.high < 0):
        return 0
    return 1 if slope.mean > 0 else -1


def _shape(test: CurveTest, sizes: Sequence[int]) -> str:
    """What the named curve does from the smallest to the largest number of losses."""
    fit = test.fit
    if fit is None or fit.name == "constant":
        return test.name
    x = np.linspace(min(sizes), max(sizes), 101)
    y = fit.curve(x)
    rim = STANDS_OUT * np.ptp(y)
    if y.max() > max(y[0], y[-1]) + rim:
        return "rises and falls again"
    if y.min() < min(y[0], y[-1]) - rim:
        return "falls and rises again"
    return "rises" if y[-1] > y[0] else "falls"


# ------------------------------------------------------------------------------- the claims


def claims(found: DoseFindings) -> list[Claim]:
    """Curves, trends beyond ability and trends of combiners, on the outcomes of the answer."""
    rows = []
    for dose in (d for d in found.doses if d.outcome in found.headline):
        rows.append(
            Claim(
                comparison=dose.about,
                outcome=dose.outcome,
                p=dose.p,
                pairs=(dose.trained or dose.test).n,
                disagrees=dose.disagrees,
            )
        )
        if dose.beyond is not None:
            rows.append(_trend_claim(_beyond(dose), dose.outcome, dose.beyond, dose.delayed))
    rows += [
        _trend_claim(row.about, row.outcome, row.trend, row.delayed)
        for row in found.trends
        if row.outcome in found.headline
    ]
    return rows


def _beyond(dose: Dose) -> str:
    return f"{dose.about}, beyond ability"


def _trend_claim(
    about: str, outcome: str, trend: Trend, late: Mapping[int, tuple[int, int]]
) -> Claim:
    return Claim(
        comparison=about,
        outcome=outcome,
        p=NAN if late else trend.p,
        pairs=trend.sets - trend.failed,
        disagrees=trend.disagrees,
    )


# ------------------------------------------------------------------------------- the answer


def sentences(findings: Findings, found: DoseFindings) -> list[Text]:
    """What the number of losses does, and whether it changes what a combiner has over another."""
    doses = [dose for dose in found.doses if dose.outcome in found.headline]
    trends = [row for row in found.trends if row.outcome in found.headline]
    return [
        *_delay_sentences(doses),
        *_curve_sentences(findings, doses),
        *_beyond_sentences(findings, doses),
        *_gap_sentences(findings, trends),
    ]


def _open(text: str) -> Text:
    return Text(text=text, tone="open")


def _delay_sentences(doses: Sequence[Dose]) -> list[Text]:
    late = {dose.about: dose.delayed for dose in doses if dose.delayed}
    found = []
    for about, sizes in late.items():
        counts = [f"{failed} of {n} runs with {_losses(k)}" for k, (failed, n) in sizes.items()]
        found.append(_open(f"No verdict on the {about}: {join(counts)} did not train. {DELAY}"))
    return found


def _losses(k: int) -> str:
    return "no loss" if k == 0 else f"{k} loss{'es' if k != 1 else ''}"


def _curve_sentences(findings: Findings, doses: Sequence[Dose]) -> list[Text]:
    """One per curve that is found; what is constant, and what could not be tested, in one each."""
    found, constant, untested, apart = [], [], [], []
    for dose in doses:
        if dose.delayed:
            continue
        name = _name(dose)
        if math.isnan(dose.p):
            untested.append(f"{name}: {_untested(dose)}")
        elif dose.disagrees:
            assert dose.trained is not None
            sizes = [p.size for p in dose.points if p.trained]
            said = f"{_shape(dose.trained, sizes)} over the {dose.trained.n} that trained"
            apart.append(f"{name} {dose.shape} over all {dose.test.n} loss sets, {said}")
        elif dose.test.name == "constant":
            constant.append(f"{name} (p {p_value(dose.p)} over {dose.test.n} loss sets)")
        else:
            claim = findings.claims[dose.about, dose.outcome]
            found.append(graded(_curve_sentence(dose, claim), claim))
    if constant:
        tested = join(list(dict.fromkeys(n for d in doses for n in d.test.tested)))
        found.append(
            _open(
                "Constant in the number of losses, as far as this can be told: "
                f"{'; '.join(constant)}. Tested against {tested} together, by permutation of the "
                "loss sets."
            )
        )
    if apart:
        found.append(_open(f"No verdict on the number of losses: {'; '.join(apart)}. {DELAY}"))
    if untested:
        found.append(_open(f"No test of the number of losses: {'; '.join(untested)}."))
    return found


def _name(dose: Dose) -> str:
    return f"{dose.outcome}{dose.about.removeprefix('number of losses')}"


def _untested(dose: Dose) -> str:
    test = dose.test
    if test.n < FEWEST_SETS:
        return f"{test.n} loss sets, {FEWEST_SETS} are needed"
    if len(dose.means) < 3:
        return f"{len(dose.means)} numbers of losses, 3 are needed"
    if dose.trained is None or math.isnan(test.p):
        return f"all {test.n} loss sets are equal"
    return f"{dose.trained.n} of {test.n} loss sets trained, {FEWEST_SETS} are needed"


def _curve_sentence(dose: Dose, claim: Claim) -> str:
    test, fit = dose.test, dose.test.fit
    assert fit is not None
    few, many = min(dose.means), max(dose.means)
    seen = f"{_at(fit, few)} % with {_losses(few)}, {_at(fit, many)} % with {_losses(many)}"
    if " and " in dose.shape:
        x = np.linspace(few, many, 101)
        turn = x[(np.argmin if dose.shape.startswith("falls") else np.argmax)(fit.curve(x))]
        seen += f", {_at(fit, turn)} % at the turn near {_losses(round(turn))}"
    return (
        f"**Accuracy on {dose.outcome} {dose.shape} with the {dose.about}**: a {test.name} curve "
        f"({seen}), best by AICc of {join(test.tested)}, which were tested together by permutation "
        f"of {test.n} loss sets ({standing(claim)}).{_failed(dose)}"
    )


def _at(fit: Fit, k: float) -> str:
    return number(float(fit.curve([k])[0]))


def _failed(dose: Dose) -> str:
    if dose.trained is None:
        return ""
    lost = len(dose.points) - dose.trained.n
    sets = "a set" if lost == 1 else f"{lost} sets"
    return f" It does so without {sets} with a run that did not train, too."


def _beyond_sentences(findings: Findings, doses: Sequence[Dose]) -> list[Text]:
    found, rows = [], []
    for dose in doses:
        trend = dose.beyond
        if trend is None or trend.every is None or dose.delayed:
            continue
        claim = findings.claims[_beyond(dose), dose.outcome]
        seen = f"{_per_loss(trend.every)} log odds per further loss"
        if claim.grade == "unresolved":
            rows.append(f"{_name(dose)} {seen}")
            continue
        found.append(
            graded(
                f"**Robustness on {dose.outcome} beyond ability {_verb(trend)} with the "
                f"{dose.about}**: {seen}, over {trend.sets} loss sets ({standing(claim)}). This "
                "is log odds under stress less those on clean clips.",
                claim,
            )
        )
    if rows:
        found.append(
            _open(
                "Not resolved, robustness beyond ability (log odds under stress less those on "
                f"clean clips) by the number of losses: {'; '.join(rows)}."
            )
        )
    return found


def _gap_sentences(findings: Findings, trends: Sequence[GapTrend]) -> list[Text]:
    found, rows = [], []
    for row in trends:
        slope = row.trend.every
        if slope is None or row.delayed:
            continue
        claim = findings.claims[row.about, row.outcome]
        seen = f"{_per_loss(slope)} points per further loss over {row.trend.sets} loss sets"
        if claim.grade == "unresolved":
            rows.append(f"{row.first} against {row.second} on {row.outcome} {seen}")
            continue
        verb = "gains on" if slope.mean > 0 else "loses against"
        found.append(
            graded(
                f"**{row.first} {verb} {row.second} with the number of losses on {row.outcome}**: "
                f"{seen} ({standing(claim)}).",
                claim,
            )
        )
    if rows:
        found.append(
            _open(
                "Not resolved, whether one combiner gains on the other with the number of losses: "
                f"{'; '.join(rows)}."
            )
        )
    return found


def _per_loss(slope: Slope) -> str:
    return f"{signed(slope.mean, 2)} {bracket(slope.low, slope.high, 2)}".strip()


def _verb(trend: Trend) -> str:
    assert trend.every is not None
    return "rises" if trend.every.mean > 0 else "falls"


# ------------------------------------------------------------------------------- the section


def sections(findings: Findings, found: DoseFindings) -> list[Section]:
    """Dose-response, combiners by number of losses, and what each loss weighs there."""
    tables = (_gap_table(findings, found), _weight_table(findings.evidence))
    blocks = [*_dose_blocks(findings, found.doses), *(t for t in tables if t is not None)]
    return [Section(title="Number of losses", blocks=blocks)]


def picture(findings: Findings, found: DoseFindings, outcome: str) -> Figure | None:
    """One outcome against the number of losses, a panel per combiner."""
    doses = [dose for dose in found.doses if dose.outcome == outcome]
    if not doses:
        return None
    panels = [
        figures.DosePanel(
            title=f"{outcome} [{d.combiner}]" if len(doses) > 1 else outcome,
            points=[(p.size, p.value, not p.trained) for p in d.points],
            means={k: (i.mean, i.low, i.high) for k, i in d.means.items()},
            curves={},
        )
        for d in doses
    ]
    return findings.figure(
        "answer",
        figures.dose(panels, y_unit=unit_of(findings.evidence), width_in=4.6),
        alt=f"{outcome} against the number of auxiliary losses: "
        + "; ".join(
            f"{d.combiner} {k} {'loss' if k == 1 else 'losses'} {number(i.mean)} %"
            for d in doses
            for k, i in d.means.items()
        )
        + ".",
        caption=f"{outcome} against the number of losses. A dot is a loss set; black: mean and "
        "95 % interval over the sets of one size.",
    )


def _dose_blocks(findings: Findings, doses: Sequence[Dose]) -> list[Text | Table | Figure]:
    if not doses:
        return [Text(text="Too few finished cells for a dose-response.", tone="note")]
    blocks: list[Text | Table | Figure] = [
        Text(
            text="One dot is one loss set (mean over its seeds), hollow where a run of it did not "
            "train; intervals are over loss sets. A trend is about these losses: effects that "
            "add up give a slope of their mean, whatever their number. Only a bend speaks of the "
            "number as such."
        ),
        findings.figure(
            "dose_response",
            figures.dose([_panel(dose) for dose in doses], y_unit=unit_of(findings.evidence)),
            alt="Accuracy against the number of auxiliary losses; named curve: "
            + "; ".join(f"{_name(d)}: {d.named}" for d in doses),
            caption="Solid: the curve that the test names, also in the title; dashed: the others "
            f"that the loss sets support, none below {FEWEST_SETS} sets or without a verdict; "
            "black: mean and 95 % t interval over the loss sets of one size.",
        ),
    ]
    late = dict.fromkeys(f"{p.cell} {DAGGER}" for d in doses for p in d.points if not p.trained)
    if late:
        more = f" and {len(late) - 8} more" if len(late) > 8 else ""
        text = f"With a run that did not train: {', '.join([*late][:8])}{more}."
        blocks.append(Text(text=text, tone="note"))
    blocks.append(_dose_table(findings, doses))
    return blocks


def _panel(dose: Dose) -> figures.DosePanel:
    drawn = {}
    if dose.test.fits is not None and dose.named == dose.test.name != "untested":
        x = np.linspace(min(dose.means), max(dose.means), 60)
        shown = [f for f in dose.test.fits.fits if f.name in {"constant", *dose.test.tested}]
        shown.sort(key=lambda fit: fit.name != dose.test.name)
        drawn = {fit.name: (x, fit.curve(x)) for fit in shown}
    return figures.DosePanel(
        title=_name(dose) if drawn else f"{_name(dose)}: {dose.named}",
        points=[(p.size, p.value, not p.trained) for p in dose.points],
        means={k: (i.mean, i.low, i.high) for k, i in dose.means.items()},
        curves=drawn,
    )


def _dose_table(findings: Findings, doses: Sequence[Dose]) -> Table:
    rows: list[list[Entry | str]] = []
    for dose in doses:
        claim = findings.claims.get((dose.about, dose.outcome))
        beyond = dose.beyond
        tested = f"{dose.test.n} sets" if dose.test.tested else f"{dose.test.n} sets, too few"
        row: list[Entry | str] = [
            Entry(text=_name(dose)),
            _curve_entry(dose.named, dose.test, tested),
            _curve_entry(dose.trained.name, dose.trained, f"{dose.trained.n} sets")
            if dose.trained
            else Entry(text="–"),
            _grade_entry(claim),
            _slope_entry(dose.slope),
            _slope_entry(dose.given),
            _slope_entry(beyond.every if beyond else None),
            _grade_entry(findings.claims.get((_beyond(dose), dose.outcome)) if beyond else None),
        ]
        rows.append(row)
    return Table(
        columns=[
            "outcome", "curve", "without sets that did not train", "claim", "points per loss",
            "given caption readers", "log odds beyond ability per loss", "claim",
        ],
        rows=rows,
        caption="Curve: linear, quadratic and saturating together against constant (permutation of "
        "loss sets, largest F), its p below; named by AICc only where that p is below .05. "
        "Slopes by least squares, one point per loss set: of accuracy, the same beside an "
        "indicator of sets that read captions, and of log odds under stress less those on clean "
        "clips. Claims are corrected over the whole report; outcomes without one are described.",
        csv="dose_response.csv",
    )  # fmt: skip


def _curve_entry(name: str, test: CurveTest, sets: str) -> Entry:
    return Entry(text=name, details=(f"p {p_value(test.p)}", sets))


def _grade_entry(claim: Claim | None) -> Entry:
    if claim is None:
        return Entry(text="–")
    tone = {"holds": "good", "suggestive": "", "unresolved": "quiet"}[claim.grade]
    return Entry(text=claim.grade, details=(f"p {p_value(claim.adjusted_p)}",), tone=tone)


def _slope_entry(slope: Slope | None) -> Entry:
    if slope is None:
        return Entry(text="–")
    return Entry(text=signed(slope.mean, 2), details=(bracket(slope.low, slope.high, 2),))


def _gap_table(findings: Findings, found: DoseFindings) -> Table | None:
    outcomes = list(dict.fromkeys(gap.outcome for gap in found.gaps))
    if not outcomes:
        return None
    rows: dict[tuple[str, str, int], list[Entry | str]] = {}
    for gap in found.gaps:
        sets = gap.difference.n
        versus = f"{gap.first} minus {gap.second}, {sets} set{'s' if sets != 1 else ''}"
        name = Entry(text=_losses(gap.size), details=(versus,))
        rows.setdefault((gap.first, gap.second, gap.size), [name]).append(
            Entry(
                text=signed(gap.difference.mean),
                details=(bracket(gap.difference.low, gap.difference.high) or "n=1",),
            )
        )
    trends: dict[tuple[str, str], list[Entry | str]] = {}
    for row in found.trends:
        name = Entry(text="per further loss", details=(f"{row.first} minus {row.second}",))
        claim = findings.claims.get((row.about, row.outcome))
        entry = _slope_entry(row.trend.every)
        if claim is not None and claim.grade != "unresolved":
            entry = Entry(text=entry.text, details=(*entry.details, claim.grade))
        trends.setdefault((row.first, row.second), [name]).append(entry)
    return Table(
        columns=["combiners at", *outcomes],
        rows=[*rows.values(), *trends.values()],
        caption="One combiner minus the other on the same loss sets and seeds, in points; 95 % t "
        "intervals over loss sets, each a mean over its seeds. Last: change of the difference per "
        "further loss, least squares over loss sets.",
        csv="combiners_by_count.csv",
    )


def _weight_table(evidence: Evidence) -> Table | None:
    """Final weights by number of losses, where a combiner moves them."""
    cells = [c for c in evidence.finished if c.losses]
    sizes = sorted({len(c.losses) for c in cells})
    rows: list[list[Entry | str]] = []
    for combiner in dict.fromkeys(c.combiner for c in cells):
        mine = [c for c in cells if c.combiner == combiner]
        if not any(_moved(c) for c in mine):
            continue
        found: dict[str, dict[int, list[Weighing]]] = {}
        for cell in mine:
            for record in cell.records.values():
                for name, weighing in weighings(evidence, record).items():
                    by_size = found.setdefault(name, {})
                    by_size.setdefault(len(cell.losses), []).append(weighing)
        rows += [
            [f"{name} [{combiner}]", *(_weight_entry(by_size.get(k, [])) for k in sizes)]
            for name, by_size in found.items()
        ]
    if not rows:
        return None
    return Table(
        columns=["final weight dM/dl", *(f"{size} losses" for size in sizes)],
        rows=rows,
        caption="Slope of the combined objective with respect to each loss over the last tenth of "
        "training: mean, smallest and largest over loss sets and seeds; then the same over the "
        "primary's slope, and the share of the gradient (slope times the norm of the loss's "
        "gradient): a slope alone depends on the unit of its loss. The plain sum has slopes of 1.",
        csv="weights.csv",
    )


def _weight_entry(found: Sequence[Weighing]) -> Entry:
    """Slope with its range, over the primary's, gradient share; a dash where no set holds it."""
    if not found:
        return Entry(text="–")
    slopes = [row.slope for row in found]
    details = [f"{number(min(slopes), 2)} to {number(max(slopes), 2)}"] if len(found) > 1 else []
    relative, share = mean(row.relative for row in found), mean(row.share for row in found)
    details += [f"{number(relative, 2)} of the primary's"] if math.isfinite(relative) else []
    details += [f"{number(100 * share, 0)} % of the gradient"] if math.isfinite(share) else []
    return Entry(text=number(mean(slopes), 2), details=tuple(details))


def _moved(cell: Cell) -> bool:
    """Whether a final weight of some run is not the configured one."""
    return any(
        abs(r.weights.get(name, w) - w) > 1e-6 * max(1.0, abs(w))
        for r in cell.records.values()
        for name, w in cell.weights.items()
        if math.isfinite(w)
    )


# ------------------------------------------------------------------------------- full numbers


def tables(found: DoseFindings) -> dict[str, pd.DataFrame]:
    """Tests and slopes of every dose-response, its curves, and combiners by number of losses."""
    import pandas as pd  # late: the answer alone needs none

    tests = [
        {
            "outcome": dose.outcome,
            "combiner": dose.combiner,
            "loss_sets": dose.test.n,
            "curve": dose.test.name,
            "tested": " ".join(dose.test.tested),
            "largest_f": dose.test.statistic,
            "p": dose.test.p,
            "trained_sets": sum(p.trained for p in dose.points),
            "trained_curve": dose.trained.name if dose.trained else dose.test.name,
            "trained_p": dose.trained.p if dose.trained else dose.test.p,
            "delayed_sizes": " ".join(map(str, dose.delayed)),
            **_numbers("per_loss", dose.slope),
            **_numbers("given_caption_readers", dose.given),
            **_numbers("beyond_ability", dose.beyond.every if dose.beyond else None),
            **_numbers("beyond_ability_trained", dose.beyond.trained if dose.beyond else None),
        }
        for dose in found.doses
    ]
    curves = [
        {
            "outcome": dose.outcome,
            "combiner": dose.combiner,
            "curve": fit.name,
            "tested": fit.name in dose.test.tested,
            "parameters": " ".join(repr(value) for value in fit.parameters),
            "rss": fit.rss,
            "aicc": fit.aicc,
            "weight": fit.weight,
            "loss_sets": dose.test.n,
        }
        for dose in found.doses
        if dose.test.fits
        for fit in dose.test.fits.fits
    ]
    gaps = [
        {
            "comparison": f"{gap.first} minus {gap.second}",
            "losses": gap.size,
            "loss_sets": gap.difference.n,
            "outcome": gap.outcome,
            "difference": gap.difference.mean,
            "low": gap.difference.low,
            "high": gap.difference.high,
        }
        for gap in found.gaps
    ]
    trends = [
        {
            "comparison": f"{row.first} minus {row.second}",
            "outcome": row.outcome,
            "loss_sets": row.trend.sets,
            **_numbers("per_loss", row.trend.every),
            **_numbers("trained", row.trend.trained),
        }
        for row in found.trends
    ]
    return {
        "dose_response": pd.DataFrame(tests),
        "dose_curves": pd.DataFrame(curves),
        "combiners_by_count": pd.DataFrame(gaps),
        "combiners_by_count_trend": pd.DataFrame(trends),
    }


def _numbers(name: str, slope: Slope | None) -> dict[str, float]:
    if slope is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high", f"{name}_p"), NAN)
    return {
        name: slope.mean,
        f"{name}_low": slope.low,
        f"{name}_high": slope.high,
        f"{name}_p": slope.p,
    }
