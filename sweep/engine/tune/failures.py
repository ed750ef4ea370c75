"""Why a worker was lost, and whether its cell may be tried again."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Literal

from sweep.records.ledger import OUT_OF_MEMORY_ADVICE

Kind = Literal["WorkerDied", "Hang", "OutOfMemory", "NodeDied"]

#: A lost node is no fault of the cells on it. Spot nodes come and go, but not for ever.
MAX_NODE_LOSSES = 20
#: What did not fit once seldom fits the second time; a neighbour on the node may have left though.
MAX_OUT_OF_MEMORY = 1

_TEXTS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("OutOfMemory", ("OutOfMemory", "running low on memory", "Out of memory")),
    # a node that was killed is at first merely one that does not answer
    ("NodeDied", ("node has died", "node was terminated", "is unavailable", "preempted",
                  "NODE_DIED", "node failure")),
)  # fmt: skip


class RankLostError(RuntimeError):
    """A process of a trial of several ranks is gone, or could not start: it is run again."""


class TrialOutOfMemoryError(RuntimeError):
    """Ends the worker process, with whatever holds its memory."""


def classify(text: str) -> Kind:
    """The cause, from what Ray says of a worker that is gone."""
    for kind, parts in _TEXTS:
        if any(part in text for part in parts):
            return kind
    return "WorkerDied"


def first_line(said: str) -> str:
    """The sentence of Ray's text that names the cause."""
    if "connection error code" in said:  # Ray's own words are long and tell no more
        return "its process was killed from outside, or crashed in native code"
    lines = [line.strip() for line in said.splitlines()[1:] if line.strip()]
    for line in lines:
        if any(
            word in line for word in ("because", "unavailable", "Worker unexpectedly", "Error:")
        ):
            return re.sub(r"^[\w.]+Error: ", "", line)[:300]
    return lines[0][:300] if lines else "the worker is gone"


def given_up(kind: Kind, times: int, message: str) -> str:
    """Why a cell was given up, for its record."""
    text = f"lost {times} times; the last time: {message}"
    if kind == "OutOfMemory":
        return f"{text}; {OUT_OF_MEMORY_ADVICE}"
    if kind == "Hang":
        return f"{text}; stacks.txt of the cell shows where it hung"
    return f"its worker died {times} times; the last time: {message}; Ray's messages: ray.log"


class Restarts:
    """Counts the lost attempts of every cell in this run of the driver.

    Args:
        max_failures: How often a cell may lose its worker by its own fault.
    """

    def __init__(self, max_failures: int) -> None:
        self.limits: dict[Kind, int] = {
            "NodeDied": MAX_NODE_LOSSES,
            "OutOfMemory": min(max_failures, MAX_OUT_OF_MEMORY),
        }
        self.max_failures = max_failures
        self.lost: defaultdict[str, Counter[Kind]] = defaultdict(Counter)

    def spend(self, key: str, kind: Kind) -> bool:
        """Note a lost attempt; returns whether another one is allowed."""
        self.lost[key][kind] += 1
        if kind in self.limits and self.lost[key][kind] > self.limits[kind]:
            return False
        return self.own(key) <= self.max_failures

    def own(self, key: str) -> int:
        """Lost attempts that count as the cell's own fault."""
        return self.lost[key].total() - self.lost[key]["NodeDied"]
