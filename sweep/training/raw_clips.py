"""The pixels of batches before any view: made here, or ahead of their step in other processes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from perturb.apply import frame_map
from perturb.catalogue import PERTURBATIONS
from perturb.training import choose, perturb_as_chosen
from sweep.data.ahead import HungError, read_ahead
from sweep.data.decoding import pool
from sweep.data.sampling import uniform_center
from sweep.runtime.seeds import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from torch import Tensor

    from sweep.data.sources import ClipSource, StreamedClips

#: Steps whose pixels are kept: meta steps look at batches of the last ten.
KEPT = 12


@dataclass(frozen=True)
class RawClips:
    """Clips of a step as its views start from them; a pure function of (seed, step, clips).

    Attributes:
        source: Where frames are read from.
        time: Frames that the model sees, uniform over the stored ones.
        seed: Of the order of the clips.
        mix: `train.perturb`.
        probability: Share of perturbed clips.
        ladder: Severity table.
        has_b: Whether view B starts from clips of its own.
    """

    source: ClipSource
    time: int
    seed: int
    mix: str
    probability: float
    ladder: str
    has_b: bool

    def __call__(self, item: tuple[int, np.ndarray]) -> dict[str, Tensor]:
        """uint8 ``(n, T, C, H, W)`` by view, of a step and int64 ``(n,)`` clips of the source."""
        step, origin = item
        views = ("view_a", "view_b") if self.has_b else ("view_a",)
        return {view: self.view(origin, step, view) for view in views}

    def view(self, origin: np.ndarray, step: int, view: str) -> Tensor:
        """uint8 ``(n, T, C, H, W)`` on the CPU: clips as one view starts from them.

        Where clips are perturbed, the draws are those of (seed, view, step, clip), and what
        reorders frames does so on the stored time line before the model's are picked, as in tests.
        """
        source, stored = self.source, self.source.shape[1]
        picks = uniform_center(stored, self.time)
        made = torch.from_numpy(source.frames(origin, picks))
        if self.mix == "none":
            return made
        seed = stream(self.seed, "perturb", view)
        for place, clip in enumerate(origin.tolist()):
            pool.beat()
            key = f"{step}/{clip}"
            chosen = choose(self.mix, key, seed=seed, probability=self.probability)
            if chosen is None:
                continue
            name, severity = chosen
            how: dict[str, Any] = {"clip_ids": [key], "seed": seed, "ladder": self.ladder}
            if name in PERTURBATIONS and PERTURBATIONS[name].temporal:
                shown = frame_map(name, severity, stored, **how)[0, picks].numpy()
                made[place] = torch.from_numpy(source.frames(origin[place, None], shown)[0])
            else:
                one = made[place : place + 1]
                made[place] = perturb_as_chosen(one, name, severity, **how)[0]
        return made


class Reader:
    """Pixels of steps in order, made ahead by other processes; any other step is made here.

    A clip that hangs is given up: another one of its class stands for it from then on.

    Args:
        raw: Makes the pixels of a step.
        rows: Step -> clips of this rank.
        stop: Steps of the training.
        workers: Processes.
        pin: Whether pixels go to pinned memory.
        lost: Told of every clip that was given up, in a sentence.
    """

    def __init__(
        self,
        raw: RawClips,
        rows: Callable[[int], np.ndarray],
        *,
        stop: int,
        workers: int,
        pin: bool,
        lost: Callable[[str], None],
    ) -> None:
        self.raw, self.rows, self.stop = raw, rows, stop
        self.workers, self.pin, self.lost = workers, pin, lost
        self._next = -1
        self._ahead: Iterator[dict[str, Tensor]] | None = None
        self._kept: OrderedDict[int, dict[str, Tensor]] = OrderedDict()

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Pixels of a step, by view."""
        if step in self._kept:
            return self._kept[step]
        if self._ahead is None:
            self._open(step)
        # looks at what comes after the training, and aside, are made here
        is_next = step == self._next < self.stop
        made = self._following() if is_next else self.raw((step, self.rows(step)))
        self._kept[step] = made
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made

    def close(self) -> None:
        """End the processes."""
        if self._ahead is not None:
            self._ahead.close()  # type: ignore[attr-defined]
        self._ahead = None

    def _open(self, step: int) -> None:
        self.close()
        self._next = step
        self._ahead = read_ahead(
            self.raw,
            ((one, self.rows(one)) for one in range(step, self.stop)),
            self.raw.source,
            workers=self.workers,
            pin=self.pin,
        )

    def _following(self) -> dict[str, Tensor]:
        while True:
            assert self._ahead is not None
            try:
                made = next(self._ahead)
            except HungError as error:
                self._give_up(error)
                self._open(self._next)
                continue
            self._next += 1
            return made

    def _give_up(self, error: HungError) -> None:
        if error.row is None:
            raise error
        source: StreamedClips = self.raw.source  # type: ignore[assignment]
        records = source.set.records
        other = source.lose(error.row)
        self.lost(
            f"{records[error.row].path} cannot be read any more ({error}): from step {self._next} "
            f"on clip {records[other].id} stands for {records[error.row].id}"
        )
