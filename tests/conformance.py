"""Check stored reference arrays against this implementation: ``python -m tests.conformance DIR``.

Every ``*.npz`` of ``DIR`` holds inputs, settings and expected outputs of one *format*, named by the
first part of the file name. A module ``tests/conformance_<anything>.py`` offers its formats as

    FORMATS: dict[str, Callable[[Reader], None]] = {"decode": check}

with literal keys (they are read from the source, so that a module and all that it imports load only
when a file needs them). Where several keys are prefixes of a file name the longest one names the
format. A check reads inputs and settings with ``read.input(name)`` and compares every other array
with ``read.compare`` or, where closeness is not elementwise, ``read.judge``. What remains unread at
the end is an output that nothing compares, and the file fails.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class Comparison:
    """One array against ours: ``ratio`` is error over tolerance, at most 1 when it passes."""

    name: str
    error: float
    tolerance: float
    ratio: float
    note: str

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.ratio <= 1.0  # False for NaN

    def __str__(self) -> str:
        """The array, its worst error and the tolerance there."""
        text = f"{self.name}: {self.error:.2e} of {self.tolerance:.1e}"
        return f"{text} ({self.note})" if self.note else text


class Reader:
    """The arrays of one file, and an account of which were read and how the others compared."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path, allow_pickle=False) as arrays:
            self._arrays: dict[str, np.ndarray] = {name: arrays[name] for name in arrays.files}
        self._inputs: set[str] = set()
        self.comparisons: list[Comparison] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all arrays, in file order."""
        return tuple(self._arrays)

    @property
    def folder(self) -> Path:
        """Folder of the file (other files may stand beside it)."""
        return self.path.parent

    @property
    def uncompared(self) -> tuple[str, ...]:
        """Arrays that were neither read as inputs nor compared."""
        seen = self._inputs | {one.name for one in self.comparisons}
        return tuple(name for name in self._arrays if name not in seen)

    def input(self, name: str) -> np.ndarray:
        """An input, setting or provenance array; from now on it counts as read."""
        self._inputs.add(name)
        return self._array(name)

    def compare(
        self, name: str, ours: Any, *, rtol: float = 0.0, atol: float = 0.0, note: str = ""
    ) -> None:
        """Compare ``ours`` with the stored array ``name``: shape, then every element.

        An element passes where ``|ours - stored| <= atol + rtol * |stored|``. NaN equals NaN and
        an infinity equals itself; strings and booleans must be equal. ``ours`` is anything numpy
        accepts, or a tensor on any device. A difference is recorded, not raised.
        """
        stored = self._array(name)
        mine = _as_array(ours)
        if mine.shape != stored.shape:
            shapes = f"shape {mine.shape}, stored {stored.shape}"
            self._record(name, np.inf, atol, np.inf, f"{note}; {shapes}" if note else shapes)
            return
        error, tolerance = _elementwise(mine, stored, rtol=rtol, atol=atol)
        if error.size == 0:
            self._record(name, 0.0, atol, 0.0, note)
            return
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.where(error == 0, 0.0, error / tolerance)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        worst = int(ratio.argmax())
        self._record(
            name, float(error.flat[worst]), float(tolerance.flat[worst]), ratio.flat[worst], note
        )

    def judge(self, name: str, error: float, tolerance: float, note: str = "") -> None:
        """Record that ``name`` was compared by a measure of the check's own.

        Passes when ``error <= tolerance``; say in ``note`` what the error measures.
        """
        self._array(name)
        error, tolerance = float(error), float(tolerance)
        ratio = 0.0 if error <= 0 else error / tolerance if tolerance > 0 else np.inf
        self._record(name, error, tolerance, ratio, note)

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise KeyError(f"{self.path.name} has no array {name!r}; it has {list(self._arrays)}")
        return self._arrays[name]

    def _record(self, name: str, error: float, tolerance: float, ratio: float, note: str) -> None:
        self.comparisons.append(Comparison(name, error, tolerance, float(ratio), note))


def _as_array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a torch tensor, without importing torch here
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def _elementwise(
    ours: np.ndarray, stored: np.ndarray, *, rtol: float, atol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Absolute differences and their tolerances; a mismatch without a size counts as infinite."""
    numeric = all(array.dtype.kind in "iufcb" for array in (ours, stored))
    if not numeric or "b" in (ours.dtype.kind, stored.dtype.kind):
        return np.where(ours == stored, 0.0, np.inf), np.zeros(stored.shape)
    if ours.dtype.kind in "iu" and stored.dtype.kind in "iu":
        # 64-bit values may differ by more than int64 holds, and by less than float64 can tell.
        exact = object if 8 in (ours.itemsize, stored.itemsize) else np.int64
        difference = np.abs(np.subtract(ours.astype(exact), stored.astype(exact)))
        return difference.astype(np.float64), atol + rtol * np.abs(stored.astype(np.float64))
    wider = np.complex128 if "c" in (ours.dtype.kind, stored.dtype.kind) else np.float64
    ours, stored = ours.astype(wider), stored.astype(wider)
    same = (ours == stored) | (np.isnan(ours) & np.isnan(stored))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(same, 0.0, np.abs(ours - stored))
        tolerance = atol + rtol * np.abs(stored)
    unequal = ~same & ~(np.isfinite(ours) & np.isfinite(stored))
    return np.where(unequal, np.inf, error), np.where(np.isfinite(tolerance), tolerance, atol)


def _lazily(module: str, name: str) -> Callable[[Reader], None]:
    """The check of format ``name``; an error while its module loads is an error of the file."""

    def run(read: Reader) -> None:
        importlib.import_module(f"tests.{module}").FORMATS[name](read)

    return run


@dataclass(frozen=True)
class Verdict:
    """The outcome of one file, and the lines that say so."""

    passed: bool
    lines: tuple[str, ...]


def formats(folder: Path | None = None) -> dict[str, str]:
    """The module of every known format, read from the literal keys of ``FORMATS``."""
    folder = folder or Path(__file__).parent
    found: dict[str, str] = {}
    for path in sorted(folder.glob("conformance_*.py")):
        for key in _literal_keys(ast.parse(path.read_text(encoding="utf-8"))):
            if key in found:
                raise ValueError(f"format {key!r} stands in {found[key]} and in {path.stem}")
            found[key] = path.stem
    return found


def _literal_keys(tree: ast.Module) -> list[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        is_table = any(isinstance(one, ast.Name) and one.id == "FORMATS" for one in targets)
        if is_table and isinstance(getattr(node, "value", None), ast.Dict):
            return [str(ast.literal_eval(key)) for key in node.value.keys if key is not None]
    return []


def format_of(stem: str, known: Mapping[str, str]) -> str | None:
    """The longest known format that begins ``stem``; None when there is none."""
    return max((key for key in known if stem.startswith(key)), key=len, default=None)


def check(path: Path, name: str, run: Callable[[Reader], None]) -> Verdict:
    """Run one check over one file."""
    failures: list[str] = []
    try:
        read = Reader(path)
    except Exception as error:
        return Verdict(False, (f"FAIL  {path.name} [{name}]: cannot be read: {error}",))
    try:
        run(read)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        failures.append(f"{type(error).__name__} at {where}: {error}")
    failures += [str(one) for one in read.comparisons if not one.passed]
    if read.uncompared:
        failures.append(f"nothing compares {', '.join(read.uncompared)}")
    if not read.comparisons:
        failures.append("no array was compared")
    return Verdict(not failures, (_summary(read, name, not failures), *_indent(failures)))


def _summary(read: Reader, name: str, passed: bool) -> str:
    arrays = len({one.name for one in read.comparisons})
    line = f"{'pass' if passed else 'FAIL'}  {read.path.name} [{name}]: {arrays} arrays compared"
    if read.comparisons:
        worst = max(read.comparisons, key=lambda one: one.ratio)
        line += f", worst {worst}"
    return line


def _indent(lines: Sequence[str]) -> list[str]:
    return [f"        {line}" for line in lines]


def run(folder: Path, only: Sequence[str] = ()) -> int:
    """Check every file of ``folder``; prints one line per file and returns the exit code."""
    paths = sorted(folder.glob("*.npz"))
    if only:
        paths = [path for path in paths if path.name.startswith(tuple(only))]
    if not paths:
        limits = f" whose name begins with one of {', '.join(only)}" if only else ""
        print(f"no *.npz file in {folder}{limits}")
        return 1
    known = formats()
    failed = 0
    for path in paths:
        name = format_of(path.stem, known)
        if name is None:
            verdict = Verdict(False, (f"FAIL  {path.name}: unknown prefix",))
        else:
            verdict = check(path, name, _lazily(known[name], name))
        print("\n".join(verdict.lines), flush=True)
        failed += not verdict.passed
    print(f"{len(paths) - failed} of {len(paths)} files pass; formats known: {', '.join(known)}")
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of the driver."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="folder of the stored arrays")
    parser.add_argument("--only", nargs="+", default=[], metavar="PREFIX", help="only these files")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    return run(options.folder, options.only)


if __name__ == "__main__":
    sys.exit(main())
