"""The answer in plain sentences: what holds, what is suggestive, what is not resolved.

Only what holds after correction over the whole report is bold and may lead (``statistics.claims``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.cells.designs.arrays import overlaps
from sweep.report import looks
from sweep.report.comparisons import INTERACTIONS
from sweep.report.page import Text, bracket, join, number, p_value, signed
from sweep.statistics.claims import FEWEST_PAIRS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.report.effects import Effect, Resolution
    from sweep.report.evidence import Evidence
    from sweep.report.findings import Findings
    from sweep.statistics.claims import Claim


NO_PAIR = (
    "**Nothing to compare yet**: no comparison of the design has finished runs of one seed on both "
    "of its sides."
)
_KINDS = ("loss", "company", "interaction", "set", "cell", "combiner")


def answer(found: Findings, *, first: Sequence[Text] = (), last: Sequence[Text] = ()) -> list[Text]:
    """The answer first: what holds, what is suggestive, what is not resolved, and what could be.

    Args:
        found: Comparisons and claims.
        first: Sentences of analyses that lead the answer.
        last: Sentences of analyses that end it.
    """
    evidence = found.evidence
    if not evidence.records:
        return [_open("**No cell has finished**: there is no answer yet.")]
    if not evidence.claims:
        return [*first, *last]
    if found.effects and not any(e.contrast.n for e in found.effects):
        return [*first, _open(NO_PAIR), *last]
    judged = [e for e in found.effects if e.claim is not None]
    order = {kind: i for i, kind in enumerate(_KINDS)}
    judged.sort(key=lambda e: order[e.comparison.kind])
    held = [*_held(evidence, judged), *_harmless(judged)]
    claimed = [*(s for s in first if s.tone == "holds"), *held]
    described = [s for s in first if s.tone != "holds"]
    gains = [e for e in judged if e.comparison.kind not in INTERACTIONS]
    return [
        *(claimed or _nothing_holds(found, judged)),
        *described,
        *_suggestive(evidence, judged),
        *_disagreeing(judged),
        *_unresolved(gains),
        *_open_interactions([e for e in judged if e.comparison.kind in INTERACTIONS]),
        *[_open(text) for text in aliasing_sentences(evidence)],
        *(_limits(found.resolutions, evidence) if claimed else []),
        *[_open(text) for text in (looks.in_words(looks.looks(evidence)),) if text],
        *last,
    ]


def graded(sentence: str, claim: Claim | None) -> Text:
    """A sentence in the weight and colour of its grade; only what holds keeps its bold lead."""
    if claim is None or claim.grade == "unresolved":
        return _open(sentence.replace("**", ""))
    if claim.grade == "suggestive":
        return Text(
            text=f"Suggestive, not a claim: {sentence.replace('**', '')}", tone="suggestive"
        )
    return Text(text=sentence, tone="holds")


def standing(claim: Claim) -> str:
    """`holds after Holm over 5 tests: p .012`; with the number of pairs where they are few."""
    p = p_value(claim.adjusted_p)
    tests = f"{claim.family} test{'s' if claim.family != 1 else ''}"
    if claim.grade == "holds":
        few = f", n = {claim.pairs}" if claim.few else ""
        return f"holds{few}; p {p} after Holm over {tests}"
    if claim.grade == "suggestive":
        after = (
            f"{p} after Holm over {tests}"
            if p != "–"
            else "not tested: not all of the primary outcome holds"
        )
        return f"p {p_value(claim.p)} alone, {after}"
    return f"p {p_value(claim.p)}"


def _open(text: str) -> Text:
    return Text(text=text, tone="open")


# ------------------------------------------------------------------------------------ what holds


def _held(evidence: Evidence, judged: Sequence[Effect]) -> list[Text]:
    """One sentence per claim: a caveat belongs to one outcome, and so does its p."""
    found = []
    for effect in judged:
        if not effect.holds or effect.claim is None:
            continue
        lead = _lead(effect, effect.contrast.mean > 0)
        text = f"**{lead}**: {_points(effect)} ({_pairs(effect)}; {standing(effect.claim)})."
        found.append(Text(text=f"{text}{_caveat(evidence, effect)}", tone="holds"))
    return found


def _harmless(judged: Sequence[Effect]) -> list[Text]:
    """What may be left out: the claim that its absence costs less than the margin."""
    found = []
    for effect in judged:
        claim, test = effect.harmless, effect.margin
        if claim is None or test is None or claim.grade != "holds":
            continue
        what, most = effect.comparison.name, f"no more than {number(test.margin)} points"
        lead = f"Without {what} {most} are lost"
        if effect.comparison.kind == "combiner":
            one, _, two = what.partition(" against ")
            lead = f"{one} gains {most} over {two}"
        elif effect.comparison.kind == "cell":
            lead = f"{what} gains {most} over {effect.comparison.reference[0].name}"
        found.append(
            Text(
                text=f"**{lead} on {effect.outcome}**: {_points(effect)} ({_pairs(effect)}; "
                f"{standing(claim)}).",
                tone="holds",
            )
        )
    return found


def _lead(effect: Effect, gain: bool) -> str:
    comparison, outcome = effect.comparison, effect.outcome
    name, kind = comparison.name, comparison.kind
    if kind == "loss":
        return f"{name} {'pays on' if gain else 'hurts on'} {outcome}"
    if kind == "company":
        more = "more" if gain else "less"
        return f"{comparison.loss} gains {more} alone than in the full set on {outcome}"
    if kind == "interaction":
        more = "more" if gain else "less"
        one, two = comparison.pair
        return f"{one} and {two} gain {more} together than the sum of both on {outcome}"
    verb = "beats" if gain else "falls behind"
    if kind == "combiner":
        one, _, two = name.partition(" against ")
        return f"{one} {verb} {two} on {outcome}"
    the = "The " if kind == "set" else ""
    return f"{the}{name} {verb} {comparison.reference[0].name} on {outcome}"


def _points(effect: Effect) -> str:
    return f"{signed(effect.contrast.mean)} points {bracket(effect.low, effect.high)}".strip()


def _pairs(effect: Effect) -> str:
    """`paired over 3 seeds`, with the pairs that are missing."""
    contrast = effect.contrast
    text = f"paired over {contrast.n} seed{'s' if contrast.n != 1 else ''}"
    if effect.combined is not None:
        text += " and all test clips"
    flagged = len(effect.comparison.untrained)
    if contrast.missing:
        text += f", {contrast.missing} pair{'s' if contrast.missing > 1 else ''} missing"
    if flagged:
        text += f", {flagged} run{'s' if flagged > 1 else ''} did not train"
    return text


def _caveat(evidence: Evidence, effect: Effect) -> str:
    """What the study discloses on this loss and outcome; on a set, that of each of its losses."""
    comparison = effect.comparison
    losses = [comparison.loss] if comparison.loss else list(comparison.pair)
    if not losses and comparison.kind in {"set", "cell"}:
        treated = {name for cell in comparison.treated for name in cell.losses}
        losses = sorted(treated - {n for cell in comparison.reference for n in cell.losses})
    texts = [evidence.caveat(loss, effect.outcome) for loss in losses]
    return "".join(f" But: {text}" for text in dict.fromkeys(texts) if text)


# ------------------------------------------------------------------------------ what does not


def _nothing_holds(found: Findings, judged: Sequence[Effect]) -> list[Text]:
    """The first sentence where nothing may be claimed, and what could have been found."""
    primary = found.evidence.primary_outcome
    first = [c for c in found.claims.values() if primary in (None, c.outcome)]
    family = max((c.family for c in first), default=0)
    if family == 0 and found.evidence.trend:
        text = "**Nothing is claimed**: no trend over the loss sets could be tested."
        return [_open(text), *_limits(found.resolutions, found.evidence)]
    if family == 0:
        fewest = max((e.contrast.n for e in judged), default=0)
        had = f"{fewest} pair{'s' if fewest != 1 else ''} of runs"
        text = (
            f"**Nothing is claimed**: a claim needs {FEWEST_PAIRS} pairs of runs with a spread, "
            f"here there are at most {had}."
        )
        return [_open(text), *_limits(found.resolutions, found.evidence)]
    of = "of this report" if primary is None else f"of the primary outcome {primary}"
    tests = f"the {family} tests" if family > 1 else "the one test"
    return [
        _open(f"**Nothing holds** after correction for {tests} {of}."),
        *_limits(found.resolutions, found.evidence),
    ]


def _suggestive(evidence: Evidence, judged: Sequence[Effect]) -> list[Text]:
    """What its own test excludes and the family's does not: in one sentence, without weight."""
    parts = [
        f"{_lead(e, e.contrast.mean > 0)} ({_points(e)}; {standing(e.claim)}){_caveat(evidence, e)}"
        for e in judged
        if e.suggestive and e.claim is not None
    ]
    if not parts:
        return []
    return [Text(text=f"Suggestive, not claims: {'; '.join(parts)}.", tone="suggestive")]


def _disagreeing(judged: Sequence[Effect]) -> list[Text]:
    """Comparisons that stand or fall with runs that did not train: no verdict."""
    parts: dict[str, list[str]] = {}
    for effect in judged:
        trained = effect.trained
        if trained is None or not (effect.disagrees or trained.n < FEWEST_PAIRS):
            continue
        if not effect.contrast.resolved and not effect.disagrees:
            continue
        seen = f"{effect.outcome} {_points(effect)} over all {effect.contrast.n} pairs, "
        among = bracket(trained.low, trained.high)
        seen += (
            f"{signed(trained.mean)} {among}".strip() + f" over the {trained.n} that trained"
            if trained.n
            else "no pair trained on both sides"
        )
        parts.setdefault(effect.comparison.name, []).append(seen)
    return [
        _open(
            f"No verdict on {name}: {'; '.join(rows)}. Runs that did not train measure how long "
            "training takes to start, not what the losses do."
        )
        for name, rows in parts.items()
    ]


def _unresolved(effects: Sequence[Effect]) -> list[Text]:
    """What the intervals leave open, grouped by the outcomes that stay open."""
    open_on: dict[str, list[str]] = {}
    total: dict[str, int] = {}
    for effect in effects:
        name = effect.comparison.name
        total[name] = total.get(name, 0) + 1
        if not (effect.holds or effect.suggestive or effect.disagrees):
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
    return [_open(f'Not resolved: {"; ".join(parts)}. Not resolved is not "no effect".')]


def _open_interactions(effects: Sequence[Effect]) -> list[Text]:
    """How many interactions stay open, by number: their names are in the table."""
    names = dict.fromkeys(e.comparison.name for e in effects)
    found = {e.comparison.name for e in effects if e.holds}
    if len(found) == len(names):
        return []
    return [_open(f"Interactions: {len(names) - len(found)} of {len(names)} hold on no outcome.")]


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


def _limits(resolutions: Sequence[Resolution], evidence: Evidence) -> list[Text]:
    """What true difference these seeds find four times out of five."""
    rows = [r for r in resolutions if r.outcome in evidence.headline]
    if not rows and evidence.trend:
        return []  # the set is the unit: one seed of each is enough
    if not rows:
        return [_open("No interval: a paired interval needs two seeds of a comparison.")]
    n = max(r.n for r in rows)
    found = join([f"{number(r.detectable, 0)} ({r.outcome})" for r in rows])
    return [
        _open(
            f"What {n} seeds can show: a true difference has to be at least about {found} points "
            "to be found four times out of five, all corrections included."
        )
    ]
