"""One clip as perturbations change it: frames for contact sheets, and short videos of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from perturb.apply import apply, frame_map, unavailable
from sweep.commands.contact_sheet import Row, Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perturb.catalogue import PerturbSpec

_CLIP_RATE_FPS = 8
_CLIP_SIDE_PX = 224


class Studio:
    """One clip and how it is perturbed."""

    def __init__(
        self, source: np.ndarray, clip_id: str, severities: Sequence[int], ladder: str, seed: int
    ) -> None:
        self.source = np.ascontiguousarray(source)
        self.clip = torch.from_numpy(self.source).permute(0, 3, 1, 2)[None]
        self.options: dict[str, Any] = {"clip_ids": [clip_id], "seed": seed, "ladder": ladder}
        self.severities = list(severities)
        self.ladder = ladder

    def row(self, spec: PerturbSpec) -> Row:
        """All severities of one perturbation."""
        wanted = [0, *(s for s in self.severities if s in spec.severities)]
        tiles = tuple(self._tile(spec, severity) for severity in wanted)
        strip = {"temporal": 4, "camera": 3}.get(spec.category, 3 if spec.moves else 1)
        return Row(spec.name, spec.unit, tiles, min(strip, len(self.source)))

    def _tile(self, spec: PerturbSpec, severity: int) -> Tile:
        height, width = self.source.shape[1:3]
        caption = spec.describe(
            severity, self.ladder, short_side_px=min(height, width), frames=len(self.source)
        )
        shown = None
        if spec.temporal:
            table = frame_map(spec.name, severity, len(self.source), **self.options)
            shown = tuple(table[0].tolist())
        try:
            made = apply(self.clip, spec.name, severity, **self.options)
        except (RuntimeError, ValueError) as error:  # no codec, or frames too small for it
            return Tile(None, caption, note=f"skipped: {unavailable(spec.name) or error}")
        frames = made[0].permute(0, 2, 3, 1).numpy()
        if severity == 0:
            return Tile(frames, "", shown)
        if np.array_equal(frames, self.source):
            return Tile(frames, caption, shown, "changes nothing here", is_odd=True)
        note = _distance(frames, self.source) if shown is None else _displacement(shown)
        return Tile(frames, caption, shown, note)


def _displacement(shown: tuple[int, ...]) -> str:
    away = np.mean(np.abs(np.array(shown) - np.arange(len(shown))))
    return f"{len(set(shown))} of {len(shown)} frames shown, {away:.1f} off on average"


def _distance(frames: np.ndarray, source: np.ndarray) -> str:
    error = np.mean((frames.astype(np.float32) - source) ** 2)
    return f"PSNR {10 * np.log10(255**2 / error):.1f} dB"


def clip_name(name: str, severity: int) -> Path:
    """Where a short video lies, below the folder of the page."""
    return Path("clips") / name / f"severity_{severity}.mp4"


def write_clip(path: Path, frames: np.ndarray) -> None:
    """Write frames as a short video that browsers play, small ones enlarged."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    times = max(1, round(_CLIP_SIDE_PX / max(frames.shape[1:3])))
    large = frames.repeat(times, axis=1).repeat(times, axis=2)
    large = large[:, : large.shape[1] // 2 * 2, : large.shape[2] // 2 * 2]
    with av.open(str(path), "w") as video:
        stream: Any = video.add_stream(
            "libx264", Fraction(_CLIP_RATE_FPS), {"crf": "14", "preset": "veryfast"}
        )
        stream.height, stream.width, stream.pix_fmt = *large.shape[1:3], "yuv420p"
        for frame in large:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            video.mux(stream.encode(picture))
        video.mux(stream.encode(None))
