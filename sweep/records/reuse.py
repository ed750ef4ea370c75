"""Finished cells of other sweeps, taken over instead of run again.

A cell key is a hash of everything that changes the numbers of a cell, and of nothing else: a cell
of another study with the same key is the same cell under another name. Baselines (`none`, `all`)
are shared that way by studies on the same data, model and budget.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sweep.records.files import write_json
from sweep.records.ledger import Ledger, sweep_id
from sweep.settings.section import ConfigError
from sweep.settings.trial import TrialConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig

#: Files that are copied as they are; ``config.json`` and ``result.json`` are written anew.
_COPIED = ("history.jsonl", "outcomes.npz")


def with_reuse(study: StudyConfig, folders: Sequence[str]) -> StudyConfig:
    """The study with further folders in `reuse`, all of them absolute."""
    every = [str(Path(name).expanduser().absolute()) for name in [*study.reuse, *folders]]
    return study.model_copy(update={"reuse": list(dict.fromkeys(every))})


def sweeps(folders: Iterable[str | Path]) -> list[Path]:
    """Sweep folders among the given ones; a folder of sweeps stands for all of them.

    Raises:
        ConfigError: for a folder that is neither.
    """
    found: list[Path] = []
    for folder in folders:
        path = Path(folder).expanduser().absolute()
        if (path / "sweep.yaml").is_file():
            found.append(path)
            continue
        inside = sorted(p.parent for p in path.glob("*/sweep.yaml"))
        if not inside:
            raise ConfigError(
                f"reuse: {folder}: neither a sweep nor a folder of sweeps (no sweep.yaml in it)"
            )
        found += inside
    return list(dict.fromkeys(found))


def offers(folders: Iterable[str | Path], keys: Iterable[str]) -> dict[str, Path]:
    """Key -> the first of the sweeps that has the cell finished.

    Raises:
        ConfigError: as ``sweeps``.
    """
    sources = sweeps(folders)
    found = {key: holder(sources, key) for key in keys}
    return {key: origin for key, origin in found.items() if origin is not None}


def holder(sources: Iterable[Path], key: str) -> Path | None:
    """The first of the sweeps that has a cell finished."""
    return next((path for path in sources if is_finished(Ledger(path), key)), None)


def is_finished(ledger: Ledger, key: str) -> bool:
    """Whether a sweep has a cell that was not edited since: its config still makes its key."""
    record = ledger.result(key)
    if record is None:
        return False
    try:
        return TrialConfig.model_validate(record.config).key == key
    except ValidationError:  # of a newer program
        return False


@dataclass(frozen=True)
class Taken:
    """A cell that was taken over.

    Attributes:
        record: As stored here, under the name it has in this study.
        origin: The sweep it comes from.
        differences: What was another version or machine when it ran: `torch 2.11.0, here 2.15.0`.
    """

    record: TrialRecord
    origin: Path
    differences: tuple[str, ...]


def take(ledger: Ledger, cell: TrialConfig, origin: Path) -> Taken:
    """Copy a finished cell into a sweep and note where it comes from.

    Args:
        ledger: Of the sweep that needs the cell.
        cell: As planned here; label and study of the record become its own.
        origin: Sweep that has it, see ``offers``.

    Raises:
        OSError: if a file cannot be read or written.
    """
    source = Ledger(origin)
    record = source.result(cell.key)
    if record is None:
        raise FileNotFoundError(f"{source.cell(cell.key)}: no result any more")
    about = {
        "sweep": origin.name,
        "id": sweep_id(origin)[:8] if (origin / ".id").is_file() else "",
        "folder": os.path.relpath(origin, ledger.sweep),
        "study": record.config["study"],
        "label": record.label,
    }
    folder = ledger.cell(cell.key)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        path = source.cell(cell.key) / name
        if path.is_file():
            temporary = folder / f".{os.getpid()}.{name}"
            shutil.copyfile(path, temporary)
            temporary.replace(folder / name)
    record = _write(ledger, cell, replace(record, run={**record.run, "reused_from": about}))
    (folder / "failure.json").unlink(missing_ok=True)
    ledger.append({"event": "reused", "key": cell.key, "origin": about})
    return Taken(record, origin, tuple(differences(record)))


def withdraw(ledger: Ledger, key: str, why: str) -> None:
    """Take a reused cell back: it runs here. Its record stays as ``withdrawn.json``."""
    folder = ledger.cell(key)
    (folder / "result.json").replace(folder / "withdrawn.json")
    ledger.append({"event": "withdrawn", "key": key, "reason": why})


def is_taken(record: TrialRecord) -> bool:
    """Whether a record comes from another sweep."""
    return "reused_from" in record.run


def rename(ledger: Ledger, cell: TrialConfig) -> TrialRecord | None:
    """Give a finished cell the name it has in the plan now; None if it has it already.

    When a sweep grows by a loss, what was `all` becomes `all` without that loss.
    """
    record = ledger.result(cell.key)
    if record is None or record.label == cell.label:
        return None
    ledger.append({"event": "renamed", "key": cell.key, "old": record.label, "new": cell.label})
    return _write(ledger, cell, record)


def _write(ledger: Ledger, cell: TrialConfig, record: TrialRecord) -> TrialRecord:
    """Store a record under the name and study of a planned cell; returns it as stored."""
    config = cell.model_dump(mode="json")
    record = replace(record, label=cell.label, config=config)
    write_json(ledger.cell(cell.key) / "config.json", config)
    write_json(ledger.cell(cell.key) / "result.json", record.to_json())
    return record


def differences(record: TrialRecord) -> list[str]:
    """Packages that had another version when the record was made."""
    found = []
    for name, before in record.run.get("versions", {}).items():
        try:
            now = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if name != "auxsweep" and now != before:
            found.append(f"{name} {before}, here {now}")
    return found


def describe(taken: Sequence[Taken]) -> list[str]:
    """One line per sweep that cells came from, for the progress log."""
    by_origin: dict[Path, list[Taken]] = {}
    for one in taken:
        by_origin.setdefault(one.origin, []).append(one)
    lines = []
    for origin, found in by_origin.items():
        other = sorted({text for one in found for text in one.differences})
        line = f"reused {len(found)} finished cells of {origin}"
        lines.append(line + (f" (made with {'; '.join(other)})" if other else ""))
    return lines


# ------------------------------------------------------------------------------------- extension


def not_growth(lines: Iterable[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Which differences of two studies are more than further cells.

    A sweep may grow by seeds, losses, combiners, sets and other settings of the design, and by
    trials of a search. What is inside a cell, and what exists already, stays.

    Args:
        lines: As made by ``config.difference(old, new)``.
        old: The stored study as plain data, with `seed_list`.
        new: The given one.
    """
    searches = "search" in {old["design"]["kind"], new["design"]["kind"]}
    refused = []
    for line in lines:
        path, _, change = line.partition(": ")
        top, _, rest = path.partition(".")
        if top in {"seeds", "seed_base"}:
            # the first seed of a search is the one that it was suggested for
            kept = set(old["seed_list"]) <= set(new["seed_list"])
            grows = kept and (not searches or old["seed_list"][0] == new["seed_list"][0])
        elif top in {"losses", "combiners"}:
            # the space of a search is fixed; a new name is one key below
            grows = not searches and "." not in rest and change.startswith("(absent) -> ")
        elif path.startswith("design.stopping"):
            grows = False  # looks that were not declared before the first one have no error left
        elif top == "design":
            grows = not searches
        elif path == "search.trials":
            grows = new["search"]["trials"] > old["search"]["trials"]
        else:
            grows = False
        if not grows:
            refused.append(line)
    return refused
