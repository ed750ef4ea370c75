"""What is declared is imported, and what is imported is declared."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("sweep", "models", "losses", "perturb")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Distributions whose module has another name.
MODULES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "protobuf": "google",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "wandb-workspaces": "wandb_workspaces",
}


def modules(requirements):
    """Top-level modules of requirement lines."""
    names = [re.match(r"[\w.-]+", line)[0].lower() for line in requirements]
    return {MODULES.get(name, name) for name in names if name != PROJECT["name"]}


HARD = modules(PROJECT["dependencies"])
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL = modules(line for name, lines in EXTRAS.items() if name != "dev" for line in lines)


@pytest.fixture(scope="module")
def imported():
    """Third-party module -> the files that import it, types alone left out."""
    found = {}
    for file in (f for package in OURS for f in (ROOT / package).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        typed = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            if id(node) not in typed:
                for name in {name.partition(".")[0] for name in names}:
                    found.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    return {n: f for n, f in found.items() if n not in {*OURS, *sys.stdlib_module_names}}


def test_every_hard_dependency_is_imported(imported):
    assert not HARD - imported.keys(), "imported nowhere: an extra until something uses it"


def test_every_import_is_declared(imported):
    known = HARD | OPTIONAL | {"numba"}  # of a machine that has it: the faster peer of `bench`
    strange = {n: sorted(f) for n, f in imported.items() if n not in known}
    assert not strange


def test_constraints_are_exact_versions():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert not [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!-]+", line)]
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    declared = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    named = {re.match(r"[\w.-]+", line)[0].lower() for line in declared} - {PROJECT["name"]}
    assert not named - pinned
