"""Perturbations of time: every one is a list of frame indices.

The list has the length of the clip, so it can be applied to decoded frames, or before decoding to
choose which frames to read. Where the published form may be shorter, `fixed_length=False` gives it.
The argument `order` is a `random.Random`; `random.Random(n)` reproduces the published code after
`random.seed(n)` draw by draw.

Sources: arXiv:2207.01398 and its code; repeated frames as in arXiv:2207.02159. Quirk: fixed; the
released evaluation shortens the clip and fills up with black frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


def sampling(length: int, *, stride: int, fixed_length: bool = True) -> list[int]:
    """Show every `stride`-th frame, each `stride` times: a lower frame rate of equal duration.

    Args:
        length: Number of frames.
        stride: Frames per shown frame.
        fixed_length: Whether frames are repeated so that the length is kept.
    """
    return _repeat(list(range(0, length, stride)), stride, length, fixed_length)


def reverse_sampling(length: int, *, stride: int, fixed_length: bool = True) -> list[int]:
    """Show every `stride`-th frame, the last one first.

    Args:
        length: Number of frames.
        stride: Frames per shown frame.
        fixed_length: Whether frames are repeated so that the length is kept.
    """
    return _repeat(list(range(0, length, stride))[::-1], stride, length, fixed_length)


def jumbling(length: int, order: random.Random, *, window: int) -> list[int]:
    """Shuffle the frames inside consecutive windows (the last one may be shorter).

    Args:
        length: Number of frames.
        order: Source of the permutations, one per window in order.
        window: Frames per window.
    """
    shown: list[int] = []
    for start in range(0, length, window):
        frames = list(range(start, min(start + window, length)))
        order.shuffle(frames)
        shown += frames
    return shown


def box_jumbling(length: int, order: random.Random, *, segment: int) -> list[int]:
    """Shuffle consecutive segments (the last one may be shorter), keeping the order inside.

    Args:
        length: Number of frames.
        order: Source of the permutation of segments.
        segment: Frames per segment; at least `length` changes nothing.
    """
    segments = [range(start, min(start + segment, length)) for start in range(0, length, segment)]
    order.shuffle(segments)
    return [frame for frames in segments for frame in frames]


def freezing(
    length: int,
    order: random.Random,
    *,
    share: float,
    at_least: int,
    fixed_length: bool = True,
) -> list[int]:
    """Keep a random subset of frames, each shown until the next one.

    Quirk: fixed with `fixed_length`; the released evaluation drops the frames before the first
    kept one, and keeps none of a very short clip. Here frame 0 is kept too, as in
    arXiv:2207.02159, and at least one frame always.

    Args:
        length: Number of frames.
        order: Source of the subset.
        share: Share of frames drawn.
        at_least: Smallest number drawn.
        fixed_length: Whether the clip starts at frame 0.
    """
    count = min(length, max(int(share * length), int(at_least)))
    kept = sorted(order.sample(range(length), count))
    if fixed_length and kept[0] != 0:
        kept = [0, *kept]
    ends = [*kept[1:], length]
    return [frame for frame, end in zip(kept, ends, strict=True) for _ in range(end - frame)]


def freezing_stochastic(length: int, order: random.Random, *, probability: float) -> list[int]:
    """Hold the picture at random; when a freeze ends, playback jumps to the current frame.

    Args:
        length: Number of frames.
        order: Source of one number per frame after the first.
        probability: Probability that a frame repeats the previous output.
    """
    shown = [0]
    for frame in range(1, length):
        shown.append(shown[-1] if order.random() < probability else frame)
    return shown


def reversal(length: int) -> list[int]:
    """Show the last frame first.

    Args:
        length: Number of frames.
    """
    return list(range(length))[::-1]


def frame_shuffle(length: int, order: random.Random) -> list[int]:
    """Show the frames in any order.

    Args:
        length: Number of frames.
        order: Source of the permutation.
    """
    frames = list(range(length))
    order.shuffle(frames)
    return frames


def frame_rate(length: int, *, rate_fps: float, source_fps: float) -> list[int]:
    """Show the video at a lower frame rate, each kept frame until the next (arXiv:2110.06513).

    Args:
        length: Number of frames.
        rate_fps: Rate that is left, frames per second.
        source_fps: Rate of the video, frames per second.
    """
    kept = rate_fps / source_fps
    # a hair more: a product such as 5 * (6 / 30) may end just below a whole number
    return [min(t, round(int(t * kept + 1e-9) / kept)) for t in range(length)]


def _repeat(kept: list[int], stride: int, length: int, fixed_length: bool) -> list[int]:
    if not fixed_length:
        return kept
    return [frame for frame in kept for _ in range(stride)][:length]
