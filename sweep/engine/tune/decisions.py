"""What becomes of a trial whose worker reports, ends, or is lost. Knows nothing of Ray's classes.

``adapters.py`` calls this from Tune's searcher, scheduler and callback.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from sweep.engine.board import duration
from sweep.engine.demand import Demand
from sweep.engine.signals import Halt
from sweep.engine.summary import ExitCode
from sweep.engine.tune.failures import Restarts, classify, first_line, given_up
from sweep.engine.tune.reporter import unpack
from sweep.runtime.program import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ray.actor import ActorHandle

    from sweep.engine.contract import Cells
    from sweep.engine.tune.placement import Placement
    from sweep.engine.tune.reporter import Report
    from sweep.engine.tune.watch import Hang, Whereabouts
    from sweep.settings.resources import ResourceSettings

#: A worker that has nothing to report gives a sign of life so often, at least.
BEAT_EVERY_S = 10.0
#: So many cells in a row whose workers die before any reports anything: it is the environment.
HOPELESS_AFTER = 3
#: No worker at work for so long although cells wait: a warning; the next one after twice the time.
NO_WORKER_S = 120.0


class TrialSettings(TypedDict, total=False):
    """What Tune hands to a worker, as plain data.

    Attributes:
        key: Of the cell.
        cell: The cell as JSON text: Tune walks through nested mappings.
        sweep: Folder of the sweep.
        beat_every_s: How often the worker gives a sign of life, at least.
        demand: A ``Demand``.
        bundle: What Tune reserves.
        given_up: The driver has stored the failure of the cell; the worker only has to end.
    """

    key: str
    cell: str
    sweep: str
    beat_every_s: float
    demand: dict[str, Any]
    bundle: dict[str, float]
    given_up: bool


class Watch(Protocol):
    """Knows when workers were heard last; ``watch.Watchdog`` is one."""

    def began(self, key: str, actor: ActorHandle) -> None: ...

    def heard(self, key: str, *, where: Whereabouts | None, at: str) -> None: ...

    def ended(self, key: str) -> None: ...

    def host(self, key: str) -> str | None: ...

    def check(self) -> Iterable[Hang]: ...

    def lost(self, key: str) -> Hang | None: ...


class Decisions:
    """Takes every report to the session, and decides on lost workers.

    Args:
        cells: The session.
        watch: Looks for silent workers.
    """

    def __init__(self, cells: Cells, watch: Watch) -> None:
        self.cells = cells
        self._watch = watch
        self._restarts = Restarts(cells.study.resources.max_failures)
        self._ended: set[str] = set()
        self._has_heard = False
        self._open: set[str] = set()
        self._at_work: set[str] = set()
        self._alone_since = time.monotonic()
        self._warn_after_s = NO_WORKER_S
        self._asked = ""
        self._hangs: dict[str, Hang] = {}
        self._out_of_memory: dict[str, str] = {}

    def next(self, placement: Placement) -> TrialSettings | None:
        """The next trial; None if there is none now."""
        cell = self.cells.next()
        if cell is None:
            return None
        self._open.add(cell.key)
        self._asked = str(placement.demand(cell))
        return {
            "key": cell.key,
            "cell": cell.model_dump_json(),
            "sweep": str(self.cells.sweep),
            "beat_every_s": beat_every_s(self.cells.study.resources),
            "demand": asdict(placement.demand(cell)),
            "bundle": placement.bundle(cell),
        }

    def check(self) -> None:
        """Called several times a second.

        Raises:
            Halt: if the sweep has to end.
        """
        self.cells.check()
        for hang in self._watch.check():
            self._hangs[hang.key] = hang
            self.cells.hung(hang.key, hang.message, hang.stacks)
        self._warn_if_alone()

    def _warn_if_alone(self) -> None:
        """Ray waits without end and without a word for room that nobody gives."""
        moment = time.monotonic()
        if self._at_work or not self._open:
            self._alone_since, self._warn_after_s = moment, NO_WORKER_S
        elif moment - self._alone_since > self._warn_after_s:
            self._warn_after_s *= 2
            self.cells.note(
                f"no worker has come up for {duration(moment - self._alone_since)}; a trial asks "
                f"for {self._asked}. Is the cluster full of other work (`ray status`), does a node "
                f"lack memory or disk (`{program('doctor')}`), do workers die at their start "
                f"({self.cells.sweep / 'ray.log'})? The sweep goes on waiting; Ctrl-C ends it, and "
                "nothing is lost"
            )

    def began(self, settings: TrialSettings, actor: ActorHandle) -> None:
        """A worker begins a trial."""
        key = settings["key"]
        if key not in self._ended:
            self.cells.began(key, Demand(**settings["demand"]))
            self._watch.began(key, actor)
            self._at_work.add(key)

    def stops(self, key: str, report: Report) -> bool:
        """Whether a report is the last one, by early stopping."""
        self.cells.check()
        return self.cells.advanced(key, report.get("rows", []), report.get("at", ""))

    def reported(self, key: str, report: Report) -> None:
        """A report has come; what is large is taken out of it, so that Tune keeps no copy."""
        where, at = report.pop("where", None), report.pop("at", "")
        self._has_heard |= where is None  # the first report only says that a worker is there
        self._watch.heard(key, where=where, at=at)
        packed = report.pop("packed", None)
        if "out_of_memory" in report:
            self._out_of_memory[key] = report.pop("out_of_memory")
        report.pop("rows", None)
        if packed is not None and key not in self._ended:
            self._end(key)
            self.cells.ended(unpack(packed))

    def completed(self, key: str) -> None:
        """Tune regards a trial as ended; without a record it was stopped early."""
        if key not in self._ended:
            self._end(key)
            self.cells.stopped(key)

    def lost(self, key: str, said: str) -> bool:
        """A worker is gone.

        Args:
            key: Of its cell.
            said: What Ray says of it.

        Returns:
            Whether the cell is tried again; otherwise its end is stored.

        Raises:
            Halt: if no worker survives its start.
        """
        if key in self._ended:
            return False
        kind, message = classify(said), first_line(said)
        host = self._watch.host(key)
        hang = self._hangs.pop(key, None)
        if hang is None and (hang := self._watch.lost(key)) is not None:
            self.cells.hung(key, hang.message, hang.stacks)
        if hang is not None:
            kind, message, host = "Hang", hang.message, hang.host
        packed = self._out_of_memory.pop(key, None)
        self._watch.ended(key)
        self._at_work.discard(key)
        if self._restarts.spend(key, kind):
            self.cells.attempt_lost(key, kind, message, host=host)
            return True
        self._end(key)
        if packed is not None:
            self.cells.ended(unpack(packed))
        else:
            times = self._restarts.lost[key].total()
            self.cells.lost(key, given_up(kind, times, message), kind=kind)
        if not self._has_heard and len(self._ended) >= HOPELESS_AFTER:
            raise Halt(
                ExitCode.ENVIRONMENT,
                f"no worker survives its start; the last one: {message}. "
                f"Ray's messages are in {self.cells.sweep / 'ray.log'}.",
            )
        return False

    def _end(self, key: str) -> None:
        self._ended.add(key)
        self._open.discard(key)
        self._at_work.discard(key)
        self._watch.ended(key)


def beat_every_s(resources: ResourceSettings) -> float:
    """How often a worker is heard: four times within the time that counts as hanging."""
    return min(BEAT_EVERY_S, (resources.hang_timeout_s or BEAT_EVERY_S) / 4)


def with_more_room(
    settings: TrialSettings, said: str, nodes: Callable[[], Sequence[Mapping[str, float]]]
) -> TrialSettings | None:
    """What a trial is started with that lost its worker, if it asks for more than before.

    Args:
        settings: Of the attempt that was lost.
        said: What Ray says of it.
        nodes: Tells what each node has.
    """
    if classify(said) != "OutOfMemory":
        return None
    if settings["demand"]["ranks"] > 1:  # its bundle is that of the process that waits
        return None
    bundle = settings["bundle"]
    wider = with_room(bundle, is_card="CUDA" in said, nodes=nodes())
    if wider == bundle:
        return None
    demand = {**settings["demand"], "gpus": wider.get("GPU", 0.0)}
    return {**settings, "bundle": wider, "demand": demand}


def with_room(
    bundle: Mapping[str, float], *, is_card: bool, nodes: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """What a trial asks for that ran out of memory: a card, or the memory of a node, to itself.

    Where trials do not say how much main memory they need, asking for it keeps no neighbour away;
    asking for all cores of a node might wait for another user's job for ever.

    Args:
        bundle: What it asked for.
        is_card: Whether the memory of the card did not suffice.
        nodes: What each node has.
    """
    wider = dict(bundle)
    if is_card:
        if 0 < bundle.get("GPU", 0.0) < 1:
            wider["GPU"] = 1.0
        return wider
    able = [node for node in nodes if all(node.get(n, 0.0) >= a for n, a in bundle.items())]
    if "memory" in bundle and able:
        wider["memory"] = max(node["memory"] for node in able)
    return wider
