"""`python -m tests.fuzz.run [COUNT [FIRST_SEED]]`: damaged inputs, and how each of them ended."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.cases import VIDEOS, Outcome, run

#: Of a hundred cases.
SHARES = {"study": 45, "annotation": 20, "sweep": 10, "video": 25}


def fuzz(count: int, folder: Path, first: int = 0) -> list[Outcome]:
    """`count` cases of all kinds by their shares."""
    found: list[Outcome] = []
    for kind, share in SHARES.items():
        wanted, step = count * share // 100, VIDEOS if kind == "video" else 1
        for seed in range(first, first + wanted, step):
            weight = min(step, first + wanted - seed)
            found += run(kind, seed, folder / f"{kind}-{seed}", weight)
    return found


def table(found: list[Outcome]) -> str:
    """Counts of the endings by kind."""
    counts = Counter((one.kind, one.ending) for one in found)
    endings = sorted({one.ending for one in found})
    rows = [("kind", *endings)]
    rows += [(k, *(str(counts[k, e]) for e in endings)) for k in SHARES]
    return "\n".join(" ".join(f"{cell:>10}" for cell in row) for row in rows)


def main() -> int:
    """Print faults and counts; 1 if there is a fault."""
    count, first = (*map(int, sys.argv[1:]), *(1000, 0)[len(sys.argv) - 1 :])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUXSWEEP_CACHE"] = f"{folder}/cache"
        found = fuzz(count, Path(folder), first)
    faults = {(one.kind, one.seed): one.fault for one in found if one.fault}
    for (kind, seed), fault in faults.items():
        print(f"FAULT {kind} {seed}: {fault}\n")
    print(table(found))
    print(f"{len(found)} cases, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
