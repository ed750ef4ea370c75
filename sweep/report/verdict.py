"""The answer in plain sentences. A verdict is a paired 95 % t interval that excludes 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.cells.designs.arrays import overlaps
from sweep.report.comparisons import INTERACTIONS
from sweep.report.page import bracket, join, number, p_value, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.effects import Effect, Resolution
    from sweep.report.evidence import Evidence


NO_PAIR = (
    "**Nothing to compare yet**: no comparison of the design has finished runs of one seed on both "
    "of its sides."
)


def answer(
    evidence: Evidence,
    effects: Sequence[Effect],
    resolutions: Sequence[Resolution],
    *,
    first: Sequence[str] = (),
    last: Sequence[str] = (),
) -> list[str]:
    """The answer first: what pays, what costs, what is not resolved, and what could not be.

    Args:
        evidence: The sweep.
        effects: Comparisons on all outcomes; the headline ones are used.
        resolutions: What the seeds can show.
        first: Sentences of analyses that lead the answer.
        last: Sentences of analyses that end it.
    """
    if not evidence.records:
        return ["**No cell has finished**: there is no answer yet."]
    if not evidence.claims:
        return [*first, *last]
    if effects and not any(e.contrast.n for e in effects):
        return [*first, NO_PAIR, *last]
    sentences = list(first)
    headline = [e for e in effects if e.outcome in evidence.headline]
    if evidence.trend:
        headline = [e for e in headline if e.comparison.kind != "cell"]
    for kind in ("loss", "company", "interaction", "set", "cell", "combiner"):
        rows = [e for e in headline if e.comparison.kind == kind]
        names = dict.fromkeys(e.comparison.name for e in rows)
        for name in names:
            sentences += _verdict([e for e in rows if e.comparison.name == name])
    sentences += _unresolved([e for e in headline if e.comparison.kind not in INTERACTIONS])
    sentences += _open_interactions([e for e in headline if e.comparison.kind in INTERACTIONS])
    sentences += aliasing_sentences(evidence)
    sentences += _limits(resolutions, evidence.headline)
    return [*sentences, *last]


def _verdict(rows: Sequence[Effect]) -> list[str]:
    """One sentence per direction for a comparison that is resolved on some outcome."""
    found = []
    for gain in (True, False):
        resolved = [e for e in rows if e.contrast.resolved and (e.contrast.mean > 0) == gain]
        if not resolved:
            continue
        lead = _lead(resolved[0], gain, join([e.outcome for e in resolved]))
        parts = [f"{e.outcome} {_points(e)}" for e in resolved]
        if len(resolved) == 1:
            parts = [f"{_points(resolved[0])}"]
        found.append(f"**{lead}**: {'; '.join(parts)} ({_pairs(resolved)}; {_evidence(resolved)}).")
    return found


def _lead(effect: Effect, gain: bool, outcomes: str) -> str:
    name = effect.comparison.name
    kind = effect.comparison.kind
    if kind == "loss":
        return f"{name} {'pays on' if gain else 'hurts on'} {outcomes}"
    if kind == "company":
        more = "more" if gain else "less"
        return f"{effect.comparison.loss} gains {more} alone than in the full set on {outcomes}"
    if kind == "interaction":
        more = "more" if gain else "less"
        one, two = effect.comparison.pair
        return f"{one} and {two} gain {more} together than the sum of both on {outcomes}"
    if kind == "set":
        verb = "beats" if gain else "falls behind"
        return f"The {name} {verb} {effect.comparison.reference[0].name} on {outcomes}"
    if kind == "combiner":
        one, _, two = name.partition(" against ")
        return f"{one} {'beats' if gain else 'falls behind'} {two} on {outcomes}"
    verb = "beats" if gain else "falls behind"
    return f"{name} {verb} {effect.comparison.reference[0].name} on {outcomes}"


def _points(effect: Effect) -> str:
    contrast = effect.contrast
    return f"{signed(contrast.mean)} points {bracket(contrast.low, contrast.high)}"


def _pairs(effects: Sequence[Effect]) -> str:
    """`paired over 3 seeds`, with the pairs that are missing."""
    counts = sorted({e.contrast.n for e in effects})
    missing = max(e.contrast.missing for e in effects)
    text = f"paired over {' or '.join(str(n) for n in counts)} seeds"
    flagged = sum(len(e.comparison.untrained) for e in effects[:1])
    if missing:
        text += f", {missing} pair{'s' if missing > 1 else ''} missing"
    if flagged:
        text += f", {flagged} run{'s' if flagged > 1 else ''} did not train"
    return text


def _evidence(effects: Sequence[Effect]) -> str:
    """Whether the verdict stands after correction, and both p beside it, outcome by outcome."""
    standing = [e for e in effects if e.adjusted_p < 0.05]
    if len(standing) == len(effects):
        text = "stands after Holm"
    elif not standing:
        text = "does not survive Holm"
    else:
        text = f"after Holm only on {join([e.outcome for e in standing])}"
    holm = " / ".join(p_value(e.adjusted_p) for e in effects)
    flips = " / ".join(dict.fromkeys(p_value(e.contrast.sign_flip_p) for e in effects))
    return f"{text}: p {holm}; sign-flip p {flips}"


def _unresolved(effects: Sequence[Effect]) -> list[str]:
    """What the intervals leave open, grouped by the outcomes that stay open."""
    open_on: dict[str, list[str]] = {}
    total: dict[str, int] = {}
    for effect in effects:
        name = effect.comparison.name
        total[name] = total.get(name, 0) + 1
        if not effect.contrast.resolved:
            open_on.setdefault(name, []).append(effect.outcome)
    nowhere = [name for name, rows in open_on.items() if len(rows) == total[name]]
    partly: dict[tuple[str, ...], list[str]] = {}
    for name, rows in open_on.items():
        if name not in nowhere:
            partly.setdefault(tuple(rows), []).append(name)
    parts = []
    if nowhere:
        parts.append(f"{join(nowhere)} on every headline outcome")
    parts += [f"{join(names)} on {join(rows)}" for rows, names in partly.items()]
    if not parts:
        return []
    return [f'**Not resolved**: {"; ".join(parts)}. Not resolved is not "no effect".']


def _open_interactions(effects: Sequence[Effect]) -> list[str]:
    """How many interactions stay open, by number: their names are in the table."""
    names = dict.fromkeys(e.comparison.name for e in effects)
    found = {e.comparison.name for e in effects if e.contrast.resolved}
    if len(found) == len(names):
        return []
    return [
        f"**Interactions**: {len(names) - len(found)} of {len(names)} are resolved on no outcome."
    ]


def aliasing_sentences(evidence: Evidence) -> list[str]:
    """A caution where the effects of losses contain interactions."""
    array = evidence.row.array
    if array is None:
        return []
    found = overlaps(array(evidence.losses, evidence.design_settings), evidence.losses)
    if not any(len(one) == 1 for one, _ in found):
        return []
    return [
        "**Screening**: the effects of losses contain interactions of two losses. They hold as far "
        "as those are small; confirm what matters with another design."
    ]


def _limits(resolutions: Sequence[Resolution], headline: Sequence[str]) -> list[str]:
    rows = [r for r in resolutions if r.outcome in headline]
    if not rows:
        return ["**No interval**: a paired interval needs two seeds of a comparison."]
    n = max(r.n for r in rows)
    low, high = min(r.half for r in rows), max(r.half for r in rows)
    found = join([f"{number(r.detectable, 0)} ({r.outcome})" for r in rows])
    floor = p_value(2 / 2**n)
    return [
        f"**What {n} seeds cannot show**: the intervals typically reach ±{number(low)} to "
        f"±{number(high)} points; with the spread seen here a true difference has to be about "
        f"{found} points to be found four times out of five, and a sign-flip test cannot go below "
        f"p = {floor}."
    ]
