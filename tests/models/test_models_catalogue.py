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
def test_knobs_are_those_of_the_class(spec):
    if spec.package:
        pytest.importorskip(spec.package)
    parameters = dict(inspect.signature(spec.load()).parameters)
    assert parameters.pop("clip").kind is inspect.Parameter.KEYWORD_ONLY
    knobs = dict(spec.knobs)
    assert knobs.pop("frames", spec.clip.frames) == spec.clip.frames
    for size in spec.sizes:
        del parameters[size]
    assert {name: p.default for name, p in parameters.items()} == knobs
    for checkpoint in spec.weights:
        assert checkpoint.sizes.keys() <= spec.sizes.keys()
    assert not catalogue.refusals(spec.name, spec.clip)


def test_a_name_twice_is_refused_with_both_targets():
    row = models.MODELS["tiny"]
    with pytest.raises(ValueError, match=r"twice: models\.tiny:VideoTrunk"):
        catalogue.index_by_name([row, row])


def test_unknown_model_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'tiny'"):
        models.build("tinny", heads={"classes": 2})
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = models.nothing


def test_readme_holds_the_generated_table():
    assert catalogue.markdown() in (ROOT / "models" / "README.md").read_text(encoding="utf-8")
