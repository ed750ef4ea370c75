"""Reader of MSR-VTT folders for retrieval: the official one, `motes-vtt`, and a user's own.

A root (or its folder `annotation`, `annotations` or `msrvtt_data`) holds the captions
(`MSRVTT_data.json`, `MSRVTT_transcript_data_v2.json` or `MSR_VTT.json`), the list of training
videos (`MSRVTT_train.9k.csv`, or that of 7k: `data.options.split`), the thousand test pairs
(`MSRVTT_JSFUSION_test.csv`, the split called 1k-A) and any number of shifted test sets
`test-<name>.csv` of the same form; a video in several rows has several captions. Instead of these,
there may be a list of training videos and one of test videos with `jsfusion_val_caption_idx.pkl`
(which caption of a video is tested; the form of All-in-one), or JSON files with the pairs
themselves (`train_9k.json` and `test.json`, or one `txt_msrvtt-retrieval.json` of all splits; the
forms of MELTR and Violet). Videos stand in `TrainValVideo/` and `TestVideo/` or in one folder.
There are no class labels. A test set whose name ends in `-known` has captions that fit several of
its videos: any video with the same caption counts as found. The split of 6,513, 497 and 2,990
videos is read by `msrvtt_full`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.label_maps import LabelMap
from sweep.data.readers.annotation import (
    in_folders,
    mapping_of,
    name_of,
    read_names,
    read_rows,
    require,
    split_called,
    with_shifts,
    without_suffix,
)
from sweep.data.readers.captioned import choice_of, field_of, read_objects, read_pickle, sentence_of
from sweep.data.readers.msrvtt_files import FOLDERS, captions_of, records_of, videos_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sweep.data.records import Record

_PAIRS = "txt_msrvtt-retrieval.json"
_TRAIN = {
    "9k": (
        *("MSRVTT_train.9k.csv", "train_list_9k.txt", "train_list_jsfusion.txt"),
        *("train_9k.json", _PAIRS),
    ),
    "7k": ("MSRVTT_train.7k.csv", "train_list_7k.txt", "train_7k.json", _PAIRS),
}
_TEST = (
    *("MSRVTT_JSFUSION_test.csv", "msrvtt_test.csv", "val_list_jsfusion.txt", "test.json", _PAIRS),
)
_TESTED = "jsfusion_val_caption_idx.pkl"


def splits(root: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    """List of every split: "train", "validation" (the test pairs) and the names of the shifts.

    Args:
        root: Folder of the data set.
        options: `split`: `9k` (default) or `7k` training videos; `encoding` of the text files,
            which :func:`read` reads.

    Raises:
        ValueError: No list of training videos or test pairs; says which names were looked for.
    """
    size = choice_of(options, "split", list(_TRAIN))
    what = f"list of training videos (data.options.split={size})"
    found = {
        "train": require(root, in_folders(_TRAIN[size], FOLDERS), what),
        "validation": require(root, in_folders(_TEST, FOLDERS), "list of test pairs"),
    }
    return with_shifts(found, root, in_folders(["test-*.csv"], FOLDERS), "test-")


def read(root: Path, split: str, options: Mapping[str, Any]) -> tuple[list[Record], LabelMap]:
    """Records of a split in list order, all of label -1; no video is opened.

    Args:
        root: Folder of the data set.
        split: A key of :func:`splits`; `test` means `validation`, `test-<shift>` means `<shift>`.
        options: See :func:`splits`.

    Raises:
        ValueError: A file is missing or says something that cannot be; names it.
    """
    known = splits(root, options)
    split = split_called(split, known, root)
    path = known[split]
    videos = videos_of(root)
    if path.suffix == ".json":
        keys = ("train" if split == "train" else "test", "sentences")
        told: dict[str, list[str]] = {}
        for where, row in read_objects(path, options, keys=keys):
            name = name_of(field_of(row, ("video", "video_id"), where), f"{where}: video")
            sentence = sentence_of(field_of(row, ("caption", "text"), where), f"{where} ({name})")
            told.setdefault(without_suffix(name), []).append(sentence)
    elif split == "train":
        told = captions_of(root, path, read_names(path, "video_id", options), options)
    elif path.suffix == ".txt":
        told = _tested(root, path, options)
    else:
        told = {}
        for name, sentence in _test_pairs(path, options):
            if sentence in told.setdefault(name, []):
                raise ValueError(f"{path}: {name!r} stands there twice with the same sentence")
            told[name].append(sentence)
    return records_of(told, videos), LabelMap.of(())


def _test_pairs(path: Path, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Video and sentence of every row; sentences may hold commas and quotes."""
    pairs = []
    for number, row in read_rows(path, options):
        name, sentence = row.get("video_id"), row.get("sentence")
        if not name or not name.strip() or not sentence or not sentence.strip():
            raise ValueError(f"{path}:{number}: no video_id or sentence")
        pairs.append((without_suffix(name), sentence))
    return pairs


def _tested(root: Path, path: Path, options: Mapping[str, Any]) -> dict[str, list[str]]:
    """The one caption of every test video that a file of their places chooses."""
    places = require(root, in_folders([_TESTED], FOLDERS), "choice of test captions")
    chosen = mapping_of(read_pickle(places, options), str(places))
    told = captions_of(root, path, read_names(path, "video_id", options), options)
    found = {}
    for name, sentences in told.items():
        place = chosen.get(name)
        if not isinstance(place, int) or not 0 <= place < len(sentences):
            raise ValueError(
                f"{places}: {name!r}: {place!r} (allowed: the place of one of its "
                f"{len(sentences)} captions, from 0)"
            )
        found[name] = [sentences[place]]
    return found
