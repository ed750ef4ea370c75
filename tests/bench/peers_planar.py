"""The same damage by OpenCV, Pillow, numpy and PyAV, from and to planar clips (T, 3, H, W) uint8.

Each is the fastest form that we found whose result is ours (at most one grey level apart in at most
one of a hundred values), or, for noise, has the same distribution. What takes our random numbers
says so by its `Draws`. OpenCV wants interleaved channels for some; the change is part of the time,
because a clip is planar before and after.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image

from perturb.blur import disk, motion_angles
from perturb.camera import angles, bent, offsets
from perturb.catalogue import PERTURBATIONS
from perturb.draws import Draws
from perturb.video import FORMATS, REPEATABLE_X264, REPEATABLE_X265, quantiser_options
from perturb.weather import flakes, plasma

Clip = np.ndarray
Level = Mapping[str, float]
Peer = Callable[[Clip, Draws, Level], Clip]


def _by_frame(clip: Clip, change: Callable[[np.ndarray], np.ndarray]) -> Clip:
    """Change each frame (3, H, W); float results are truncated."""
    out = np.empty_like(clip)
    for frame, made in zip(clip, out, strict=True):
        np.copyto(made, change(frame), casting="unsafe")
    return out


def _interleaved(clip: Clip, change: Callable[[np.ndarray], np.ndarray]) -> Clip:
    """Change each frame (H, W, 3)."""
    out = np.empty_like(clip)
    for frame, made in zip(clip, out, strict=True):
        for channel, plane in enumerate(cv2.split(change(cv2.merge(list(frame))))):
            np.copyto(made[channel], plane, casting="unsafe")
    return out


def _planes(clip: Clip, change: Callable[[np.ndarray], np.ndarray]) -> Clip:
    """Change each plane (H, W)."""
    return _by_frame(clip, lambda frame: np.stack([change(plane) for plane in frame]))


# ---------------------------------------------------------------------------------------- noise
def gaussian(clip: Clip, draw: Draws, level: Level) -> Clip:
    noise = np.empty(clip.shape[1:], np.float32)

    def add(frame: np.ndarray) -> np.ndarray:
        cv2.randn(noise.reshape(-1), 0, 255 * level["std"])
        np.add(noise, frame, out=noise)
        return np.clip(noise, 0, 255, out=noise)

    return _by_frame(clip, add)


def speckle(clip: Clip, draw: Draws, level: Level) -> Clip:
    noise = np.empty(clip.shape[1:], np.float32)

    def multiply(frame: np.ndarray) -> np.ndarray:
        cv2.randn(noise.reshape(-1), 1, level["std"])
        np.multiply(noise, frame, out=noise)
        return np.clip(noise, 0, 255, out=noise)

    return _by_frame(clip, multiply)


def replaced(white: float, both: float) -> Peer:
    def replace(clip: Clip, draw: Draws, level: Level) -> Clip:
        share = level["share"]
        chance = np.empty(clip.shape[1:], np.float32)

        def one(frame: np.ndarray) -> np.ndarray:
            cv2.randu(chance.reshape(-1), 0, 1)
            made = frame * (chance >= share * both)
            made |= -(chance < share * white).view(np.uint8)
            return made

        return _by_frame(clip, one)

    return replace


# ----------------------------------------------------------------------------------------- blur
def zoom(clip: Clip, draw: Draws, level: Level) -> Clip:
    height, width = clip.shape[-2:]
    factors = np.arange(1, level["stop"], level["step"]).tolist()
    maps = []
    for z in factors:
        steps, starts = [], []
        for side in (width, height):
            crop = math.ceil(side / z)
            size = round(crop * z)
            step = (crop - 1) / (size - 1)
            steps.append(step)
            starts.append((side - crop) // 2 + (size - side) // 2 * step)
        maps.append(np.array([[steps[0], 0, starts[0]], [0, steps[1], starts[1]]]))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def blur(frame: np.ndarray) -> np.ndarray:
        source = frame.astype(np.float32)
        total = source.copy()
        for matrix in maps:
            total += cv2.warpAffine(
                source, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
            )
        total /= len(factors) + 1
        return total

    return _interleaved(clip, blur)


def soft(clip: Clip, draw: Draws, level: Level) -> Clip:
    size = 2 * int(4 * level["sigma"] + 0.5) + 1
    taps = cv2.getGaussianKernel(size, level["sigma"], cv2.CV_32F)
    border = cv2.BORDER_REPLICATE
    return _planes(
        clip, lambda x: cv2.sepFilter2D(x, cv2.CV_32F, taps, taps, delta=1e-3, borderType=border)
    )


def defocus(clip: Clip, draw: Draws, level: Level) -> Clip:
    kernel = disk(level["radius"], level["alias_sigma"]).numpy()
    border = cv2.BORDER_REFLECT_101
    return _planes(
        clip, lambda x: np.clip(cv2.filter2D(x, cv2.CV_32F, kernel, borderType=border), 0, 255)
    )


def motion(clip: Clip, draw: Draws, level: Level) -> Clip:
    width = 2 * math.ceil(level["radius"]) + 1
    steps = np.arange(width)
    weights = np.exp(-(steps**2) / (2 * level["sigma"] ** 2))
    weights /= weights.sum()
    degrees = iter(motion_angles(draw, len(clip)).tolist())

    def smear(frame: np.ndarray) -> np.ndarray:
        turn = math.radians(next(degrees))
        right = np.ceil(steps * math.cos(turn) - 0.5).astype(int)
        down = np.ceil(steps * math.sin(turn) - 0.5).astype(int)
        kernel = np.zeros((2 * width - 1, 2 * width - 1), np.float32)
        np.add.at(kernel, (down + width - 1, right + width - 1), weights)
        rows = kernel.any(1).nonzero()[0]
        kernel = kernel[rows[0] : rows[-1] + 1, width - 1 : width + right[-1]]
        anchor = (0, int(width - 1 - rows[0]))
        border = cv2.BORDER_REPLICATE
        return np.stack(
            [cv2.filter2D(x, cv2.CV_32F, kernel, None, anchor, 1e-3, border) for x in frame]
        )

    return _by_frame(clip, smear)


def exposed(clip: Clip, draw: Draws, level: Level) -> Clip:
    half = int(level["window"]) // 2
    total = np.zeros((len(clip) + 1, *clip.shape[1:]), np.int32)
    np.cumsum(clip, axis=0, dtype=np.int32, out=total[1:])
    out = np.empty_like(clip)
    for time, made in enumerate(out):
        first, end = max(0, time - half), min(len(clip), time + half)
        np.floor_divide(total[end] - total[first], end - first, out=made, casting="unsafe")
    return out


# -------------------------------------------------------------------------------------- digital
def jpeg(clip: Clip, draw: Draws, level: Level) -> Clip:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(level["quality"])]
    out = np.empty_like(clip)
    for frame, made in zip(clip, out, strict=True):
        _, data = cv2.imencode(".jpg", cv2.merge(list(frame[::-1])), quality)
        made[::-1] = cv2.split(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return out


def jpeg_by_pillow(clip: Clip, draw: Draws, level: Level) -> Clip:
    def recode(frame: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=int(level["quality"]))
        return np.asarray(Image.open(file))

    return _interleaved(clip, recode)


def pixelate(clip: Clip, draw: Draws, level: Level) -> Clip:
    height, width = clip.shape[-2:]
    small = (int(width * level["scale"]), int(height * level["scale"]))

    def reduce(frame: np.ndarray) -> np.ndarray:
        made = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(made, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    return _interleaved(clip, reduce)


def video(name: str) -> Peer:
    def through_a_file(clip: Clip, draw: Draws, level: Level) -> Clip:
        import av

        container, reader, options = {
            "mpeg1": ("vob", "mpeg", {}),
            "mpeg2": ("avi", "avi", {}),
            "h264_crf": ("mp4", "mp4", REPEATABLE_X264),
            "h265_crf": ("matroska", "matroska", REPEATABLE_X265),
        }[name]
        chosen = {"crf": f"{level['crf']:g}"} if "crf" in level else None
        chosen = chosen or quantiser_options(level["quantiser"])
        file = io.BytesIO()
        with av.open(file, "w", format=container) as made:
            stream: Any = made.add_stream(FORMATS[name].encoder, 25, {**chosen, **options})
            stream.height, stream.width, stream.pix_fmt = *clip.shape[-2:], "yuv420p"
            context = stream.codec_context
            context.gop_size, context.max_b_frames, context.thread_count = 12, 0, 1
            for frame in clip:
                picture = av.VideoFrame.from_ndarray(cv2.merge(list(frame)), format="rgb24")
                made.mux(stream.encode(picture))
            made.mux(stream.encode(None))
        file.seek(0)
        out = np.empty_like(clip)
        with av.open(file, "r", format=reader) as made:
            for frame, picture in zip(out, made.decode(video=0), strict=True):
                frame[:] = cv2.split(picture.to_ndarray(format="rgb24"))
        return out

    return through_a_file


# --------------------------------------------------------------------------------------- camera
def _turned(frame: np.ndarray, degrees: float) -> np.ndarray:
    height, width = frame.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_NEAREST)


def static_rotation(clip: Clip, draw: Draws, level: Level) -> Clip:
    return _interleaved(clip, lambda frame: _turned(frame, level["degrees"]))


def random_rotation(clip: Clip, draw: Draws, level: Level) -> Clip:
    drawn = iter(angles(draw, len(clip), level["limit"]).tolist())
    return _interleaved(clip, lambda frame: _turned(frame, next(drawn)))


def translation(clip: Clip, draw: Draws, level: Level) -> Clip:
    drawn = offsets(draw, len(clip), level["low"], level["high"], is_whole=True).long().tolist()
    out = np.zeros_like(clip)
    height, width = clip.shape[-2:]
    for frame, made, (down, right) in zip(clip, out, drawn, strict=True):
        y0, y1 = max(0, down), min(height, height + down)
        x0, x1 = max(0, right), min(width, width + right)
        made[:, y0 - down : y1 - down, x0 - right : x1 - right] = frame[:, y0:y1, x0:x1]
    return out


def translation_by_opencv(clip: Clip, draw: Draws, level: Level) -> Clip:
    drawn = offsets(draw, len(clip), level["low"], level["high"], is_whole=True).long().tolist()
    moves = iter(drawn)

    def move(frame: np.ndarray) -> np.ndarray:
        down, right = next(moves)
        matrix = np.array([[1.0, 0, -right], [0, 1, -down]])
        return cv2.warpAffine(frame, matrix, frame.shape[1::-1], flags=cv2.INTER_NEAREST)

    return _interleaved(clip, move)


# ------------------------------------------------------------------------- photometric, the rest
def _hsv(channel: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    def whole(frame: np.ndarray) -> np.ndarray:
        made = cv2.cvtColor(frame.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2HSV)
        made[..., channel] = np.clip(change(made[..., channel]), 0, 1)
        return cv2.cvtColor(made, cv2.COLOR_HSV2RGB) * 255 + np.float32(1e-3)

    return whole


def brightness(clip: Clip, draw: Draws, level: Level) -> Clip:
    return _interleaved(clip, _hsv(2, lambda value: value + level["gain"]))


def saturate(clip: Clip, draw: Draws, level: Level) -> Clip:
    return _interleaved(clip, _hsv(1, lambda s: s * level["factor"] + level["offset"]))


def contrast(clip: Clip, draw: Draws, level: Level) -> Clip:
    def pull(plane: np.ndarray) -> np.ndarray:
        mean, factor = cv2.mean(plane)[0], level["factor"]
        return plane * np.float32(factor) + np.float32(mean * (1 - factor) + 1e-3)

    return _planes(clip, pull)


# ------------------------------------------------------- weather, lenses: our layers, their pixels
def fog(clip: Clip, draw: Draws, level: Level) -> Clip:
    height, width = clip.shape[-2:]
    cloud = plasma(max(height, width), level["decay"], draw.numbers())[:height, :width].numpy()
    thickness = np.float32(255 * level["thickness"])
    cloud = thickness * cloud

    def veil(frame: np.ndarray) -> np.ndarray:
        brightest = np.float32(frame.max())
        share = brightest / (brightest + thickness)
        made = frame * share
        made += cloud * share + np.float32(1e-3)
        return made

    return _by_frame(clip, veil)


def snow(clip: Clip, draw: Draws, level: Level) -> Clip:
    import torch

    generator = draw.numbers()
    noise = torch.empty(clip.shape[-2:]).normal_(level["mean"], level["std"], generator=generator)
    keys = ("zoom", "least", "radius", "sigma")
    layer, _ = flakes(noise, generator, **{key: level[key] for key in keys})
    flake, clear = layer[0].numpy() + np.float32(1e-3), np.float32(level["clear"])

    def pale(frame: np.ndarray) -> np.ndarray:
        grey = sum(
            x * np.float32(1.5 * w) for x, w in zip(frame, (0.299, 0.587, 0.114), strict=True)
        )
        grey += np.float32(127.5)
        made = np.maximum(frame, grey)
        made *= 1 - clear
        made += frame * clear
        made += flake
        return np.clip(made, 0, 255, out=made)

    return _by_frame(clip, pale)


def rain(clip: Clip, draw: Draws, level: Level) -> Clip:
    import torch

    height, width = clip.shape[-2:]
    count, streak = int(height * width / level["area_per_drop"]), int(level["length"] + 0.5)
    generator, shape = draw.numbers(), (len(clip), count)
    tops = torch.randint(-streak + 1, height, shape, generator=generator).numpy()
    lefts = torch.randint(0, width, shape, generator=generator).numpy()
    steps = np.arange(streak)
    places = iter(zip(tops, lefts, strict=True))

    def wet(frame: np.ndarray) -> np.ndarray:
        top, left = next(places)
        down, right = top[:, None] + steps, left[:, None] - (steps * 2 > streak)
        seen = (down >= 0) & (down < height) & (right >= 0)
        soft = np.stack([cv2.blur(x.astype(np.float32), (3, 3)) for x in frame])
        soft[:, down[seen], right[seen]] = 220
        mean = soft.mean((1, 2), keepdims=True, dtype=np.float64)
        darken = np.float32(level["darken"])
        soft *= darken
        soft += (mean * (1 - level["darken"]) + 1e-3).astype(np.float32)
        return soft

    return _by_frame(clip, wet)


def elastic(clip: Clip, draw: Draws, level: Level) -> Clip:
    height, width = clip.shape[-2:]
    tilted, right, down = (x.numpy() for x in bent(height, width, draw.numbers(), **level))
    Y, X = np.mgrid[:height, :width]
    maps = (tilted[0], tilted[1]), (X + right, Y + down)
    first, second = (tuple(axis.astype(np.float32) for axis in pair) for pair in maps)
    border = cv2.BORDER_REFLECT_101

    def bend(frame: np.ndarray) -> np.ndarray:
        once = cv2.remap(frame.astype(np.float32), *first, cv2.INTER_LINEAR, borderMode=border)
        return cv2.remap(once, *second, cv2.INTER_LINEAR, borderMode=border) + np.float32(1e-3)

    return _interleaved(clip, bend)


def glass(clip: Clip, draw: Draws, level: Level) -> Clip:
    from perturb.blur import _glass

    height, width = clip.shape[-2:]
    reach = max(1, round(level["reach"]))
    source = _glass(height, width, reach, int(level["rounds"]), draw).numpy()
    once = soft(clip, draw, level)
    moved = np.take(once.reshape(*clip.shape[:2], -1), source, axis=-1).reshape(clip.shape)
    return soft(moved, draw, level)


def shot(clip: Clip, draw: Draws, level: Level) -> Clip:
    import torch

    photons = level["photons"]
    counts = torch.poisson(torch.from_numpy(clip) * (photons / 255), draw.numbers())
    return (counts * (255 / photons) + 1e-4).clamp_(0, 255).byte().numpy()


def occlusion(clip: Clip, draw: Draws, level: Level) -> Clip:
    import torch

    height, width = clip.shape[-2:]
    hidden = torch.randperm(64, generator=draw.numbers())[: round(level["share"] * 64)].tolist()
    out = clip.copy()
    for cell in hidden:
        y, x = divmod(cell, 8)
        rows = slice(math.ceil(y * height / 8), math.ceil((y + 1) * height / 8))
        out[..., rows, math.ceil(x * width / 8) : math.ceil((x + 1) * width / 8)] = 0
    return out


def order(name: str) -> dict[str, Peer]:
    spec = PERTURBATIONS[name]

    def index(clip: Clip, draw: Draws, level: Level) -> Any:
        given = [] if spec.deterministic else [random.Random(draw.key)]
        return spec.load()(len(clip), *given, **level)

    def by_numpy(clip: Clip, draw: Draws, level: Level) -> Clip:
        return clip[index(clip, draw, level)]

    def by_torch(clip: Clip, draw: Draws, level: Level) -> Clip:
        import torch

        return torch.from_numpy(clip)[index(clip, draw, level)].numpy()

    return {"torch": by_torch, "numpy": by_numpy}


PEERS: dict[str, dict[str, Peer]] = {
    "gaussian_noise": {"OpenCV": gaussian},
    "speckle_noise": {"OpenCV": speckle},
    "impulse_noise": {"OpenCV": replaced(0.5, 1)},
    "salt_noise": {"OpenCV": replaced(1, 1)},
    "pepper_noise": {"OpenCV": replaced(0, 1)},
    "zoom_blur": {"OpenCV": zoom},
    "gaussian_blur": {"OpenCV": soft},
    "defocus_blur": {"OpenCV": defocus},
    "motion_blur": {"OpenCV": motion},
    "temporal_blur": {"numpy": exposed},
    "jpeg": {"OpenCV": jpeg, "Pillow": jpeg_by_pillow},
    "pixelate": {"OpenCV": pixelate},
    **{name: {"PyAV": video(name)} for name in ("mpeg1", "mpeg2", "h264_crf", "h265_crf")},
    "static_rotation": {"OpenCV": static_rotation},
    "random_rotation": {"OpenCV": random_rotation},
    "translation": {"numpy": translation, "OpenCV": translation_by_opencv},
    "brightness": {"OpenCV": brightness},
    "saturate": {"OpenCV": saturate},
    "contrast": {"OpenCV": contrast},
    "occlusion": {"numpy": occlusion},
    "fog": {"numpy": fog},
    "snow": {"numpy": snow},
    "rain": {"OpenCV": rain},
    "elastic": {"OpenCV": elastic},
    "glass_blur": {"OpenCV": glass},
    "shot_noise": {"torch": shot},
    **{name: order(name) for name, spec in PERTURBATIONS.items() if spec.temporal},
}
