"""Parameters and pixels of one `motes` clip: a shape that moves over a textured background.

A clip is drawn in two steps: :func:`draw` turns the address of a clip (task, split, shift, class,
index) into a :class:`Scene` of plain numbers, :func:`render` turns the scene into pixels. Random
numbers are `random()` and `integers()` of PCG64 alone, which are the same on every machine; sines
are evaluated in float64 at few points and combined by additions and products, so that pixels do
not depend on the vector unit of a processor either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweep.data.motes.knobs import SEGMENTS

TASKS = {"motes-ssv2": 0, "motes-ucf": 1, "motes-vtt": 2, "motes-howto": 3, "motes-mosi": 4}
SPLITS = {"train": 0, "validation": 1}
SHIFTS = {"clean": 0, "appearance": 1, "viewpoint": 2, "dynamics": 3}

COLOURS = {
    "red": (220, 50, 47),
    "green": (60, 170, 60),
    "blue": (50, 90, 220),
    "yellow": (225, 205, 50),
    "purple": (150, 60, 190),
    "orange": (240, 140, 40),
    "cyan": (60, 200, 210),
    "pink": (240, 130, 180),
}
HELD_OUT_COLOURS = {
    "white": (235, 235, 235),
    "brown": (130, 85, 50),
    "lime": (170, 230, 60),
    "navy": (25, 35, 110),
}
TEXTURES = ("plain", "stripes", "gradient", "blobs")
HELD_OUT_TEXTURES = ("checker", "grid", "static")
SHAPES = ("circle", "square", "diamond", "triangle", "cross", "ring", "bar", "star")
UCF_SHAPES = ("circle", "cross", "triangle", "bar")
# Motion m of pair m // 2; odd ones run the pair backwards in time.
MOTIONS = ("right", "left", "up", "down", "closer", "away", "appear", "disappear")
EXTRA_MOTIONS = ("clockwise", "counterclockwise", "apart", "together")

_RGB = COLOURS | HELD_OUT_COLOURS
_FARTHEST = 0.65  # amplitude of a `motes-mosi` object that is rated 3
_AGAIN = 1000  # marks the words of an attempt in the seed sequence


@dataclass(frozen=True)
class Address:
    """Which clip: the seed and the place from which all of its random numbers follow.

    ``attempt`` counts how often the clip was drawn anew because another one was like it.
    """

    task: str
    split: str
    shift: str
    label: int
    index: int
    seed: int = 0
    attempt: int = 0

    def generator(self, *stream: int) -> np.random.Generator:
        """The clip's own random numbers; ``stream`` names a further independent sequence."""
        words = [self.seed, TASKS[self.task], SPLITS[self.split], SHIFTS[self.shift]]
        again = (_AGAIN, self.attempt) if self.attempt else ()
        sequence = np.random.SeedSequence([*words, self.label, self.index, *again, *stream])
        return np.random.Generator(np.random.PCG64(sequence))


@dataclass(frozen=True)
class Thing:
    """A shape to draw and its course over time; lengths are world units, the canvas is 2 wide."""

    shape: str
    colour: str
    striped: bool
    brightness: float
    size: np.ndarray  # (T,)
    x: np.ndarray  # (T,)
    y: np.ndarray  # (T,), grows downward
    tilt: np.ndarray  # (T,), radians
    opacity: np.ndarray  # (T,), 0..1


@dataclass(frozen=True)
class Scene:
    """Everything that the pixels of a clip follow from."""

    params: dict[str, Any]  # what was drawn, by name; floats are unrounded
    angle: float  # camera, radians
    zoom: float
    shear: float
    offset: np.ndarray  # (T, 2) camera jitter and drift in world units
    base: np.ndarray  # (3,) first background colour, 0..255
    mixed: np.ndarray  # (3,) second background colour
    things: tuple[Thing, ...]  # in drawing order, the object last
    exposure: float
    noise: np.ndarray | None  # int8 (T, R, R, 3)
    blobs: np.ndarray = field(repr=False)  # (4, 4): two frequencies and two phases of four products
    grid: np.ndarray = field(repr=False)  # (32, 32) in 0..1, of the texture `static`


class _Draw:
    """Named draws from one generator, kept for the manifest."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.params: dict[str, Any] = {}

    def keep(self, name: str, value: Any) -> Any:
        if name:
            self.params[name] = value
        return value

    def uniform(self, name: str, low: float, high: float) -> float:
        return self.keep(name, float(low + (high - low) * self.generator.random()))

    def coin(self, name: str, probability: float = 0.5) -> bool:
        return self.keep(name, bool(self.generator.random() < probability))

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        return self.keep(name, options[int(self.generator.integers(len(options)))])

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return self.keep(name, int(self.generator.integers(low, high + 1)))

    def walk(self, frames: int, step: float) -> np.ndarray:
        """Two cumulative sums of uniform steps in ±step/2, shape (frames, 2)."""
        return np.cumsum((self.generator.random((frames, 2)) - 0.5) * step, axis=0)


def draw(address: Address, *, frames: int, resolution: int, rho: float, noise: int) -> Scene:
    """The scene at an address.

    Args:
        address: Which clip.
        frames: Number of frames T, at least 8.
        resolution: Height and width in pixels.
        rho: Probability that the background of a `motes-ucf` clip tells its class.
        noise: Largest absolute value of the pixel noise, 0..127.
    """
    d = _Draw(address.generator())
    is_ucf = address.task == "motes-ucf"
    new = address.shift == "appearance"
    colours = tuple(HELD_OUT_COLOURS if new else COLOURS)

    angle, zoom, shear = _camera(d, is_moved=address.shift == "viewpoint")
    jitter = d.walk(frames, 0.04)
    drift = (0.6 if address.shift == "viewpoint" else 0.3) * (d.generator.random(2) - 0.5)
    d.keep("drift", drift.tolist())
    time = np.arange(frames) / (frames - 1)
    offset = jitter + drift * (time[:, None] - 0.5)

    cue = (address.label, rho) if is_ucf and not new else None
    base, mixed, blobs, grid = _background(d, colours, is_new=new, cue=cue)
    if address.task == "motes-howto":
        shown = _performer(d, colours, frames, is_changed=address.shift == "dynamics")
    else:
        shown = _one_motion(d, address, colours, frames)
    distractors = _distractors(d, colours, time)
    exposure = d.uniform("exposure", 0.75, 1.1)
    pixels = None
    if noise:
        shape = (frames, resolution, resolution, 3)
        pixels = d.generator.integers(-noise, noise + 1, size=shape, dtype=np.int8)
    return Scene(
        params=d.params,
        angle=angle,
        zoom=zoom,
        shear=shear,
        offset=offset,
        base=base,
        mixed=mixed,
        things=(*distractors, *shown),
        exposure=exposure,
        noise=pixels,
        blobs=blobs,
        grid=grid,
    )


def _one_motion(
    d: _Draw, address: Address, colours: tuple[str, ...], frames: int
) -> tuple[Thing, ...]:
    """The object of a clip that shows one motion."""
    if address.task == "motes-ucf":
        motion = d.choice("motion", MOTIONS)
    elif address.task == "motes-vtt":  # the category is the pair
        motion = d.choice("motion", MOTIONS[2 * address.label :][:2])
    elif address.task == "motes-mosi":
        motion = d.keep("motion", "up" if d.uniform("rating", -3, 3) >= 0 else "down")
    else:
        motion = d.keep("motion", (MOTIONS + EXTRA_MOTIONS)[address.label])
    progress, amount = _progress(d, frames, is_changed=address.shift == "dynamics")
    if (MOTIONS + EXTRA_MOTIONS).index(motion) % 2:
        progress = 1.0 - progress
    shown = _object(
        d, address, colours, motion=motion, progress=progress, amount=amount, frames=frames
    )
    if address.task == "motes-mosi":  # what can be seen of it, where shifts shorten the way
        d.keep("rating", d.params["rating"] * amount)
    return shown


def _performer(
    d: _Draw, colours: tuple[str, ...], frames: int, *, is_changed: bool
) -> tuple[Thing, ...]:
    """An object that goes through all motions, in any order, each in a segment of its own."""
    left, motions = list(MOTIONS), []
    while left:
        motions.append(left.pop(int(d.generator.integers(len(left)))))
    d.choice("shape", SHAPES)
    d.coin("striped")
    d.choice("colour", colours)
    x0, y0 = d.uniform("x", -0.35, 0.35), d.uniform("y", -0.35, 0.35)
    size, amplitude = d.uniform("size", 0.24, 0.36), d.uniform("amplitude", 0.4, 0.65)
    tilt, brightness = d.uniform("tilt", -0.3, 0.3), d.uniform("brightness", 0.8, 1.1)
    growth = d.uniform("growth", 0.5, 0.75)
    wobble = d.walk(frames, 0.05)
    length, segments = frames // SEGMENTS, []
    course = {"x": np.zeros(frames), "y": np.zeros(frames), "size": np.full(frames, size)}
    course["opacity"] = np.ones(frames)
    for number, motion in enumerate(motions):
        own = _Draw(d.generator)
        progress, amount = _progress(own, length, is_changed=is_changed)
        segments.append({"motion": motion, **own.params})
        pair, is_backwards = divmod(MOTIONS.index(motion), 2)
        progress = 1.0 - progress if is_backwards else progress
        swing = (2 * progress - 1) * amount
        part = slice(number * length, (number + 1) * length)
        if pair == 0:
            course["x"][part] = amplitude * swing
        elif pair == 1:
            course["y"][part] = -amplitude * swing
        elif pair == 2:
            course["size"][part] = size * np.exp(growth * swing)
        else:
            course["opacity"][part] = 0.5 + (progress - 0.5) * amount
    d.keep("segments", segments)
    thing = Thing(
        shape=d.params["shape"],
        colour=d.params["colour"],
        striped=d.params["striped"],
        brightness=brightness,
        size=course["size"],
        x=x0 + wobble[:, 0] + course["x"],
        y=y0 + wobble[:, 1] + course["y"],
        tilt=np.full(frames, tilt),
        opacity=course["opacity"],
    )
    return (thing,)


def _camera(d: _Draw, *, is_moved: bool) -> tuple[float, float, float]:
    if not is_moved:
        angle, zoom, shear = d.uniform("angle", -5, 5), d.uniform("zoom", 0.95, 1.05), 0.0
    else:
        sign = 1.0 if d.coin("") else -1.0
        angle = d.keep("angle", sign * d.uniform("", 20, 40))
        zoom = d.uniform("zoom", 0.7, 0.85) if d.coin("") else d.uniform("zoom", 1.2, 1.35)
        shear = d.uniform("", -0.35, 0.35)
    d.keep("shear", shear)
    return float(np.deg2rad(angle)), zoom, shear


def _background(
    d: _Draw, colours: tuple[str, ...], *, is_new: bool, cue: tuple[int, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    textures = HELD_OUT_TEXTURES if is_new else TEXTURES
    if cue is not None:
        label, rho = cue
        hint = label if d.coin("is_cued", rho) else d.integer("", 0, 7)
        d.keep("background", colours[hint % len(colours)])
        d.keep("texture", textures[hint % len(textures)])
    else:
        d.choice("background", colours)
        d.choice("texture", textures)
    base = np.array(_RGB[d.params["background"]]) * d.uniform("shade", 0.45, 0.75)
    base = base + d.integer("lift", 0, 39)
    mixed = base * d.uniform("second_shade", 0.5, 0.8) + 60 * d.generator.random(3)
    d.uniform("frequency", 2, 5)
    d.uniform("direction", 0, np.pi)
    d.uniform("phase", 0, 2 * np.pi)
    waves = d.generator.random((4, 4))
    blobs = np.concatenate([1.5 + 2.5 * waves[:, :2], 2 * np.pi * waves[:, 2:]], axis=1)
    return base, mixed, blobs, d.generator.random((32, 32))


def _progress(d: _Draw, frames: int, *, is_changed: bool) -> tuple[np.ndarray, float]:
    """Progress of the motion per frame, 0 to 1, and the factor on its amplitude."""
    hold, rest = d.uniform("hold", 0, 0.2), d.uniform("rest", 0, 0.2)
    time = np.arange(frames) / (frames - 1)
    progress = np.clip((time - hold) / (1 - hold - rest), 0, 1)
    if not is_changed:
        return progress, 1.0
    ease = d.uniform("", 2.2, 3.2)
    ease = d.keep("ease", ease if d.coin("") else 1 / ease)
    length = min(d.integer("", 4, 7), frames // 2)
    first = min(6, frames // 4)
    start = d.integer("pause_start", first, max(first, frames - 9))
    d.keep("pause_frames", length)
    step = np.arange(frames)
    paused = np.clip((step - np.clip(step - start, 0, length)) / (frames - 1 - length), 0, 1)
    return np.interp(paused, time, progress**ease), d.uniform("amplitude_factor", 0.45, 0.65)


def _object(
    d: _Draw,
    address: Address,
    colours: tuple[str, ...],
    *,
    motion: str,
    progress: np.ndarray,
    amount: float,
    frames: int,
) -> tuple[Thing, ...]:
    is_ucf = address.task == "motes-ucf"
    if is_ucf:
        d.keep("shape", UCF_SHAPES[address.label % 4])
        d.keep("striped", address.label >= 4)
    else:
        d.choice("shape", SHAPES)
        d.coin("striped")
    d.choice("colour", colours)
    x0, y0 = d.uniform("x", -0.35, 0.35), d.uniform("y", -0.35, 0.35)
    size = d.uniform("size", 0.42, 0.58) if is_ucf else d.uniform("size", 0.24, 0.36)
    amplitude = d.uniform("amplitude", 0.4, 0.65)
    if address.task == "motes-mosi":
        amplitude = d.keep("amplitude", _FARTHEST * abs(d.params["rating"]) / 3)
    tilt = d.uniform("tilt", -0.3, 0.3)
    brightness = d.uniform("brightness", 0.8, 1.1)
    growth = d.uniform("growth", 0.5, 0.75)
    wobble = d.walk(frames, 0.05)
    turn = d.uniform("turn", 1.2, 2.2) if motion in EXTRA_MOTIONS else 0.0
    if motion in ("clockwise", "counterclockwise") and d.params["shape"] in ("circle", "ring"):
        d.keep("striped", True)

    swing = (2 * progress - 1) * amount * (0.5 if is_ucf else 1.0)
    still = np.zeros(frames)
    pair = (MOTIONS + EXTRA_MOTIONS).index(motion) // 2
    opacity = np.ones(frames)
    if pair == 3:
        opacity = 0.5 + (progress - 0.5) * amount
        opacity = 0.5 + 0.5 * opacity if is_ucf else opacity
    # Two copies part from near contact to 2 * amplitude; all other motions have one object.
    gap = amplitude * (0.5 + 0.5 * swing) if pair == 5 else still
    return tuple(
        Thing(
            shape=d.params["shape"],
            colour=d.params["colour"],
            striped=d.params["striped"],
            brightness=brightness,
            size=size * np.exp(growth * swing) if pair == 2 else np.full(frames, size),
            x=x0 + wobble[:, 0] + (amplitude * swing if pair == 0 else still) + side * gap,
            y=y0 + wobble[:, 1] - (amplitude * swing if pair == 1 else still),
            tilt=tilt + (turn * swing if pair == 4 else still),
            opacity=opacity,
        )
        for side in ((-1.0, 1.0) if pair == 5 else (0.0,))
    )


def _distractors(d: _Draw, colours: tuple[str, ...], time: np.ndarray) -> list[Thing]:
    things = []
    still = np.zeros(len(time))
    for number in range(d.integer("distractors", 1, 2)):
        shape = d.choice(f"shape_{number}", SHAPES)
        colour = d.choice(f"colour_{number}", colours)
        size = d.uniform(f"size_{number}", 0.1, 0.17)
        x, y = d.uniform(f"x_{number}", -0.9, 0.9), d.uniform(f"y_{number}", -0.9, 0.9)
        moves = d.coin(f"moves_{number}")
        speed = np.array([d.uniform("", -0.35, 0.35), d.uniform("", -0.35, 0.35)]) * moves
        d.keep(f"speed_{number}", speed.tolist())
        thing = Thing(
            shape=shape,
            colour=colour,
            striped=False,
            brightness=1.0,
            size=np.full(len(time), size),
            x=x + speed[0] * time,
            y=y + speed[1] * time,
            tilt=still,
            opacity=still + 1,
        )
        things.append(thing)
    return things


def render(scene: Scene, *, resolution: int) -> np.ndarray:
    """Pixels of a scene: uint8 RGB, shape (T, R, R, 3)."""
    axis = (np.arange(resolution) + 0.5) / resolution * 2 - 1
    screen_x, screen_y = np.meshgrid(axis, axis)
    cos, sin = np.cos(scene.angle), np.sin(scene.angle)
    x = scene.zoom * (cos * screen_x - sin * screen_y) + scene.shear * screen_y
    y = scene.zoom * (sin * screen_x + cos * screen_y)
    frames = _ground(scene, x, y)
    for thing in scene.things:
        _paint(frames, thing, x, y, scene.offset)
    frames *= np.float32(scene.exposure)
    if scene.noise is not None:
        frames += scene.noise
    np.rint(frames, out=frames)
    return np.clip(frames, 0, 255, out=frames).astype(np.uint8)


def _ground(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The background of every frame, float32 (T, R, R, 3) in 0..255."""
    base, mixed = scene.base.astype(np.float32), scene.mixed.astype(np.float32)
    shape = (len(scene.offset), *x.shape)
    mask = _mask(scene, x, y)
    if mask is None:
        return np.broadcast_to(base, (*shape, 3)).copy()
    frames = np.empty((*shape, 3), np.float32)
    for channel in range(3):
        np.multiply(mask, mixed[channel] - base[channel], out=frames[..., channel])
        frames[..., channel] += base[channel]
    return frames


def _mask(scene: Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Share of the second colour, float32 (T, R, R) in 0..1; None for a plain background."""
    p = scene.params
    texture, frequency = p["texture"], p["frequency"]
    dx, dy = scene.offset[:, 0, None, None], scene.offset[:, 1, None, None]
    cos, sin = np.cos(p["direction"]), np.sin(p["direction"])
    u, du = cos * x + sin * y, cos * dx + sin * dy
    v, dv = cos * y - sin * x, cos * dy - sin * dx
    if texture == "plain":
        return None
    if texture == "stripes":
        return 0.5 + 0.5 * _wave(3 * frequency * u + p["phase"], 3 * frequency * du)
    if texture == "gradient":
        return np.clip(0.5 + 0.5 * (u + du), 0, 1).astype(np.float32)
    if texture == "blobs":
        total = sum(
            _wave(fx * x + px, fx * dx) * _wave(fy * y + py, fy * dy)
            for fx, fy, px, py in scene.blobs
        )
        return np.clip(0.5 + 0.5 * np.asarray(total, np.float32), 0, 1)
    across, along = frequency * (u + du), frequency * (v + dv)
    if texture == "checker":
        return ((np.floor(across) + np.floor(along)) % 2).astype(np.float32)
    if texture == "grid":
        return ((across % 1 < 0.18) | (along % 1 < 0.18)).astype(np.float32)
    assert texture == "static", texture
    column = ((x + dx + 1) * 16).astype(np.int64) % 32
    row = ((y + dy + 1) * 16).astype(np.int64) % 32
    return scene.grid.astype(np.float32)[row, column]


def _wave(phase: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """sin(phase + shift), float32, from the sines of the two parts (few points each)."""
    parts = (f(angle).astype(np.float32) for angle in (phase, shift) for f in (np.sin, np.cos))
    sin_phase, cos_phase, sin_shift, cos_shift = parts
    return sin_phase * cos_shift + cos_phase * sin_shift


def _paint(
    frames: np.ndarray, thing: Thing, x: np.ndarray, y: np.ndarray, offset: np.ndarray
) -> None:
    """Draw a thing over all frames, in place; only the rows and columns that it can reach."""
    rows, columns = _reach(thing, x, y, offset)
    x, y = x[rows, columns], y[rows, columns]
    shift_x = (offset[:, 0] - thing.x)[:, None, None]
    shift_y = (offset[:, 1] - thing.y)[:, None, None]
    cos, sin = np.cos(thing.tilt)[:, None, None], np.sin(thing.tilt)[:, None, None]
    along = (cos * (x + shift_x) + sin * (y + shift_y)).astype(np.float32)
    down = (cos * (y + shift_y) - sin * (x + shift_x)).astype(np.float32)
    size = thing.size.astype(np.float32)[:, None, None]
    distance = _distance(thing.shape, along, down, size)
    cover = np.clip(0.5 - distance * np.float32(frames.shape[1] / 2.2), 0, 1)
    cover *= thing.opacity.astype(np.float32)[:, None, None]
    shade: Any = np.float32(thing.brightness)
    if thing.striped:
        dark = (np.float32(2.2) * along / size) % 1 < 0.5
        shade = shade * np.where(dark, np.float32(0.35), np.float32(1))
    part = frames[:, rows, columns]
    for channel, value in enumerate(_RGB[thing.colour]):
        plane = part[..., channel]
        plane += cover * (np.minimum(np.float32(value) * shade, 255) - plane)


def _reach(thing: Thing, x: np.ndarray, y: np.ndarray, offset: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the pixels that the thing may cover in any frame."""
    far = 1.3 * thing.size.max() + 4 / len(x)  # the corner of a bar lies at 1.17 sizes
    near_x = (x >= (thing.x - offset[:, 0]).min() - far) & (
        x <= (thing.x - offset[:, 0]).max() + far
    )
    near_y = (y >= (thing.y - offset[:, 1]).min() - far) & (
        y <= (thing.y - offset[:, 1]).max() + far
    )
    near = near_x & near_y
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _distance(shape: str, x: np.ndarray, y: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Signed distance to the outline of a shape of half width ``size``; negative inside."""
    if shape == "circle":
        return np.sqrt(x * x + y * y) - size
    if shape == "ring":
        return np.abs(np.sqrt(x * x + y * y) - 0.75 * size) - 0.28 * size
    if shape == "star":
        radius = np.maximum(np.sqrt(x * x + y * y), np.float32(1e-6))
        c = x / radius
        five = c * (5 + c * c * (16 * c * c - 20))  # cos(5 a) for c = cos(a)
        return radius - size * (0.72 + 0.32 * five)
    wide, high = np.abs(x), np.abs(y)
    if shape == "square":
        return np.maximum(wide, high) - 0.85 * size
    if shape == "diamond":
        return 0.7071 * (wide + high) - 0.8 * size
    if shape == "triangle":
        sides = 0.866 * wide - 0.5 * y  # the greater of the two slanted sides
        return np.maximum(y - 0.6 * size, sides - 0.6 * size)
    if shape == "cross":
        lying = np.maximum(wide - size, high - 0.35 * size)
        return np.minimum(lying, np.maximum(wide - 0.35 * size, high - size))
    assert shape == "bar", shape
    return np.maximum(wide - 1.1 * size, high - 0.4 * size)
