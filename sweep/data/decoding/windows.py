"""Which frames of a file a window in seconds shows. Imports no numpy.

Time 0 is the first frame. Files of a constant rate need no more than that rate; of others the index
keeps a time line, some (frame, seconds) between which time runs evenly (see `FileInfo.times`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.data.decoding.file_info import FileInfo

#: Containers round times to a millisecond: a frame so little before a window is in it.
_SLACK_S = 1e-3


def span_of(info: FileInfo, start: float | None, end: float | None) -> range:
    """Frames with start <= time < end, of what there is; the one then shown where none begins.

    Args:
        info: What the index found.
        start: Seconds from the first frame; None = 0.
        end: None = the end of the file; may lie behind it.

    Raises:
        ValueError: The window is none, begins behind the end, or the file has no time line.
    """
    if start is None and end is None:
        return range(info.num_frames)
    first_s, last_s = start or 0.0, math.inf if end is None else end
    if not (math.isfinite(first_s) and first_s >= 0 and last_s > first_s):
        raise ValueError(f"{described(start, end)} is no window")
    if not info.fps and not info.times:
        raise ValueError(f"{described(start, end)} needs a rate, which the file does not have")
    if first_s >= length_s(info):
        raise ValueError(
            f"{described(start, end)} begins behind the end of the video, {length_s(info):.6g} s"
        )
    first = min(_before(info, first_s), info.num_frames)
    stop = info.num_frames if last_s == math.inf else _before(info, last_s)
    if stop <= first:  # between two frames: the earlier one is on the screen
        first = max(first - 1, 0)
        stop = first + 1
    return range(first, stop)


def described(start: float | None, end: float | None) -> str:
    """A window in words."""
    until = "the end" if end is None else f"{end:.6g} s"
    return f"its window of {start or 0:.6g} to {until}"


def length_s(info: FileInfo) -> float:
    """From the beginning of the first frame to the end of the last one; 0 = not known."""
    if info.times:
        (one, before), (last, at) = info.times[-2:]
        return at + (at - before) / (last - one)
    return info.num_frames / info.fps if info.fps else 0.0


def _before(info: FileInfo, second: float) -> int:
    """How many frames begin before a time."""
    at = second - _SLACK_S
    if not info.times:
        return min(max(math.ceil(at * info.fps), 0), info.num_frames)
    place = bisect_left(info.times, at, key=lambda knot: knot[1])
    if place == 0:
        return 0
    if place == len(info.times):
        return info.num_frames
    (one, left), (last, right) = info.times[place - 1], info.times[place]
    return one + math.ceil((at - left) / (right - left) * (last - one))


def time_line(times: Sequence[float], fps: float) -> tuple[tuple[int, float], ...]:
    """Frames and seconds between which time runs evenly, to a quarter of the mean step.

    Args:
        times: Of every frame, in order.
        fps: What the file says.

    Returns:
        Empty where ``fps`` alone says as much.
    """
    if len(times) < 2 or times[-1] <= times[0]:
        return ()
    step = (times[-1] - times[0]) / (len(times) - 1)
    slack = step / 4
    knots = [(0, 0.0)]
    low, high = -math.inf, math.inf  # slopes from the last knot that pass all frames since
    latest = 0.0
    for index, time in enumerate(times[1:], start=1):
        before, latest = latest, max(time - times[0], latest)  # no frame is before its predecessor
        one, left = knots[-1]
        if not low <= (latest - left) / (index - one) <= high:
            one, left = index - 1, before
            knots.append((one, round(left, 5)))
            low, high = -math.inf, math.inf
        low = max(low, (latest - slack - left) / (index - one))
        high = min(high, (latest + slack - left) / (index - one))
    knots.append((len(times) - 1, round(latest, 5)))
    if len(knots) == 2 and fps and abs((len(times) - 1) / fps - latest) <= slack:
        return ()
    return tuple(knots)
