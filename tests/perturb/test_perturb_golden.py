"""The published outputs, through the same checks as `python -m tests.conformance`."""

from pathlib import Path

import pytest

from tests.conformance import check
from tests.conformance_perturb import FORMATS

FOLDER = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden"


@pytest.mark.parametrize("name", FORMATS)
def test_published_outputs(name):
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        pytest.skip("no stored outputs here")
    verdict = check(path, name, FORMATS[name])
    assert verdict.passed, "\n".join(verdict.lines)
