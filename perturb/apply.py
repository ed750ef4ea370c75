"""Apply a perturbation of the catalogue to a batch of clips.

    >>> import torch
    >>> clip = torch.randint(0, 256, (2, 8, 3, 32, 32), dtype=torch.uint8)
    >>> noisy = apply(clip, "gaussian_noise", 3, clip_ids=["a", "b"])
    >>> noisy.shape, noisy.dtype
    (torch.Size([2, 8, 3, 32, 32]), torch.uint8)

The result depends on the clip, the condition, the clip's id and the seed, and on nothing else.
"""

from __future__ import annotations

import difflib
import hashlib
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from perturb.catalogue import LADDERS, PERTURBATIONS, PerturbSpec
from perturb.digital import missing_jpeg
from perturb.draws import draws_for
from perturb.levels import fresh
from perturb.orders import orders
from perturb.video import missing_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_VALUES_PER_CHUNK = 64_000_000
_FRAMES_IN_CACHE = 2


def apply(
    clip: Tensor,
    name: str,
    severity: int,
    *,
    clip_ids: Sequence[str | int],
    seed: int = 0,
    ladder: str = "paper_fixed",
) -> Tensor:
    """Return perturbed clips of the same shape, on the same device.

    Args:
        clip: (B, T, 3, H, W) uint8 RGB. Never modified.
        name: Key of `PERTURBATIONS`.
        severity: 0 (returns `clip` itself) or a severity of the perturbation.
        clip_ids: One identity per clip; the key of its random numbers.
        seed: Seed of the evaluation.
        ladder: Key of `LADDERS`.

    Raises:
        ValueError: If a name, severity or ladder does not exist, or `clip` is something else.
        RuntimeError: If a codec is not installed; ask `unavailable` first.
    """
    spec = _spec(name, severity, ladder)
    _check_clip(clip)
    _check_ids(clip_ids, len(clip))
    if severity == 0 or clip.numel() == 0:
        return clip
    if spec.temporal:
        return _reordered(clip, orders(spec, severity, clip.shape[1], clip_ids, seed, ladder))
    reason = unavailable(name)
    if reason is not None:
        raise RuntimeError(reason)
    # On a CPU one clip at a time stays in the cache. On a GPU many share a launch, and codecs share
    # the cores, up to a limit of memory.
    together = clip.is_cuda or spec.needs_codec or spec.part != "clip"
    at_once = max(1, _VALUES_PER_CHUNK // clip[0].numel()) if together else 1
    if at_once >= len(clip):
        return _perturb(clip, spec, severity, clip_ids, seed, ladder).contiguous()
    out = fresh(clip)
    for start in range(0, len(clip), at_once):
        part = slice(start, start + at_once)
        ids = clip_ids[part]
        out[part] = _perturb(clip[part], spec, severity, ids, seed, ladder)
    return out


def frame_map(
    name: str,
    severity: int,
    length: int,
    *,
    clip_ids: Sequence[str | int],
    seed: int = 0,
    ladder: str = "paper_fixed",
) -> Tensor:
    """Return which frame a temporal perturbation shows at each time, (B, T) int64 on the CPU.

    The map can be built on the frames of a whole video before any is decoded; the model's frames
    are then chosen from the map.

    Args:
        name: A temporal perturbation.
        severity: 0 (every frame at its place) or a severity of the perturbation.
        length: Number of frames T.
        clip_ids: One identity per clip.
        seed: Seed of the evaluation.
        ladder: Key of `LADDERS`.

    Raises:
        ValueError: If a name, severity or ladder does not exist, if the perturbation changes
            pixels, or `length` is not positive.
    """
    spec = _spec(name, severity, ladder)
    if not spec.temporal:
        allowed = [row.name for row in PERTURBATIONS.values() if row.temporal]
        raise ValueError(f"{name} changes pixels and has no frame map; allowed: {_list(allowed)}")
    if length < 1:
        raise ValueError(f"length must be at least 1 frame; got {length}")
    _check_ids(clip_ids, None)
    if severity == 0:
        return torch.arange(length).repeat(len(clip_ids), 1)
    shown = orders(spec, severity, length, clip_ids, seed, ladder)
    return torch.tensor(shown, dtype=torch.int64).view(len(clip_ids), length)


def unavailable(name: str) -> str | None:
    """Say why a perturbation cannot run on this machine; None if it can.

    A condition that cannot run is to be reported as skipped, never replaced by another.
    """
    spec = PERTURBATIONS[name]
    if spec.missing:
        return f"{name} is not available: {spec.missing}"
    if name == "jpeg":
        return missing_jpeg()
    return missing_codec(name) if spec.needs_codec else None


def pixel_hash(clip: Tensor) -> str:
    """Return 16 hex digits that tell whether two clips are equal byte by byte.

    Scores under a condition may be compared where the hashes of its pixels agree.
    """
    pixels = clip.detach().cpu().contiguous()
    digest = hashlib.blake2b(repr((str(pixels.dtype), *pixels.shape)).encode(), digest_size=8)
    digest.update(pixels.numpy().data)
    return digest.hexdigest()


def _reordered(clip: Tensor, shown: list[list[int]]) -> Tensor:
    # whole frames are copied; indexing both axes at once would copy value by value
    out = fresh(clip)
    if clip.device.type == "cpu":
        for one, order, made in zip(clip.numpy(), shown, out.numpy(), strict=True):
            np.take(one, order, axis=0, out=made, mode="clip")
        return out
    for one, order, made in zip(clip, torch.tensor(shown, device=clip.device), out, strict=True):
        torch.index_select(one, 0, order, out=made)
    return out


def _perturb(
    clip: Tensor,
    spec: PerturbSpec,
    severity: int,
    clip_ids: Sequence[str | int],
    seed: int,
    ladder: str,
) -> Tensor:
    arguments = spec.arguments(
        severity, ladder, short_side_px=min(clip.shape[-2:]), frames=clip.shape[1]
    )
    if spec.part == "frames" and not clip.is_cuda:
        change = cast("Callable[..., Tensor]", spec.load())
        out = fresh(clip)
        for one, made in zip(clip, out, strict=True):
            for start in range(0, len(one), _FRAMES_IN_CACHE):
                few = slice(start, start + _FRAMES_IN_CACHE)
                made[few] = change(one[None, few], **arguments)[0]
        return out
    if spec.deterministic:
        return cast("Tensor", spec.load()(clip, **arguments))
    draws = [draws_for(spec.name, severity, clip_id, seed) for clip_id in clip_ids]
    return cast("Tensor", spec.load()(clip, draws, **arguments))


def _spec(name: str, severity: int, ladder: str) -> PerturbSpec:
    if name not in PERTURBATIONS:
        raise ValueError(f"unknown perturbation {name!r}{nearest(name, PERTURBATIONS)}")
    if ladder not in LADDERS:
        raise ValueError(f"unknown ladder {ladder!r}{nearest(ladder, LADDERS)}")
    spec = PERTURBATIONS[name]
    if isinstance(severity, bool) or severity not in (0, *spec.severities):
        allowed = _list((0, *spec.severities))
        raise ValueError(f"{name} has no severity {severity!r}; allowed: {allowed} (0 = clean)")
    return spec


def _check_clip(clip: Tensor) -> None:
    if not isinstance(clip, Tensor):
        raise ValueError(f"a clip is a torch tensor; got {type(clip).__name__}")  # noqa: TRY004
    if clip.dtype != torch.uint8:
        raise ValueError(
            f"a clip is uint8, 0 to 255, before scaling and normalisation; got {clip.dtype}"
        )
    if clip.ndim != 5 or clip.shape[2] != 3:
        hint = _layout_hint(tuple(clip.shape))
        raise ValueError(
            f"a clip is (batch, time, 3, height, width); got {tuple(clip.shape)}{hint}"
        )


def _layout_hint(shape: tuple[int, ...]) -> str:
    """How the axes would have to be permuted; only a hint, the layout is never guessed."""
    if len(shape) == 5 and shape[-1] == 3:
        return "; if that is (batch, time, height, width, 3): clip.permute(0, 1, 4, 2, 3)"
    if len(shape) == 5 and shape[1] == 3:
        return "; if that is (batch, 3, time, height, width): clip.transpose(1, 2)"
    if len(shape) == 4 and shape[1] == 3:
        return "; if that is one clip (time, 3, height, width): clip[None]"
    if len(shape) == 4 and shape[-1] == 3:
        return "; if that is one clip (time, height, width, 3): clip.permute(0, 3, 1, 2)[None]"
    return ""


def _check_ids(clip_ids: Sequence[str | int], count: int | None) -> None:
    if isinstance(clip_ids, (str, bytes)):
        given = f"one string {clip_ids!r}"
        raise ValueError(f"clip_ids is a sequence with one id per clip; got {given}")  # noqa: TRY004
    if count is not None and len(clip_ids) != count:
        raise ValueError(f"clip_ids needs one id per clip: {count}; got {len(clip_ids)}")


def nearest(name: object, allowed: Iterable[str]) -> str:
    """Return the end of an error message: the closest allowed name, and all of them."""
    names = list(allowed)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    meant = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{meant} allowed: {_list(names)}"


def _list(items: Iterable[object]) -> str:
    return ", ".join(str(item) for item in items)
