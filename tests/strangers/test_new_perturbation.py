"""A new perturbation is one function and one row: written here, then models are tested on it."""

from __future__ import annotations

import numpy as np
import pytest

from perturb.catalogue import LADDERS, PERTURBATIONS, PerturbSpec
from sweep.engine.run import run_study
from sweep.records.files import read_records
from sweep.settings.section import ConfigError
from sweep.studies.load import load_study

FILE = '''
"""Pictures upside down in part."""


def lower_half(clip, *, share):
    """Mirror the lowest rows of every frame."""
    rows = round(float(share) * clip.shape[-2])
    turned = clip.clone()
    turned[..., -rows:, :] = clip[..., -rows:, :].flip(-1)
    return turned
'''


@pytest.fixture
def new_perturbation(write, add_row):
    write("one_perturbation", FILE)
    levels = tuple((share,) for share in (0.2, 0.3, 0.4, 0.5, 0.6))
    row = PerturbSpec(
        name="mirrored_rows",
        category="camera",
        parameters=("share",),
        levels=dict.fromkeys(LADDERS, levels),
        unit="share of the rows",
        label="{share:g} of the rows",
        source="a test",
        target="one_perturbation:lower_half",
        deterministic=True,
    )
    add_row("PERTURBATIONS", PERTURBATIONS, row)


def test_a_perturbation_of_one_function_and_one_row_is_tested(
    new_perturbation, study_file, tmp_path
):
    study = load_study(
        study_file(
            conditions="{mirrored_rows: [1, 5], gaussian_noise: [3]}",
            outcomes="{clean: [clean], turned: ['mirrored_rows/*']}",
        )
    )
    summary = run_study(study, out=tmp_path / "sweep", engine="local")
    assert (summary.code, summary.failed) == (0, 0)
    for record in read_records(tmp_path / "sweep"):
        scores = {score.condition: score for score in record.scores}
        assert list(scores) == ["clean", "gaussian_noise/3", "mirrored_rows/1", "mirrored_rows/5"]
        assert scores["mirrored_rows/5"].level == "0.6 of the rows"
        assert scores["mirrored_rows/5"].category == "camera"
        assert len({score.pixels for score in scores.values()}) == 4
        assert np.isfinite([score.accuracy for score in scores.values()]).all()


def test_its_severities_are_checked(new_perturbation, study_file):
    with pytest.raises(ConfigError, match="severities are 1, 2, 3, 4, 5, given"):
        load_study(study_file(conditions="{mirrored_rows: [6]}"))
    with pytest.raises(ConfigError, match="did you mean 'mirrored_rows'"):
        load_study(study_file(conditions="{mirrored_row: [1]}"))
