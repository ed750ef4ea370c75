"""Pictures of perturbations to look at: one sheet per category.

A row is a perturbation, a column a severity, the clean clip first. Pixels are shown as they are
(never resampled, only repeated when the frames are small), so that noise and blocks look like what
the model gets. Where time matters a tile is a film strip, and perturbations of time carry a plot
of which frame is shown when.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, SOFT, FAINT, WARN = (24, 28, 36), (104, 112, 124), (226, 229, 234), (176, 58, 30)
PAPER, PANEL = (255, 255, 255), (244, 245, 247)
_GAP, _BETWEEN = 10, 3
_LABEL_WIDTH = 236
_HEADER = 116
_CAPTION = 40
_PLOT = 84


@dataclass(frozen=True)
class Tile:
    """One perturbation at one severity.

    Attributes:
        frames: (T, H, W, 3) uint8, or None if it could not be made.
        caption: Constants of the severity.
        shown: Source frame at every time, for perturbations of time.
        note: Remark in a second line, such as the distance to the clean clip.
        is_odd: Whether the remark deserves attention.
    """

    frames: np.ndarray | None
    caption: str
    shown: tuple[int, ...] | None = None
    note: str = ""
    is_odd: bool = False


@dataclass(frozen=True)
class Row:
    """One perturbation.

    Attributes:
        name: Canonical name.
        text: What its constants mean.
        tiles: Clean first, then the severities.
        strip: Frames per tile: 1 shows the middle one.
    """

    name: str
    text: str
    tiles: tuple[Tile, ...]
    strip: int = 1


def draw_sheet(title: str, subtitle: str, rows: list[Row], *, severities: list[int]) -> Image.Image:
    """Draw one category.

    Args:
        title: Category.
        subtitle: Where the frames come from and how they were perturbed.
        rows: At least one.
        severities: Column heads after the clean one.
    """
    columns = 1 + len(severities)
    sizes = [_tile_size(row) for row in rows]
    tile_width = max(width for width, _ in sizes)
    heights = [_CAPTION + height + (_PLOT if _has_plot(row) else 0) + 2 * _GAP
               for row, (_, height) in zip(rows, sizes, strict=True)]  # fmt: skip
    width = _LABEL_WIDTH + columns * (tile_width + _GAP) + _GAP
    sheet = Image.new("RGB", (width, _HEADER + sum(heights) + _GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((2 * _GAP, 14), title, INK, _font(30))
    pen.text((2 * _GAP, 54), subtitle, SOFT, _font(15))
    for column, head in enumerate(["clean", *(f"severity {s}" for s in severities)]):
        x = _LABEL_WIDTH + column * (tile_width + _GAP)
        pen.text((x, _HEADER - 22), head, INK, _font(16))
    top = _HEADER
    for row, height in zip(rows, heights, strict=True):
        pen.line([(2 * _GAP, top), (width - _GAP, top)], FAINT)
        _draw_label(pen, row, top + _GAP)
        for column, tile in enumerate(row.tiles):
            x = _LABEL_WIDTH + column * (tile_width + _GAP)
            _draw_tile(sheet, tile, row, (x, top + _GAP))
        top += height
    return sheet


def _draw_label(pen: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    pen.text((2 * _GAP, top), row.name.replace("_", " "), INK, _font(19))
    y = top + 28
    for line in _wrapped(row.text, _LABEL_WIDTH - 4 * _GAP, 13):
        pen.text((2 * _GAP, y), line, SOFT, _font(13))
        y += 17


def _draw_tile(sheet: Image.Image, tile: Tile, row: Row, at: tuple[int, int]) -> None:
    pen = ImageDraw.Draw(sheet)
    x, y = at
    width, height = _tile_size(row)
    pen.text((x, y), tile.caption, INK, _font(14))
    if tile.frames is not None:
        pen.text((x, y + 18), tile.note, WARN if tile.is_odd else SOFT, _font(12))
    y += _CAPTION
    if tile.frames is None:
        pen.rectangle([x, y, x + width - 1, y + height - 1], PANEL)
        for line, text in enumerate(_wrapped(tile.note, width - 2 * _GAP, 13)):
            pen.text((x + _GAP, y + _GAP + 17 * line), text, WARN, _font(13))
        return
    times = strip_times(len(tile.frames), row.strip)
    for place, time in enumerate(times):
        left = x + place * (_picture_size(row)[0] + _BETWEEN)
        sheet.paste(_picture(tile.frames[time], row), (left, y))
        if row.strip > 1:
            text = f"{time}" if tile.shown is None else f"frame {tile.shown[time]}"
            _tag(pen, (left, y), text)
    if tile.shown is not None:
        _draw_plot(pen, tile.shown, (x, y + height + 6), width)


def _draw_plot(
    pen: ImageDraw.ImageDraw, shown: tuple[int, ...], at: tuple[int, int], width: int
) -> None:
    """Source frame (up) over time (right); the clean diagonal is drawn faintly."""
    x, y = at
    height, count = _PLOT - 12, len(shown)
    pen.rectangle([x, y, x + width - 1, y + height], PANEL)
    step = width / count

    def up(frame: float) -> float:
        return y + height - 3 - frame / max(1, count - 1) * (height - 6)

    pen.line([(x + step / 2, up(0)), (x + width - step / 2, up(count - 1))], FAINT, 2)
    for time, frame in enumerate(shown):
        left = x + time * step
        colour = _colour(frame / max(1, count - 1))
        pen.rectangle([left + 0.5, up(frame) - 2, left + max(step - 1, 1.5), up(frame) + 2], colour)


def _colour(share: float) -> tuple[int, int, int]:
    """From blue (early) over purple to orange (late)."""
    stops = np.array([[38, 84, 168], [140, 64, 150], [226, 120, 34]], dtype=float)
    position = min(max(share, 0.0), 1.0) * 2
    low = min(int(position), 1)
    red, green, blue = stops[low] + (stops[low + 1] - stops[low]) * (position - low)
    return int(red), int(green), int(blue)


def _tag(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str) -> None:
    font = _font(11)
    box = pen.textbbox((at[0] + 4, at[1] + 2), text, font)
    pen.rectangle([at[0], at[1], box[2] + 4, box[3] + 3], (0, 0, 0))
    pen.text((at[0] + 4, at[1] + 2), text, (255, 255, 255), font)


def strip_times(length: int, count: int) -> list[int]:
    """Places of so many frames from the first to the last; the middle one of one."""
    if count == 1:
        return [length // 2]
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]


def _tile_size(row: Row) -> tuple[int, int]:
    """Width and height of a tile, px."""
    width, height = _picture_size(row)
    return row.strip * width + _BETWEEN * (row.strip - 1), height


def _picture_size(row: Row) -> tuple[int, int]:
    """Single frames are at least 192 px wide, those of a strip about 112; whole ratios only."""
    frames = next(tile.frames for tile in row.tiles if tile.frames is not None)
    height, width = frames.shape[1:3]
    wanted = 192 if row.strip == 1 else 96
    times, part = -(-wanted // width), width // wanted
    if row.strip > 1 and part > 1:
        return -(-width // part), -(-height // part)
    return width * times, height * times


def _picture(frame: np.ndarray, row: Row) -> Image.Image:
    size = _picture_size(row)
    picture = Image.fromarray(frame)
    if size[0] < frame.shape[1]:
        return picture.reduce(-(-frame.shape[1] // size[0]))
    return picture.resize(size, Image.Resampling.NEAREST)


def _has_plot(row: Row) -> bool:
    return any(tile.shown is not None for tile in row.tiles)


def _wrapped(text: str, width: int, size: int) -> list[str]:
    font, lines = _font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
