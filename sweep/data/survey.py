"""Which clips a study uses, and under which names their frames are stored. Imports no numpy.

Reads annotations and the index, never a video. `plan` and `prepare` share it: the one asks what is
missing, the other makes it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweep.data.catalogue import SHIFTS, find
from sweep.data.decoding import index as indexing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sweep.data.decoding.file_info import FileInfo
    from sweep.data.options import DataOptions
    from sweep.data.records import LabelMap, Record

#: Raise it when the bytes of stored clips change for other reasons than those in the key.
CACHE_VERSION = 1


@dataclass(frozen=True)
class Sets:
    """The records of a data set by set: `train`, `clean`, then the shifts."""

    root: Path
    labels: LabelMap
    records: Mapping[str, tuple[Record, ...]]

    @property
    def paths(self) -> Iterator[Path]:
        """Every video that the annotation finds."""
        return (r.path for rows in self.records.values() for r in rows if r.path is not None)


@dataclass(frozen=True)
class StoredSet:
    """The usable records of a set and the folder that holds their frames."""

    name: str
    records: tuple[Record, ...]
    files: tuple[FileInfo, ...]
    folder: Path

    @property
    def is_stored(self) -> bool:
        """Whether the frames are there (a store is renamed into place when it is whole)."""
        return (self.folder / "store.json").is_file()


@dataclass(frozen=True)
class Survey:
    """What an index means for the sets."""

    sets: Sets
    stored: tuple[StoredSet, ...]
    counts: Mapping[str, Mapping[str, int]]
    excluded: tuple[Mapping[str, str], ...]
    excluded_list: Path
    labelled: tuple[bool, ...]
    fingerprint: str


def root_of(options: DataOptions) -> Path:
    """Folder of the data set: as given, or where embedded data is made."""
    spec = find(options.dataset)
    if options.root is not None:
        return options.root.expanduser().absolute()
    if not spec.embedded:
        raise ValueError(f"data.root: {spec.name!r} is not embedded; give its folder")
    return options.cache / "motes" / f"{spec.name}-{options.motes.key(spec.name)}"


def read_sets(options: DataOptions) -> Sets:
    """All records of the data set; text files only.

    Raises:
        ValueError: The root lacks its annotation files, or they contradict themselves.
    """
    spec, root = find(options.dataset), root_of(options)
    reader = spec.load()
    settings = {"fold": options.fold}
    is_ucf = spec.reader.endswith("ucf101")
    found = reader.splits(root, fold=options.fold) if is_ucf else reader.splits(root)
    shifts = [name for name in found if name not in ("train", "validation")]
    shifts.sort(key=lambda name: (SHIFTS.index(name) if name in SHIFTS else len(SHIFTS), name))
    records = {}
    for name in ("train", "validation", *shifts):
        rows, labels = reader.read(root, name, options=settings)
        if not rows:
            raise ValueError(f"{found[name]}: no items")
        records["clean" if name == "validation" else name] = tuple(rows)
    if "clean" in shifts:
        raise ValueError(f"{found['clean']}: 'clean' names the validation set itself")
    return Sets(root, labels, records)


def assess(options: DataOptions, sets: Sets, index: indexing.Index) -> Survey:
    """Sort usable records from unusable ones and name their stores."""
    stored, counts, excluded = [], {}, []
    for name, records in sets.records.items():
        used: list[tuple[Record, indexing.Entry, FileInfo]] = []
        count = dict.fromkeys(
            (
                "n_total",
                "n_used",
                "n_excluded",
                "n_missing",
                "n_corrupt",
                "n_partial",
                "n_fallback",
            ),
            0,
        )
        for record in records:
            entry = index.entry(record.path) if record.path is not None else None
            status = entry.info.status if entry is not None else "missing"
            kind = {"empty": "corrupt", "ok": "used"}.get(status, status)
            if kind != "used":
                count[f"n_{kind}"] += 1
            if entry is not None and entry.info.is_whole:
                access = indexing.access_of(index, _path(record), options)
                used.append((record, entry, indexing.with_access(entry, access)))
            else:
                reason = f"no video in {sets.root}"
                if entry is not None:
                    reason = f"{status}: {entry.info.error}"
                excluded.append({"split": name, "id": record.id, "reason": reason})
        count["n_total"], count["n_used"] = len(records), len(used)
        count["n_excluded"] = len(records) - len(used)
        counts[name] = count
        key = _store_key(options, used)
        stored.append(
            StoredSet(
                name=name,
                records=tuple(record for record, _, _ in used),
                files=tuple(info for _, _, info in used),
                folder=options.cache / "clips" / f"{options.dataset}-{name}-{key}",
            )
        )
    labelled = _labelled(stored[0].records, options.labelled_per_class)
    fingerprint = _fingerprint(sets.labels, stored, labelled)
    return Survey(
        sets=sets,
        stored=tuple(stored),
        counts=counts,
        excluded=tuple(excluded),
        excluded_list=index.path.with_name(f"{index.path.stem}-excluded.tsv"),
        labelled=labelled,
        fingerprint=fingerprint,
    )


def write_excluded(survey: Survey) -> None:
    """Write down what is left out, as lines of set, id and reason; nothing left out, no file."""
    if not survey.excluded:
        survey.excluded_list.unlink(missing_ok=True)
        return
    rows = [f"{row['split']}\t{row['id']}\t{row['reason']}" for row in survey.excluded]
    survey.excluded_list.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["split\tid\treason", *rows]) + "\n"
    survey.excluded_list.write_text(text, encoding="utf-8")


def check(options: DataOptions, survey: Survey) -> None:
    """Refuse data of which too much is unusable.

    Raises:
        ValueError: More than ``max_bad_fraction`` of a split is excluded, or all of it; says how
            much and where the list is.
    """
    bad = {
        name: count
        for name, count in survey.counts.items()
        if count["n_excluded"] > options.max_bad_fraction * count["n_total"] or not count["n_used"]
    }
    if bad:
        lines = [f"{name}: {describe(count)}" for name, count in bad.items()]
        raise ValueError(
            f"{survey.sets.root}: too many unusable videos (data.max_bad_fraction="
            f"{options.max_bad_fraction:g}); {'; '.join(lines)}; listed in {survey.excluded_list}"
        )


def describe(count: Mapping[str, int]) -> str:
    """A split's counts in words."""
    parts = [f"{count['n_excluded']} of {count['n_total']} excluded"]
    parts += [
        f"{count[f'n_{kind}']} {kind}"
        for kind in ("missing", "corrupt", "partial", "fallback")
        if count[f"n_{kind}"]
    ]
    return ", ".join(parts)


def plan(options: DataOptions) -> dict[str, Any]:
    """What preparing the data takes, read from text files alone.

    Returns:
        `dataset`, `shifts` (test sets besides the clean one), `clips` (all), `train_clips`,
        `evaluation_clips` (of one evaluation set, the
        clean one), `cache_gb`, `is_ready` (nothing is left to make or decode), `fingerprint` (None
        unless ready), `cache_dir` and `note`, a sentence.

    Raises:
        ValueError: Unknown data set, or a root without its files.
    """
    spec, root = find(options.dataset), root_of(options)
    if spec.embedded and not (root / "manifest.json").is_file():
        knobs = options.motes
        knobs.check(spec.name)
        train = knobs.classes * knobs.train_per_class
        clean = knobs.classes * knobs.val_per_class
        note = f"{knobs.clips} clips are made and decoded on first use"
        return _plan(options, spec.shifts, train, clean, knobs.clips, None, note)
    sets = read_sets(options)
    index = indexing.load(options, root)
    survey = assess(options, sets, index)
    total = sum(len(rows) for rows in sets.records.values())
    missing = sum(len(one.records) for one in survey.stored if not one.is_stored)
    fingerprint = None
    if not indexing.is_complete(index, sets.paths, options):
        note = f"not all of {total} videos have been looked at yet"
    elif missing:
        note = f"{missing} of {total} clips are decoded on first use"
    else:
        note, fingerprint = f"{total} clips, ready", survey.fingerprint
        if survey.excluded:
            note += f" ({len(survey.excluded)} unusable ones are left out)"
    train, clean = (len(sets.records[name]) for name in ("train", "clean"))
    shifts = [name for name in sets.records if name not in {"train", "clean"}]
    return _plan(options, shifts, train, clean, total, fingerprint, note)


def _plan(
    options: DataOptions,
    shifts: Sequence[str],
    train: int,
    clean: int,
    total: int,
    fingerprint: str | None,
    note: str,
) -> dict[str, Any]:
    size = total * options.cache_frames * 3 * options.size_px**2
    return {
        "dataset": options.dataset,
        "shifts": list(shifts),
        "clips": total,
        "train_clips": train,
        "evaluation_clips": clean,
        "cache_gb": round(size / 1e9, 3),
        "is_ready": fingerprint is not None,
        "fingerprint": fingerprint,
        "cache_dir": str(options.cache),
        "note": f"{note}; {size / 1e9:.2f} GB of cache",
    }


def _path(record: Record) -> Path:
    assert record.path is not None
    return record.path


def _store_key(
    options: DataOptions, used: Sequence[tuple[Record, indexing.Entry, FileInfo]]
) -> str:
    """Sixteen hex digits over all that the stored bytes follow from."""
    rows = [
        [record.id, entry.digest, info.backend, info.access, info.num_frames]
        for record, entry, info in used
    ]
    packages = {"decord": "decord", "pyav": "av"}
    decoders = [
        f"{package} {importlib.metadata.version(package)}"
        for backend, package in packages.items()
        if any(info.backend == backend for _, _, info in used)
    ]
    return _digest([CACHE_VERSION, options.cache_frames, options.size_px, decoders, rows])


def _labelled(records: Iterable[Record], per_class: int | None) -> tuple[bool, ...]:
    seen: dict[int, int] = {}
    flags = []
    for record in records:
        number = seen.get(record.label, 0)
        seen[record.label] = number + 1
        flags.append(per_class is None or number < per_class)
    return tuple(flags)


def _fingerprint(labels: LabelMap, stored: list[StoredSet], labelled: tuple[bool, ...]) -> str:
    sets = [
        [one.name, one.folder.name, [[r.id, r.label, r.captions] for r in one.records]]
        for one in stored
    ]
    return _digest([labels.names, sets, labelled])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
