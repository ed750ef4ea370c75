"""Alignment losses, objectives on latents and diversity against published code's numbers."""

from pathlib import Path

import pytest

from tests import conformance

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden"
FORMATS = ("jepa_aux", "repr_metrics", "s2dtw", "vt_twins_loss", "vt_twins_tda")


@pytest.mark.parametrize("name", FORMATS)
def test_stored_numbers(name, capsys):
    if not any(GOLDEN.glob(f"{name}*.npz")):
        pytest.skip("no stored numbers here")
    assert conformance.run(GOLDEN, [name]) == 0, capsys.readouterr().out
