"""Names of conditions are written and read in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perturb.catalogue import PERTURBATIONS
from perturb.text_catalogue import TEXT_PERTURBATIONS
from sweep.evaluation.conditions import TestPlan as Plan
from sweep.records.condition import ORDER_CONTROLS, Condition
from sweep.settings.evaluate import EvaluateSettings

SHIFTS = ("appearance", "viewpoint", "dynamics", "appearance-known", "kitchen_2")


@given(
    video=st.sampled_from(["", *PERTURBATIONS]),
    text=st.sampled_from(["", *TEXT_PERTURBATIONS]),
    severity=st.integers(1, 5),
)
def test_every_name_is_read_as_it_was_written(video, text, severity):
    made = Condition.named(
        perturbation=video,
        severity=severity if video else 0,
        text=text,
        text_severity=(1 if video else severity) if text else 0,
    )
    assert Condition.parse(made.name) == made
    assert Condition.parse(made.of_video.name) == made.of_video
    assert made.of_video.text == made.of_text.perturbation == ""
    assert made.level == (severity if video or text else 0)
    assert made.is_perturbed == bool(video or text)


@pytest.mark.parametrize("name", ["clean", *SHIFTS])
def test_clip_sets_are_conditions(name):
    found = Condition.parse(name)
    assert found.category == ("clean" if name == "clean" else "shift")
    assert (found.clips, found.level, found.family) == (name, 0, name)
    assert found == Condition.named(name)


def test_every_planned_condition_is_read_as_it_was_planned():
    settings = EvaluateSettings(profile="paper_fixed", captions="all", joint="all")
    rows = Plan.of(settings, SHIFTS, {"video", "text"}, 10).rows
    assert len(rows) > 150
    assert len({row.name for row in rows}) == len(rows)
    assert [Condition.parse(row.name) for row in rows] == list(rows)
    assert {row.family for row in rows if row.is_control} == set(ORDER_CONTROLS)


def test_a_perturbation_that_is_gone_is_still_read():
    found = Condition.parse("forgotten_blur/4")
    assert (found.perturbation, found.severity, found.category) == ("forgotten_blur", 4, "")


def test_names_are_taken_apart_nowhere_else():
    root = Path(__file__).parents[2] / "sweep"
    apart = re.compile(r"""condition\w*\.(r?partition|split|startswith)\(|["']text_["']\)""")
    allowed = {root / "records" / "condition.py"}
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in root.rglob("*.py")
        if path not in allowed
        for line in path.read_text("utf-8").splitlines()
        if apart.search(line) and 'rpartition(":")' not in line
    ]
    assert not found
