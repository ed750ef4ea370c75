"""The driver of the stored arrays: what counts as equal, compared and known."""

import numpy as np
import pytest
import torch

from tests import conformance


@pytest.fixture
def reader(tmp_path):
    np.savez(
        tmp_path / "decode_x.npz",
        integers=np.array([0, 2**63], np.uint64),
        floats=np.array([1.0, np.nan, np.inf, -2.0]),
        flags=np.array([True, False]),
        text=np.array("word"),
        pixels=np.zeros((2, 3), np.uint8),
    )
    return conformance.Reader(tmp_path / "decode_x.npz")


def last(reader):
    return reader.comparisons[-1].passed


@pytest.mark.parametrize(
    ("name", "ours", "tolerances", "passed"),
    [
        ("integers", np.array([0, 2**63], np.uint64), {}, True),
        ("integers", np.array([0, 2**63 + 1], np.uint64), {}, False),
        ("floats", [1.0, np.nan, np.inf, -2.0], {}, True),
        ("floats", torch.tensor([1.0, torch.nan, torch.inf, -2.0]), {}, True),
        ("floats", [1.0, np.nan, np.inf, -2.1], {"rtol": 0.06}, True),
        ("floats", [1.0, np.nan, np.inf, -2.1], {"rtol": 0.04}, False),
        ("floats", [1.0, 0.0, np.inf, -2.0], {"atol": 1}, False),
        ("floats", [1.0, np.nan, -np.inf, -2.0], {"atol": 1, "rtol": 1}, False),
        ("floats", [np.inf, np.nan, np.inf, -2.0], {"atol": 1}, False),
        ("flags", [True, False], {}, True),
        ("flags", [True, True], {"atol": 9}, False),
        ("text", "word", {}, True),
        ("text", "sword", {}, False),
        ("pixels", np.full((2, 3), 1), {"atol": 1}, True),
        ("pixels", np.full((2, 3), 255, np.uint8), {"atol": 1}, False),
        ("pixels", np.zeros((3, 2)), {"atol": 9}, False),
    ],
)
def test_compare(reader, name, ours, tolerances, passed):
    reader.compare(name, ours, **tolerances)
    assert last(reader) == passed


def test_judge_and_the_account_of_what_was_read(reader):
    reader.judge("floats", 0.5, 1.0, "mean gap")
    assert last(reader)
    for error, tolerance in ((float("nan"), 1.0), (2.0, 1.0), (1e-9, 0.0)):
        reader.judge("floats", error, tolerance)
        assert not last(reader)
    assert reader.input("text").item() == "word"
    assert reader.uncompared == ("integers", "flags", "pixels")
    with pytest.raises(KeyError, match="has no array 'sizes'"):
        reader.input("sizes")


def test_a_file_fails_on_uncompared_arrays_errors_and_empty_checks(reader):
    def everything(read):
        for name in read.names:
            read.compare(name, read.input(name))

    def nothing(read):
        for name in read.names:
            read.input(name)

    def partly(read):
        read.compare("text", "word")

    def wrong(read):
        everything(read)
        raise ZeroDivisionError("no")

    verdict = conformance.check(reader.path, "decode", everything)
    assert verdict.passed
    assert "5 arrays compared" in verdict.lines[0]
    for run, word in ((nothing, "no array"), (partly, "nothing compares"), (wrong, "ZeroDivision")):
        verdict = conformance.check(reader.path, "decode", run)
        assert not verdict.passed
        assert word in "".join(verdict.lines)


def test_formats_are_read_from_the_source_and_the_longest_prefix_wins(tmp_path):
    (tmp_path / "conformance_a.py").write_text("FORMATS = {'a': 1, 'a_long': 2}\nraise SystemExit")
    (tmp_path / "conformance_b.py").write_text("FORMATS: dict = {'b': 1}")
    known = conformance.formats(tmp_path)
    assert known == {"a": "conformance_a", "a_long": "conformance_a", "b": "conformance_b"}
    assert conformance.format_of("a_long_x", known) == "a_long"
    assert conformance.format_of("a_lo", known) == "a"
    assert conformance.format_of("c", known) is None
    (tmp_path / "conformance_c.py").write_text("FORMATS = {'b': 1}")
    with pytest.raises(ValueError, match="'b' stands in"):
        conformance.formats(tmp_path)
    assert "decode" in conformance.formats()


def test_unknown_prefixes_fail_unless_left_out(tmp_path, capsys):
    np.savez(tmp_path / "zzz_1.npz", x=1)
    assert conformance.main([str(tmp_path)]) == 1
    assert "zzz_1.npz: unknown prefix" in capsys.readouterr().out
    assert conformance.main([str(tmp_path), "--only", "decode"]) == 1
    assert "no *.npz file" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        conformance.main([str(tmp_path / "none")])


def test_the_decode_format_on_the_stored_files(capsys):
    golden = conformance.Path(__file__).resolve().parents[3] / "shared" / "golden"
    if not golden.is_dir():
        pytest.skip("no folder of stored arrays")
    assert conformance.run(golden, ["decode"]) == 0, capsys.readouterr().out
