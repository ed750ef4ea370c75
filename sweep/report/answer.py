"""The answer box: what is known besides the claims, in the first screen and on the terminal.

The sentences of the claims are those of ``verdict``. Here are the facts below them: the best loss
set (picked by looking, hence no claim), runs that did not train, what to run next, what the data
and the model are; one picture; and what the words mean.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.catalogue import MODELS
from sweep.data.catalogue import DATASETS
from sweep.records.ledger import engine_flags
from sweep.report import figures
from sweep.report.analyses.catalogue import asked
from sweep.report.comparisons import INTERACTIONS, Comparison
from sweep.report.effects import effect_of
from sweep.report.names import points_of
from sweep.report.page import Fact, Figure, bracket, join, number, ratio, signed, thousands
from sweep.report.sections.effects import bars
from sweep.report.trained import failed_runs, share_text
from sweep.statistics.failures import failure_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sweep.report.effects import Effect, Resolution
    from sweep.report.evidence import Cell, Evidence
    from sweep.report.findings import Findings

    Command = Callable[..., str]

#: Numbers of seeds that are proposed.
SEEDS = (5, 8, 12)
#: Above this share of runs that did not train, more of them answer nothing.
MOST_UNTRAINED = 1 / 3
#: Width of the picture: small, so that its letters are read on a telephone.
PICTURE_IN = 4.6


def plain_command(*words: object) -> str:
    """A command as the README writes it."""
    return shlex.join(["python", "-m", "sweep.run", *map(str, words)])


def _place(evidence: Evidence) -> Path:
    """The folder of the sweep as it is typed from here."""
    with contextlib.suppress(ValueError):
        return evidence.folder.absolute().relative_to(Path.cwd())
    return evidence.folder


def _study(evidence: Evidence, command: Command, *words: object) -> str:
    """The stored study again, with changes."""
    return command("study", _place(evidence) / "sweep.yaml", *words, *engine_flags(evidence.events))


def _beside(folder: Path, what: str) -> Path:
    """`runs/quickstart-longer`."""
    return folder.with_name(f"{folder.name}-{what}")


def first_outcome(evidence: Evidence) -> str | None:
    """The outcome that the answer is about first: the primary one, else the first headline."""
    return evidence.primary_outcome or next(iter(evidence.headline), None)


def facts(found: Findings, command: Command = plain_command) -> list[Fact]:
    """The labelled lines below the claims.

    Args:
        found: What was found.
        command: Words -> a command that can be typed.
    """
    rows = [
        _best(found),
        _untrained(found.evidence),
        _next(found, command),
        _setting(found.evidence),
    ]
    return [row for row in rows if row is not None]


# ---------------------------------------------------------------------------------- the best set


def _best(found: Findings) -> Fact | None:
    """The cell with the highest mean, and what it has over the next one."""
    evidence, outcome = found.evidence, first_outcome(found.evidence)
    if outcome is None or not evidence.records or not evidence.claims:
        return None
    label = f"Best loss set by {outcome}"
    patterns = evidence.outcomes[outcome]
    whole = [c for c in evidence.finished if len(c.values(patterns)) == len(evidence.seeds)]
    ranked = [c for c in whole if not c.untrained]
    ranked.sort(key=lambda cell: -_mean(cell, patterns))
    if len(ranked) < 2:
        why = "fewer than two loss sets have all their seeds, trained"
        return Fact(label=label, text=f"not named: {why}.")
    first, second = ranked[:2]
    effect = effect_of(
        evidence,
        Comparison(name="", kind="cell", treated=(first,), reference=(second,), formula=""),
        outcome,
    )
    text = (
        f"{first.name} ({number(_mean(first, patterns))} %), "
        f"{signed(effect.contrast.mean)} points {bracket(effect.low, effect.high)}".strip()
        + f" over the next, {second.name}. Picked by looking at these very numbers: no claim."
    )
    left = len(evidence.finished) - len(ranked)
    if left:
        text += f" {left} of {left + len(ranked)} sets with missing or untrained runs stand aside."
    return Fact(label=label, text=text)


def _mean(cell: Cell, patterns: list[str]) -> float:
    return float(np.mean([*cell.values(patterns).values()]))


# ---------------------------------------------------------------------------- runs without training


def _untrained(evidence: Evidence) -> Fact | None:
    """How many runs did not train, with the exact interval; nothing where all did."""
    rows = {cell.name: failed_runs(evidence, cell) for cell in evidence.cells}
    failed = {name: sum(runs.values()) for name, runs in rows.items()}
    total = sum(failed.values())
    if not total:
        return None
    rate = failure_rate(total, sum(len(runs) for runs in rows.values()))
    named = [f"{name} {n} of {len(rows[name])}" for name, n in failed.items() if n]
    shown = "; ".join(named[:6]) + (f"; and {len(named) - 6} more sets" if len(named) > 6 else "")
    return Fact(
        label="Did not train",
        text=f"{share_text(rate)}: {shown}. What such a run scores says how late training starts, "
        "not what a loss does.",
    )


# ------------------------------------------------------------------------------------ what to run


def _next(found: Findings, command: Command) -> Fact | None:
    """One command, and what it would show."""
    evidence, study = found.evidence, found.evidence.study
    folder = _place(evidence)
    todo = [m for m in evidence.missing if m.state != "stopped"]
    if todo or not evidence.records:
        text = f"finish the sweep: {len(todo)} of {evidence.planned} runs have no result yet."
        typed = command("resume", folder, *engine_flags(evidence.events))
        return Fact(label="Run next", text=text, command=typed)
    steps = (study.get("train") or {}).get("steps")
    if steps and len(evidence.untrained) > MOST_UNTRAINED * len(evidence.records):
        return Fact(
            label="Run next",
            text=f"train longer: {len(evidence.untrained)} of {len(evidence.records)} runs did not "
            "train, and more such runs answer nothing.",
            command=_study(
                evidence,
                command,
                f"train.steps={2 * int(steps)}",
                "--out",
                _beside(folder, "longer"),
            ),
        )
    if evidence.row.picked:
        return None
    if evidence.trend:
        return _more_sets(evidence, command)
    return _more_seeds(found, command)


def _more_sets(evidence: Evidence, command: Command) -> Fact | None:
    """Of a trend the loss set is the unit: twice as many, what is finished taken over."""
    key = evidence.row.grows
    if not key:
        return None
    folder = _place(evidence)
    wanted = f"design.{key}={2 * getattr(evidence.design_settings, key)}"
    return Fact(
        label="Run next",
        text="more loss sets, not more seeds: of a trend the set is the unit.",
        command=_study(
            evidence, command, wanted, "--out", _beside(folder, "more"), "--reuse", folder
        ),
    )


def _more_seeds(found: Findings, command: Command) -> Fact | None:
    """More seeds for what is open, with the chance that they show it."""
    evidence, outcome = found.evidence, first_outcome(found.evidence)
    resolution = next((r for r in found.resolutions if r.outcome == outcome), None)
    judged = [
        e
        for e in found.effects
        if e.outcome == outcome and e.claim is not None and e.comparison.kind not in INTERACTIONS
    ]
    left = [e for e in judged if not e.holds]
    if judged and not left:
        return _other_data(evidence, command, "nothing is open here")
    if (evidence.study.get("design") or {}).get("stopping"):
        return _other_data(evidence, command, "the declared looks are made")
    now = len({seed for cell in evidence.cells for seed in cell.keys})
    more = [n for n in SEEDS if n > now] or [now + 4]
    seen = max(left, key=_size, default=None)
    wanted = more[min(1, len(more) - 1)]
    if resolution is not None and seen is not None:
        enough = [n for n in more if resolution.power(n, _size(seen), added=True) >= 0.8]
        wanted = enough[0] if enough else wanted
    folder = _place(evidence)
    text = f"{wanted} seeds instead of {now}."
    if resolution is not None and resolution.sd > 0 and seen is not None:
        text += f" {_chances(resolution, seen, wanted)}"
    parts = (found.found.get("components") or {}).get(outcome)
    if parts is not None and parts.buy("difference") == "clip":
        doubt = parts.of_difference()
        share = 100 * doubt["clip"] / sum(doubt.values())
        text += (
            f" But {number(share, 0)} % of the doubt about a difference on {outcome} is in the "
            "test clips: more of them narrow it more than more seeds."
        )
    return Fact(
        label="Run next",
        text=text,
        command=_study(
            evidence, command, f"seeds={_seeds(evidence, wanted)}", "--out", folder, "--extend"
        ),
    )


def _chances(resolution: Resolution, seen: Effect, wanted: int) -> str:
    """What so many seeds find at least, in a sweep that was read before it grew."""
    size, smallest = _size(seen), resolution.detectable

    def chance(effect: float, *, added: bool = True) -> str:
        return ratio(resolution.power(wanted, effect, added=added))

    text = (
        f"With {wanted} a true difference as large as the largest open one "
        f"({seen.comparison.name} on {seen.outcome}, {number(size)} points; what is seen is "
        f"on average larger than what is true) holds with a chance of at least {chance(size)}"
    )
    if smallest == smallest:  # NaN with one pair
        text += (
            f", one of {number(smallest)} points, which {resolution.n} seeds find four times out "
            f"of five, with {chance(smallest)}"
        )
    return (
        f"{text}. Seeds that are added after a report are another look, and find less for it: with "
        f"all {wanted} at once the chance would be at least {chance(size, added=False)}."
    )


def _size(effect: Effect) -> float:
    """Its size among pairs that trained; 0 of nothing."""
    contrast = effect.trained or effect.contrast
    return abs(contrast.mean) if contrast.n else 0.0


def _seeds(evidence: Evidence, wanted: int) -> str:
    """`8`, or the list that contains the seeds there are."""
    given = evidence.study.get("seeds")
    if not isinstance(given, list):
        return str(wanted)
    more = range(max(given) + 1, max(given) + 1 + wanted - len(given))
    return str([*given, *more]).replace(" ", "")


def _other_data(evidence: Evidence, command: Command, why: str) -> Fact | None:
    """Where these seeds have said what they can, the next doubt is the data."""
    data = evidence.study.get("data") or {}
    spec = DATASETS.get(str(data.get("dataset")))
    if spec is None or not spec.embedded:
        return None
    folder, seed = _place(evidence), int(data.get("seed", 1)) + 1
    return Fact(
        label="Run next",
        text=f"{why}; the same question on other clips of the same kind:",
        command=_study(
            evidence, command, f"data.seed={seed}", "--out", _beside(folder, f"data{seed}")
        ),
    )


# ------------------------------------------------------------------------------- data and model


def _setting(evidence: Evidence) -> Fact | None:
    """What was trained on what, in one line."""
    study = evidence.study
    data, model, train = (study.get(part) or {} for part in ("data", "model", "train"))
    spec = DATASETS.get(str(data.get("dataset")))
    kind = "" if spec is None else "synthetic clips" if spec.embedded else "real videos"
    about = "; ".join(text for text in (kind, "" if spec is None else spec.description) if text)
    parts = [f"{data.get('dataset', 'unknown data')}{f' ({about})' if about else ''}"]
    if clips := _clips(evidence):
        parts.append(clips)
    if size := data.get("size_px"):
        parts.append(f"{size} px")
    row = MODELS.get(str(model.get("name")))
    described = f" ({row.description})" if row is not None else ""
    parts.append(f"model {model.get('name', 'unknown')}{described}")
    record = next(iter(evidence.records), None)
    if record is not None and record.final.get("parameters"):
        parts.append(f"{thousands(record.final['parameters'])} parameters")
    if train.get("steps"):
        parts.append(f"{train['steps']} steps of {train.get('batch')} clips")
    return Fact(label="Data and model", text=f"{', '.join(parts)}.")


def _clips(evidence: Evidence) -> str:
    """`384 training clips (12 per class with a label), 240 test clips`."""
    record = next(iter(evidence.records), None)
    planned: Any = (evidence.plan.get("data") or {}).get("counts")
    counts: Mapping[str, Any] = (record.data.get("counts") if record else None) or planned or {}
    rows = []
    for name, words in (("train", "training clips"), ("clean", "clean test clips")):
        used = (counts.get(name) or {}).get("n_used")
        if used:
            rows.append(f"{thousands(used)} {words}")
    labelled = (evidence.study.get("data") or {}).get("labelled_per_class")
    if rows and labelled:
        rows[0] += f" ({labelled} per class with a label)"
    return " and ".join(rows)


# ------------------------------------------------------------------------------------ the picture


def picture(found: Findings) -> Figure | None:
    """The curve of a trend, else the forest plot of the first outcome."""
    evidence, outcome = found.evidence, first_outcome(found.evidence)
    if outcome is None:
        return None
    for row in asked(evidence):
        drawn = row.picture(found, outcome)
        if drawn is not None:
            return drawn
    crowd = {"cell", "interaction"} if evidence.trend else {"interaction"}
    rows = [
        e
        for e in found.effects
        if e.outcome == outcome and e.comparison.kind not in crowd and e.contrast.n
    ]
    if not rows:
        return None
    shown = "; ".join(
        f"{e.comparison.name} {signed(e.contrast.mean)} {bracket(e.low, e.high)}".strip()
        for e in rows
    )
    return found.figure(
        "answer",
        figures.forest({outcome: bars(rows)}, unit=points_of(evidence), width_in=PICTURE_IN),
        alt=f"Forest plot of paired differences on {outcome}, in points: {shown}.",
        caption=f"What each comparison gains on {outcome}, with 95 % intervals; small dots are "
        "single seeds, filled marks hold after correction.",
    )


# -------------------------------------------------------------------------------------- the words


_WORDS: Mapping[str, tuple[str, str]] = {
    "rho": (r"ρ|Spearman", "correlation of ranks, -1 to 1"),
    "seed": (
        r"seeds?",
        "the random start of a training run; equal seeds share initialisation, order of clips and "
        "test draws in every loss set",
    ),
    "pair": (r"pairs?|paired", "two runs of one seed, one on either side of a comparison"),
    "points": (r"points", "percentage points"),
    "holds": (
        r"holds?",
        "survives the correction for all tests of this report; at most one report in twenty has a "
        "false claim",
    ),
    "suggestive": (
        r"[Ss]uggestive",
        "its own interval excludes 0, the correction for the number of tests does not",
    ),
    "Holm": (r"Holm", "a correction of p for the number of tests (Holm 1979)"),
    "p": (r"p", "chance of a difference at least as large if there were none"),
    "gamma": (
        r"γr?|gamma",
        "robustness ratio: accuracy under perturbation over clean accuracy",
    ),
}


#: Headings of tables that want an explanation.
HEADINGS: Mapping[str, str] = {
    "grade": "holds: survives the correction; suggestive: only its own interval excludes 0",
    "p": _WORDS["p"][1],
    "t p": "p of the paired t test, not corrected",
    "Holm p": _WORDS["Holm"][1],
    "sign-flip p": "exact test that turns the signs of the differences; never below 2 / 2^n",
    "g_z": "difference in its own standard deviations (Hedges)",
    "γr × 100": "change of accuracy / clean accuracy, times 100",
}


def terms(evidence: Evidence, texts: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Words of the answer that want an explanation.

    Returns:
        Term -> (regular expression, explanation), of those that occur.
    """
    known = dict(_WORDS)
    for name in evidence.headline:
        patterns = evidence.outcomes[name]
        over = "clean test clips" if patterns == ["clean"] else join(patterns)
        known[name] = (re.escape(name), f"outcome: mean {evidence.score_name} over {over}")
    there = " ".join(texts)
    return {
        name: row
        for name, row in known.items()
        if re.search(rf"(?<![\w-])({row[0]})(?![\w-])", there)
    }
