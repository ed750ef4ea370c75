"""Which clips a study uses, and under which names their frames are stored. Imports no numpy.

Reads annotations and the index, never a video. `plan` and `prepare` share it: the one asks what is
missing, the other makes it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from sweep.data.catalogue import find, given_options
from sweep.data.decoding import index as indexing
from sweep.data.decoding.windows import described, length_s, span_of
from sweep.data.folders import cache_of, root_of
from sweep.data.label_maps import renumber
from sweep.data.motes.knobs import knobs_of
from sweep.data.overlap import describe_shared, shared_with_training
from sweep.data.sets import sets_of
from sweep.data.splits import cut_validation, labelled
from sweep.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sweep.data.decoding.file_info import FileInfo
    from sweep.data.label_maps import LabelMap
    from sweep.data.records import Record
    from sweep.settings.data import DataSettings

#: Raise it when the bytes of stored clips change for other reasons than those in the key.
CACHE_VERSION = 1


@dataclass(frozen=True)
class Sets:
    """The records of a data set by set: `train`, `validation` if any, `clean`, then the shifts.

    Attributes:
        root: Folder of the data set.
        records: By set. Labels are those of the training set, whatever number a set itself gives
            to a class of that name.
        labels: The classes of every set as its annotation has them; those of `train` are the
            classes of the model.
        foreign: By set, id -> class name of the records of classes that `train` does not have;
            they cannot be scored.
    """

    root: Path
    records: Mapping[str, tuple[Record, ...]]
    labels: Mapping[str, LabelMap]
    foreign: Mapping[str, Mapping[str, str]]

    @property
    def paths(self) -> Iterator[Path]:
        """Every video that the annotation finds."""
        return (r.path for rows in self.records.values() for r in rows if r.path is not None)


@dataclass(frozen=True)
class StoredSet:
    """The usable records of a set and the folder that holds their frames.

    Attributes:
        name: Of the set.
        records: In the order of the annotation.
        files: What the index found, of each.
        spans: Which frames of its file each clip is.
        folder: Where the frames are kept.
    """

    name: str
    records: tuple[Record, ...]
    files: tuple[FileInfo, ...]
    spans: tuple[range, ...]
    folder: Path

    @property
    def is_stored(self) -> bool:
        """Whether the frames are there (a store is renamed into place when it is whole)."""
        return (self.folder / "store.json").is_file()

    def part(self, rows: Iterable[int]) -> StoredSet:
        """Some of the records."""
        kept = [int(row) for row in rows]
        return replace(
            self,
            records=tuple(self.records[row] for row in kept),
            files=tuple(self.files[row] for row in kept),
            spans=tuple(self.spans[row] for row in kept),
        )


@dataclass(frozen=True)
class Survey:
    """What an index means for the sets.

    Attributes:
        noted: Set, id and note of files that are used and odd.
    """

    sets: Sets
    stored: tuple[StoredSet, ...]
    counts: Mapping[str, Mapping[str, int]]
    excluded: tuple[Mapping[str, str], ...]
    noted: tuple[Mapping[str, str], ...]
    excluded_list: Path
    labelled: tuple[bool, ...]
    fingerprint: str

    @property
    def clips(self) -> int:
        """Usable clips of all sets."""
        return sum(len(one.records) for one in self.stored)


def read_sets(settings: DataSettings) -> Sets:
    """All records of the data set; text files only.

    Raises:
        ValueError: The root lacks its annotation files, or they contradict themselves.
    """
    spec, root = find(settings.dataset), root_of(settings)
    reader = spec.load()
    options = {**spec.options, **given_options(settings)}
    rate_of(settings)
    found = reader.splits(root, options)
    records: dict[str, tuple[Record, ...]] = {}
    labels: dict[str, LabelMap] = {}
    foreign: dict[str, dict[str, str]] = {}
    for name, split in sets_of(spec, found).items():
        rows, labels[name] = reader.read(root, split, options)
        if not rows:
            raise ValueError(f"{found[split]}: no items")
        records[name], foreign[name] = _in_classes_of(labels["train"], labels[name], rows)
    if settings.validation_share:
        if spec.validation:
            raise ValueError(
                f"data.validation_share: {spec.name!r} has validation clips of its own; leave it 0"
            )
        share, seed = settings.validation_share, settings.seed
        train, validation = cut_validation(
            records.pop("train"), share, seed, per_class=settings.labelled_per_class
        )
        records = {"train": train, "validation": validation, **records}
        labels["validation"], foreign["validation"] = labels["train"], {}
    return Sets(root, _of_one_claim(records), labels, foreign)


def rate_of(settings: DataSettings) -> float | None:
    """Frames per second of folders of images (`data.options.fps`), which have none of their own.

    Raises:
        ValueError: It is no rate.
    """
    rate = given_options(settings).get("fps")
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1000:
        raise ValueError(f"data.options.fps: frames per second, above 0, given {rate!r}")
    return float(rate)


def _of_one_claim(
    records: Mapping[str, tuple[Record, ...]],
) -> dict[str, tuple[Record, ...]]:
    """Records without the videos that are found by ignoring case and that others claim, too.

    YouTube ids that differ in case alone are two videos: the one that has no file has none. Items
    of one recording (questions, windows of it) may share its file.
    """
    claims: dict[Path, set[tuple[str, str]]] = {}
    for record in chain.from_iterable(records.values()):
        if record.path is not None:
            claims.setdefault(record.path, set()).add((record.id, record.group))
    contested = {path for path, claimed in claims.items() if _differ(claimed)}
    if not contested:
        return dict(records)

    def own(record: Record) -> Record:
        names = (record.id, record.group or record.id)
        if record.path not in contested or any(_is_spelled(record.path, name) for name in names):
            return record
        return replace(record, path=None)

    return {name: tuple(map(own, rows)) for name, rows in records.items()}


def _differ(claimed: set[tuple[str, str]]) -> bool:
    """Whether the ids and recordings that claim one file are of several videos."""
    ids = {key for key, _ in claimed}
    recordings = {group or key for key, group in claimed}
    return len(ids) > 1 and (len(recordings) > 1 or len({key.lower() for key in ids}) < len(ids))


def _is_spelled(path: Path, key: str) -> bool:
    """Whether a file ends in an id as it is spelled, with or without its extension."""
    texts = (str(path), str(path.with_suffix("")))
    return bool(key) and any(f"/{text}".endswith(f"/{key}") for text in texts)


def _in_classes_of(
    space: LabelMap, own: LabelMap, rows: Sequence[Record]
) -> tuple[tuple[Record, ...], dict[str, str]]:
    """Records with the labels that their class names have in ``space``, and those it lacks."""
    if own.names == space.names:
        return tuple(rows), {}
    numbers = renumber(own, space)
    records, foreign = [], {}
    for row in rows:
        label = numbers[row.label] if row.label >= 0 else row.label
        if label is None:
            label, foreign[row.id] = -1, own.names[row.label]
        records.append(replace(row, label=label))
    return tuple(records), foreign


def assess(settings: DataSettings, sets: Sets, index: indexing.Index) -> Survey:
    """Sort usable records from unusable ones and name their stores.

    Videos that the index has not seen count as `n_unseen`, and as neither.
    """
    stored, counts, excluded, noted = [], {}, [], []
    rate = rate_of(settings)
    entries = {path: index.entry(path) for path in dict.fromkeys(sets.paths)}
    for name, records in sets.records.items():
        used: list[_Used] = []
        unseen = 0
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
            entry = entries[record.path] if record.path is not None else None
            if entry is None and record.path is not None and record.path.exists():
                unseen += 1
                continue
            status = entry.info.status if entry is not None else "missing"
            info = _timed(entry.info, rate) if entry is not None else None
            span, beyond = range(0), ""
            if info is not None and info.is_whole:
                try:
                    span = span_of(info, record.start, record.end)
                except ValueError as error:
                    status, beyond = "partial", str(error)
            kind = {"empty": "corrupt", "ok": "used"}.get(status, status)
            if kind != "used":  # the rare ones are counted only where there are any
                count[f"n_{kind}"] = count.get(f"n_{kind}", 0) + 1
            if record.id in sets.foreign[name]:
                count["n_other_class"] = count.get("n_other_class", 0) + 1
                reason = f"class {sets.foreign[name][record.id]!r} is none of the training set"
                excluded.append({"split": name, "id": record.id, "reason": reason})
            elif entry is not None and info is not None and info.is_whole and not beyond:
                used.append(_Used(record, entry, info, span))
                if note := "; ".join(filter(None, (info.note, _clipped(record, info)))):
                    noted.append({"split": name, "id": record.id, "note": note})
            else:
                reason = f"no video in {sets.root}"
                if entry is not None:
                    reason = f"{status}: {beyond or entry.info.error}"
                excluded.append({"split": name, "id": record.id, "reason": reason})
        count["n_total"], count["n_used"] = len(records), len(used)
        count["n_excluded"] = len(records) - len(used) - unseen
        if unseen:
            count["n_unseen"] = unseen
        counts[name] = count
        key = _store_key(settings, used)
        stored.append(
            StoredSet(
                name=name,
                records=tuple(one.record for one in used),
                files=tuple(one.info for one in used),
                spans=tuple(one.span for one in used),
                folder=cache_of(settings) / "clips" / f"{settings.dataset}-{name}-{key}",
            )
        )
    digests = {path: one.digest for path, one in entries.items() if one and one.info.is_whole}
    for name, shared in shared_with_training(sets.records, digests).items():
        counts[name] |= shared
    flags = labelled(stored[0].records, settings.labelled_per_class)
    return Survey(
        sets=sets,
        stored=tuple(stored),
        counts=counts,
        excluded=tuple(excluded),
        noted=tuple(noted),
        excluded_list=index.path.with_name(f"{index.path.stem}-excluded.tsv"),
        labelled=flags,
        fingerprint=_fingerprint(
            sets.labels["train"], stored, flags, extras=bool(find(settings.dataset).extras)
        ),
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


def check(settings: DataSettings, survey: Survey) -> None:
    """Refuse data of which too much is unusable.

    Raises:
        ValueError: More than ``max_bad_fraction`` of a split is excluded, or all of it; says how
            much and where the list is.
    """
    bad = {
        name: count
        for name, count in survey.counts.items()
        if count["n_excluded"] > settings.max_bad_fraction * count["n_total"]
        or count["n_excluded"] == count["n_total"]
    }
    if bad:
        lines = [
            f"{name}: {describe(count, survey.sets.foreign[name].values())}"
            for name, count in bad.items()
        ]
        is_refused = any(count.get("n_refused") for count in bad.values())
        hint = "data.backend=auto reads the refused ones; " if is_refused else ""
        is_listed = survey.excluded_list.is_file()
        index = program("data", "index", "--dataset", settings.dataset, *_place(settings))
        where = f"listed in {survey.excluded_list}" if is_listed else f"`{index}` lists them"
        raise ValueError(
            f"{survey.sets.root}: too many unusable videos (data.max_bad_fraction="
            f"{settings.max_bad_fraction:g}); {'; '.join(lines)}; {hint}{where}"
        )


def _place(settings: DataSettings) -> list[str]:
    """Overrides that say where the data lies."""
    return [] if settings.root is None else [f"data.root={settings.root}"]


def check_overlap(settings: DataSettings, survey: Survey) -> None:
    """Refuse a study of clips that are trained and tested on; storing them is no harm.

    Raises:
        ValueError: More than ``max_overlap`` of a test set has the id or the bytes of training
            clips.
    """
    trained = {
        name: count
        for name, count in survey.counts.items()
        if max(count.get("n_shared_ids", 0), count.get("n_shared_bytes", 0))
        > settings.max_overlap * count["n_total"]
    }
    if trained:
        raise ValueError(
            f"{survey.sets.root}: test clips are trained on (data.max_overlap="
            f"{settings.max_overlap:g}); {describe_shared(trained)}; take them out of one list, or "
            "allow a share of every test set by data.max_overlap"
        )


def describe(count: Mapping[str, int], foreign: Iterable[str] = ()) -> str:
    """A split's counts in words, with the names of classes that training does not have."""
    parts = [f"{count['n_excluded']} of {count['n_total']} excluded"]
    parts += [
        f"{count[f'n_{kind}']} {kind}"
        for kind in ("missing", "corrupt", "partial", "timeout", "refused", "unseen")
        if count.get(f"n_{kind}")
    ]
    names = sorted(set(foreign))
    if names:
        shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        parts.append(
            f"{count['n_other_class']} of {len(names)} classes that the training set lacks: {shown}"
        )
    return ", ".join(parts)


def plan(settings: DataSettings) -> dict[str, Any]:
    """What preparing the data takes, read from text files alone.

    Returns:
        `dataset`, `shifts` (test sets besides the clean one), `clips` (all), `train_clips`,
        `validation_clips` (0 = there are none), `evaluation_clips` (of one evaluation set, the
        clean one), `cache_gb`, `is_ready` (nothing is left to make or decode), `fingerprint` (None
        unless ready), `cache_dir`, `form` (`store` or `stream`) and `note`, a sentence.

    Raises:
        ValueError: Unknown data set, a root without its files, or what :func:`check` and
            :func:`check_overlap` refuse; a video that has not been looked at counts as usable.
    """
    spec, root = find(settings.dataset), root_of(settings)
    if spec.embedded and not (root / "manifest.json").is_file():
        knobs = knobs_of(settings)
        knobs.check(spec.name)
        trained, clean = knobs.items(spec.name)
        note = f"{knobs.clips} clips are made and decoded on first use"
        kept = round(trained * settings.validation_share)
        sizes: tuple[int, ...] = (trained - kept, kept, clean)
        total = trained + clean * (1 + len(spec.shifts))
        return _plan(settings, spec.shifts, sizes, total, None, note)
    sets = read_sets(settings)
    index = indexing.load(settings, root)
    survey = assess(settings, sets, index)
    check(settings, survey)
    check_overlap(settings, survey)
    total = sum(len(rows) for rows in sets.records.values())
    is_stream = settings.is_streamed(survey.clips)
    missing = sum(len(o.records) for o in survey.stored if not (o.is_stored or is_stream))
    fingerprint = None
    if not indexing.is_complete(index, sets.paths):
        note = f"not all of {total} videos have been looked at yet"
        if survey.excluded:
            note += f" ({len(survey.excluded)} are unusable at any rate)"
    elif missing:
        note = f"{missing} of {total} clips are decoded on first use"
    else:
        note, fingerprint = f"{total} clips, ready", survey.fingerprint
        if survey.excluded:
            note += f" ({len(survey.excluded)} unusable ones are left out)"
    if shared := describe_shared(survey.counts):
        note += f"; shared with training: {shared}"
    names = ("train", "validation", "clean")
    sizes = tuple(len(sets.records.get(name, ())) for name in names)
    shifts = [name for name in sets.records if name not in names]
    return _plan(settings, shifts, sizes, total, fingerprint, note)


def _plan(
    settings: DataSettings,
    shifts: Sequence[str],
    sizes: Sequence[int],
    total: int,
    fingerprint: str | None,
    note: str,
) -> dict[str, Any]:
    train, validation, clean = sizes
    is_stream = settings.is_streamed(total)
    size = 0 if is_stream else settings.stored_bytes(total)
    kept = "decoded in every trial" if is_stream else f"{size / 1e9:.2f} GB of cache"
    return {
        "dataset": settings.dataset,
        "shifts": list(shifts),
        "clips": total,
        "train_clips": train,
        "validation_clips": validation,
        "evaluation_clips": clean,
        "cache_gb": round(size / 1e9, 3),
        "is_ready": fingerprint is not None,
        "fingerprint": fingerprint,
        "cache_dir": str(cache_of(settings)),
        "note": f"{note}; {kept}",
        "form": "stream" if is_stream else "store",
    }


@dataclass(frozen=True, slots=True)
class _Used:
    """A record that can be used, its file and which frames of it are the clip."""

    record: Record
    entry: indexing.Entry
    info: FileInfo
    span: range


def _timed(info: FileInfo, rate: float | None) -> FileInfo:
    """What is known of a file; images get the rate that the study says."""
    return replace(info, fps=rate) if rate and info.backend == "images" else info


def _clipped(record: Record, info: FileInfo) -> str:
    """That a window goes on after the end of its file, by more than a frame."""
    length = length_s(info)
    step = length / info.num_frames
    if record.end is None or not length or record.end <= length + step:
        return ""
    return f"{described(record.start, record.end)} is cut at the end of the video, {length:.6g} s"


def _store_key(settings: DataSettings, used: Sequence[_Used]) -> str:
    """Sixteen hex digits over all that the stored bytes follow from.

    Plain files give the same bytes by either library and any access. They keep the name of the one
    that read them before PyAV did, so that stores, fingerprints and finished cells of such data
    stay what they were.
    """
    ways = [_way(one.info, settings) for one in used]
    rows = [
        [
            *(one.record.id, one.entry.digest, backend, access, one.info.num_frames),
            *((one.span.start, one.span.stop) if one.record.has_window else ()),
        ]
        for one, (_, backend, access) in zip(used, ways, strict=True)
    ]
    decoders = sorted({library for library, _, _ in ways})
    size = settings.size_px
    scaled = any(not one.info.height == one.info.width == size for one in used)
    how = ["Pillow"] if scaled else []  # frames that are only stored keep their name
    return _digest([CACHE_VERSION, settings.cache_frames, size, decoders, rows, *how])


def _way(info: FileInfo, settings: DataSettings) -> tuple[str, str, str]:
    """Library with version, backend and access by which the bytes of a file are known."""
    if info.is_plain:
        return "decord 0.6.0", "decord", "seek" if settings.access == "auto" else settings.access
    package = {"decord": "decord", "pyav": "av", "images": "pillow"}[info.backend]
    return f"{package} {importlib.metadata.version(package)}", info.backend, "in order"


def _fingerprint(
    labels: LabelMap, stored: list[StoredSet], labelled: tuple[bool, ...], *, extras: bool
) -> str:
    """Of all that numbers follow from; of what else annotations say only where tasks read it."""

    def said(record: Record) -> list[Any]:
        known = [record.id, record.label, record.captions]
        return [*known, sorted(record.meta.items())] if extras else known

    sets = [[one.name, one.folder.name, [said(r) for r in one.records]] for one in stored]
    return _digest([labels.names, sets, labelled])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
