"""Row about the fidelity ladder: what `screen` costs, and whether its intervals are honest."""

from __future__ import annotations

import numpy as np
import torch

import models
from sweep.bench.measure import Row, UnequalError, interleave
from sweep.evaluation.conditions import TestPlan
from sweep.evaluation.fidelity import clips_tested, draw, estimate
from sweep.settings.evaluate import EvaluateSettings

#: Test clips of UCF101, split 1.
CLIPS = 3783
TESTS = 500
#: Share of the grid's forwards that `screen` may cost, besides the clean clips.
MAX_SHARE = 0.02
COVERAGE = (0.93, 0.97)
MAX_ERROR_POINTS = 1.5
#: Cells whose forwards are timed.
TIMED_CELLS = 4


def screen(device: str = "cpu") -> Row:
    """The perturbed grid at `screen` against the whole grid, forwarded by a tiny model.

    Before anything is timed: forwards are counted on the plan, and tests of simulated models (a
    clip has a difficulty, a cell a hardness, a pair its own noise) show how often the interval
    holds the mean that testing everything gives.

    Raises:
        UnequalError: if `screen` costs too much, or its intervals or estimates are off.
    """
    settings = EvaluateSettings(profile="paper_fixed", fidelity="screen", temporal_checks=False)
    tests = TestPlan.of(settings, (), {"video"}, CLIPS)
    drawn, count = tests.table, tests.per_cell
    assert drawn is not None
    assert count is not None
    cells = list(drawn.rows)
    whole = clips_tested(len(cells), CLIPS, None)
    thin = sum(len(tested) for tested in drawn.rows.values())
    if thin + CLIPS > MAX_SHARE * whole + CLIPS:
        raise UnequalError(f"screen: {thin:,} forwards of {whole:,} are more than {MAX_SHARE:.0%}")
    coverage, worst = simulate(cells, clips=CLIPS, per_cell=count, tests=TESTS)
    if not COVERAGE[0] <= coverage <= COVERAGE[1]:
        raise UnequalError(f"screen: the 95 % interval holds the full value in {coverage:.1%}")
    if worst > MAX_ERROR_POINTS:
        raise UnequalError(f"screen: 95 % of the errors reach {worst:.2f} points")

    model = models.build("tiny", heads={"classes": 8}, frames=4, size_px=32)
    model.eval().to(device)
    batch = torch.zeros(count, 4, 3, 32, 32, device=device)

    @torch.inference_mode()
    def forward(clips: int) -> None:
        for _ in range(TIMED_CELLS):
            for start in range(0, clips, count):
                model.encode_video(batch[: min(count, clips - start)])

    timing = interleave(lambda: forward(count), lambda: forward(CLIPS), repeats=5, device=device)
    return Row(
        name="robustness grid, fidelity screen",
        peer="every clip in every cell",
        goal=1 / MAX_SHARE,
        error=(
            f"95 % interval holds the full value in {coverage:.1%} of {TESTS} simulated tests; "
            f"95 % of the errors are below {worst:.2f} points"
        ),
        note=(
            f"{len(cells)} cells, {CLIPS:,} clips: {thin:,} forwards against {whole:,}, and "
            f"{CLIPS:,} clean ones in both; timed on {TIMED_CELLS} cells, tiny model"
        ),
        **timing,
    )


def simulate(
    cells: list[str], *, clips: int, per_cell: int, tests: int, seed: int = 0
) -> tuple[float, float]:
    """Share of intervals that hold the full value, and the 95th percentile of |error| in points.

    Args:
        cells: Names.
        clips: Clips of the whole set.
        per_cell: Clips of a cell.
        tests: Simulated models, each with a table of its own.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    hits, errors = 0, []
    for number in range(tests):
        difficulty = rng.standard_normal(clips, dtype=np.float32)
        hardness = rng.normal(0.2, 0.8, (len(cells), 1)).astype(np.float32)
        noise = rng.standard_normal((len(cells), clips), dtype=np.float32)
        correct = hardness - difficulty + 0.6 * noise > 0
        clean = 1.2 - difficulty + 0.6 * rng.standard_normal(clips, dtype=np.float32) > 0
        drawn = draw(cells, clips, fidelity="screen", per_cell=per_cell, seed=seed + number)
        tested = {name: correct[row, drawn.rows[name]] for row, name in enumerate(cells)}
        found = estimate(tested, drawn.rows, clean, {"grid": cells})["grid"]
        full = 100 * float(correct.mean())
        hits += found.low <= full <= found.high
        errors.append(abs(found.mean - full))
    return hits / tests, float(np.quantile(errors, 0.95))
