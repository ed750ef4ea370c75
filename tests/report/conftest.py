"""Synthetic sweep folders: real record files with numbers from a seeded model of a study."""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml

from sweep.cells.designs.catalogue import DESIGNS
from sweep.records.files import write_cell, write_json
from sweep.records.record import Score, TrialRecord
from sweep.settings.design import DesignSettings
from sweep.statistics.diversity import measure_history
from tests.outcomes import classified

QUICKSTART = Path(__file__).resolve().parents[2] / "sweep" / "studies" / "quickstart.yaml"
LOSSES = ("consistency", "frame_difference", "infonce", "pixel")
LEVELS = {
    "gaussian_noise": ("noise", {1: "std 0.03", 3: "std 0.07", 5: "std 0.15"}),
    "motion_blur": (
        "blur",
        {1: "radius 3, sigma 1", 3: "radius 5, sigma 2.5", 5: "radius 8, sigma 6"},
    ),
    "zoom_blur": ("blur", {3: "stop 1.41, step 0.02"}),
    "jpeg": ("digital", {3: "quality 8", 5: "quality 3"}),
    "jumbling": ("temporal", {1: "window 4", 3: "window 12", 5: "window 24"}),
    "freezing": ("temporal", {3: "share 0.4, at_least 1", 5: "share 0.1, at_least 1"}),
    "sampling": ("temporal", {3: "stride 6", 5: "stride 12"}),
    "static_rotation": ("camera", {1: "degrees 2", 3: "degrees 10", 5: "degrees 35"}),
    "translation": ("camera", {1: "low -0.5, high 0.5, is_whole 0", 3: "low -2, high 2"}),
    "frame_shuffle": ("temporal", {1: ""}),
    "reversal": ("temporal", {1: ""}),
}
#: Loss in points under a condition of severity 5 for the cell `none`.
HARM = {
    "gaussian_noise": 58,
    "motion_blur": 30,
    "zoom_blur": 12,
    "jpeg": 12,
    "jumbling": 45,
    "freezing": 24,
    "sampling": 26,
    "static_rotation": 44,
    "translation": 30,
}
GAIN = {  # points of a loss inside a set, by category
    "consistency": {"noise": 21, "camera": 6, "clean": 1.5},
    "infonce": {"clean": 4, "shift": 5, "temporal": 4, "noise": 3},
    "frame_difference": {"clean": 0.8, "shift": 1.0},
    "pixel": {"clean": -3.0, "shift": -2.5, "temporal": -5},
    "infonce_shuffled": {"noise": -1},
}


@dataclass
class Model:
    """What a synthetic sweep contains."""

    design: str = "loo"
    losses: tuple = LOSSES
    seeds: tuple = (300, 301, 302)
    clips: int = 240
    steps: int = 400
    noise: float = 1.2
    combiners: tuple = ("static",)
    learned: bool = False
    untrained: tuple = (("all - infonce", 301),)
    failed: tuple = (("all - pixel", 302),)
    missing: tuple = (("all - frame_difference", 302),)
    other_pixels: tuple = ()
    excluded: tuple = (
        {"split": "train", "id": "motes-00017", "reason": "truncated: 9 of 24 frames"},
    )
    outcomes: bool = True
    report: tuple = ()  # analyses besides those of the design
    few: bool = False  # three perturbations instead of eleven: faster to draw
    sets: dict = field(default_factory=dict)


#: Designs whose cells are as planned; the others are thinned for speed.
_LISTED = (
    "loo", "aoi", "loo+aoi", "pairs", "fractional", "plackett_burman", "shapley", "diversity",
)  # fmt: skip
#: What a design needs to fit four losses.
_SETTINGS = {"diversity": {"size": 2}}


def design_of(model):
    return {"kind": model.design, **_SETTINGS.get(model.design, {})}


def loss_sets(model):
    if model.sets:
        return model.sets
    found = {"none": (), "all": model.losses}
    if model.design in _LISTED:
        names, settings = tuple(sorted(model.losses)), DesignSettings(**design_of(model))
        for label, subset in DESIGNS[model.design].sets(names, settings).items():
            if subset not in found.values():
                found[label] = subset
    elif model.design == "factorial":
        for size in range(1, len(model.losses)):
            for subset in itertools.combinations(model.losses, size):
                found["+".join(subset)] = subset
    elif model.design == "count":
        for size in range(1, len(model.losses)):
            for subset in list(itertools.combinations(model.losses, size))[:4]:
                found[f"k={size}: {'+'.join(subset)}"] = subset
    elif model.design == "search":
        rng = np.random.default_rng(3)
        for _ in range(14):
            subset = tuple(n for n in model.losses if rng.random() < 0.6) or model.losses[:1]
            found[f"{'+'.join(subset)}@{rng.integers(10**6)}"] = subset
    return found


def _rng(*parts):
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _conditions(model):
    yield "clean", "clean", "clean", ""
    for name in ("appearance", "viewpoint", "dynamics"):
        yield name, "shift", name, ""
    for name, (category, levels) in LEVELS.items():
        if model.few and name not in {"gaussian_noise", "jumbling", "frame_shuffle"}:
            continue
        for severity, level in levels.items():
            yield f"{name}/{severity}", category, "clean", level


def _expected(losses, seed, condition, category, model, label):
    """Accuracy in percent of a loss set under a condition."""
    name, _, severity = condition.partition("/")
    value = 76 + _rng("seed", seed).normal(0, 3)
    value += sum(GAIN[n].get("clean", 0) for n in losses)
    if (label, seed) in model.untrained:
        return 26 + _rng(label, condition).normal(0, 2)
    value -= {"appearance": 9, "viewpoint": 15, "dynamics": 19}.get(condition, 0)
    if name == "frame_shuffle":
        return 29 + _rng(label, seed).normal(0, 2)
    if name == "reversal":
        return 1.0
    if severity:
        share = {1: 0.15, 3: 0.55, 5: 1.0}[int(severity)]
        value -= (
            HARM[name] * share * (0.3 + 0.7 * (category != "noise" or "consistency" not in losses))
        )
    if category != "clean":
        scale = {1: 0.2, 3: 0.8, 5: 1.0}.get(int(severity or 3), 1)
        value += sum(GAIN[n].get(category, 0) * scale * 0.4 for n in losses)
    value += _rng("cell", label, seed).normal(0, model.noise)
    value += _rng("condition", label, seed, condition).normal(0, model.noise / 2)
    return float(np.clip(value, 0, 99))


def _history(losses, seed, label, model, untrained):
    rows = []
    rng = _rng("history", label, seed)
    for step in range(0, model.steps, 10):
        t = step / model.steps
        raw = {"cross_entropy": 0.45 + 1.65 * np.exp(-4 * t) + rng.normal(0, 0.03)}
        if untrained:
            raw["cross_entropy"] = 1.3 + 0.8 * np.exp(-4 * t) + rng.normal(0, 0.03)
        for i, name in enumerate(losses):
            raw[name] = (0.3 + 0.4 * i) * (0.4 + np.exp(-3 * t)) + rng.normal(0, 0.01)
        slopes = dict.fromkeys(raw, 1.0)
        if "pixel" in slopes:
            slopes["pixel"] = 0.2
        if model.learned:
            for i, name in enumerate(losses):
                slopes[name] = 0.5 + (0.4 - 0.25 * i) * (1 - np.exp(-3 * t)) + rng.normal(0, 0.02)
        row = {
            "step": step,
            "unified": sum(slopes[n] * raw[n] for n in raw),
            "losses": raw,
            "slopes": slopes,
            "lr": 2e-3 * (1 - t),
            "gradient_norm": 1 + rng.random(),
        }
        if step % 100 == 90:
            row["validation"] = {"top1": 30 + 50 * (1 - np.exp(-3 * t))}
        rows.append(row)
    return rows


def _outcomes(losses, seed, label, model):
    predictions, clips, ids, labels, scores = {}, {}, {}, {}, []
    for condition, category, clip_set, level in _conditions(model):
        n = model.clips
        ids.setdefault(clip_set, tuple(f"{clip_set}-{i:04d}" for i in range(n)))
        labels.setdefault(clip_set, np.arange(n) % 8)
        hardness = _rng("clips", clip_set).normal(size=n) + _rng(label, seed, condition).normal(
            size=n
        )
        right = round(_expected(losses, seed, condition, category, model, label) / 100 * n)
        correct = np.argsort(np.argsort(hardness)) < right
        predictions[condition] = np.where(correct, labels[clip_set], (labels[clip_set] + 1) % 8)
        clips[condition] = clip_set
        pixels = hashlib.sha256(condition.encode()).hexdigest()[:16]
        if (label, seed, condition) in model.other_pixels:
            pixels = "f" * 16
        scores.append(
            Score(
                condition=condition,
                category=category,
                level=level,
                clips=n,
                metrics={"top1": 100.0 * float(correct.mean())},
                pixels=pixels,
            )
        )
    outcomes = classified(clip_sets=clips, ids=ids, labels=labels, predictions=predictions)
    return tuple(scores), outcomes


def write_sweep(folder, model=None):
    """Write a sweep folder as the driver would; returns its path."""
    model = model or Model()
    folder.mkdir(parents=True)
    study = yaml.safe_load(QUICKSTART.read_text())
    study.pop("scales")
    study["scale"] = "mini"
    study["design"] = design_of(model)
    study["report"] = list(model.report)
    study["losses"] = {name: {"weight": 0.2 if name == "pixel" else 1.0} for name in model.losses}
    study["combiners"] = {name: {} for name in model.combiners}
    study["model"] = {"name": "tiny", "knobs": {}}
    study["train"] |= {"trained_below": 1.0, "weight_decay": 0.05, "label_smoothing": 0.05}
    study["search"] = {"objective": "ood"}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    planned, events = [], []
    combiners = model.combiners
    grid = itertools.product(model.seeds, loss_sets(model).items(), combiners)
    for seed, (label, losses), combiner in grid:
        if not losses and combiner != combiners[0]:
            continue
        if (
            model.design == "search"
            and losses
            and losses != model.losses
            and seed != model.seeds[0]
        ):
            continue
        name = f"{label} [{combiner}]" if len(combiners) > 1 and losses else label
        shown, _, draw = name.partition("@")
        weights = {n: study["losses"][n]["weight"] for n in losses}
        if draw:
            weights = {n: float(f"{10 ** _rng(draw, n).uniform(-2, 1):.3g}") for n in losses}
        config = {
            "study": "quickstart",
            "label": shown,
            "seed": seed,
            "fingerprint": "5f1e0a9be3c47d21",
            "losses": {n: {"weight": w, "knobs": {}} for n, w in weights.items()},
            "combiner": {"name": combiner if losses else combiners[0], "knobs": {}},
            **{key: study[key] for key in ("model", "data", "train", "evaluate")},
        }
        text = json.dumps({k: v for k, v in config.items() if k not in {"label", "study"}})
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        common = {
            "key": key,
            "label": shown,
            "seed": seed,
            "losses": tuple(sorted(losses)),
            "combiner": combiner if losses else combiners[0],
            "config": config,
        }
        if not draw:
            planned.append(
                {
                    "key": key,
                    "label": shown,
                    "losses": sorted(losses),
                    "combiner": combiner,
                    "seed": seed,
                    "design": model.design,
                }
            )
        if (name, seed) in model.missing:
            continue
        events.append({"event": "started", "key": key, "attempt": 1})
        cell = folder / "cells" / key
        untrained = (name, seed) in model.untrained
        history = _history(losses, seed, name, model, untrained)
        if (name, seed) in model.failed:
            error = {
                "type": "Divergence",
                "message": "unified loss is NaN at step 137",
                "traceback": "...",
                "step": 137,
            }
            write_cell(
                cell, TrialRecord(status="failed", error=error, **common), history[:14], None
            )
            events.append({"event": "failed", "key": key, "attempt": 1})
            continue
        scores, outcomes = _outcomes(losses, seed, name, model)
        views = 2 if "consistency" in losses else 1
        record = TrialRecord(
            status="done",
            task="classification",
            scores=scores,
            final={
                "cross_entropy": history[-1]["losses"]["cross_entropy"],
                "trained": not untrained,
                "unified_loss": history[-1]["unified"],
                "steps": 400,
                "parameters": 296904,
            },
            weights=history[-1]["slopes"],
            diversity=measure_history(weights, history, primary="cross_entropy", steps=model.steps)
            if model.design == "diversity"
            else {},
            forwards={"train": 6400 * views, "evaluate": 6720, "avoided": 240},
            data={
                "fingerprint": config["fingerprint"],
                "counts": {
                    "train": {"n_total": 385, "n_used": 384, "n_partial": 1},
                    "clean": {"n_total": model.clips, "n_used": model.clips},
                },
            },
            run={
                "started": 1.0,
                "host": "laptop",
                "device": "cpu",
                "attempt": 1,
                "seconds": {"data": 0.4, "train": 21.0 * views, "evaluate": 9.1, "all": 31.0},
            },
            **common,
        )
        write_cell(cell, record, history, outcomes if model.outcomes else None)
        events.append({"event": "finished", "key": key, "attempt": 1})
    write_json(
        folder / "plan.json",
        {
            "study": "quickstart",
            "scale": "mini",
            "created": "2026-01-05T10:00:00Z",
            "cells": planned,
            "data": {
                "fingerprint": "5f1e0a9be3c47d21",
                "counts": {},
                "excluded": list(model.excluded),
            },
        },
    )
    write_json(
        folder / "environment.json",
        {
            "time": "2026-01-05T10:00:00Z",
            "python": "3.11.9",
            "platform": "Linux",
            "host": "laptop",
            "cpu": "a processor",
            "cpus": 2,
            "gpus": [],
            "git": "0123456789abcdef",
            "packages": {"torch": "2.11.0", "ray": "2.60.0"},
        },
    )
    lines = [json.dumps(event) for event in events]
    (folder / "ledger.jsonl").write_text("\n".join(lines) + '\n{"event": "fini')
    return folder


@pytest.fixture(scope="session")
def new_sweep(tmp_path_factory):
    """Writer of sweep folders: ``new_sweep(design="count", ...)``."""

    def write(**options):
        return write_sweep(tmp_path_factory.mktemp("sweep") / "run", Model(**options))

    return write


@pytest.fixture(scope="session")
def loo_sweep(new_sweep):
    """Leave-one-out with one failed, one missing and one untrained run."""
    return new_sweep()
