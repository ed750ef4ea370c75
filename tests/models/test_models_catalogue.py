"""The table of models: no torch, unique names, agreement with the code and the README."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import models
from models import catalogue

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("module", ["models", "models.catalogue"])
def test_reading_the_table_needs_neither_torch_nor_numpy(module):
    code = (
        f"import sys, {module}; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'torchvision')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("spec", models.MODELS.values(), ids=lambda spec: spec.name)
def test_settings_are_those_of_the_class(spec):
    signature = inspect.signature(spec.load())
    defaults = {
        name: ... if p.default is inspect.Parameter.empty else p.default
        for name, p in signature.parameters.items()
    }
    assert defaults == dict(spec.settings)
    assert spec.settings["frames"] == spec.frames
    assert spec.settings["size_px"] == spec.size_px


def test_a_name_twice_is_refused_with_both_targets():
    row = models.MODELS["tiny"]
    with pytest.raises(ValueError, match=r"twice: models\.tiny:TinyVideoText"):
        catalogue.index_by_name([row, row])


def test_unknown_model_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'tiny'"):
        models.build("tinny", classes=2)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = models.nothing


def test_readme_holds_the_generated_table():
    assert catalogue.markdown() in (ROOT / "models" / "README.md").read_text(encoding="utf-8")
