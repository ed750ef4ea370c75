"""What is told of equal conditions without a frame is so on frames."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from models.clip_format import centres
from perturb import LADDERS, PERTURBATIONS
from perturb.apply import apply, frame_map, unavailable
from perturb.sameness import CLEAN, same_frames

TEMPORAL = [(n, s) for n, row in PERTURBATIONS.items() if row.temporal for s in row.severities]
IDS = [f"clip-{i}" for i in range(40)]


def maps(ladder, stored, picks):
    """Condition -> which frames its clips show."""
    found = {CLEAN: torch.tensor([picks] * len(IDS))}
    for name, severity in TEMPORAL:
        shown = frame_map(name, severity, stored, clip_ids=IDS, ladder=ladder)
        found[f"{name}/{severity}"] = shown[:, picks]
    return found


@pytest.mark.parametrize("ladder", LADDERS)
@pytest.mark.parametrize(("stored", "shown"), [(1, 1), (2, 2), (8, 8), (16, 8), (24, 6), (64, 8)])
def test_orders_that_are_told_equal_are_and_no_others(ladder, stored, shown):
    picks = centres(stored, shown)
    told = same_frames(TEMPORAL, ladder=ladder, stored=stored, shown=picks, side_px=64)
    real = maps(ladder, stored, picks)
    names = list(real)
    for place, name in enumerate(names[1:], start=1):
        first = next((n for n in names[:place] if torch.equal(real[n], real[name])), None)
        same = told.get(name)
        assert (same.other if same and not same.draws else None) == first, name
        if same and same.draws:  # the same law: as often at each place, up to chance
            one, two = real[same.other].double().mean(), real[name].double().mean()
            assert abs(one - two) < 0.2 * stored


def test_the_known_case_is_named_with_its_reason():
    told = same_frames(TEMPORAL, ladder="paper_fixed", stored=24, shown=centres(24, 8), side_px=64)
    assert told["box_jumbling/4"].other == told["box_jumbling/5"].other == CLEAN
    assert told["box_jumbling/5"].why == "segments of 36 frames; of 24 stored frames 8 are shown"
    assert told["reverse_sampling/5"].other == "sampling/5"
    assert (told["jumbling/5"].other, told["jumbling/5"].draws) == ("jumbling/4", True)
    assert "box_jumbling/3" not in told


def test_a_model_may_see_the_frames_of_clean_alone():
    shown = centres(24, 6)  # 2, 6, 10, ...: every second frame repeated changes none of these
    told = same_frames([("sampling", 1)], ladder="paper", stored=24, shown=shown, side_px=64)
    assert told["sampling/1"].other == CLEAN


LIMITED = [
    name
    for name, row in PERTURBATIONS.items()
    if not row.temporal and (row.least or row.most or row.windows)
]


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("side", [16, 32])
def test_pixels_that_are_told_equal_are(name, side):
    if reason := unavailable(name):
        pytest.skip(reason)
    row = PERTURBATIONS[name]
    generator = torch.Generator().manual_seed(0)
    clip = torch.randint(0, 256, (1, 4, 3, side, side), generator=generator, dtype=torch.uint8)
    clip[0, 0] = 255 * (torch.arange(side) % 2)  # the steepest edges
    told_any = False
    for ladder in LADDERS:
        made = {CLEAN: clip}
        for s in row.severities:
            made[f"{name}/{s}"] = apply(clip, name, s, clip_ids=["c"], ladder=ladder)
        told = same_frames(
            [(name, s) for s in row.severities], ladder=ladder, stored=4, shown=range(4),
            side_px=side,
        )  # fmt: skip
        for title, same in told.items():
            told_any = True
            assert same.draws or torch.equal(made[title], made[same.other]), (ladder, title)
    assert told_any  # a limit that is never met says nothing


def test_limits_name_parameters():
    for row in PERTURBATIONS.values():
        assert {*row.least, *row.most} <= set(row.parameters)


def test_orders_and_sameness_load_no_torch():
    code = (
        "import sys; from perturb.catalogue import PERTURBATIONS; from perturb import sameness\n"
        "from perturb.orders import orders\n"
        "orders(PERTURBATIONS['jumbling'], 2, 24, ['a'], 0, 'paper')\n"
        "sameness.same_frames([('freezing', 5)], ladder='small', stored=9, shown=[1], side_px=64)\n"
        "print({'torch', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
