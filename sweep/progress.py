"""Where a running sweep stands: counts, running cells, best so far, time left.

On a terminal this is a live table; elsewhere plain lines, one every few seconds at most. The same
numbers go to ``progress.json`` of the sweep folder, so that `status` can show them from outside.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep.record import TrialRecord, outcome, write_json

if TYPE_CHECKING:
    from sweep.config import StudyConfig, TrialConfig

log = logging.getLogger(__name__)
PLAIN_EVERY_S = 5.0
FILE_EVERY_S = 2.0
MAX_RUNNING_ROWS = 16


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

    @property
    def name(self) -> str:
        """`all - pixel s300`."""
        return f"{self.label} s{self.seed}"

    @property
    def phase(self) -> str:
        """What the cell is doing, as far as its reports tell."""
        if self.step >= self.steps:
            return "testing"
        return f"step {self.step}/{self.steps}" if self.step else "starting"


class Board:
    """Counts and the table. Use as a context manager around the work."""

    def __init__(
        self, study: StudyConfig, *, sweep: Path, total: int, console: Console | None = None
    ) -> None:
        self.study = study
        self.sweep = sweep
        self.total = total
        self.console = console or Console(stderr=True)
        self.done = 0
        self.failed = 0
        self.stopped = 0
        self.reused = 0
        self.running: dict[str, Running] = {}
        self.best: dict[str, tuple[float, str]] = {}
        self._seconds: list[float] = []
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

    def began(self, config: TrialConfig, attempt: int) -> None:
        """A worker began a cell."""
        self.running[config.key] = Running(
            config.label, config.seed, config.train.steps, attempt=attempt
        )
        self.tick()

    def advanced(self, key: str, row: Mapping[str, Any]) -> None:
        """A cell reported a step."""
        cell = self.running.get(key)
        if cell is None:
            return
        cell.step = max(cell.step, int(row.get("step", 0)))
        if isinstance(row.get("unified"), (int, float)):
            cell.loss = float(row["unified"])
        self.tick()

    def ended(self, key: str, record: TrialRecord | None) -> None:
        """A cell came to its end in this run; without a record if it was stopped early."""
        cell = self.running.pop(key, None)
        if cell is not None:
            self._seconds.append(time.monotonic() - cell.since)
        if record is not None and record.status == "done":
            self.consider(record)
        self.tick()

    def consider(self, record: TrialRecord) -> None:
        """Let a finished record compete for the best of each headline outcome."""
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
        if self._live is None and moment - self._line_at >= PLAIN_EVERY_S:
            self._line()

    # ------------------------------------------------------------------------------- what is shown

    @property
    def left_s(self) -> float | None:
        """Estimated seconds to the end; None before the first cell has ended."""
        left = self.total - self.done - self.failed - self.stopped
        if left <= 0:
            return 0.0
        if not self._seconds:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        moment = time.monotonic()
        spent = sum(min(mean, moment - cell.since) for cell in self.running.values())
        return max(0.0, left * mean - spent) / max(1, len(self.running))

    def line(self) -> str:
        """Everything in one line."""
        parts = [f"{self.done}/{self.total} done", f"{len(self.running)} running"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.stopped} stopped early"] if self.stopped else []
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
        self.console.print(Text(text), soft_wrap=True)

    def _file(self) -> None:
        content = {
            "time": time.time(),
            "total": self.total,
            "done": self.done,
            "failed": self.failed,
            "stopped": self.stopped,
            "reused": self.reused,
            "left_s": self.left_s,
            "best": {name: {"value": v, "cell": who} for name, (v, who) in self.best.items()},
            "running": [
                {
                    "key": key,
                    "cell": cell.name,
                    "at": cell.phase,
                    "loss": None if not math.isfinite(cell.loss) else cell.loss,
                    "seconds": round(time.monotonic() - cell.since, 1),
                    "attempt": cell.attempt,
                }
                for key, cell in self.running.items()
            ],
        }
        try:
            write_json(self.sweep / "progress.json", content)
        except OSError as error:
            log.debug("progress.json: %s", error)


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
