"""`replay`: one finished cell again, in this process, compared number by number."""

from __future__ import annotations

import itertools
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.engine.folder import read_study
from sweep.engine.waiting import waiting
from sweep.records.files import read_history, read_json
from sweep.records.ledger import Ledger
from sweep.records.outcomes import Outcomes
from sweep.records.pixels import apart, differing, named
from sweep.records.record import comparable, plain
from sweep.settings.section import ConfigError, nearest
from sweep.settings.trial import TrialConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig

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
    config = _config(ledger, key, stored, study)
    if config.key != key:
        print(
            f"note: this version of the program gives the cell another key ({config.key}): it may "
            "compute other numbers",
            file=sys.stderr,
        )
    from sweep.runtime import heartbeat
    from sweep.runtime.device import limit_threads
    from sweep.trial import run_trial

    limit_threads(study.resources.cpus_per_trial)
    with (
        waiting(f"running '{config.label}' s{config.seed} ({key}) again", _say) as tell,
        heartbeat.heard_by(tell),
        tempfile.TemporaryDirectory(prefix="auxsweep-replay-") as scratch,
    ):
        result = run_trial(config, scratch=Path(scratch))
    again = result.record
    before, now = (comparable(r.to_json()) for r in (stored, again))
    unknown = [name for name in now if name not in before]
    if unknown:
        print(f"note: the stored record holds no {', '.join(unknown)}: not compared")
    old, new = dict(numbers(before)), dict(numbers(now))
    codes = [
        compare(old, new, ignore=("config", "schema_version", *unknown)),
        compare_history(read_history(ledger.cell(key)), result.history),
        compare_outcomes(ledger.cell(key) / "outcomes.npz", result.outcomes),
    ]
    if not any(codes):
        print("the cell is the same, bit for bit")
        return 0
    unlike = differing(stored, again)
    if unlike:
        print(
            f"not comparable under {named(unlike)}: the tested pixels differ "
            f"({' against '.join(apart([[stored], [again]]))})"
        )
    others = circumstances(stored.run, again.run)
    print("different circumstances: " + ("; ".join(others) or "none that are recorded"))
    return 1


def _config(ledger: Ledger, key: str, stored: TrialRecord, study: StudyConfig) -> TrialConfig:
    """What a cell was started with; its record says it, too.

    Raises:
        ConfigError: if neither can be read.
    """
    path = ledger.cell(key) / "config.json"
    for content in (read_json(path), stored.config):
        try:
            # where the data lies may differ from the day the cell ran; it is no part of the key
            data = {"root": study.data.root, "cache_dir": study.data.cache_dir}
            content = {**content, "data": {**content["data"], **data}}
            return TrialConfig.model_validate(content)
        except (TypeError, KeyError, ValueError):
            continue
    raise ConfigError(f"{path}: missing or damaged, as is the record beside it: cannot replay")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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
            if ".metrics." in path or path.startswith("final."):
                print(f"equal      {path}: {before}")
            continue
        different += 1
        if different <= MAX_SHOWN:
            print(f"DIFFERENT  {path}: {before} -> {now}{_distance(before, now)}")
    print(f"{total - different} of {total} values are equal" + (" (all)" if not different else ""))
    return 1 if different else 0


def compare_history(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> int:
    """Print whether two histories are equal, and where they part; 0 if they are."""
    fresh = json.loads(json.dumps(plain(list(new))))
    for before, now in itertools.zip_longest(old, fresh):
        if before != now:
            rows = [row for row in (before, now) if row is not None]
            print(f"DIFFERENT  history from step {rows[0]['step']} on")
            return 1
    print(f"equal      history: {len(fresh)} rows")
    return 0


def compare_outcomes(path: Path, new: Outcomes | None) -> int:
    """Print whether stored and new outcomes of single clips are equal; 0 if they are."""
    if not path.is_file() or new is None:
        print("note: no outcomes of single clips are stored: not compared")
        return 0
    import numpy as np

    try:
        old = Outcomes.load(path)
    except (OSError, ValueError) as error:
        print(f"DIFFERENT  outcomes: {error}")
        return 1
    different = total = 0
    before, now = _families(old), _families(new)
    for family in before | now:
        if family not in before:
            print(f"note: the stored outcomes hold no {family}: not compared")
            continue
        one, two = before[family], now.get(family, {})
        for name in {**one, **two}:
            total += 1
            if name in one and name in two and np.array_equal(one[name], two[name]):
                continue
            different += 1
            if different <= MAX_SHOWN:
                print(f"DIFFERENT  outcomes.{family}[{name}]{_clips(one, two, name)}")
    same = old.ids == new.ids and old.conditions == new.conditions
    if not same:
        print("DIFFERENT  outcomes: other clips or conditions")
    if same and not different:
        print(f"equal      outcomes: {total} arrays under {len(new.conditions)} conditions")
    return 0 if same and not different else 1


def _families(outcomes: Outcomes) -> dict[str, Mapping[str, Any]]:
    values = {f"values.{metric}": found for metric, found in outcomes.values.items()}
    return {"rows": outcomes.rows, **values, **outcomes.kept}


def _clips(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> str:
    if name not in before or name not in now:
        return ": only in one of them"
    if before[name].shape != now[name].shape:
        return f": {len(before[name])} and {len(now[name])} clips"
    return f": {int((before[name] != now[name]).sum())} of {before[name].size} clips"


def circumstances(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What was another machine, number of threads or version: `torch 2.11.0 -> 2.15.0`."""
    before = {**old.get("versions", {}), "device": old.get("device"), "threads": old.get("threads")}
    now = {**new.get("versions", {}), "device": new.get("device"), "threads": new.get("threads")}
    return [f"{n} {before[n]} -> {now.get(n)}" for n in before if before[n] != now.get(n)]


def _distance(before: Any, now: Any) -> str:
    both = (before, now)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in both):
        return f"  (by {math.fabs(now - before):.3g})"
    return ""
