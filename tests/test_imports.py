"""Who imports whom: no circle of files, nothing upward, wherever the import stands.

Imports for types alone count: a file that cannot be understood without another depends on it.
"""

import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sweep", "models", "losses", "perturb")


@pytest.fixture(scope="module")
def graph():
    """File -> files that it imports, inside the project."""
    found = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)
    return {m: sorted(found.find_modules_directly_imported_by(m)) for m in sorted(found.modules)}


def circles(graph):
    """Sets of files that import each other, however far around (Tarjan, 1972)."""
    number, low, stack, found = {}, {}, [], []

    def visit(file):
        number[file] = low[file] = len(number)
        stack.append(file)
        for other in graph[file]:
            if other not in number:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], number[other])
        if low[file] == number[file]:
            circle = set()
            while file not in circle:
                circle.add(stack.pop())
            if len(circle) > 1:
                found.append(frozenset(circle))

    for file in graph:
        if file not in number:
            visit(file)
    return set(found)


def contracts():
    """Those of pyproject.toml that put packages into layers: (container or "", layers)."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in settings["contracts"]:
        if contract["type"] == "layers":
            for container in contract.get("containers", [""]):
                yield (
                    container,
                    [
                        [name.strip() for name in row.replace("|", ":").split(":")]
                        for row in contract["layers"]
                    ],
                )


def place(file, container, layers):
    """The layer of a file and its package there; None for one that is in no layer."""
    inner = file.removeprefix(f"{container}.") if container else file
    if container and inner == file:
        return None
    name = inner.partition(".")[0]
    return next(((i, name) for i, row in enumerate(layers) if name in row), None)


def test_a_circle_is_found():
    assert circles({"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": []}) == {frozenset("abc")}
    assert circles({"a": ["b"], "b": ["c"], "c": []}) == set()


def test_no_files_import_each_other(graph):
    found = circles(graph)
    told = [
        f"{file} -> {other}"
        for circle in found
        for file in sorted(circle)
        for other in graph[file]
        if other in circle
    ]
    assert not found, "\n".join(told)


def test_no_file_imports_upward(graph):
    """A package imports itself and those of lower layers, none beside it."""
    upward = []
    for container, layers in contracts():
        for file, others in graph.items():
            here = place(file, container, layers)
            for other in others:
                there = place(other, container, layers)
                if here is None or there is None or here[1] == there[1]:
                    continue
                if here[0] >= there[0]:
                    upward.append(f"{file} -> {other}")
    assert not upward, "\n".join(upward)


def test_every_package_of_sweep_has_a_layer(graph):
    ((_, layers),) = [(c, rows) for c, rows in contracts() if c == "sweep"]
    for file in graph:
        if file.startswith("sweep."):
            assert place(file, "sweep", layers) is not None, file


def test_the_engine_knows_no_command_and_the_session_no_engine(graph):
    for file, others in graph.items():
        if file.startswith("sweep.engine"):
            assert not [o for o in others if o.startswith(("sweep.commands", "sweep.report"))]
            if not file.startswith("sweep.engine.tune"):
                assert not [o for o in others if o.startswith("sweep.engine.tune")], file
    for one in ("sweep.engine.session", "sweep.engine.contract"):
        assert "sweep.engine.local" not in graph[one]
    # an engine knows the contract, not who fulfils it
    for engine in ("sweep.engine.local", *(f for f in graph if f.startswith("sweep.engine.tune"))):
        assert "sweep.engine.session" not in graph[engine]
