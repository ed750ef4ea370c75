"""Videos whose frames carry their own number, in every form that containers and codecs allow."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

WIDTH, HEIGHT, BITS = 64, 48, 8


def picture(number, width=WIDTH, height=HEIGHT):
    """A frame that shows its number: eight squares, bright where the bit is set."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    squares = np.array([50 + 160 * bit for bit in bits], np.uint8).reshape(2, 4)
    rows, columns = (np.arange(height) * 2 // height, np.arange(width) * 4 // width)
    return np.repeat(squares[np.ix_(rows, columns)][..., None], 3, axis=2)


def numbers(frames):
    """The numbers that frames show, (n, H, W, 3) -> list."""
    height, width = frames.shape[1:3]
    shown = []
    for frame in frames:
        bits = [
            frame[
                (2 * row + 1) * height // 4 - 2 : (2 * row + 1) * height // 4 + 2,
                (2 * column + 1) * width // 8 - 2 : (2 * column + 1) * width // 8 + 2,
            ].mean()
            > 130
            for row in range(2)
            for column in range(4)
        ]
        shown.append(sum(1 << bit for bit, is_set in enumerate(bits) if is_set))
    return shown


def write(
    path, *, codec="libx264", frames=60, gop=12, b_frames=None, options=None, form=None,
    muxer=None, pixels="yuv420p", times_ms=None, fps=25, size=(WIDTH, HEIGHT), first=0,
):  # fmt: skip
    """A video of numbered frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form, options=muxer or {}) as container:
        stream = container.add_stream(codec, fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        context = stream.codec_context
        context.gop_size = gop
        if b_frames is not None:
            context.max_b_frames = b_frames
        context.time_base = Fraction(1, 1000 if times_ms else fps)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(first + index, *size), format="rgb24")
            frame = frame.reformat(format=pixels)
            frame.pts = times_ms[index] if times_ms else index
            frame.time_base = context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def copy(source, target, *, shift_s=0.0, form=None, muxer=None):
    """Packets as they are, moved in time: what `ffmpeg -c copy` does."""
    with (
        av.open(str(source)) as old,
        av.open(str(target), "w", format=form, options=muxer or {}) as new,
    ):
        stream = old.streams.video[0]
        copied = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                move = round(shift_s / float(packet.time_base))
                packet.stream = copied
                packet.pts, packet.dts = packet.pts + move, packet.dts + move
                new.mux(packet)


def cut(source, target, share):
    """The first part of a file, as an interrupted download leaves it."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
