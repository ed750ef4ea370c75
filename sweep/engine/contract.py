"""What an engine and a session say to each other, and what a session tells those who listen.

An engine is a function that runs cells wherever it likes (``engine.local`` in this process,
``engine.tune`` on Ray). It knows a session only as ``Cells``; the session knows no engine.
``tests/engine/test_contract.py`` holds a session against an engine that does everything wrong that
is allowed here, and real engines against the same questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

    from sweep.engine.demand import Demand
    from sweep.engine.signals import Signals
    from sweep.engine.trial_function import TrialFunction
    from sweep.records.record import TrialRecord, TrialResult
    from sweep.settings.study import StudyConfig
    from sweep.settings.trial import TrialConfig

#: A row of a trial's history: `step`, and losses or a validation.
Row: TypeAlias = Mapping[str, Any]


class Cells(Protocol):
    """What an engine asks and tells.

    A cell is at work from the moment that ``next`` hands it out until ``ended``, ``stopped`` or
    ``lost`` is told of it. In between its story is::

        began (heard | advanced)* [hung] attempt_lost      any number of times, then
        began (heard | advanced)* [hung] (ended | stopped | lost)

    * No cell is handed out twice in a run, whatever becomes of it.
    * What is told of a cell that is not at work is ignored: an engine may repeat itself.
    * A cell may end without having begun, as one whose worker never came up.
    * ``next`` says None while the budget, or a search that waits for results, has nothing to hand
      out; once ``is_over`` it will not say anything else any more.
    * ``check`` is called several times a second. It raises ``Halt`` when the sweep has to end, as
      most methods may; an engine lets it pass.
    * All calls come from the main thread, but those of ``heard``, ``hung`` and ``note``.

    Attributes:
        study: The study; an engine reads its `resources`.
        sweep: Folder of the sweep, for an engine's own files.
        signals: To put their handlers in place again, and to defer them in code of others.
    """

    study: StudyConfig
    sweep: Path
    signals: Signals

    # ------------------------------------------------------------------------------- what it asks

    def next(self) -> TrialConfig | None:
        """The next cell to run; None if there is none now."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether ``next`` has nothing more, whatever the cells at work bring."""
        ...

    @property
    def learns(self) -> bool:
        """Whether later cells depend on what ends: an engine then asks ahead for few."""
        ...

    @property
    def has_missing(self) -> bool:
        """Whether cells of the plan have neither ended nor been stopped nor failed."""
        ...

    def samples(self) -> list[TrialConfig]:
        """Cells by which room is judged: the planned ones, of a search also its largest."""
        ...

    def scratch(self, key: str) -> Path:
        """Folder of a cell, where its trial keeps checkpoints."""
        ...

    def marker(self) -> str:
        """Content of ``.id`` in the folder: tells it from one of the same name elsewhere."""
        ...

    def check(self) -> None:
        """Raise ``Halt`` if a signal has come; let what is shown go on."""
        ...

    # ------------------------------------------------------------------------------ what it tells

    def note(self, text: str) -> None:
        """Something to show once: `starting Ray`."""
        ...

    def expect_workers(self, count: int) -> None:
        """So many cells can be at work at a time."""
        ...

    def remembered(self, event: str) -> list[Mapping[str, Any]]:
        """What ``remember`` was told under this name, in this run or an earlier one."""
        ...

    def remember(self, event: str, **content: Any) -> None:
        """Keep a finding of the engine in the ledger."""
        ...

    def began(self, key: str, asked: Demand | None = None) -> None:
        """A worker begins a cell, for the first time or again.

        Args:
            key: Of the cell.
            asked: What it holds of machines; None = what the study says.
        """
        ...

    def heard(self, key: str, at: str) -> None:
        """A cell gives a sign of life and may say what it is at: `testing 3/40`."""
        ...

    def advanced(self, key: str, rows: Sequence[Row], at: str = "") -> bool:
        """A cell reports history rows, or what it is at.

        Returns:
            True if early stopping ends it here: the engine ends it and tells ``stopped``.
        """
        ...

    def ended(self, result: TrialResult) -> None:
        """A cell hands over its record, done or failed; stored before this returns."""
        ...

    def stopped(self, key: str) -> None:
        """A cell was ended early, as ``advanced`` asked for."""
        ...

    def attempt_lost(self, key: str, kind: str, message: str, *, host: str | None) -> None:
        """An attempt ended without a record; the engine begins the cell again.

        Args:
            key: Of the cell.
            kind: `WorkerDied`, `Hang`, `OutOfMemory` or `NodeDied`.
            message: The cause, for people.
            host: Name of the node, where known.
        """
        ...

    def lost(self, key: str, message: str, *, kind: str = "WorkerDied") -> None:
        """The last attempt ended without a record: the cell is given up and counts as failed."""
        ...

    def hung(self, key: str, message: str, stacks: str) -> None:
        """The worker of a cell was silent for too long; `stacks` of its threads, as text."""
        ...


class Engine(Protocol):
    """Runs everything that is handed out, then returns.

    Raises:
        ConfigError: if no trial can be started, with what to change.
        Halt: if it cannot go on; everything told before is stored.
    """

    def __call__(
        self, cells: Cells, trial: TrialFunction | None = None, *, address: str | None = None
    ) -> None:
        """Run the cells.

        Args:
            cells: Hands them out.
            trial: What runs one; None = ``sweep.trial.run_trial``.
            address: Of a cluster, for engines that have one.
        """
        ...


class Listener:
    """Who is told what happens to cells, once the ledger has it.

    All hear of it in one order: board, allowance, W&B, queue (and its search), pixels. A class
    that inherits from this says only what concerns it. Nothing here may raise but ``Halt``.
    """

    def began(self, cell: TrialConfig, attempt: int, asked: Demand) -> None:
        """A worker begins a cell; attempts count from 1, over all runs."""

    def advanced(self, key: str, row: Row) -> None:
        """A cell at work reports a row."""

    def lost(self, cell: TrialConfig, kind: str, message: str) -> None:
        """An attempt was lost; another one follows."""

    def ended(self, record: TrialRecord, history: Sequence[Row]) -> None:
        """A cell is stored, done or failed."""

    def stopped(self, cell: TrialConfig, history: Sequence[Row], last: Row) -> None:
        """Early stopping ended a cell; `last` has `step` and `validation`."""

    def reused(self, record: TrialRecord) -> None:
        """A cell of another sweep answers one of this, which does not run."""
