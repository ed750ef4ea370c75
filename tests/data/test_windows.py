"""Clips that are windows of a file, against times of frames by a plain loop."""

import av
import numpy as np
import pytest

from sweep.data.decoding import by_pyav
from sweep.data.decoding.probe import probe_file
from sweep.data.decoding.windows import length_s, span_of, time_line
from sweep.data.prepare import index, prepare
from sweep.data.verify import verify
from sweep.settings.data import DataSettings
from tests.data.numbered import numbers, write

FAST = {"cpu-used": "8", "deadline": "realtime"}
#: Name -> how a file of 60 frames is written: even, uneven, paused, not from 0, and odd.
FILES = {
    "even.mp4": {},
    "thirty.mkv": {"fps": 30, "b_frames": 2},
    "late.ts": {"form": "mpegts"},
    "pauses.mp4": {"times_ms": [40 * i if i < 50 else 2000 + (i - 50) * 500 for i in range(60)]},
    "slower.mkv": {"times_ms": [5 * i * i for i in range(60)]},
    "uneven.mkv": {"times_ms": [33 * i + (i * 7919) % 7 for i in range(60)]},
    "still.avi": {"codec": "mpeg4", "fps": 1},
}
WINDOWS = [(None, 0.5), (0.45, 1.25), (1.1, None), (0.0, 1e6), (0.333, 0.351), (0.9, 1.9)]


def times_of(path):
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return [time - times[0] for time in times]


def shown(times, start, end):
    """Frames of a window by its definition."""
    start, end = start or 0.0, 1e9 if end is None else end
    inside = [i for i, time in enumerate(times) if start - 1e-3 <= time < end - 1e-3]
    return inside or [max(i for i, time in enumerate(times) if time <= start)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("windows") / "own"
    for name, how in FILES.items():
        write(root / name, frames=60, **how)
    return root


@pytest.mark.parametrize("name", FILES)
def test_a_window_holds_the_frames_that_begin_in_it(folder, name):
    info, times = probe_file(folder / name), times_of(folder / name)
    step = times[-1] / 59
    is_exact = not info.times and "uneven" not in name
    assert length_s(info) == pytest.approx(times[-1] + times[-1] - times[-2], abs=step / 2)
    for start, end in WINDOWS:
        span, true = span_of(info, start, end), shown(times, start, end)
        if is_exact:
            assert list(span) == true, (start, end)
            continue
        # time lines are kept to a quarter of a step: a frame so near an end may be in or out
        for mine, theirs, edge in ((span[0], true[0], start), (span[-1], true[-1], end)):
            between = range(min(mine, theirs), max(mine, theirs) + 1)
            assert mine == theirs or (
                len(between) == 2
                and min(abs(times[i] - (edge or 0)) for i in between) < step / 4 + 1e-3
            ), (start, end)
    assert span_of(info, None, None) == range(60)


@pytest.mark.parametrize("seed", range(20))
def test_a_time_line_is_true_to_a_quarter_of_a_step_and_short(seed):
    rng = np.random.default_rng(seed)
    rates = np.repeat(rng.uniform(0.01, 0.2, 4), 100)
    times = np.cumsum(rates) + rng.uniform(-0.1, 0.1, 400) * rates.min()
    times -= times[0]
    knots = time_line(times.tolist(), 30.0)
    kept = np.interp(range(400), *np.transpose(knots))
    assert np.abs(kept - times).max() <= times[-1] / 399 / 4 + 1e-5
    assert 2 <= len(knots) < 40
    assert time_line([i / 30 for i in range(400)], 30.0) == ()


def table(root, rows):
    lines = ["path,label,split,start,end", *(",".join(map(str, row)) for row in rows)]
    (root / "clips.csv").write_text("\n".join(lines) + "\n")


def settings(root, **more):
    return DataSettings(
        **{"dataset": "table", "root": str(root), "workers": 0, "size_px": 32, "cache_frames": 6,
           "cache_dir": str(root.parent / "cache"), "max_bad_fraction": 0.9} | more
    )  # fmt: skip


def test_windows_are_stored_each_with_its_own_frames_and_files_are_decoded_once(
    folder, monkeypatch
):
    rows = [
        (n, i % 2, "train", s or "", e or "") for n in FILES for i, (s, e) in enumerate(WINDOWS)
    ]
    rows += [("even.mp4", 0, "test", 2.0, 2.3), ("even.mp4", 1, "test", 0.9, 1.9)]
    rows += [("pauses.mp4", 1, "test", "", "")]
    table(folder, rows)
    options, read = settings(folder, max_overlap=1), []
    index(options)
    right = by_pyav.frames
    monkeypatch.setattr(
        by_pyav, "frames", lambda p, wanted: read.append(p.name) or right(p, wanted)
    )
    prepared = prepare(options)
    assert sorted(read) == sorted(FILES), "one pass for all windows of a file, of all sets"
    survey = index(options)
    seen = 0
    for one, clips in zip(
        survey.stored, (prepared.train, *prepared.evaluation.values()), strict=True
    ):
        for record, info, frames in zip(one.records, one.files, clips.source.array, strict=True):
            span = span_of(info, record.start, record.end)
            true = [span[int((i + 0.5) * len(span) / 6)] for i in range(6)]
            assert numbers(frames.transpose(0, 2, 3, 1)) == true, record.id
            seen += 1
    assert seen == len(rows)
    assert [r.id for r in survey.stored[1].records][:2] == ["even@2.0-2.3", "even@0.9-1.9"]
    assert verify(options, survey).passed
    # one clip is trained and tested on, bytes and id; the others share the recording alone
    assert survey.counts["clean"]["n_shared_bytes"] == survey.counts["clean"]["n_shared_ids"] == 1
    assert survey.counts["clean"]["n_shared_groups"] == 3


def test_other_windows_are_other_stores_and_other_numbers(folder):
    found = []
    for end in (1.0, 1.5):
        table(folder, [("even.mp4", 0, "train", 0, end), ("late.ts", 0, "test", "", "")])
        found.append(prepare(settings(folder)))
    assert found[0].fingerprint != found[1].fingerprint
    assert found[0].train.source.array.filename != found[1].train.source.array.filename
    assert (
        found[0].evaluation["clean"].source.array.filename
        == found[1].evaluation["clean"].source.array.filename
    )


def test_windows_at_the_end_are_clipped_and_said_and_those_behind_it_are_left_out(folder):
    rows = [("even.mp4", 0, "train", 2.0, 2.41), ("even.mp4", 0, "train", 2.0, 9)]
    rows += [("even.mp4", 0, "train", 2.4, 9), ("late.ts", 0, "test", "", "")]
    table(folder, rows)
    survey = index(settings(folder))
    assert [r.id for r in survey.stored[0].records] == ["even@2.0-2.41", "even@2.0-9"]
    assert survey.stored[0].spans == (range(50, 60), range(50, 60))
    assert [row["note"] for row in survey.noted] == [
        "its window of 2 to 9 s is cut at the end of the video, 2.4 s"
    ]
    (row,) = survey.excluded
    assert row["id"] == "even@2.4-9"
    assert row["reason"] == (
        "partial: its window of 2.4 to 9 s begins behind the end of the video, 2.4 s"
    )
    assert survey.counts["train"]["n_partial"] == 1


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [(3, 1, "end 1 is not after start 3"), ("-1", "", "start: '-1'"), ("", "x", "end: 'x'")],
)
def test_a_window_that_is_none_names_its_line(folder, start, end, said):
    table(folder, [("late.ts", 0, "test", "", ""), ("even.mp4", 0, "train", start, end)])
    with pytest.raises(ValueError, match=rf"clips\.csv:3: {said}"):
        index(settings(folder))


def test_windows_of_files_whose_names_differ_in_case_keep_their_own(tmp_path):
    """YouTube ids: the one that has no file has none, and its windows neither."""
    root = tmp_path / "own"
    write(root / "aBc.mp4", frames=30)
    write(root / "other.mp4", frames=30)
    rows = [(f"{name}.mp4", 0, "train", s, s + 0.5) for name in ("aBc", "AbC") for s in (0, 0.5)]
    table(root, [*rows, ("other.mp4", 0, "test", "", "")])
    survey = index(settings(root))
    assert [r.id for r in survey.stored[0].records] == ["aBc@0-0.5", "aBc@0.5-1.0"]
    assert survey.counts["train"]["n_missing"] == 2
