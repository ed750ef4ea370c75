"""Drawings of a report: numbers in, matplotlib figures out. No file of a sweep is read here.

matplotlib is imported where something is drawn: the answer alone needs none of it.
"""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

P = ParamSpec("P")
Numbers = Sequence[float] | np.ndarray

#: Width of every figure: the text column of the page, also legible when printed on A4.
WIDTH_IN = 8.2
INK, SOFT, FAINT, RULE = "#1f2328", "#5b636d", "#9aa2ab", "#e3e6ea"
#: Okabe and Ito's palette without yellow (too light on white), darkest first.
HUES = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9", "#7F5539")
GREY, BLACK = "#7a828b", "#1f2328"
#: More curves than this are not all named: only the anchors and the extremes.
MOST_LABELS = 9
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6,
    "axes.labelsize": 8,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text: small files, the reader's own fonts
    "svg.hashsalt": "auxsweep",
    "figure.dpi": 100,
}


def _styled(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """Draw under the report's style, without touching the caller's matplotlib settings."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        import matplotlib as mpl

        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return inner


def save(drawing: Drawing, folder: Path, name: str) -> tuple[str, list[Path]]:
    """Write `name.svg` and `name.png`; returns the SVG text and both paths."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        engine = drawing.get_layout_engine()
        if engine is not None:
            engine.execute(drawing)  # once, for both files
        drawing.set_layout_engine(None)  # a placeholder ("none") would draw everything once more
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        FigureCanvasAgg(drawing)
        png = folder / f"{name}.png"
        drawing.savefig(png, dpi=150, metadata={"Software": None})
    # the XML head names the DTD by URL: a report must not name anything outside itself
    text = re.sub(r"<\?xml.*?<svg", "<svg", buffer.getvalue(), count=1, flags=re.DOTALL)
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    svg = folder / f"{name}.svg"
    svg.write_text(text, encoding="utf-8")
    return text, [svg, png]


def colours(cells: Sequence[str], sizes: Mapping[str, int]) -> dict[str, str]:
    """Cell -> colour: `none` grey, the full set black, up to seven others by hue, more by size."""
    import matplotlib as mpl

    found = {}
    full = max(sizes.values(), default=0)
    anchors = {name for name in cells if sizes[name] == 0}
    fullest = [name for name in cells if sizes[name] == full and full > 0]
    if len(fullest) == 1:
        anchors.add(fullest[0])
    others = [name for name in cells if name not in anchors]
    ramp = mpl.colormaps["viridis"]
    for name in cells:
        if name in anchors:
            found[name] = GREY if sizes[name] == 0 else BLACK
        elif len(others) <= len(HUES):
            found[name] = HUES[others.index(name)]
        else:
            red, green, blue, _ = ramp(0.08 + 0.78 * sizes[name] / max(full, 1))
            found[name] = f"#{int(red * 255):02x}{int(green * 255):02x}{int(blue * 255):02x}"
    return found


def _canvas(
    height: float, rows: int, columns: int, *, width_in: float = WIDTH_IN, **options: Any
) -> tuple[Drawing, np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.05)
    drawing = Figure(figsize=(width_in, height), layout=engine)
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(rows, columns, squeeze=False, **options)
    return drawing, axes


# ------------------------------------------------------------------------------------- forest


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A row of a forest plot: mean, interval, one dot per seed."""

    label: str
    mean: float
    low: float
    high: float
    points: Sequence[float]
    n: int
    strong: bool = False
    apart: bool = False


@_styled
def forest(
    panels: Mapping[str, Sequence[Bar]], *, unit: str, width_in: float = WIDTH_IN
) -> Drawing:
    """Intervals per outcome on one common scale; filled = resolved, dots = seeds.

    A bar that leaves the common scale ends in an arrow, so that one unstable comparison does not
    squeeze all the others.
    """
    from matplotlib.ticker import MaxNLocator

    names = [bar.label for bar in next(iter(panels.values()))]
    columns = min(len(panels), 4)
    lines = math.ceil(len(panels) / columns)
    height = lines * (0.62 + 0.27 * len(names)) + 0.25
    drawing, axes = _canvas(height, lines, columns, width_in=width_in, sharey=True, sharex=True)
    reach = _reach([bar for rows in panels.values() for bar in rows])
    for ax, (title, rows) in zip(axes.flat, panels.items(), strict=False):
        ax.axvline(0, color=INK, linewidth=0.8, zorder=1)
        for y, bar in enumerate(rows):
            _bar(ax, y, bar, reach)
            if bar.apart:
                ax.axhline(y - 0.5, color=FAINT, linewidth=0.6, linestyle=(0, (2, 2)))
        ax.set_title(title)
        ax.set_yticks(range(len(names)), names, color=INK)
        ax.tick_params(axis="y", pad=7)
        ax.grid(visible=False, axis="y")
        ax.spines["left"].set_visible(False)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlim(-reach, reach)
        ax.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    drawing.supxlabel(unit, fontsize=8, color=SOFT)
    return drawing


def _reach(rows: Sequence[Bar]) -> float:
    """Half range of a forest plot: everything, unless that squeezes the typical bar to half."""
    means = [abs(bar.mean) for bar in rows if math.isfinite(bar.mean)]
    points = [abs(v) for bar in rows for v in bar.points]
    ends = [abs(v) for bar in rows for v in (bar.low, bar.high) if math.isfinite(v)]
    typical = max(
        1.15 * max([*means, 1.0]),
        1.05 * float(np.quantile(ends, 0.8)) if ends else 1.0,
        float(np.quantile(points, 0.95)) if points else 1.0,
    )
    everything = 1.03 * max([*ends, *points, 1.0])
    return max(typical, everything) if everything <= 2 * typical else typical


def _bar(ax: Axes, y: float, bar: Bar, reach: float) -> None:
    colour = (HUES[0] if bar.mean > 0 else HUES[1]) if bar.strong else GREY
    inside = [v for v in bar.points if abs(v) <= reach]
    ax.scatter(inside, [y + 0.22] * len(inside), s=7, color=FAINT, linewidths=0, zorder=2)
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        low, high = max(bar.low, -reach), min(bar.high, reach)
        ax.plot([low, high], [y, y], color=colour, linewidth=2.2, zorder=3)
        for end, marker, cut in ((low, "<", bar.low < -reach), (high, ">", bar.high > reach)):
            if cut:
                ax.plot(end, y, marker=marker, color=colour, markersize=5, clip_on=False, zorder=4)
    if math.isfinite(bar.mean):
        ax.plot(
            bar.mean, y, "o", markersize=5.5, zorder=5,
            color=colour, markerfacecolor=colour if bar.strong else "white", markeredgewidth=1.3,
        )  # fmt: skip


# ------------------------------------------------------------------------------------- heat map


@_styled
def heatmap(
    values: np.ndarray,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    groups: Sequence[str],
    unit: str,
    diverging: bool,
    marked: np.ndarray | None = None,
) -> Drawing:
    """Numbers on colour: rows x columns, columns under the name of their group.

    Args:
        values: (rows, columns), NaN where there is nothing.
        rows: Labels.
        columns: Labels.
        groups: Group of every column, such as `noise`; equal neighbours share a heading.
        unit: Of the numbers.
        diverging: Symmetric around 0 (blue gains, red loses) instead of light to dark.
        marked: Bool of the same shape: printed bold.
    """
    import matplotlib as mpl
    from matplotlib.colors import Normalize

    height = 1.55 + 0.27 * len(rows)
    drawing, axes = _canvas(height, 1, 1)
    ax = axes[0, 0]
    finite = values[np.isfinite(values)]
    if diverging:
        reach = max(float(np.quantile(np.abs(finite), 0.97)) if finite.size else 1.0, 1.0)
        scale, palette = Normalize(-reach * 1.35, reach * 1.35), mpl.colormaps["RdBu"]
    else:
        scale, palette = Normalize(0, 135), mpl.colormaps["Blues"]
    # a mesh stays vector; white edges are the gaps between the fields
    ax.pcolormesh(
        np.arange(len(columns) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5,
        np.ma.masked_invalid(values), cmap=palette, norm=scale, edgecolors="white", linewidth=1.2,
    )  # fmt: skip
    ax.set_ylim(len(rows) - 0.5, -0.5)
    digits = 1 if len(columns) <= 17 and not diverging else 0
    digits = 1 if diverging and len(columns) <= 20 else digits
    small = 6.6 if len(columns) <= 17 else 5.8
    # numbers lie inside the axes: the layout need not measure them
    inside: Any = {"ha": "center", "va": "center", "in_layout": False}
    for (i, j), value in np.ndenumerate(values):
        if not math.isfinite(value):
            ax.text(j, i, "–", color=FAINT, **inside)
            continue
        shade = palette(scale(value))
        light = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2]
        bold = marked is not None and bool(marked[i, j])
        text = f"{value:+.{digits}f}" if diverging else f"{value:.{digits}f}"
        text = text[1:] if diverging and float(text) == 0 else text
        ax.text(
            j, i, text.replace("-", "\u2212"), fontsize=small, **inside,
            color="white" if light < 0.48 else INK, fontweight="bold" if bold else "normal",
        )  # fmt: skip
    ax.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(colors=INK, length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    _group_heads(ax, groups)
    drawing.supxlabel(unit, fontsize=8, color=SOFT)
    return drawing


def _group_heads(ax: Axes, groups: Sequence[str]) -> None:
    # letters that fit over one column: names of narrow groups are cut, so that they do not meet
    fitting = 0.8 * WIDTH_IN / len(groups) / 0.06
    start = 0
    for i in range(1, len(groups) + 1):
        if i == len(groups) or groups[i] != groups[start]:
            ax.plot(
                [start - 0.42, i - 1 + 0.42], [-0.62, -0.62],
                color=SOFT, linewidth=0.8, clip_on=False,
            )  # fmt: skip
            most = max(3, int(fitting * (i - start)))
            name = groups[start] if len(groups[start]) <= most else f"{groups[start][: most - 1]}."
            ax.text(
                (start + i - 1) / 2, -0.72, name,
                ha="center", va="bottom", fontsize=7.5, color=SOFT,
            )  # fmt: skip
            start = i


# ------------------------------------------------------------------------------------- scatter


@dataclass(frozen=True, kw_only=True)
class Dots:
    """One cell in a scatter plot: (x, y) per seed."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]


@_styled
def scatter(panels: Mapping[str, Sequence[Dots]], *, x_unit: str, y_unit: str) -> Drawing:
    """Accuracy against accuracy under stress, with lines of equal relative robustness."""
    columns = min(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    drawing, axes = _canvas(lines * (0.85 * WIDTH_IN / columns + 0.1), lines, columns)
    everything = [p for rows in panels.values() for dots in rows for p in dots.points]
    low = min(min(p) for p in everything)
    x_low = max(0.0, min(p[0] for p in everything) - 6)
    x_high = min(101.0, max(p[0] for p in everything) + 8)
    y_low = max(0.0, low - 5)
    y_high = min(101.0, max(max(p) for p in everything) + 5)
    for i, (ax, (title, rows)) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        ax.set_xlim(x_low, x_high)
        ax.set_ylim(y_low, y_high)
        for gamma in (1.0, 0.8, 0.6, 0.4):
            ax.plot(
                [0, 101], [0, 101 * gamma], zorder=1,
                color=FAINT, linewidth=0.8, linestyle="-" if gamma == 1 else (0, (3, 3)),
            )  # fmt: skip
            _line_label(ax, gamma, (x_low, x_high), (y_low, y_high))
        marks = []
        for dots in rows:
            x, y = (np.array(v) for v in zip(*dots.points, strict=True))
            ax.scatter(x, y, s=9, color=dots.colour, alpha=0.45, linewidths=0, zorder=2)
            ax.scatter(
                x.mean(), y.mean(), s=38, color=dots.colour, edgecolor="white", linewidth=0.8,
                zorder=3,
            )  # fmt: skip
            marks.append((float(x.mean()), float(y.mean()), dots))
        ax.set_title(title)
        ax.set_xlabel(x_unit)
        if i % columns == 0:
            ax.set_ylabel(y_unit)
        _side_labels(ax, [(d.label, d.colour, x, y) for x, y, d in marks])
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    return drawing


def _line_label(
    ax: Axes, gamma: float, x_range: tuple[float, float], y_range: tuple[float, float]
) -> None:
    """`γr = .8` along the line where it leaves the panel, if it runs through it."""
    x = min(x_range[1], y_range[1] / gamma)
    if x * gamma <= y_range[0] + 2 or x <= x_range[0]:
        return
    x -= 0.015 * (x_range[1] - x_range[0])
    text = "γr = 1" if gamma == 1 else f"γr = {gamma:.1f}".replace("0.", ".")
    ax.text(
        x, x * gamma, text, ha="right", va="bottom", fontsize=6, color=SOFT,
        rotation=math.degrees(math.atan(gamma)), rotation_mode="anchor",
        transform_rotates_text=True,
    )  # fmt: skip


def spread(values: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Positions near the values, at least ``gap`` apart, inside low..high where there is room."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    placed = [values[i] for i in order]
    for _ in range(200):
        moved = False
        for k in range(1, len(placed)):
            short = gap - (placed[k] - placed[k - 1])
            if short > 1e-9:
                placed[k - 1] -= short / 2
                placed[k] += short / 2
                moved = True
        if placed and placed[0] < low:
            placed[0], moved = low, True
        if placed and placed[-1] > high:
            placed[-1], moved = high, True
        if not moved:
            break
    found = [0.0] * len(values)
    for i, value in zip(order, placed, strict=True):
        found[i] = value
    return found


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """Dots on one pair of axes.

    Attributes:
        title: Above the axes.
        points: (x, y, hollow) of every dot.
        x_unit: Label of the x axis.
        y_unit: Label of the y axis.
    """

    title: str
    points: Sequence[tuple[float, float, bool]]
    x_unit: str
    y_unit: str


@_styled
def clouds(panels: Sequence[Cloud], *, columns: int = 3, width_in: float = WIDTH_IN) -> Drawing:
    """Small scatter plots with a line of least squares, each on its own scales."""
    columns = min(columns, len(panels))
    lines = math.ceil(len(panels) / columns)
    drawing, axes = _canvas(lines * 2.35 + 0.1, lines, columns, width_in=width_in)
    for ax, panel in zip(axes.flat, panels, strict=False):
        x, y = np.array([p[0] for p in panel.points]), np.array([p[1] for p in panel.points])
        hollow = np.array([p[2] for p in panel.points], dtype=bool)
        if len(x) > 1 and np.ptp(x) > 0:
            ends = np.array([x.min(), x.max()])
            slope, height = np.polyfit(x, y, 1)
            ax.plot(ends, height + slope * ends, color=FAINT, linewidth=1.0, zorder=1)
        ax.scatter(x[~hollow], y[~hollow], s=18, color=HUES[0], alpha=0.75, linewidths=0, zorder=2)
        ax.scatter(
            x[hollow], y[hollow], s=18, facecolors="white", edgecolors=HUES[1], linewidths=1.1,
            zorder=3,
        )  # fmt: skip
        ax.set_title(panel.title)
        ax.set_xlabel(panel.x_unit)
        ax.set_ylabel(panel.y_unit)
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    return drawing


# ------------------------------------------------------------------------------------- curves


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve; ``band`` holds fainter curves behind it (one per seed)."""

    label: str
    colour: str
    x: Numbers
    y: Numbers
    band: Sequence[tuple[Numbers, Numbers]] = ()
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Curves on one pair of axes."""

    title: str
    lines: Sequence[Line]
    ticks: Mapping[float, str] | None = None
    rule: tuple[float, str] | None = None


@_styled
def curves(
    panels: Sequence[Panel],
    *,
    x_unit: str,
    y_unit: str,
    columns: int = 3,
    floor: float | None = None,
    share_y: bool = True,
    labelled: Callable[[int], bool] = lambda _: True,
    markers: bool = False,
    logarithmic: bool = False,
    height_in: float = 1.95,
) -> Drawing:
    """Small multiples of labelled curves.

    Args:
        panels: One per drawing.
        x_unit: Label of the x axes.
        y_unit: Label of the y axes.
        columns: Panels side by side.
        floor: Lower end of the y axes.
        share_y: One scale for all panels.
        labelled: Whether panel i carries the labels of its curves.
        markers: Dots on the curves.
        logarithmic: Of the y axis.
        height_in: Of one row of panels.
    """
    columns = min(columns, len(panels))
    lines = math.ceil(len(panels) / columns)
    drawing, axes = _canvas(lines * height_in + 0.25, lines, columns, sharey=share_y)
    for ax, panel in zip(axes.flat, panels, strict=False):
        for line in panel.lines:
            for x, y in line.band:
                ax.plot(x, y, color=line.colour, linewidth=0.6, alpha=0.3)
            ax.plot(
                line.x, line.y, color=line.colour, marker="o" if markers else None, markersize=2.8,
                linestyle=(0, (3, 2)) if line.dashed else "-",
            )  # fmt: skip
        if panel.rule is not None:
            ax.axhline(panel.rule[0], color=INK, linewidth=0.7, linestyle=(0, (2, 2)))
            ax.annotate(
                panel.rule[1], (0.99, panel.rule[0]), xycoords=("axes fraction", "data"),
                xytext=(0, 2), textcoords="offset points", ha="right", fontsize=6.5, color=SOFT,
            )  # fmt: skip
        if panel.ticks is not None:
            ax.set_xticks(list(panel.ticks), list(panel.ticks.values()), fontsize=6.3)
        if logarithmic:
            ax.set_yscale("log")
        ax.set_title(panel.title)
    if floor is not None:
        axes[0, 0].set_ylim(bottom=floor)
    for i, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        if floor is not None:
            ax.set_ylim(bottom=floor)
        _end_labels(ax, panel.lines, labelled(i))
        if i >= len(panels) - columns:
            ax.set_xlabel(x_unit)
        if i % columns == 0:
            ax.set_ylabel(y_unit)
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    return drawing


def _end_labels(ax: Axes, lines: Sequence[Line], shown: bool) -> None:
    ends = [(line.label, line.colour, line.x[-1], line.y[-1]) for line in lines if len(line.y)]
    if shown:
        _side_labels(ax, ends)


def _side_labels(ax: Axes, marks: Sequence[tuple[str, str, float, float]]) -> None:
    """Names right of the axes, moved apart, joined to their point by a thin line.

    Beyond ``MOST_LABELS``, only the anchors (none, all) and the extremes are named.
    """
    marks = [mark for mark in marks if math.isfinite(mark[3])]
    if not marks:
        return
    if len(marks) > MOST_LABELS:
        order = sorted(marks, key=lambda mark: mark[3])
        anchors = [mark for mark in marks if mark[1] in {GREY, BLACK}]
        marks = list({mark[0]: mark for mark in [*anchors, order[0], order[-1]]}.values())
    ax.get_xlim(), ax.get_ylim()  # settles the limits that the positions below refer to
    to_axes = ax.transData + ax.transAxes.inverted()
    ends = [to_axes.transform((x, y)) for _, _, x, y in marks]
    placed = spread([float(end[1]) for end in ends], gap=0.085, low=0.0, high=1.0)
    for (label, colour, _, _), end, to in zip(marks, ends, placed, strict=True):
        ax.annotate(
            label, (float(end[0]), float(end[1])), xytext=(1.05, to),
            xycoords="axes fraction", textcoords="axes fraction",
            fontsize=6.6, color=colour, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6,
                        "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip


# ------------------------------------------------------------------------------------- dose


@dataclass(frozen=True, kw_only=True)
class DosePanel:
    """Outcome against the number of losses.

    Attributes:
        title: Outcome.
        points: (k, value, hollow) of every loss set.
        means: k -> (mean, low, high) over loss sets.
        curves: Name -> (x, y); the first is the one that is named.
    """

    title: str
    points: Sequence[tuple[float, float, bool]]
    means: Mapping[int, tuple[float, float, float]]
    curves: Mapping[str, tuple[Numbers, Numbers]]


@_styled
def dose(panels: Sequence[DosePanel], *, y_unit: str, width_in: float = WIDTH_IN) -> Drawing:
    """Dots are loss sets, bars the 95 % intervals over them, lines the fits."""
    columns = min(len(panels), 4)
    lines = math.ceil(len(panels) / columns)
    drawing, axes = _canvas(lines * 2.4 + 0.2, lines, columns, width_in=width_in)
    for i, (ax, panel) in enumerate(zip(axes.flat, panels, strict=False)):
        for rank, (name, (x, y)) in enumerate(panel.curves.items()):
            ax.plot(
                x, y, color=HUES[0] if rank == 0 else FAINT, linewidth=1.6 if rank == 0 else 0.8,
                linestyle="-" if rank == 0 else (0, (3, 2)), zorder=2 if rank == 0 else 1,
            )  # fmt: skip
            if rank == 0:
                ax.set_title(f"{panel.title}: {name}")
        if not panel.curves:
            ax.set_title(panel.title)
        k, values, hollow = zip(*panel.points, strict=True)
        faces = ["none" if one else GREY for one in hollow]
        ax.scatter(
            k, values, s=10, facecolors=faces, edgecolors=GREY, alpha=0.6, linewidths=0.6, zorder=3
        )
        for at, (mean, low, high) in panel.means.items():
            if math.isfinite(low):
                ax.plot([at, at], [low, high], color=INK, linewidth=1.2, zorder=4)
            ax.plot(at, mean, "o", color=INK, markersize=4.5, zorder=5)
        spread_y = max(values) - min(values)
        margin = max(2.0, 0.6 * spread_y)
        ax.set_ylim(max(0, min(values) - margin), min(101, max(values) + margin))
        ax.set_xticks(sorted(panel.means))
        ax.set_xlabel("number of auxiliary losses")
        if i % columns == 0:
            ax.set_ylabel(y_unit)
    for ax in list(axes.flat)[len(panels) :]:
        ax.set_visible(False)
    return drawing


# ------------------------------------------------------------------------------------- search


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A trial of a search in a figure; ``role`` is `tried`, `best` or `anchor`."""

    label: str
    x: float
    y: float
    low: float
    high: float
    role: str = "tried"


@_styled
def search_course(trials: Sequence[Tried], *, y_unit: str, rising: bool = True) -> Drawing:
    """Values in the order of the search, with the best so far as a line."""
    from matplotlib.ticker import MaxNLocator

    drawing, axes = _canvas(2.6, 1, 1)
    ax = axes[0, 0]
    _tries(ax, trials)
    x = [t.x for t in trials if t.role != "anchor"]
    y = [t.y for t in trials if t.role != "anchor"]
    best = np.maximum.accumulate(y) if rising else np.minimum.accumulate(y)
    ax.step(x, best, where="post", color=INK, linewidth=1.0, zorder=2)
    ax.set_xlabel("suggestion")
    ax.set_ylabel(y_unit)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return drawing


@_styled
def pareto(
    trials: Sequence[Tried], front: Sequence[tuple[float, float]], *, x_unit: str, y_unit: str
) -> Drawing:
    """Two objectives against each other; the line joins the trials that none beats on both."""
    drawing, axes = _canvas(4.2, 1, 1)
    ax = axes[0, 0]
    _tries(ax, trials)
    if len(front) > 1:
        x, y = zip(*sorted(front), strict=True)
        ax.plot(x, y, color=INK, linewidth=1.0, zorder=2)
    ax.set_xlabel(x_unit)
    ax.set_ylabel(y_unit)
    named = [t for t in trials if t.label]
    _side_labels(ax, [(t.label, _ROLES[t.role], t.x, t.y) for t in named])
    return drawing


_ROLES = {"tried": FAINT, "best": HUES[0], "anchor": HUES[1]}


def _tries(ax: Axes, trials: Sequence[Tried]) -> None:
    for role, colour in _ROLES.items():
        rows = [t for t in trials if t.role == role]
        for t in rows:
            if t.high > t.low:
                ax.plot([t.x, t.x], [t.low, t.high], color=colour, linewidth=1.0, zorder=2)
        ax.scatter(
            [t.x for t in rows], [t.y for t in rows], s=26 if role != "tried" else 16,
            color=colour, edgecolor="white", linewidth=0.6, zorder=3,
            marker="D" if role == "anchor" else "o",
        )  # fmt: skip
