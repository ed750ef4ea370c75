"""The tables of perturbations are whole, consistent, and readable without torch."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from perturb import CATEGORIES, LADDERS, PAPER_CATEGORIES, PERTURBATIONS, PROFILES, SEVERITIES

ROWS = list(PERTURBATIONS.values())
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.name)
def test_a_row_is_complete(spec):
    assert spec.category in CATEGORIES
    assert set(spec.levels) == set(LADDERS)
    for levels in spec.levels.values():
        assert len(levels) == len(spec.severities)
        assert all(len(level) == len(spec.parameters) for level in levels)
    assert set(spec.lengths) | set(spec.windows) <= set(spec.parameters)
    assert set(spec.not_monotone) <= set(LADDERS)
    assert spec.severities in (SEVERITIES, (1,))
    assert spec.missing or callable(spec.load())
    assert bool(spec.missing) != bool(spec.target)
    assert spec.unit
    assert spec.source


@pytest.mark.parametrize("spec", ROWS, ids=lambda spec: spec.name)
def test_levels_are_described_in_words(spec):
    for ladder in LADDERS:
        for severity in spec.severities:
            text = spec.describe(severity, ladder, short_side_px=64, frames=24)
            assert text
            assert "{" not in text
    assert spec.describe(0, "paper") == "clean"


def test_eighteen_perturbations_of_five_categories_are_published():
    published = [spec for spec in ROWS if spec.is_published]
    sizes = [sum(spec.category == name for spec in published) for name in PAPER_CATEGORIES]
    assert sizes == [4, 3, 3, 5, 3]


def test_the_corrected_ladder_replaces_three_tables_only():
    assert changed("paper_fixed") == {"mpeg1", "mpeg2", "jumbling", "translation"}


def changed(ladder):
    return {spec.name for spec in ROWS if spec.levels["paper"] != spec.levels[ladder]}


def test_other_benchmarks_count_what_they_publish():
    sizes = {name: len(PROFILES[name].conditions) for name in PROFILES}
    assert (sizes["yi_c"], sizes["yi_c_ssv2"], sizes["vitta"], sizes["imagenet_c"]) == (
        12,
        12,
        12,
        15,
    )
    assert {name for name in PROFILES["yi_c"].conditions if PERTURBATIONS[name].missing} == {
        "packet_loss"
    }
    assert all(levels == (5,) for levels in PROFILES["vitta"].conditions.values())
    assert changed("yi_c") == {"shot_noise"}
    assert changed("yi_c_ssv2") == {"shot_noise", "temporal_blur", "frame_rate"}
    # what the paper took over from ImageNet-C is equal there
    assert not changed("imagenet_c") & {"gaussian_noise", "impulse_noise", "jpeg", "defocus_blur"}


@pytest.mark.parametrize("name", [spec.name for spec in ROWS if spec.missing])
def test_what_cannot_be_made_says_why(name):
    from perturb.apply import unavailable

    assert unavailable(name) == f"{name} is not available: {PERTURBATIONS[name].missing}"


def test_profiles_name_conditions_that_exist():
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.ladder in LADDERS
        for perturbation, severities in profile.conditions.items():
            assert set(severities) <= set(PERTURBATIONS[perturbation].severities)
    assert len(PROFILES["paper"].names()) == len(PROFILES["paper_fixed"].names()) == 90
    assert len(PROFILES["quick"].names()) == 30
    assert "gaussian_noise/3" in PROFILES["quick_small"].names()


def test_lengths_and_windows_scale_in_the_small_ladder_only():
    blur, jumbling = PERTURBATIONS["motion_blur"], PERTURBATIONS["jumbling"]
    assert blur.arguments(1, "small", short_side_px=64) == {"radius": 3, "sigma": 1}
    assert blur.arguments(1, "small", short_side_px=128) == {"radius": 6, "sigma": 2}
    assert blur.arguments(1, "paper", short_side_px=128) == {"radius": 10, "sigma": 3}
    assert jumbling.arguments(2, "small", frames=24) == {"window": 8}
    assert jumbling.arguments(2, "small", frames=12) == {"window": 4}
    assert jumbling.arguments(1, "small", frames=3) == {"window": 2}
    assert jumbling.arguments(2, "paper", frames=12) == {"window": 16}


def test_rows_and_profiles_travel_to_workers():
    assert pickle.loads(pickle.dumps(PROFILES["quick"])) == PROFILES["quick"]
    spec = PERTURBATIONS["translation"]
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_the_catalogue_imports_no_array_library():
    heavy = ("torch", "numpy", "av", "cv2")
    code = f"import perturb, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
