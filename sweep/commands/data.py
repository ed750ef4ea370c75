"""`data make|index|cache|verify`: prepare a data set and show what is in it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from sweep.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sweep.data.survey import Survey
    from sweep.data.verify import Verdict
    from sweep.settings.data import DataSettings

Action = Literal["make", "index", "cache", "verify"]

_STAGES = {
    "make": "encoding clips",
    "index": "looking at videos",
    "decode": "decoding into the cache",
    "reread": "reading the files again",
    "verify": "decoding a sample by both libraries",
}
_LINE_EVERY_S = 5.0
_SHOWN = 20
#: Kinds of unusable videos that have a column only where there are any.
_RARE = ("timeout", "refused", "other_class")


def run(action: Action, settings: DataSettings, *, console: Console | None = None) -> int:
    """Carry out one action and print its result.

    Args:
        action: `make`: embedded data on disk; `index`: and every video looked at; `cache`: and
            decoded; `verify`: and the files read again, a sample decoded again by both libraries.
        settings: Which data.
        console: Where to print; None = standard output.

    Returns:
        0, or 1 when `verify` found a difference, or `index` too many unusable videos or test clips
        that are trained on.

    Raises:
        ValueError: Unknown data set, a root without its files, or (`cache`, `verify`) too many
            unusable videos.
    """
    from sweep.data import prepare
    from sweep.data.decoding import cache
    from sweep.data.verify import verify

    console = console or Console()
    with _progress(console) as progress:
        root = prepare.make(settings, progress=progress)
        if action != "make":
            retry = action == "index"
            survey = prepare.index(settings, retry=retry, is_strict=False, progress=progress)
    console.print(f"{settings.dataset} in {root}", highlight=False, soft_wrap=True)
    if action == "make":
        console.print("made" if settings.root is None else "found")
        return 0
    _show(console, survey)
    try:
        prepare.check(settings, survey)
        if action == "index":  # the others store and compare frames, whoever shares them
            prepare.check_overlap(settings, survey)
    except ValueError as error:
        if action != "index":
            raise
        console.print(f"[red]{error}[/red]", highlight=False, soft_wrap=True)
        return 1
    if action == "index":
        return 0
    with _progress(console) as progress:
        cache.build(settings, survey.stored, progress=lambda *n: progress("decode", *n))
    _show_stores(console, survey, settings)
    if action == "cache":
        return 0
    with _progress(console) as progress:
        verdict = verify(settings, survey, progress=progress)
    return _show_verdict(console, verdict)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar per stage on a terminal; elsewhere a line every few seconds and at the end."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES[stage], total=total)
            bars.update(tasks[stage], completed=done)

        yield show


class _Lines:
    """Progress as plain lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done < total and time.monotonic() - self.last < _LINE_EVERY_S:
            return
        self.last = time.monotonic()
        self.console.print(f"{_STAGES[stage]}: {done}/{total}", highlight=False)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    return table


def _show(console: Console, survey: Survey) -> None:
    from sweep.data.overlap import describe_shared

    rare = [kind for kind in _RARE if any(c.get(f"n_{kind}") for c in survey.counts.values())]
    kinds = ("total", "used", "excluded", "missing", "corrupt", "partial", *rare)
    table = _table("set", *kinds)
    for name, count in survey.counts.items():
        table.add_row(name, *(str(count.get(f"n_{kind}") or "-") for kind in kinds))
    console.print(table)
    labels = survey.sets.labels["train"].names
    console.print(
        f"{len(labels) or 'no'} classes, fingerprint {survey.fingerprint}", highlight=False
    )
    if shared := describe_shared(survey.counts):
        console.print(f"shared with training: {shared}", highlight=False, soft_wrap=True)
    if survey.noted:
        _list(console, "used, but odd", "note", survey.noted)
        if len(survey.noted) > _SHOWN:
            console.print(f"{len(survey.noted) - _SHOWN} more")
    if survey.excluded:
        _list(console, "left out", "reason", survey.excluded)
        more = len(survey.excluded) - _SHOWN
        tail = f"{more} more in" if more > 0 else "listed in"
        console.print(f"{tail} {survey.excluded_list}", highlight=False, soft_wrap=True)


def _list(console: Console, title: str, last: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Files by set, id and what is said of them; the first ones only."""
    table = Table(box=None, header_style="bold", pad_edge=False, title=title)
    table.title_justify = "left"
    for column in ("set", "id", last):
        table.add_column(column, overflow="fold")
    for row in rows[:_SHOWN]:
        table.add_row(row["split"], row["id"], row[last])
    console.print(table)


def _show_stores(console: Console, survey: Survey, settings: DataSettings) -> None:
    clip = settings.cache_frames * 3 * settings.size_px**2
    clips = sum(len(one.records) for one in survey.stored)
    shape = f"{settings.cache_frames} frames of {settings.size_px} x {settings.size_px}"
    size = f"{clips * clip / 1e9:.2f} GB"
    from sweep.data.folders import cache_of

    where = cache_of(settings) / "clips"
    console.print(f"{clips} clips of {shape}, {size} in {where}", highlight=False, soft_wrap=True)


def _show_verdict(console: Console, verdict: Verdict) -> int:
    same = verdict.compared - len(verdict.different)
    lines = [
        f"{len(verdict.files_changed)} of {verdict.files_checked} files changed",
        *(f"  changed: {name}" for name in verdict.files_changed[:_SHOWN]),
        f"{same} of {verdict.compared} clips decode to the stored bytes again",
        *(f"  differs: {name}" for name in verdict.different[:_SHOWN]),
        f"{verdict.agreed} of {verdict.compared} clips show the same frames by the other library",
        *(f"  disputed: {name}" for name in verdict.disputed[:_SHOWN]),
        *(f"  not asked: {name}" for name in verdict.unheard[:_SHOWN]),
    ]
    if verdict.disputed:
        lines.append(
            "decord is wrong on some files; look at the disputed ones "
            f"({program('perturb', 'VIDEO', '--out', 'DIR')})"
        )
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
    return 0 if verdict.passed else 1
