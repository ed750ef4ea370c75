"""The reader of `.wandb` files, on files that W&B wrote and on damaged ones."""

from __future__ import annotations

import struct
import zlib

import pytest

from sweep.tracking.track import Tracker, run_id
from sweep.tracking.wandb_file import payloads, read_run, run_folders
from tests.tracking.conftest import history, record

HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)


def chunk(data: bytes, kind: int) -> bytes:
    return struct.pack("<IHB", zlib.crc32(data, zlib.crc32(bytes([kind]))), len(data), kind) + data


def log_of(records: list[bytes]) -> bytes:
    """Own writer of the LevelDB log format, as slow and plain as its description."""
    content = HEADER
    for record_ in records:
        rest, is_first = record_, True
        while is_first or rest:
            left = 32768 - len(content) % 32768
            if left < 7:
                content += b"\0" * left
                left = 32768
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}
            content += chunk(part, kind[is_first, not rest])
            is_first = False
    return content


@pytest.mark.parametrize("size", [0, 1, 7, 32747, 32748, 32754, 32755, 32761, 40_000, 100_001])
def test_records_across_blocks(size):
    records = [b"a" * size, b"", b"b" * 13, b"c" * size]
    assert list(payloads(log_of(records))) == records


def test_every_truncation_gives_a_prefix():
    records = [b"one", b"two" * 5000, b"three", b"four" * 9000]
    content = log_of(records)
    lengths = set()
    for end in [*range(60), *range(60, len(content), 11), len(content)]:
        found = list(payloads(content[:end]))
        assert found == records[: len(found)]
        lengths.add(len(found))
    assert lengths == set(range(5))


def test_damage_ends_the_reading():
    content = bytearray(log_of([b"one", b"two", b"three"]))
    content[content.index(b"two")] ^= 1
    assert list(payloads(bytes(content))) == [b"one"]


def test_other_files_are_refused():
    with pytest.raises(ValueError, match=r"not a \.wandb file"):
        list(payloads(b"PK\x03\x04 something else"))
    assert list(payloads(b"")) == []


def test_truncated_run(tmp_path, study, cells):
    tracker = Tracker(tmp_path / "s", study)
    tracker.finish(cells[1].key, record(cells[1]), history(cells[1]))
    tracker.close()
    ((folder,),) = run_folders(tmp_path / "s" / "wandb").values()
    whole = read_run(folder)
    (path,) = folder.glob("run-*.wandb")
    content = path.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        part = read_run(folder)
        assert part.exit_code is None
        assert part.history == whole.history[: len(part.history)]
        if share >= 0.5:
            assert part.id == run_id(tmp_path / "s", cells[1].key)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no run-"):
        read_run(folder)


def test_folders_by_run(tmp_path):
    for name in (
        "offline-run-20260101_000002-abc", "run-20260101_000001-abc",
        "offline-run-20260101_000000-x-y", "data", "debug.log",
    ):  # fmt: skip
        (tmp_path / name).mkdir()
    found = {key: [p.name for p in folders] for key, folders in run_folders(tmp_path).items()}
    assert found == {
        "x-y": ["offline-run-20260101_000000-x-y"],
        "abc": ["run-20260101_000001-abc", "offline-run-20260101_000002-abc"],
    }
