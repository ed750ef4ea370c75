"""`replay`: one finished cell again, in this process, compared number by number."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.config import ConfigError, TrialConfig, nearest
from sweep.driver import read_study
from sweep.ledger import Ledger
from sweep.record import comparable

MAX_SHOWN = 40


def run(sweep: Path, cell: str) -> int:
    """Run a cell again and compare; returns 0 if all is equal, 1 if not.

    Args:
        sweep: Folder of the sweep.
        cell: Key, a unique beginning of it, or `LABEL/sSEED`.

    Raises:
        ConfigError: if there is no such finished cell.
    """
    study = read_study(sweep)
    ledger = Ledger(sweep)
    key = find(ledger, cell)
    stored = ledger.result(key)
    assert stored is not None  # ``find`` looks at finished cells only
    content = json.loads((ledger.cell(key) / "config.json").read_text(encoding="utf-8"))
    # where the data lies may differ from the day the cell ran; it is no part of the key
    content["data"] |= {"root": study.data.root, "cache_dir": study.data.cache_dir}
    config = TrialConfig.model_validate(content)
    if config.key != key:
        print(
            f"note: this version of the program gives the cell another key ({config.key}): it may "
            "compute other numbers",
            file=sys.stderr,
        )
    from sweep.local import limit_threads
    from sweep.trial import run_trial

    limit_threads(study.resources.cpus_per_trial)
    print(f"running '{config.label}' s{config.seed} ({key}) again ...", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="auxsweep-replay-") as scratch:
        again = run_trial(config, scratch=Path(scratch)).record
    before, now = (comparable(r.to_json()) for r in (stored, again))
    unknown = [name for name in now if name not in before]
    if unknown:
        print(f"note: the stored record holds no {', '.join(unknown)}: not compared")
    old, new = dict(numbers(before)), dict(numbers(now))
    return compare(old, new, ignore=("config", "schema_version", *unknown))


def find(ledger: Ledger, cell: str) -> str:
    """Key of a finished cell.

    Raises:
        ConfigError: if none or several match.
    """
    finished = sorted(ledger.finished())
    names: dict[str, list[str]] = {}
    for key in finished:
        record = ledger.result(key)
        if record is not None:
            names.setdefault(f"{record.label}/s{record.seed}", []).append(key)
    found = [key for key in finished if key.startswith(cell)] or names.get(cell, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"cell '{cell}' is not unique: {', '.join(found)}")
    raise ConfigError(
        f"{ledger.sweep}: no finished cell '{cell}'{nearest(cell, [*sorted(names), *finished])} "
        f"(finished: {', '.join(sorted(names)[:8]) or 'none'}{' ...' if len(names) > 8 else ''})"
    )


def numbers(content: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a record by dotted path; rows of scores by their condition."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from numbers(value, f"{path}.{name}" if path else str(name))
    elif isinstance(content, (list, tuple)):
        for i, value in enumerate(content):
            name = value.get("condition", i) if isinstance(value, dict) else i
            yield from numbers(value, f"{path}[{name}]")
    else:
        yield path, content


def compare(old: dict[str, Any], new: dict[str, Any], *, ignore: tuple[str, ...] = ()) -> int:
    """Print what is equal and what is not; 0 if everything is equal."""
    different = 0
    total = 0
    for path in {**old, **new}:
        if path.partition(".")[0] in ignore:
            continue
        total += 1
        before, now = old.get(path, "(absent)"), new.get(path, "(absent)")
        if before == now:
            if path.endswith(".accuracy") or path.startswith("final."):
                print(f"equal      {path}: {before}")
            continue
        different += 1
        if different <= MAX_SHOWN:
            print(f"DIFFERENT  {path}: {before} -> {now}{_distance(before, now)}")
    print(f"{total - different} of {total} values are equal" + (" (all)" if not different else ""))
    return 1 if different else 0


def _distance(before: Any, now: Any) -> str:
    both = (before, now)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in both):
        return f"  (by {math.fabs(now - before):.3g})"
    return ""
