"""Where a running sweep stands: counts, running cells, best so far, time left.

On a terminal this is a live table; elsewhere plain lines, one every few seconds at most. The same
numbers go to ``progress.json`` of the sweep folder, so that `status` can show them from outside.
"""

from __future__ import annotations

import heapq
import logging
import math
import re
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep.engine.contract import Listener
from sweep.engine.duration import duration
from sweep.records.files import write_json
from sweep.records.patterns import outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from sweep.engine.contract import Row
    from sweep.engine.demand import Demand
    from sweep.records.record import TrialRecord
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

log = logging.getLogger(__name__)
PLAIN_EVERY_S = 5.0
#: A line is printed after this share of the time that has passed: a long sweep has a short log.
PLAIN_SHARE = 1 / 60
PLAIN_AT_MOST_S = 300.0
FILE_EVERY_S = 2.0
MAX_RUNNING_ROWS = 16
#: Lost attempts that `status` can show.
MAX_LOST = 20
#: Silence of a running cell that is worth telling.
SILENT_S = 60.0
STEP = re.compile(r"step (\d+)/\d+")


@dataclass
class Running:
    """A cell at work."""

    label: str
    seed: int
    steps: int
    since: float = field(default_factory=time.monotonic)
    step: int = 0
    loss: float = math.nan
    attempt: int = 1
    at: str = ""
    heard: float = field(default_factory=time.monotonic)
    problem: str = ""

    @property
    def name(self) -> str:
        """`all - pixel s300`."""
        return f"{self.label} s{self.seed}"

    @property
    def phase(self) -> str:
        """What the cell is doing, as far as its reports tell."""
        if self.at and not self.at.startswith("step "):
            return self.at
        if self.step >= self.steps:
            return "testing"
        return f"step {self.step}/{self.steps}" if self.step else "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many cells of the plan (with those that a search may still suggest) are where."""

    total: int
    done: int = 0
    failed: int = 0
    stopped: int = 0
    reused: int = 0

    @property
    def left(self) -> int:
        """Those that still run or wait."""
        return self.total - self.done - self.failed - self.stopped


class Board(Listener):
    """Counts and the table. Use as a context manager around the work."""

    def __init__(
        self, study: StudyConfig, *, sweep: Path, total: int, console: Console | None = None
    ) -> None:
        self.study = study
        self.sweep = sweep
        self.counts = Counts(total=total)
        self.console = console or Console(stderr=True)
        self.running: dict[str, Running] = {}
        self.best: dict[str, tuple[float, str]] = {}
        self.lost_attempts: deque[dict[str, Any]] = deque(maxlen=MAX_LOST)
        self._problems: dict[str, str] = {}
        self._seconds: list[float] = []
        self._earlier: list[float] = []
        self._widest = 1
        self._has_begun = False
        self._began = time.monotonic()
        self._line_at = time.monotonic()
        self._file_at = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Board:
        self._began = time.monotonic()
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self.render,
                console=self.console,
                refresh_per_second=2,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        else:
            self._line()
        self._file()

    # ------------------------------------------------------------------------------- what happens

    def note(self, text: str) -> None:
        """Something to tell once: `starting Ray`, a failed cell."""
        self.console.print(Text(text), soft_wrap=True)

    def prepared(self, phase: str, done: int, total: int) -> None:
        """Progress of data preparation."""
        text = f"{phase} {done}/{total}" if total else phase
        if done >= total or time.monotonic() - self._line_at > PLAIN_EVERY_S:
            self._line_at = time.monotonic()
            self.console.print(Text(text), soft_wrap=True)

    def began(self, cell: TrialConfig, attempt: int, asked: Demand | None = None) -> None:  # noqa: ARG002
        """A worker began a cell."""
        self.running[cell.key] = Running(
            cell.label,
            cell.seed,
            cell.train.steps,
            attempt=attempt,
            problem=self._problems.get(cell.key, ""),
        )
        self._widest = max(self._widest, len(self.running))
        self._has_begun = True
        self.tick()

    def heard(self, key: str, at: str) -> None:
        """A cell gave a sign of life, and says what it is at."""
        cell = self.running.get(key)
        if cell is not None:
            cell.heard = time.monotonic()
            cell.at = at or cell.at
            if match := STEP.fullmatch(cell.at):
                cell.step = max(cell.step, int(match[1]))
        self.tick()

    def lost(self, cell: TrialConfig, kind: str, message: str) -> None:
        """An attempt at a cell was lost; it waits for the next one."""
        self.running.pop(cell.key, None)
        name = f"{cell.label} s{cell.seed}"
        self._problems[cell.key] = f"{kind}: {message}"
        self.lost_attempts.append(
            {"key": cell.key, "cell": name, "kind": kind, "message": message, "time": time.time()}
        )
        self.note(f"lost, will be tried again: {name} ({cell.key}): {kind}: {message}")

    def advanced(self, key: str, row: Row) -> None:
        """A cell reported a step."""
        cell = self.running.get(key)
        if cell is None:
            return
        cell.step = max(cell.step, int(row.get("step", 0)))
        if isinstance(row.get("unified"), (int, float)):
            cell.loss = float(row["unified"])
        self.tick()

    def ended(self, record: TrialRecord, history: Sequence[Row]) -> None:  # noqa: ARG002
        """A cell came to its end in this run."""
        self._left(record.key)
        if record.status == "done":
            self.consider(record)
        self.tick()

    def stopped(self, cell: TrialConfig, history: Sequence[Row], last: Row) -> None:  # noqa: ARG002
        """A cell was ended by early stopping."""
        self._left(cell.key)
        self.tick()

    def reused(self, record: TrialRecord) -> None:
        """A cell of another sweep answers one of a search."""
        self.consider(record)

    def _left(self, key: str) -> None:
        cell = self.running.pop(key, None)
        if cell is not None:
            self._seconds.append(time.monotonic() - cell.since)

    def consider(self, record: TrialRecord) -> None:
        """Let a finished record compete for the best of each headline outcome."""
        if record.seconds is not None:
            self._earlier.append(record.seconds)
        for name in self.study.headline:
            value = outcome(record, self.study.outcomes[name])
            if not math.isnan(value) and value > self.best.get(name, (-math.inf, ""))[0]:
                self.best[name] = (value, f"{record.label} s{record.seed}")

    def tick(self) -> None:
        """Called often; prints and writes only now and then."""
        moment = time.monotonic()
        if moment - self._file_at >= FILE_EVERY_S:
            self._file_at = moment
            self._file()
        pause = min(max(PLAIN_EVERY_S, (moment - self._began) * PLAIN_SHARE), PLAIN_AT_MOST_S)
        if self._live is None and moment - self._line_at >= pause:
            self._line()

    # ------------------------------------------------------------------------------- what is shown

    @property
    def left_s(self) -> float | None:
        """Estimated seconds to the end; None before anything is known of how long a cell takes.

        The running cells are taken to their end, then the waiting ones go to whichever worker is
        free first, each for the mean time of a cell: the last cells seldom end together.
        """
        left = self.counts.left
        if left <= 0:
            return 0.0
        # a worker that is kept runs its first cell with a cold start; earlier drivers' cells count
        # until this one has some of its own
        known = self._seconds or self._earlier
        if not known:
            return None
        mean = sum(known) / len(known)
        moment = time.monotonic()
        ends = [max(0.05 * mean, mean - (moment - c.since)) for c in self.running.values()]
        ends = ends or [0.0] * self._widest  # between two cells, or while a lost worker is replaced
        heapq.heapify(ends)
        waiting = max(0, left - len(self.running))
        rounds, rest = divmod(waiting, len(ends))
        if rounds > 1:  # whole rounds change nothing in the order
            ends = [end + (rounds - 1) * mean for end in ends]
            rest += len(ends)
        else:
            rest = waiting
        for _ in range(rest):
            heapq.heappush(ends, heapq.heappop(ends) + mean)
        return max(ends)

    def line(self) -> str:
        """Everything in one line."""
        counts = self.counts
        parts = [f"{counts.done}/{counts.total} done", f"{len(self.running)} running"]
        if not self._has_begun and counts.left:
            parts.append("waiting for the first worker")
        parts += [f"{counts.failed} failed"] if counts.failed else []
        parts += [f"{counts.stopped} stopped early"] if counts.stopped else []
        parts += [f"best {n} {v:.1f} ({who})" for n, (v, who) in list(self.best.items())[:2]]
        parts.append(f"elapsed {duration(time.monotonic() - self._began)}")
        if self.left_s is not None and self.left_s > 0:
            parts.append(f"left ~{duration(self.left_s)}")
        return " | ".join(parts)

    def render(self) -> Group:
        """The live table."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("cell", "at", "loss", "time"):
            table.add_column(heading, justify="left" if heading == "cell" else "right")
        cells = list(self.running.values())
        for cell in cells[:MAX_RUNNING_ROWS]:
            loss = "" if math.isnan(cell.loss) else f"{cell.loss:.3f}"
            again = f" (attempt {cell.attempt})" if cell.attempt > 1 else ""
            elapsed = duration(time.monotonic() - cell.since)
            table.add_row(cell.name + again, cell.phase, loss, elapsed)
        if len(cells) > MAX_RUNNING_ROWS:
            table.add_row(f"... and {len(cells) - MAX_RUNNING_ROWS} more", "", "", "")
        return Group(Text(f"{self.study.name}: {self.line()}"), *([table] if cells else []))

    def _line(self) -> None:
        self._line_at = time.monotonic()
        text = self.line()
        if self.running:
            first = next(iter(self.running.values()))
            text += f" | {first.name}: {first.phase}"
            quiet = time.monotonic() - first.heard
            text += f" (silent for {duration(quiet)})" if quiet > SILENT_S else ""
        self.console.print(Text(text), soft_wrap=True)

    def _file(self) -> None:
        content = {
            "time": time.time(),
            **asdict(self.counts),
            "left_s": self.left_s,
            "best": {name: {"value": v, "cell": who} for name, (v, who) in self.best.items()},
            "lost": list(self.lost_attempts),
            "running": [
                {
                    "key": key,
                    "cell": cell.name,
                    "at": cell.phase,
                    "loss": None if not math.isfinite(cell.loss) else cell.loss,
                    "seconds": round(time.monotonic() - cell.since, 1),
                    "attempt": cell.attempt,
                    "heard_s": round(time.monotonic() - cell.heard, 1),
                    "problem": cell.problem,
                }
                for key, cell in self.running.items()
            ],
        }
        try:
            write_json(self.sweep / "progress.json", content)
        except OSError as error:
            log.debug("progress.json: %s", error)
