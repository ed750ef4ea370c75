"""Published networks against published code's numbers."""

from pathlib import Path

import pytest

from tests import conformance, conformance_backbones

GOLDEN = Path(__file__).resolve().parents[2] / ".." / "shared" / "golden"
PACKAGES = {"timesformer", "videomae", "vjepa2"}


@pytest.mark.parametrize("name", conformance_backbones.FORMATS)
def test_stored_numbers(name, capsys):
    if not any(GOLDEN.glob(f"{name}*.npz")):
        pytest.skip("no stored numbers here")
    if name.removeprefix("backbone_") in PACKAGES:
        pytest.importorskip("transformers")
    assert conformance.run(GOLDEN, [name]) == 0, capsys.readouterr().out
