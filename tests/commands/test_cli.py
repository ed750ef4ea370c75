"""The command line as a user meets it: processes, exit codes, messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweep.run", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["study", "--help"], ["list"], ["list", "losses"], ["plan", "quickstart"]],
)
def test_looking_loads_neither_torch_nor_ray(arguments):
    code = (
        "import sys; from sweep.run import main\n"
        f"try: code = main({arguments!r})\n"
        "except SystemExit as e: code = e.code\n"
        "heavy = {'torch', 'ray', 'numpy', 'pandas', 'wandb', 'optuna', 'decord'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)), code)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.rstrip().endswith("HEAVY [] 0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stduy", "quickstart"], ["did you mean 'study'"]),
        (["study", "quikstart"], ["did you mean 'quickstart'"]),
        (["study", "quickstart", "trian.steps=3"], ["did you mean 'train'"]),
        (["study", "quickstart", "--otu", "x"], ["--otu", "did you mean '--out'"]),
        (["study"], ["required: study\n"]),
        (["study", "quickstart", "--reuse", "/nonexistent"], ["reuse: /nonexistent: neither"]),
        (["plan", "quickstart", "losses.pixle.weight=1"], ["did you mean 'pixel'"]),
        (["plan", "quickstart", "report=[dosis]"], ["report: unknown analysis", "'dose'"]),
        (["report", "/nonexistent"], ["/nonexistent"]),
        (["status", "/nonexistent"], ["/nonexistent"]),
        (["resume", "/nonexistent"], ["/nonexistent"]),
        (["list", "loses"], ["did you mean 'losses'"]),
        (["perturb", "/nonexistent.mp4", "--out", "/tmp/none"], ["/nonexistent.mp4"]),
        (["data", "index", "--dataset", "ssv2"], ["data.root"]),
        (["bench", "--only", "nothing"], ["unknown row 'nothing'"]),
    ],
)
def test_mistakes_end_with_2_and_no_traceback(arguments, words):
    shown = call(*arguments)
    text = shown.stdout + shown.stderr
    assert shown.returncode == 2, text
    assert "Traceback" not in text
    for word in words:
        assert word in text


def test_overrides_stand_anywhere():
    plans = [
        call("plan", "quickstart", "seeds=2", "--json"),
        call("plan", "quickstart", "--json", "seeds=2"),
        call("plan", "--json", "quickstart", "seeds=2"),
    ]
    found = [json.loads(shown.stdout) for shown in plans]
    assert all(plan["seeds"] == found[0]["seeds"] for plan in found)
    assert len(found[0]["cells"]) == 12


def test_plan_counts():
    plan = json.loads(call("plan", "quickstart", "--json").stdout)
    assert len(plan["labels"]) == 6
    assert len(plan["cells"]) == 30
    assert len(plan["conditions"]) == 27
    assert plan["forwards"]["evaluate"] == 30 * 27 * 240
    # view B: all and the full set without each of frame_difference, infonce, pixel
    views = 5 * (1 + 2 + 1 + 2 + 2 + 2)
    assert plan["forwards"]["train"] == views * 3 * 400 * 16
    assert plan["detectable_sd"] == 1.68


def test_every_catalogue_is_listed():
    shown = call("list").stdout
    from losses.catalogue import LOSSES
    from losses.combine.catalogue import COMBINERS
    from models.catalogue import MODELS
    from perturb.catalogue import PERTURBATIONS
    from perturb.text_catalogue import TEXT_PERTURBATIONS
    from sweep.data.catalogue import DATASETS
    from sweep.evaluation.probes import PROBES
    from sweep.studies.files import study_names
    from sweep.tasks.catalogue import TASKS

    joined = shown.replace("\n", "")
    science = (*LOSSES, *COMBINERS, *MODELS, *PERTURBATIONS, *TEXT_PERTURBATIONS)
    for name in (*science, *DATASETS, *study_names(), *TASKS, *PROBES):
        assert name in joined


def test_debug_stops_at_a_breakpoint_in_a_loss(tmp_path):
    """`breakpoint()` placed in a loss reaches the debugger, in this process."""
    script = tmp_path / "debug.py"
    script.write_text(
        "import builtins, sys\n"
        "import losses.auxiliary.pixel as pixel\n"
        "old = pixel.Pixel.forward\n"
        "def forward(self, **features):\n"
        "    breakpoint()\n"
        "    return old(self, **features)\n"
        "pixel.Pixel.forward = forward\n"
        "from sweep.run import main\n"
        "few = ['data.train_per_class=3', 'data.val_per_class=1', 'data.labelled_per_class=2']\n"
        "sys.exit(main(['study', 'quickstart', '--debug', 'data.seed=12', *few]))\n"
    )
    shown = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input="p sorted(features)\np features['frames'].shape\nq\n",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert "(Pdb)" in shown.stdout
    assert "['frames', 'pixels']" in shown.stdout
    assert "torch.Size([8, 8, 128])" in shown.stdout


@pytest.mark.parametrize("catalogue", ["losses", "perturbations", "combiners", "datasets"])
def test_piped_lists_have_one_whole_row_per_entry_and_json_holds_the_same(catalogue):
    shown = call("list", catalogue, COLUMNS="60").stdout.splitlines()
    rows = json.loads(call("list", catalogue, "--json").stdout)[catalogue]
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names) > 4
    for row in rows:
        assert [line for line in shown if all(part in line for part in row.values())], row["name"]


def test_a_study_in_the_place_of_a_verb_is_understood():
    done = call("quickstart")
    assert done.returncode == 2
    assert done.stderr.endswith("; did you mean `study quickstart`?\n")
    assert "did you mean `study mine.yaml`?" in call("mine.yaml").stderr


def test_the_version_is_told():
    from importlib import metadata

    assert call("--version").stdout.strip() == f"auxsweep {metadata.version('auxsweep')}"


def test_proposed_commands_can_be_typed(monkeypatch):
    from sweep.runtime.program import program

    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/auxsweep"])
    assert (
        program("resume", "runs/my sweep", "--local") == "auxsweep resume 'runs/my sweep' --local"
    )
    monkeypatch.setattr(sys, "argv", [str(ROOT / "sweep" / "run.py")])
    words = program("status", "x").split()
    assert words[1:] == ["-m", "sweep.run", "status", "x"]
    shown = subprocess.run([words[0], "-c", "print(1)"], capture_output=True, text=True, check=True)
    assert shown.stdout == "1\n"
