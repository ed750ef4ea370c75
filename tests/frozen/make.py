"""Made the stored numbers beside it, once, by the program as it was before its rooms were changed.

``python -m tests.frozen.make`` writes them anew; that is right only where a change of numbers is
wanted and told in the CHANGELOG. Read by ``test_frozen.py``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from tests.frozen.adapter import cells_of, load_study, report_of, run_local

HERE = Path(__file__).parent
KEYS = 200

#: Changes that are laid over every built-in study and scale, alone and in pairs.
OVERRIDES = (
    (),
    ("evaluate.fidelity=screen",),
    ("evaluate.fidelity=probe", "evaluate.clips_per_cell=16"),
    ("evaluate.temporal_checks=false", "evaluate.batch=7", "evaluate.keep_perturbed=false"),
    ("train.perturb=temporal", "evaluate.profile=mix:temporal"),
    ("train.views.mask_policy=motion", "train.views.mask_strength=3"),
    ("train.log_every=3", "train.checkpoint_every=7", "train.steps=50"),
    ("train.lr=1e-3", "train.trained_below=1.5"),
    ("data.seed=9", "data.workers=1", "data.max_bad_fraction=0.1"),
    ("data.cache_frames=16", "data.access=sequential"),
    ("combiners={meltr: {}, uncertainty: {}}",),
    ("combiners={meltr: {method: loop}, gradnorm: {}}", "seeds=[3, 8]"),
    ("model.name=tiny_frames", "design.kind=loo"),
    ("evaluate.profile=paper", "evaluate.conditions=null", "evaluate.seed=4"),
)
#: Studies by captions: primary, task and data set of their own.
RETRIEVAL = (
    "primary=infonce", "losses.infonce=null", "losses.pixel=null", "losses.consistency=null",
    "losses.frame_difference=null", "losses.masked_text.weight=.5", "design.kind=loo",
    "data.dataset=motes-vtt", "outcomes={clean: [clean], r5: ['t2v_R5:clean']}", "headline=[clean]",
)  # fmt: skip
RETRIEVAL_MORE = (
    ("losses.siglip={}",),
    ("evaluate.captions_per_clip=all",),
    ("evaluate.captions=all", "evaluate.joint=none"),
    ("evaluate.joint_severity=1", "evaluate.task=retrieval"),
)
SMALL = (
    "data.seed=31", "data.train_per_class=6", "data.val_per_class=3", "data.labelled_per_class=4",
    "train.steps=12", "train.batch=8", "train.log_every=2", "track.wandb=disabled",
    "data.workers=1",
)  # fmt: skip
#: The stored sweeps: study -> overrides.
SWEEPS = {
    "classification": (
        "quickstart", (*SMALL, "seeds=3", "name=frozen-classification",
        "losses.pixel=null", "losses.frame_difference=null",
        "evaluate.conditions={gaussian_noise: [1, 3], jumbling: [1, 3], jpeg: [3]}"),
    ),
    "retrieval": (
        "quickstart", (*SMALL, *RETRIEVAL, "seeds=2", "name=frozen-retrieval",
        "data.labelled_per_class=null", "evaluate.captions_per_clip=all",
        "evaluate.captions={shuffle_order: [1]}",
        "evaluate.conditions={gaussian_noise: [3]}", "evaluate.joint=[[jumbling, shuffle_order]]"),
    ),
    "count": (
        "loss-count", (*SMALL, "seeds=2", "design.counts=[0, 1, 2]", "design.subsets_per_count=2",
        "name=frozen-count", "evaluate.fidelity=probe", "evaluate.clips_per_cell=8"),
    ),
    "search": (
        "quickstart", (*SMALL, "name=frozen-search", "design.kind=search", "seeds=1",
        "search.trials=4", "search.objective=clean", "search.confirm={best: 1, seeds: 1}",
        "losses.pixel=null", "losses.frame_difference=null",
        "evaluate.conditions={gaussian_noise: [3]}"),
    ),
}  # fmt: skip
#: One whole cell of the built-in tour: label and seed.
CELL = ("none", 200)


def keys() -> list[dict]:
    """Pairs of a resolved trial and its key, an even share of every combination."""
    found: dict[str, list[dict]] = {}
    places = [
        ("quickstart", "mini"), ("quickstart", "paper"), ("loss-count", "mini"),
        ("loss-count", "paper"), ("loss-count", "paper-ucf101"), ("loss-diversity", "mini"),
        ("loss-diversity", "paper"),
    ]  # fmt: skip
    combinations = [(*place, change) for place in places for change in OVERRIDES]
    combinations += [("quickstart", "mini", (*RETRIEVAL, *more)) for more in RETRIEVAL_MORE]
    for study, scale, change in combinations:
        overrides = (*change, *(["data.root=/data/set"] if scale.startswith("paper") else []))
        try:
            planned = cells_of(load_study(study, scale, overrides))
        except ValueError as error:
            print(f"left out: {study} {scale} {change}: {str(error).splitlines()[0]}")
            continue
        rows = [
            {"study": study, "scale": scale, "overrides": list(overrides), "label": cell.label,
             "seed": cell.seed, "config": cell.model_dump(mode="json"), "key": cell.key}
            for cell in planned
        ]  # fmt: skip
        random.Random(0).shuffle(rows)
        found["|".join((study, scale, *change))] = rows
    chosen = []
    while len(chosen) < KEYS:
        for rows in found.values():
            if rows and len(chosen) < KEYS:
                chosen.append(rows.pop())
    return chosen


def sweep(name: str, cache: Path) -> None:
    """Run one of the small sweeps and keep its folder and its report's text."""
    study, overrides = SWEEPS[name]
    target = HERE / "sweeps" / name
    shutil.rmtree(target, ignore_errors=True)
    run_local(load_study(study, None, (*overrides, f"data.cache_dir={cache}")), target)
    text = report_of(target)
    for leftover in ("report", "examples", "driver.lock", ".lock-guard", "progress.json", "wandb"):
        path = target / leftover
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for checkpoint in target.glob("cells/*/checkpoint"):
        shutil.rmtree(checkpoint)
    for file in target.rglob("*.json*"):  # nothing of the machine that made it
        file.write_text(file.read_text(encoding="utf-8").replace(str(cache), "/cache"), "utf-8")
    study_file = target / "sweep.yaml"
    study_file.write_text(study_file.read_text("utf-8").replace(str(cache), "/cache"), "utf-8")
    (target / "report.md").write_text(text, encoding="utf-8")


def oldest() -> None:
    """The first sweep in schema 1: before diversity, confidence and probabilities were kept."""
    target = HERE / "sweeps" / "schema-1"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(HERE / "sweeps" / "classification", target)
    for path in target.glob("cells/*/result.json"):
        content = json.loads(path.read_text("utf-8")) | {"schema_version": 1}
        for section in ("diversity", "probabilities"):
            content.pop(section, None)
        path.write_text(json.dumps(content), "utf-8")
    for path in target.glob("cells/*/outcomes.npz"):
        with np.load(path) as arrays:
            kept = {n: arrays[n] for n in arrays.files if not n.startswith("confidence/")}
        np.savez_compressed(path, **kept)
    text = report_of(target)
    (target / "report.md").write_text(text, encoding="utf-8")
    shutil.rmtree(target / "report")


def cell() -> None:
    """One cell of the built-in tour, whole."""
    from tests.frozen.adapter import run_cell

    config = next(
        c for c in cells_of(load_study("quickstart", "mini", ())) if (c.label, c.seed) == CELL
    )
    record = run_cell(config)
    text = json.dumps(record.to_json(), indent=1, ensure_ascii=False)
    (HERE / "quickstart_cell.json").write_text(text + "\n", encoding="utf-8")


def machine() -> str:
    """What decides how a processor rounds: its make and abilities, and the arithmetic libraries."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = [platform.processor()]
    kept = ("vendor_id", "cpu family", "model", "flags")
    told = sorted(line for line in lines if line.partition("\t")[0].strip() in kept)
    told += [torch.__version__, np.__version__]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def main() -> None:
    """Write everything, or what is named."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    (HERE / "machine.txt").write_text(machine() + "\n", encoding="utf-8")
    wanted = sys.argv[1:] or ["keys", "cell", *SWEEPS, "schema-1"]
    if "keys" in wanted:
        text = json.dumps(keys(), sort_keys=True, separators=(",", ":"))
        (HERE / "keys.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    if "cell" in wanted:
        cell()
    with tempfile.TemporaryDirectory() as cache:
        for name in SWEEPS:
            if name in wanted:
                sweep(name, Path(cache))
    if "schema-1" in wanted:
        oldest()


if __name__ == "__main__":
    main()
