"""Why a worker was lost, and whether its cell may be tried again."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Literal

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


def classify(text: str) -> Kind:
    """The cause, from what Ray says of a worker that is gone."""
    for kind, parts in _TEXTS:
        if any(part in text for part in parts):
            return kind
    return "WorkerDied"


class Budget:
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
