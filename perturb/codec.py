"""Lossy coding of whole clips as video, in memory.

Codecs run on the CPU. A clip on a GPU travels there and back, because the codecs of GPUs round
differently and comparisons need one definition. Each clip is coded by one thread, so that the
result does not depend on the machine; several clips are coded at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from perturb.video import (
    FORMATS,
    REPEATABLE_X264,
    REPEATABLE_X265,
    quantiser_options,
    recode,
    recode_apart,
    stream_rate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perturb.draws import Draws


# ------------------------------------------------------------------------------- perturbations
def mpeg1(clip: Tensor, *, quantiser: float) -> Tensor:
    """Encode and decode the clip as MPEG-2 video at a constant quantiser.

    Quirk: followed. The paper calls it MPEG1.

    Args:
        clip: (B, T, C, H, W) uint8.
        quantiser: Beyond 31, what the format allows, it is 31.
    """
    return _recode_all(clip, "mpeg1", quantiser_options(quantiser))


def mpeg2(clip: Tensor, *, quantiser: float) -> Tensor:
    """Encode and decode the clip as MPEG-4 part 2 at a constant quantiser.

    Quirk: followed. The paper calls it MPEG2.

    Args:
        clip: (B, T, C, H, W) uint8.
        quantiser: Beyond 31, what the format allows, it is 31.
    """
    return _recode_all(clip, "mpeg2", quantiser_options(quantiser))


def h264_crf(clip: Tensor, *, crf: float) -> Tensor:
    """Encode and decode the clip as H.264 at constant quality (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        crf: Constant rate factor, 0 to 51; higher is worse.
    """
    return _recode_all(clip, "h264_crf", {"crf": f"{crf:g}", **REPEATABLE_X264})


def h264_abr(clip: Tensor, *, divisor: float) -> Tensor:
    """Encode and decode the clip as H.264 at a mean bit rate (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        divisor: The rate is that of the clip at the usual quality (crf 23), divided by this.
    """
    return _recode_all(clip, "h264_abr", _mean_rate(divisor, REPEATABLE_X264))


def h265_crf(clip: Tensor, *, crf: float) -> Tensor:
    """Encode and decode the clip as H.265 at constant quality (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        crf: Constant rate factor, 0 to 51; higher is worse.
    """
    return _recode_all(clip, "h265_crf", {"crf": f"{crf:g}", **REPEATABLE_X265})


def h265_abr(clip: Tensor, *, divisor: float) -> Tensor:
    """Encode and decode the clip as H.265 at a mean bit rate (arXiv:2110.06513).

    Args:
        clip: (B, T, C, H, W) uint8.
        divisor: The rate is that of the clip as H.264 at the usual quality, divided by this.
    """
    return _recode_all(clip, "h265_abr", _mean_rate(divisor, REPEATABLE_X265))


def _mean_rate(
    divisor: float, options: Mapping[str, str]
) -> Callable[[np.ndarray], dict[str, str]]:
    return lambda frames: {"b": str(max(1000, int(stream_rate(frames) / divisor))), **options}


def bit_error(clip: Tensor, draws: Sequence[Draws], *, errors: float) -> Tensor:
    """Code the clip as H.264, damage bytes of the stream and decode what is left.

    After arXiv:2110.06513, which damages the stream of the file, one byte in 100,000 to 10,000. The
    stream of a clip is far shorter, so that such rates would all mean one byte; hence a number of
    bytes. Frames that are lost show the previous one, as a player would.

    Args:
        clip: (B, T, C, H, W) uint8.
        draws: One per clip.
        errors: Number of damaged bytes.
    """

    def damage(index: int) -> Callable[[list[bytearray]], None]:
        return lambda packets: _damage(packets, draws[index], int(errors))

    options = {"crf": "23", "tune": "zerolatency", **REPEATABLE_X264}
    return _recode_all(clip, "bit_error", options, damage=damage)


def _damage(packets: list[bytearray], draw: Draws, errors: int) -> None:
    chance = draw.order()
    total = sum(map(len, packets))
    for _ in range(errors):
        place = chance.randrange(total)
        for packet in packets:
            if place < len(packet):
                packet[place] ^= chance.randrange(1, 256)
                break
            place -= len(packet)


# --------------------------------------------------------------------------------------- batches
def _recode_all(
    clip: Tensor,
    name: str,
    options: Mapping[str, str] | Callable[[np.ndarray], dict[str, str]],
    damage: Callable[[int], Callable[[list[bytearray]], None]] | None = None,
) -> Tensor:
    """Code every clip; `options` may depend on its frames (T, 3, H, W)."""
    frames = clip.cpu().contiguous().numpy()
    chosen = [options(one) if callable(options) else dict(options) for one in frames]
    if FORMATS[name].is_apart:
        return torch.from_numpy(recode_apart(frames, name, chosen)).to(clip.device)
    out = np.empty_like(frames)

    def one(index: int) -> None:
        harm = None if damage is None else damage(index)
        out[index], _ = recode(frames[index], name, chosen[index], harm)

    in_threads(one, len(frames))
    return torch.from_numpy(out).to(clip.device)


def in_threads(job: Callable[[int], None], count: int) -> None:
    """Run `job(0) .. job(count - 1)`; codecs release the interpreter lock."""
    workers = min(torch.get_num_threads(), count)
    if workers <= 1:
        for index in range(count):
            job(index)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(job, range(count)))
