"""Retrieval beside R@1: both directions, perturbed videos and captions, and the two together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sweep.metrics.robustness import relative_robustness
from sweep.records.condition import CAPTIONS, JOINT, Condition
from sweep.report.names import marked
from sweep.report.page import Entry, Figure, Section, Table, Text, number, ratio, signed
from sweep.tasks.catalogue import CUTS, DIRECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from sweep.records.record import Score, TrialRecord
    from sweep.report.evidence import Evidence
    from sweep.report.findings import Findings

NAN = math.nan
WAYS = {"t2v": "text to video", "v2t": "video to text"}


@dataclass(frozen=True, kw_only=True)
class Synergy:
    """What perturbing both sides of a pair does beyond what each side does alone.

    Attributes:
        joint: γr of R@1 with both perturbed.
        product: γr of the video alone times γr of the captions alone.
        synergy: Their difference; below 0 the harms compound.
    """

    joint: float
    product: float
    synergy: float


@dataclass(kw_only=True)
class Robust:
    """Retrieval of one record under groups of conditions.

    Attributes:
        gamma: (group, metric) -> mean γr of a recall over the conditions of a group.
        later: (group, direction) -> mean rise of the median rank over the clean one.
        pairs: Pair -> what both do together; clean R@1 of text to video.
    """

    gamma: dict[tuple[str, str], float] = field(default_factory=dict)
    later: dict[tuple[str, str], float] = field(default_factory=dict)
    pairs: dict[str, Synergy] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Retrieval of a sweep.

    Attributes:
        evidence: The sweep.
        groups: Group of conditions -> their names.
        results: Key of a record -> its robustness.
    """

    evidence: Evidence
    groups: Mapping[str, Sequence[str]]
    results: Mapping[str, Robust]


def find(evidence: Evidence) -> Ranks | None:
    """Robustness of every recall of every record; None where nothing was retrieved."""
    if not _ranked(evidence):
        return None
    groups = groups_of(evidence)
    results = {r.key: robust(r, groups) for r in evidence.records}
    return Ranks(evidence=evidence, groups=groups, results=results)


def _ranked(evidence: Evidence) -> bool:
    """Whether models were tested by ranks, in both directions."""
    named = {metric.name for metric in evidence.task.metrics}
    return {f"{direction}_R1" for direction in DIRECTIONS} <= named


def robust(record: TrialRecord, groups: Mapping[str, Sequence[str]]) -> Robust:
    """Robustness of every recall of a record; arXiv:2207.02159, with R@K in place of accuracy.

    Args:
        record: Of a retrieval trial.
        groups: Name -> conditions.
    """
    scores = {score.condition: score for score in record.scores}
    found = Robust()
    clean = scores.get("clean")
    if clean is None:
        return found
    for group, conditions in groups.items():
        tested = [scores[c] for c in conditions if c in scores]
        for direction in DIRECTIONS:
            for cut in CUTS:
                metric = f"{direction}_R{cut}"
                found.gamma[group, metric] = _mean(_gamma(s, clean, metric) for s in tested)
            rank = f"{direction}_MedR"
            found.later[group, direction] = _mean(s.value(rank) - clean.value(rank) for s in tested)
    for name, score in scores.items():
        if score.category == JOINT:
            found.pairs[name] = _synergy(name, scores)
    return found


def _gamma(score: Score, clean: Score, metric: str) -> float:
    return relative_robustness(clean.value(metric), score.value(metric)).item()


def _synergy(name: str, scores: Mapping[str, Score]) -> Synergy:
    pair = Condition.parse(name)
    alone = [scores.get(pair.of_video.name), scores.get(pair.of_text.name)]
    clean = scores["clean"]
    joint = _gamma(scores[name], clean, "t2v_R1")
    product = math.prod(NAN if s is None else _gamma(s, clean, "t2v_R1") for s in alone)
    return Synergy(joint=joint, product=product, synergy=joint - product)


def groups_of(evidence: Evidence) -> dict[str, list[str]]:
    """Shifts, perturbed videos, perturbed captions and pairs, as far as they were tested."""
    names = {"shift": "shifts", CAPTIONS: "captions", JOINT: "together"}
    found: dict[str, list[str]] = {}
    for condition, category in evidence.categories.items():
        if category == "clean" or evidence.tested[condition].is_control:
            continue
        found.setdefault(names.get(category, "videos"), []).append(condition)
    return found


def tables(found: Ranks) -> dict[str, pd.DataFrame]:
    """One row per run, condition and number of retrieval, nothing rounded."""
    import pandas as pd  # late: the answer alone needs none

    rows = pd.DataFrame(
        [
            {
                "cell": cell.name,
                "seed": seed,
                "condition": score.condition,
                "category": score.category,
                "metric": metric,
                "value": value,
            }
            for cell in found.evidence.cells
            for seed, record in cell.records.items()
            for score in record.scores
            for metric, value in score.metrics.items()
        ]
    )
    return {"retrieval": rows}


def sections(findings: Findings, found: Ranks) -> list[Section]:
    """Ranks on clean clips, robustness of every recall, synergy."""
    evidence, groups, results = findings.evidence, found.groups, found.results
    size = evidence.clips.get("clean", (0, 0))[1]
    blocks: list[Text | Table | Figure] = [
        Text(
            text=f"A gallery of {size} clips: chance is {number(100 / size)} % "
            "at R@1. Everywhere else in this report, accuracy is R@1 of text to video. A rank "
            "counts what scores strictly higher. In sets whose name ends in `-known`, captions fit "
            "several clips and any of them counts as found." + _captions_per_clip(evidence)
        ),
        _clean_table(evidence),
    ]
    if groups:
        blocks.append(_gamma_table(evidence, groups, results))
    pairs = list(dict.fromkeys(name for one in results.values() for name in one.pairs))
    if pairs:
        blocks.append(_synergy_table(evidence, pairs, results))
    return [Section(title="Retrieval", blocks=blocks)]


def _captions_per_clip(evidence: Evidence) -> str:
    settings = evidence.study.get("evaluate") or {}
    if settings.get("captions_per_clip", "first") == "first":
        return " The first caption of a clip is the query."
    return (
        " Every caption of a clip is a query of its own; from video to text, the best rank of its "
        "captions among those of all clips counts."
    )


def _clean_table(evidence: Evidence) -> Table:
    recalls = [f"R{cut}" for cut in CUTS]
    rows: list[list[Entry | str]] = []
    for cell in evidence.finished:
        for direction in DIRECTIONS:
            kept = [_clean(record) for record in cell.records.values()]
            values = [
                [own.value(f"{direction}_{name}") for own in kept if own is not None]
                for name in (*recalls, "MedR", "MnR")
            ]
            rows.append(
                [Entry(text=marked(cell)), WAYS[direction], *(_entry(number, v) for v in values)]
            )
    return Table(
        columns=["cell", "direction", *(f"R@{cut}, %" for cut in CUTS), "MedR", "MnR"],
        rows=rows,
        caption="Clean clips and captions; means over seeds. R@K: share of queries whose own item "
        "is among the first K; MedR and MnR: median and mean rank, from 1.",
        csv="retrieval.csv",
    )


def _clean(record: TrialRecord) -> Score | None:
    return next((score for score in record.scores if score.condition == "clean"), None)


def _gamma_table(
    evidence: Evidence, groups: Mapping[str, Sequence[str]], results: Mapping[str, Robust]
) -> Table:
    rows: list[list[Entry | str]] = []
    for cell in evidence.finished:
        own = [results[r.key] for r in cell.records.values()]
        for direction in DIRECTIONS:
            row: list[Entry | str] = [marked(cell), WAYS[direction]]
            for group in groups:
                gammas = [
                    _mean(one.gamma.get((group, f"{direction}_R{cut}"), NAN) for one in own)
                    for cut in CUTS
                ]
                later = _mean(one.later.get((group, direction), NAN) for one in own)
                shown = " / ".join(ratio(g) if math.isfinite(g) else "n/a" for g in gammas)
                row.append(Entry(text=shown, details=(f"MedR {signed(later)}",)))
            rows.append(row)
    return Table(
        columns=["cell", "direction", *(f"{g} ({len(groups[g])})" for g in groups)],
        rows=rows,
        caption="What is left of the clean recall: γr = R@K / clean R@K at K = "
        f"{', '.join(map(str, CUTS))}, mean over the conditions (their number in brackets) and "
        "seeds; below it the rise of the median rank. Order controls are left out.",
        csv="retrieval.csv",
    )


def _synergy_table(
    evidence: Evidence, pairs: Sequence[str], results: Mapping[str, Robust]
) -> Table:
    rows: list[list[Entry | str]] = []
    for cell in evidence.finished:
        own = [results[r.key] for r in cell.records.values()]
        row: list[Entry | str] = [marked(cell)]
        for pair in pairs:
            kept = [one.pairs[pair] for one in own if pair in one.pairs]
            gain = _mean(one.synergy for one in kept)
            joint, product = _mean(one.joint for one in kept), _mean(one.product for one in kept)
            text = _signed_ratio(gain) if math.isfinite(gain) else "n/a"
            row.append(Entry(text=text, details=(f"{ratio(joint)} − {ratio(product)}",)))
        rows.append(row)
    return Table(
        columns=["cell", *(Condition.parse(p).family.replace("_", " ") for p in pairs)],
        rows=rows,
        caption="Synergy of perturbed videos and captions: γr of R@1 with both perturbed minus "
        "the product of γr with each alone. Below 0 the harms compound, above 0 they overlap.",
    )


def _signed_ratio(value: float) -> str:
    text = ratio(value)
    return f"+{text}" if value > 0 and text != ".00" else text


def _entry(shape: Callable[[float], str], values: Sequence[float]) -> Entry:
    value = _mean(values)
    return Entry(text=shape(value)) if math.isfinite(value) else Entry(text="n/a", tone="quiet")


def _mean(values: Iterable[float]) -> float:
    rows = [value for value in values if math.isfinite(value)]
    return float(np.mean(rows)) if rows else NAN
