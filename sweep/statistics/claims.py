"""What may be claimed: one family of tests per report, three grades.

A report that asks five comparisons of four outcomes asks twenty questions, and under no effect at
all more than half of such reports would have an interval that excludes 0. So all comparisons, all
outcomes and all combiners are one family, corrected by Holm (1979), unless a study declares a
primary outcome: then its comparisons are a family that is tested first, at the full 5 %, and the
other outcomes are tested only if all of it holds (serial gatekeeping: Westfall and Krishen 2001).
Letting one success open the gate would not keep 5 % where one primary effect is real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sweep.statistics.contrasts import Contrast, adjust
from sweep.statistics.intervals import NAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.statistics.intervals import CrossedInterval

Grade = Literal["holds", "suggestive", "unresolved"]
#: Fewer pairs claim nothing: two that happen to agree have a tiny p.
FEWEST_PAIRS = 3
#: Below this many pairs a claim that holds names their number.
FEW_PAIRS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One comparison on one outcome, and what may be said of it.

    Attributes:
        comparison: Name, with its combiner where there are several.
        outcome: Name.
        p: Two-sided, uncorrected; NaN where nothing could be tested.
        pairs: Number of pairs that the test rests on.
        adjusted_p: After Holm over the family; NaN for what is not in it, and for secondary
            outcomes behind a primary family that does not hold.
        grade: `holds`: survives the correction. `suggestive`: its own test excludes no effect, the
            family's does not. `unresolved`: neither.
        family: Number of tests in its family; 0 where it is in none.
        disagrees: Whether the pairs that trained say something else than all pairs: no claim.
    """

    comparison: str
    outcome: str
    p: float
    pairs: int
    adjusted_p: float = NAN
    grade: Grade = "unresolved"
    family: int = 0
    disagrees: bool = False

    @property
    def few(self) -> bool:
        """Whether a claim has to name its number of pairs."""
        return self.pairs < FEW_PAIRS


def candidate(
    comparison: str,
    outcome: str,
    contrast: Contrast,
    *,
    trained: Contrast | None = None,
    combined: CrossedInterval | None = None,
) -> Claim:
    """A contrast on its way to a grade: its p is the largest of all the tests it has to pass.

    Rejecting only where every test rejects keeps the level of each (intersection-union test: Berger
    1982), so that a claim holds for seeds, for other clips and for runs that trained.

    Args:
        comparison: Name.
        outcome: Name.
        contrast: Over all pairs.
        trained: The same over the pairs of which both sides trained; None where all did.
        combined: The same difference with doubt about seeds and clips; None without outcomes per
            clip, or where its rows are not these pairs.
    """
    tests = [contrast.t_p]
    pairs, disagrees = contrast.n, False
    if combined is not None:
        tests.append(combined.p)
    if trained is not None:
        tests.append(trained.t_p)
        pairs = min(pairs, trained.n)
        disagrees = not agree(contrast, trained)
    p = max(tests) if all(map(math.isfinite, tests)) else NAN
    return Claim(comparison=comparison, outcome=outcome, p=p, pairs=pairs, disagrees=disagrees)


def agree(contrast: Contrast, trained: Contrast) -> bool:
    """Whether a contrast says the same with and without the pairs that did not train.

    Both are resolved in one direction, or neither is resolved.
    """
    if contrast.resolved != trained.resolved:
        return False
    return not contrast.resolved or (contrast.mean > 0) == (trained.mean > 0)


def grades(
    candidates: Sequence[Claim], *, primary: str | None = None, alpha: float = 0.05
) -> list[Claim]:
    """Grade the candidates, in the order given.

    Candidates with fewer than three pairs, or without a p, are unresolved and in no family: their
    number is known before any outcome is.

    Args:
        candidates: Of all comparisons, outcomes and combiners of a report.
        primary: Outcome whose comparisons are tested first; None = one family of all.
        alpha: Familywise error, and level of what is suggestive.

    Raises:
        ValueError: if no candidate is about the primary outcome.
    """
    if primary is not None and all(c.outcome != primary for c in candidates):
        allowed = ", ".join(dict.fromkeys(c.outcome for c in candidates)) or "none"
        raise ValueError(f"primary outcome: one of {allowed}, given '{primary}'")
    tested = [i for i, c in enumerate(candidates) if c.pairs >= FEWEST_PAIRS and c.p <= 1]
    first = [i for i in tested if primary in (None, candidates[i].outcome)]
    found = list(candidates)
    _grade(found, first, alpha, gate=True)
    gate = bool(first) and all(found[i].grade == "holds" for i in first)
    _grade(found, [i for i in tested if i not in first], alpha, gate=gate)
    return found


def _grade(claims: list[Claim], members: Sequence[int], alpha: float, *, gate: bool) -> None:
    """Grade one family in place; behind a closed gate nothing in it holds."""
    adjusted = adjust([claims[i].p for i in members], "holm")
    for i, p in zip(members, adjusted, strict=True):
        claim = claims[i]
        grade: Grade = "unresolved"
        if claim.p < alpha and not claim.disagrees:
            grade = "holds" if gate and p < alpha else "suggestive"
        claims[i] = replace(claim, adjusted_p=p if gate else NAN, grade=grade, family=len(members))
