"""The perturbations, their severities and the conditions that are evaluated.

Three constant tables, readable without torch or numpy:

- `PERTURBATIONS`: one row per perturbation, with the value of its parameters at every severity of
  every ladder;
- `LADDERS`: what the published, the corrected and the small-frame values mean, and those of other
  benchmarks;
- `PROFILES`: which conditions an evaluation runs.

The eighteen rows that belong to a paper profile and their constants are those of Schiappa et al.,
"Large-scale Robustness Analysis of Video Action Recognition Models" (arXiv:2207.01398), and of its
released code. Where the paper's two code bases disagree, or where a published table does something
odd, the row says which value is used and why.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from perturb.mixes import MIXES, TESTED_SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Level = tuple[float, ...]

SEVERITIES = (1, 2, 3, 4, 5)
CATEGORIES = (
    "noise", "blur", "digital", "temporal", "camera", "photometric", "weather", "occlusion",
)  # fmt: skip
PAPER_CATEGORIES = CATEGORIES[:5]


@dataclass(frozen=True)
class Ladder:
    """A set of severity tables.

    Attributes:
        name: Key in `LADDERS`.
        meaning: One sentence for lists and reports.
        short_side_px: Frame size that lengths are given for; a length is multiplied by
            (short side of the clip) / this. None: pixels are pixels, whatever the frame size.
        frames: Clip length that windows and strides are given for, scaled alike; None: never.
    """

    name: str
    meaning: str
    short_side_px: int | None = None
    frames: int | None = None


@functools.cache
def _imported(target: str) -> Callable[..., object]:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class PerturbSpec:
    """One perturbation.

    Attributes:
        name: Canonical name, also the first half of a condition such as `jpeg/3`.
        category: One of `CATEGORIES`.
        parameters: Names of the numbers in a level; keyword arguments of the function.
        levels: Ladder name -> one level per severity (a single one if `has_severity` is False).
        unit: What the numbers of a level mean.
        label: How a level is written for people; the parameters are filled in.
        source: Paper and table.
        target: `module:function` that implements it; empty if `missing` says why there is none.
        lengths: Parameters in pixels, scaled by ladders that name a frame size.
        windows: Parameters in frames, scaled by ladders that name a clip length.
        least: Parameter -> value up to which the perturbation changes nothing at all.
        most: Parameter -> value from which on a larger one changes nothing more.
        deterministic: Whether the draw is the same for every clip (there is none).
        has_severity: False for perturbations that exist once; they only know severity 1.
        needs_codec: Whether a video encoder (PyAV) has to be installed.
        is_published: Whether it is one of the eighteen of the paper.
        part: What a CPU is given at a time, so that it stays in its cache: a `clip`, a few
            `frames`, or the whole `batch`, where the function itself cuts it into parts.
        not_monotone: Ladders in which a higher severity is not always a larger change.
        moves: Whether it changes from frame to frame, so that one frame does not show it.
        missing: Why a perturbation that a benchmark counts cannot be made; it is reported as
            skipped, with this reason.
    """

    name: str
    category: str
    parameters: tuple[str, ...]
    levels: Mapping[str, tuple[Level, ...]]
    unit: str
    label: str
    source: str
    target: str
    lengths: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    deterministic: bool = False
    has_severity: bool = True
    needs_codec: bool = False
    is_published: bool = False
    part: Literal["clip", "frames", "batch"] = "clip"
    not_monotone: tuple[str, ...] = ()
    moves: bool = False
    missing: str = ""

    @property
    def temporal(self) -> bool:
        """Whether it only reorders or repeats frames, so that it is an index map."""
        return self.category == "temporal"

    @property
    def severities(self) -> tuple[int, ...]:
        """Severities that exist besides 0, the untouched clip."""
        return SEVERITIES if self.has_severity else (1,)

    def load(self) -> Callable[..., object]:
        """Import and return the function behind the row."""
        return _imported(self.target)

    def arguments(
        self,
        severity: int,
        ladder: str,
        *,
        short_side_px: int | None = None,
        frames: int | None = None,
    ) -> dict[str, float]:
        """Return the keyword arguments of the function for one severity.

        Args:
            severity: One of `severities`.
            ladder: Key of `LADDERS`.
            short_side_px: Short side of the frames, for ladders that scale lengths.
            frames: Number of frames of the clip, for ladders that scale windows.
        """
        level = dict(zip(self.parameters, self.levels[ladder][severity - 1], strict=True))
        table = LADDERS[ladder]
        if table.short_side_px is not None and short_side_px is not None:
            for name in self.lengths:
                level[name] = level[name] * short_side_px / table.short_side_px
        if table.frames is not None and frames is not None:
            for name in self.windows:
                # windows and strides of one frame would change nothing
                level[name] = max(2, int(level[name] * frames / table.frames + 0.5))
        return level

    def describe(
        self,
        severity: int,
        ladder: str,
        *,
        short_side_px: int | None = None,
        frames: int | None = None,
    ) -> str:
        """Return the level of one severity in words, such as `radius 10, sigma 3 px`.

        Args:
            severity: 0 or one of `severities`.
            ladder: Key of `LADDERS`.
            short_side_px: Short side of the frames, for ladders that scale lengths.
            frames: Number of frames of the clip, for ladders that scale windows.
        """
        if severity == 0:
            return "clean"
        level = self.arguments(severity, ladder, short_side_px=short_side_px, frames=frames)
        return self.label.format(**level)


@dataclass(frozen=True)
class Profile:
    """The conditions of an evaluation.

    Attributes:
        name: Key in `PROFILES`.
        ladder: Ladder that the severities refer to.
        conditions: Perturbation -> severities.
    """

    name: str
    ladder: str
    conditions: Mapping[str, tuple[int, ...]]

    def names(self) -> list[str]:
        """Return the condition strings, such as `jpeg/3`, in table order."""
        return [f"{name}/{s}" for name, levels in self.conditions.items() for s in levels]


_PAPER = "arXiv:2207.01398"
_VIDEO_C = "arXiv:2110.06513"
_IMAGE_C = "arXiv:1903.12261"

_COHERENT = "ours, after arXiv:2603.10652"

LADDERS: Mapping[str, Ladder] = {
    "paper": Ladder("paper", "published values of arXiv:2207.01398, oddities included"),
    "paper_fixed": Ladder(
        "paper_fixed",
        "published values; MPEG quantisers, jumbling windows and translation corrected so that "
        "severity orders the strength",
    ),
    "small": Ladder(
        "small",
        "for small frames: lengths given at 64 px (scaled with the short side), windows given for "
        "24 frames (scaled with the clip), weaker noise, angles that keep the label true",
        short_side_px=64,
        frames=24,
    ),
    "yi_c": Ladder(
        "yi_c", "Mini Kinetics-C of arXiv:2110.06513 where it differs; otherwise `paper`"
    ),
    "yi_c_ssv2": Ladder(
        "yi_c_ssv2", "Mini SSV2-C of arXiv:2110.06513 where it differs; otherwise `paper`"
    ),
    "imagenet_c": Ladder(
        "imagenet_c", "ImageNet-C of arXiv:1903.12261 where it differs; otherwise `paper`"
    ),
}
_EVERY_LADDER = tuple(LADDERS)
_AS_PUBLISHED = tuple(name for name in LADDERS if name not in ("paper_fixed", "small"))


def _each(*values: float) -> tuple[Level, ...]:
    """One-parameter levels."""
    return tuple((value,) for value in values)


def _ladders(
    paper: tuple[Level, ...], **others: tuple[Level, ...]
) -> Mapping[str, tuple[Level, ...]]:
    """Tables of all ladders; what is not given is as in the paper."""
    return {name: others.get(name, paper) for name in LADDERS}


# How the `small` values came about. Those marked "tried" were tuned on 64 px clips so that the
# accuracy of a small model falls steadily; the others follow the same rule: lengths are the
# published ones times 64/224, standard deviations of noise times 0.4 (variances, hence shares of
# replaced values, times 0.16; photons, whose standard deviation falls with their root, divided by
# 0.16), angles bounded so that the label stays true, ratios and shares unchanged.
_ROWS = (
    # ---------------------------------------------------------------------------------- noise
    PerturbSpec(
        name="gaussian_noise",
        category="noise",
        parameters=("std",),
        levels=_ladders(
            _each(0.08, 0.12, 0.18, 0.26, 0.38), small=_each(0.03, 0.05, 0.07, 0.1, 0.15)
        ),  # tried
        unit="standard deviation; full scale = 1",
        label="std {std:g}",
        source=_PAPER,
        target="perturb.noise:gaussian_noise",
        is_published=True,
        part="batch",
    ),
    PerturbSpec(
        name="shot_noise",
        category="noise",
        parameters=("photons",),
        levels=_ladders(
            _each(250, 100, 50, 30, 15),
            small=_each(1560, 625, 312, 187, 94),
            **dict.fromkeys(("yi_c", "yi_c_ssv2", "imagenet_c"), _each(60, 25, 12, 5, 3)),
        ),
        unit="photons at full scale",
        label="{photons:g} photons",
        source=_PAPER,
        target="perturb.noise:shot_noise",
        is_published=True,
        part="batch",
    ),
    PerturbSpec(
        name="impulse_noise",
        category="noise",
        parameters=("share",),
        levels=_ladders(
            _each(0.03, 0.06, 0.09, 0.17, 0.27), small=_each(0.005, 0.01, 0.014, 0.027, 0.043)
        ),
        unit="share of values replaced by 0 or 255",
        label="{share:.1%} replaced",
        source=_PAPER,
        target="perturb.noise:impulse_noise",
        is_published=True,
        part="batch",
    ),
    PerturbSpec(
        name="speckle_noise",
        category="noise",
        parameters=("std",),
        levels=_ladders(
            _each(0.15, 0.2, 0.25, 0.3, 0.35),
            small=_each(0.06, 0.08, 0.1, 0.12, 0.14),
            imagenet_c=_each(0.15, 0.2, 0.35, 0.45, 0.6),
        ),
        unit="standard deviation relative to the value",
        label="std {std:g}",
        source=_PAPER,
        target="perturb.noise:speckle_noise",
        is_published=True,
        part="batch",
    ),
    # ----------------------------------------------------------------------------------- blur
    PerturbSpec(
        name="motion_blur",
        category="blur",
        parameters=("radius", "sigma"),
        levels=_ladders(
            ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
            small=((3, 1), (4, 1.5), (5, 2.5), (6, 4), (8, 6)),  # tried
        ),
        unit="radius and sigma of a one-sided trail, px; angle within ±45 degrees, drawn per frame",
        label="radius {radius:.3g}, sigma {sigma:.3g} px",
        source=_PAPER,
        target="perturb.blur:motion_blur",
        lengths=("radius", "sigma"),
        is_published=True,
        part="batch",
    ),
    PerturbSpec(
        name="zoom_blur",
        category="blur",
        parameters=("stop", "step"),
        # a factor list is arange(1, stop, step), so the largest factor is just below `stop`
        levels=_ladders(
            ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
            small=((1.205, 0.01), (1.305, 0.01), (1.41, 0.02), (1.51, 0.02), (1.61, 0.02)),  # tried
        ),
        unit="zoom factors from 1 to below the first number, in steps of the second",
        label="factors below {stop:g}, step {step:g}",
        source=_PAPER,
        target="perturb.blur:zoom_blur",
        deterministic=True,
        is_published=True,
        part="batch",
    ),
    PerturbSpec(
        name="defocus_blur",
        category="blur",
        parameters=("radius", "alias_sigma"),
        levels=_ladders(
            ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
            small=((1, 0.1), (1.5, 0.1), (2, 0.1), (2.5, 0.1), (3, 0.1)),  # tried
        ),
        unit="radius of the disk, px, and sigma that smooths its edge",
        label="radius {radius:.3g} px, edge {alias_sigma:g}",
        source=_PAPER,
        target="perturb.blur:defocus_blur",
        lengths=("radius",),
        least={"radius": 0.99},  # a disk of one pixel
        deterministic=True,
        part="frames",
        is_published=True,
    ),
    # -------------------------------------------------------------------------------- digital
    PerturbSpec(
        name="jpeg",
        category="digital",
        parameters=("quality",),
        levels=_ladders(_each(25, 18, 15, 10, 7), small=_each(20, 12, 8, 5, 3)),  # tried
        unit="JPEG quality, per frame",
        label="quality {quality:g}",
        source=_PAPER,
        target="perturb.digital:jpeg",
        deterministic=True,
        is_published=True,
        part="batch",
    ),
    PerturbSpec(
        name="mpeg1",
        category="digital",
        parameters=("quantiser",),
        # Quirk: followed in `paper`, fixed elsewhere. Encoders clip the quantiser at 31, so that
        # the published severities 2 to 5 are (almost) one.
        levels=_ladders(
            _each(20, 40, 60, 80, 100),
            paper_fixed=_each(5, 10, 16, 23, 31),
            small=_each(5, 10, 16, 23, 31),
        ),
        unit="quantiser (clipped at 31); the encoder is MPEG-2 video despite the paper's name",
        label="quantiser {quantiser:g}",
        source=_PAPER,
        target="perturb.codec:mpeg1",
        most={"quantiser": 31},
        deterministic=True,
        needs_codec=True,
        is_published=True,
        not_monotone=_AS_PUBLISHED,
    ),
    PerturbSpec(
        name="mpeg2",
        category="digital",
        parameters=("quantiser",),
        levels=_ladders(
            _each(15, 30, 45, 60, 75),
            paper_fixed=_each(5, 10, 16, 23, 31),
            small=_each(5, 10, 16, 23, 31),
        ),
        unit="quantiser (clipped at 31); the encoder is MPEG-4 part 2 despite the paper's name",
        label="quantiser {quantiser:g}",
        source=_PAPER,
        target="perturb.codec:mpeg2",
        most={"quantiser": 31},
        deterministic=True,
        needs_codec=True,
        is_published=True,
        not_monotone=_AS_PUBLISHED,
    ),
    # ------------------------------------------------------------------------------- temporal
    PerturbSpec(
        name="sampling",
        category="temporal",
        parameters=("stride",),
        levels=_ladders(_each(2, 4, 8, 16, 32), small=_each(3, 4, 6, 8, 12)),  # tried
        unit="frames per shown frame",
        label="every {stride:g} frames",
        source=_PAPER,
        target="perturb.temporal:sampling",
        windows=("stride",),
        deterministic=True,
        is_published=True,
    ),
    PerturbSpec(
        name="reverse_sampling",
        category="temporal",
        parameters=("stride",),
        levels=_ladders(_each(2, 4, 8, 16, 32), small=_each(3, 4, 6, 8, 12)),
        unit="frames per shown frame, in reverse order",
        label="every {stride:g} frames",
        source=_PAPER,
        target="perturb.temporal:reverse_sampling",
        windows=("stride",),
        deterministic=True,
        is_published=True,
        not_monotone=_EVERY_LADDER,  # reversal dominates every stride
    ),
    PerturbSpec(
        name="jumbling",
        category="temporal",
        parameters=("window",),
        # Quirk: followed in `paper`, fixed elsewhere. The published windows shrink with severity,
        # so that severity 5 only swaps neighbours. The fixed windows are those of the authors'
        # video-language benchmark (arXiv:2207.02159).
        levels=_ladders(
            _each(32, 16, 8, 4, 2),
            paper_fixed=_each(4, 8, 16, 32, 64),
            small=_each(4, 8, 12, 16, 24),  # tried
        ),
        unit="frames in a shuffled window",
        label="windows of {window:g} frames",
        source=_PAPER,
        target="perturb.temporal:jumbling",
        windows=("window",),
        is_published=True,
        not_monotone=_AS_PUBLISHED,
    ),
    PerturbSpec(
        name="box_jumbling",
        category="temporal",
        parameters=("segment",),
        # Quirk: followed. A segment as long as the clip changes nothing, so severities 3 to 5 leave
        # 16 frames alone: build the map on the frames of the whole video, then choose frames.
        levels=_ladders(_each(4, 9, 16, 25, 36), small=_each(2, 3, 4, 6, 8)),  # tried
        unit="frames in a segment; segments change places",
        label="segments of {segment:g} frames",
        source=_PAPER,
        target="perturb.temporal:box_jumbling",
        windows=("segment",),
        is_published=True,
        not_monotone=_EVERY_LADDER,  # long segments keep most of the order
    ),
    PerturbSpec(
        name="freezing",
        category="temporal",
        parameters=("share", "at_least"),
        levels=_ladders(
            ((0.4, 1), (0.2, 1), (0.1, 1), (0.05, 2), (0.0, 1)),
            small=((0.8, 1), (0.6, 1), (0.4, 1), (0.2, 1), (0.1, 1)),  # tried
        ),
        unit="share of frames kept (at least so many); each is shown until the next",
        label="{share:.0%} of frames, at least {at_least:g}",
        source=_PAPER,
        target="perturb.temporal:freezing",
        is_published=True,
    ),
    PerturbSpec(
        name="freezing_stochastic",
        category="temporal",
        parameters=("probability",),
        levels=_ladders(_each(0.12, 0.24, 0.36, 0.48, 0.6)),
        unit="probability that a frame repeats the previous output",
        label="{probability:.0%} repeated",
        source=f"{_PAPER}, the variant that wrote the data sets",
        target="perturb.temporal:freezing_stochastic",
    ),
    PerturbSpec(
        name="reversal",
        category="temporal",
        parameters=(),
        levels=_ladders(((),)),
        unit="the clip backwards",
        label="last frame first",
        source="ours: the order control that the paper lacks",
        target="perturb.temporal:reversal",
        deterministic=True,
        has_severity=False,
    ),
    PerturbSpec(
        name="frame_shuffle",
        category="temporal",
        parameters=(),
        levels=_ladders(((),)),
        unit="all frames in random order",
        label="any order",
        source="arXiv:2207.02159",
        target="perturb.temporal:frame_shuffle",
        has_severity=False,
    ),
    # --------------------------------------------------------------------------------- camera
    PerturbSpec(
        name="static_rotation",
        category="camera",
        parameters=("degrees",),
        levels=_ladders(_each(7.5, 15, 30, 45, 90), small=_each(2, 5, 10, 20, 35)),  # tried
        unit="degrees counter-clockwise, the same for all frames",
        label="{degrees:g}°",
        source=_PAPER,
        target="perturb.camera:static_rotation",
        deterministic=True,
        is_published=True,
        # a quarter turn has no black corners
        not_monotone=tuple(name for name in LADDERS if name != "small"),
    ),
    PerturbSpec(
        name="random_rotation",
        category="camera",
        parameters=("limit",),
        # small: weaker than static rotation from severity 3 on, as in the paper
        levels=_ladders(_each(7, 13, 19, 25, 31), small=_each(2, 5, 8, 12, 16)),
        unit="whole degrees within the limit, drawn per frame",
        label="±{limit:g}°",
        source=_PAPER,
        target="perturb.camera:random_rotation",
        is_published=True,
    ),
    PerturbSpec(
        name="translation",
        category="camera",
        parameters=("low", "high", "is_whole"),
        # Published: the corner of a 224 px window in a frame of 256 px is drawn from 0..8s. Here
        # the corner is written relative to the centred window, which starts at 16.
        # Quirk: followed in `paper`, fixed elsewhere. Published offsets lie around the top-left
        # corner, so that even the weakest severity changes the field of view; the fixed ones lie
        # around the centre.
        levels=_ladders(
            ((-16, -8, 1), (-16, 0, 1), (-16, 8, 1), (-16, 16, 1), (-16, 24, 1)),
            paper_fixed=((-4, 4, 1), (-8, 8, 1), (-12, 12, 1), (-16, 16, 1), (-20, 20, 1)),
            small=((-0.5, 0.5, 0), (-1, 1, 0), (-2, 2, 0), (-3, 3, 0), (-4, 4, 0)),  # tried
        ),
        unit="px that the window moves, per axis and frame; whole px or in between (bilinear)",
        label="{low:+.3g} to {high:+.3g} px",
        source=_PAPER,
        target="perturb.camera:translation",
        lengths=("low", "high"),
        is_published=True,
        not_monotone=_AS_PUBLISHED,
        part="batch",
    ),
    # --------------------------------------------------------------------------------- extras
    PerturbSpec(
        name="salt_noise",
        category="noise",
        parameters=("share",),
        levels=_ladders(
            _each(0.1, 0.2, 0.3, 0.4, 0.5), small=_each(0.016, 0.032, 0.048, 0.064, 0.08)
        ),
        unit="share of values set to 255",
        label="{share:.1%} white",
        source=f"{_PAPER}, code only",
        target="perturb.noise:salt_noise",
        part="batch",
    ),
    PerturbSpec(
        name="pepper_noise",
        category="noise",
        parameters=("share",),
        levels=_ladders(
            _each(0.1, 0.2, 0.3, 0.4, 0.5), small=_each(0.016, 0.032, 0.048, 0.064, 0.08)
        ),
        unit="share of values set to 0",
        label="{share:.1%} black",
        source=f"{_PAPER}, code only",
        target="perturb.noise:pepper_noise",
        part="batch",
    ),
    PerturbSpec(
        name="gaussian_blur",
        category="blur",
        parameters=("sigma",),
        # small: the published values would vanish, so ImageNet-C's 1, 2, 3, 4, 6 px times 64/224
        levels=_ladders(
            _each(0.5, 0.75, 1, 1.25, 1.5),
            small=_each(0.29, 0.57, 0.86, 1.14, 1.71),
            imagenet_c=_each(1, 2, 3, 4, 6),
        ),
        unit="sigma, px",
        label="sigma {sigma:.3g} px",
        source=f"{_PAPER}, code only",
        target="perturb.blur:gaussian_blur",
        lengths=("sigma",),
        least={"sigma": 0.15},  # neighbours weigh nothing
        deterministic=True,
        part="batch",
    ),
    PerturbSpec(
        name="pixelate",
        category="digital",
        parameters=("scale",),
        # small: there are fewer pixels to lose
        levels=_ladders(_each(0.6, 0.5, 0.4, 0.3, 0.25), small=_each(0.8, 0.7, 0.6, 0.5, 0.4)),
        unit="size that the frame is reduced to, as a share",
        label="{scale:.0%} of the size",
        source=_IMAGE_C,
        target="perturb.digital:pixelate",
        deterministic=True,
        # blocks of whole pixels keep more than larger shares that cut them
        not_monotone=_EVERY_LADDER,
        part="batch",
    ),
    PerturbSpec(
        name="h264_crf",
        category="digital",
        parameters=("crf",),
        levels=_ladders(_each(23, 30, 37, 44, 51)),
        unit="constant rate factor of H.264",
        label="crf {crf:g}",
        source=_VIDEO_C,
        target="perturb.codec:h264_crf",
        deterministic=True,
        needs_codec=True,
    ),
    PerturbSpec(
        name="h264_abr",
        category="digital",
        parameters=("divisor",),
        levels=_ladders(_each(2, 4, 8, 16, 32)),
        unit="mean bit rate of H.264: that at crf 23, for want of the file's, over this",
        label="1/{divisor:g} of the rate",
        source=_VIDEO_C,
        target="perturb.codec:h264_abr",
        deterministic=True,
        needs_codec=True,
    ),
    PerturbSpec(
        name="h265_crf",
        category="digital",
        parameters=("crf",),
        levels=_ladders(_each(27, 33, 39, 45, 51)),
        unit="constant rate factor of H.265",
        label="crf {crf:g}",
        source=_VIDEO_C,
        target="perturb.codec:h265_crf",
        deterministic=True,
        needs_codec=True,
    ),
    PerturbSpec(
        name="h265_abr",
        category="digital",
        parameters=("divisor",),
        levels=_ladders(_each(2, 4, 8, 16, 32)),
        unit="mean bit rate of H.265: that of H.264 at crf 23 over this",
        label="1/{divisor:g} of the rate",
        source=_VIDEO_C,
        target="perturb.codec:h265_abr",
        deterministic=True,
        needs_codec=True,
    ),
    PerturbSpec(
        name="packet_loss",
        category="digital",
        parameters=("share",),
        levels=_ladders(_each(0.01, 0.02, 0.03, 0.04, 0.06)),
        unit="share of packets lost",
        label="{share:.0%} lost",
        source=_VIDEO_C,
        target="",
        missing="arXiv:2110.06513 gives rates of loss, but not how the stream was cut and damaged",
    ),
    PerturbSpec(
        name="glass_blur",
        category="blur",
        parameters=("sigma", "reach", "rounds"),
        # small: those of the same authors for images of 64 px
        levels=_ladders(
            ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
            small=((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ),
        unit="sigma of a blur before and after, and distance and rounds of moved pixels, px",
        label="sigma {sigma:.3g}, {rounds:g} x {reach:.3g} px",
        source=_IMAGE_C,
        target="perturb.blur:glass_blur",
        lengths=("sigma", "reach"),
        not_monotone=_EVERY_LADDER,  # a longer reach in fewer rounds may move less
    ),
    PerturbSpec(
        name="temporal_blur",
        category="blur",
        parameters=("window",),
        # written for videos of about 10 s; its authors call it motion blur
        levels=_ladders(
            _each(6, 10, 14, 18, 22),
            small=_each(2, 4, 6, 8, 12),
            yi_c_ssv2=_each(2, 4, 6, 8, 12),
        ),
        unit="frames that are averaged, as many before as from now on",
        label="{window:g} frames",
        source=_VIDEO_C,
        target="perturb.blur:temporal_blur",
        windows=("window",),
        deterministic=True,
        part="batch",
    ),
    PerturbSpec(
        name="elastic",
        category="camera",
        parameters=("strength", "smoothness", "tilt"),
        # Quirk: followed. Severities 1 and 2 bend the whole picture, 3 to 5 shake single pixels.
        # Written for 224 px, multiplied by 244 in the published code.
        levels=_ladders(
            (
                (488, 170.8, 24.4),
                (488, 19.52, 48.8),
                (12.2, 2.44, 4.88),
                (17.08, 2.44, 4.88),
                (29.28, 2.44, 4.88),
            ),
            small=(
                (139, 48.8, 7),
                (139, 5.6, 13.9),
                (3.5, 0.7, 1.4),
                (4.9, 0.7, 1.4),
                (8.4, 0.7, 1.4),
            ),
        ),
        unit="strength and smoothness of a field of shifts, and shift of the corners, px",
        label="strength {strength:.3g}, smooth over {smoothness:.3g} px, tilt {tilt:.3g} px",
        source=_IMAGE_C,
        target="perturb.camera:elastic",
        lengths=("strength", "smoothness", "tilt"),
        not_monotone=_EVERY_LADDER,
    ),
    PerturbSpec(
        name="snow",
        category="weather",
        parameters=("mean", "std", "zoom", "least", "radius", "sigma", "clear"),
        levels=_ladders(
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
            small=(
                (0.1, 0.3, 3, 0.5, 3, 1.2, 0.8),
                (0.2, 0.3, 2, 0.5, 3.4, 1.2, 0.7),
                (0.55, 0.3, 4, 0.9, 3.4, 2.3, 0.7),
                (0.55, 0.3, 4.5, 0.85, 3.4, 2.3, 0.65),
                (0.55, 0.3, 2.5, 0.85, 3.4, 3.4, 0.55),
            ),
        ),
        unit="flakes: mean, std, size and least brightness; radius and sigma of their trail, px; "
        "share of the picture that is not paled",
        label="flakes x{zoom:g}, {clear:.0%} clear",
        source=_IMAGE_C,
        target="perturb.weather:snow",
        lengths=("radius", "sigma"),
        not_monotone=_EVERY_LADDER,  # more flakes or larger ones
    ),
    PerturbSpec(
        name="spatter",
        category="weather",
        parameters=("mean", "std", "smoothness", "least", "strength", "is_mud"),
        levels=_ladders(
            (
                (0.65, 0.3, 4, 0.69, 0.6, 0),
                (0.65, 0.3, 3, 0.68, 0.6, 0),
                (0.65, 0.3, 2, 0.68, 0.5, 0),
                (0.65, 0.3, 1, 0.65, 1.5, 1),
                (0.67, 0.4, 1, 0.65, 1.5, 1),
            ),
            # those of the same authors for images of 64 px
            small=(
                (0.62, 0.1, 0.7, 0.7, 0.6, 0),
                (0.65, 0.1, 0.8, 0.7, 0.6, 0),
                (0.65, 0.3, 1, 0.69, 0.6, 0),
                (0.65, 0.1, 0.7, 0.68, 0.6, 1),
                (0.65, 0.1, 0.5, 0.67, 0.6, 1),
            ),
        ),
        unit="drops: mean, std, smoothness (px) and least value of the noise they are cut from; "
        "brightness of water, or softness of the edge of mud, px",
        label="{smoothness:g} px, mud: {is_mud:g}",
        source=f"{_IMAGE_C}, extra",
        target="perturb.spatter:spatter",
        not_monotone=_EVERY_LADDER,  # water, then mud
    ),
    PerturbSpec(
        name="frost",
        category="weather",
        parameters=(),
        levels=_ladders(((),) * 5),
        unit="not made here",
        label="none",
        source=_IMAGE_C,
        target="",
        missing="it lays photographs of frost over the picture, which are not part of this package",
    ),
    PerturbSpec(
        name="bit_error",
        category="digital",
        parameters=("errors",),
        levels=_ladders(_each(1, 2, 4, 8, 16)),
        unit="damaged bytes in the H.264 stream of the clip",
        label="{errors:g} bytes",
        moves=True,
        source=f"{_VIDEO_C}, which damages the stream of the whole file",
        target="perturb.codec:bit_error",
        needs_codec=True,
        not_monotone=_EVERY_LADDER,  # it depends on which bytes are hit
    ),
    PerturbSpec(
        name="frame_rate",
        category="temporal",
        parameters=("rate_fps", "source_fps"),
        levels=_ladders(
            ((20, 30), (16, 30), (12, 30), (9, 30), (6, 30)),
            yi_c_ssv2=((10, 12), (8, 12), (6, 12), (4, 12), (2, 12)),
        ),
        unit="frames per second that are left, of those of the video",
        label="{rate_fps:g} of {source_fps:g} fps",
        source=_VIDEO_C,
        target="perturb.temporal:frame_rate",
        deterministic=True,
        not_monotone=("yi_c_ssv2",),  # kept frames fall on whole ones more or less often
    ),
    PerturbSpec(
        name="saturate",
        category="photometric",
        parameters=("factor", "offset"),
        levels=_ladders(((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
        unit="factor and offset of the saturation of HSV: paler, then more colourful",
        label="x{factor:g}, +{offset:g}",
        source=_VIDEO_C,
        target="perturb.photometric:saturate",
        deterministic=True,
        part="frames",
        not_monotone=_EVERY_LADDER,  # two directions
    ),
    PerturbSpec(
        name="fog",
        category="weather",
        parameters=("thickness", "decay"),
        levels=_ladders(((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
        unit="thickness of the cloud, and how fast its detail fades",
        label="thickness {thickness:g}, decay {decay:g}",
        source=_VIDEO_C,
        target="perturb.weather:fog",
        not_monotone=_EVERY_LADDER,  # denser or more ragged
    ),
    PerturbSpec(
        name="rain",
        category="weather",
        parameters=("area_per_drop", "length", "darken"),
        # small: shorter streaks, so many more of them that they cover as much
        levels=_ladders(
            ((770, 10, 0.8), (770, 30, 0.8), (770, 60, 0.7), (500, 60, 0.6), (400, 80, 0.5)),
            small=((220, 3, 0.8), (220, 9, 0.8), (220, 17, 0.7), (143, 17, 0.6), (114, 23, 0.5)),
        ),
        unit="px per streak, its length in px, and what remains of the contrast",
        label="1 per {area_per_drop:.0f} px, {length:.0f} px long",
        source=_VIDEO_C,
        target="perturb.weather:rain",
        lengths=("area_per_drop", "length"),
    ),
    PerturbSpec(
        name="brightness",
        category="photometric",
        parameters=("gain",),
        levels=_ladders(_each(0.1, 0.2, 0.3, 0.4, 0.5)),
        unit="added to the value of HSV; full scale = 1",
        label="+{gain:g}",
        source=_VIDEO_C,
        target="perturb.photometric:brightness",
        deterministic=True,
        part="frames",
    ),
    PerturbSpec(
        name="contrast",
        category="photometric",
        parameters=("factor",),
        levels=_ladders(_each(0.5, 0.4, 0.3, 0.2, 0.1), imagenet_c=_each(0.4, 0.3, 0.2, 0.1, 0.05)),
        unit="distance to the mean of each channel, as a share",
        label="{factor:.0%} remains",
        source=_VIDEO_C,
        target="perturb.photometric:contrast",
        deterministic=True,
        part="frames",
    ),
    PerturbSpec(
        name="occlusion",
        category="occlusion",
        parameters=("share",),
        levels=_ladders(_each(0.1, 0.2, 0.3, 0.4, 0.5)),
        unit="share of an 8 x 8 grid that is black, the same cells in all frames",
        label="{share:.0%} hidden",
        source="ours, after the occlusion axis of arXiv:2605.15618",
        target="perturb.occlusion:occlusion",
        part="batch",
    ),
    # ------------------------------------------------------------- coherent from frame to frame
    PerturbSpec(
        name="drifting_noise",
        category="noise",
        parameters=("std", "speed"),
        # the standard deviations of gaussian_noise
        levels=_ladders(
            ((0.08, 1), (0.12, 1), (0.18, 1), (0.26, 1), (0.38, 1)),
            small=((0.03, 1), (0.05, 1), (0.07, 1), (0.1, 1), (0.15, 1)),
        ),
        unit="standard deviation (full scale = 1) of one field, and px that it moves per frame",
        label="std {std:g}, {speed:g} px per frame",
        moves=True,
        source=_COHERENT,
        target="perturb.coherent:drifting_noise",
        part="batch",
    ),
    PerturbSpec(
        name="camera_drift",
        category="camera",
        parameters=("reach", "turns"),
        # the offsets of translation
        levels=_ladders(
            ((4, 0.5), (8, 0.5), (12, 0.5), (16, 0.5), (20, 0.5)),
            small=((0.5, 0.5), (1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5)),
        ),
        unit="largest offset per axis, px, and periods of the slowest sway per clip",
        label="up to {reach:.3g} px",
        moves=True,
        source=_COHERENT,
        target="perturb.coherent:camera_drift",
        lengths=("reach",),
        part="batch",
    ),
    PerturbSpec(
        name="lighting_drift",
        category="photometric",
        parameters=("gain", "turns"),
        levels=_ladders(((0.2, 0.5), (0.35, 0.5), (0.5, 0.5), (0.65, 0.5), (0.8, 0.5))),
        unit="values times 1 +- gain, and periods of the slowest change per clip",
        label="x {gain:g} up and down",
        moves=True,
        source=_COHERENT,
        target="perturb.coherent:lighting_drift",
        part="batch",
    ),
    PerturbSpec(
        name="moving_occlusion",
        category="occlusion",
        parameters=("share", "turns"),
        # the shares of occlusion
        levels=_ladders(((0.1, 0.5), (0.2, 0.5), (0.3, 0.5), (0.4, 0.5), (0.5, 0.5))),
        unit="share of the picture behind a wandering square, and periods of its path per clip",
        label="{share:.0%} hidden",
        moves=True,
        source=_COHERENT,
        target="perturb.coherent:moving_occlusion",
        part="batch",
    ),
    PerturbSpec(
        name="falling_rain",
        category="weather",
        parameters=("area_per_drop", "length", "darken", "speed"),
        # the streaks of rain
        levels=_ladders(
            (
                (770, 10, 0.8, 20),
                (770, 30, 0.8, 20),
                (770, 60, 0.7, 20),
                (500, 60, 0.6, 20),
                (400, 80, 0.5, 20),
            ),
            small=(
                (220, 3, 0.8, 6),
                (220, 9, 0.8, 6),
                (220, 17, 0.7, 6),
                (143, 17, 0.6, 6),
                (114, 23, 0.5, 6),
            ),
        ),
        unit="px per streak, its length, what remains of the contrast, and px of fall per frame",
        label="1 per {area_per_drop:.0f} px, {length:.0f} px long",
        moves=True,
        source=_COHERENT,
        target="perturb.coherent:falling_rain",
        lengths=("area_per_drop", "length", "speed"),
    ),
    PerturbSpec(
        name="falling_snow",
        category="weather",
        parameters=("mean", "std", "zoom", "least", "radius", "sigma", "clear", "speed"),
        # the flakes of snow; slower than rain
        levels=_ladders(
            (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8, 7),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7, 7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7, 7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65, 7),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55, 7),
            ),
            small=(
                (0.1, 0.3, 3, 0.5, 3, 1.2, 0.8, 2),
                (0.2, 0.3, 2, 0.5, 3.4, 1.2, 0.7, 2),
                (0.55, 0.3, 4, 0.9, 3.4, 2.3, 0.7, 2),
                (0.55, 0.3, 4.5, 0.85, 3.4, 2.3, 0.65, 2),
                (0.55, 0.3, 2.5, 0.85, 3.4, 3.4, 0.55, 2),
            ),
        ),
        unit="flakes: mean, std, size and least brightness; radius and sigma of their trail, px; "
        "share of the picture that is not paled; px of fall per frame",
        label="flakes x{zoom:g}, {clear:.0%} clear",
        moves=True,
        source=_COHERENT,
        target="perturb.coherent:falling_snow",
        lengths=("radius", "sigma", "speed"),
        not_monotone=_EVERY_LADDER,  # as snow
    ),
    PerturbSpec(
        name="drifting_fog",
        category="weather",
        parameters=("thickness", "decay", "speed"),
        # the clouds of fog
        levels=_ladders(
            ((1.5, 2, 3), (2, 2, 3), (2.5, 1.7, 3), (2.5, 1.5, 3), (3, 1.4, 3)),
            small=((1.5, 2, 1), (2, 2, 1), (2.5, 1.7, 1), (2.5, 1.5, 1), (3, 1.4, 1)),
        ),
        unit="thickness of the cloud, how fast its detail fades, and px that it drifts per frame",
        label="thickness {thickness:g}, decay {decay:g}",
        moves=True,
        source=_COHERENT,
        target="perturb.coherent:drifting_fog",
        lengths=("speed",),
        not_monotone=_EVERY_LADDER,  # as fog
    ),
)

PERTURBATIONS: Mapping[str, PerturbSpec] = {row.name: row for row in _ROWS}


def ladder_of(profile: str | None, ladder: str | None = None) -> str:
    """Name of the severity table in force: the one that is named, else the profile's."""
    if ladder is not None:
        return ladder
    return "paper_fixed" if profile is None else PROFILES[profile].ladder


def _profile(name: str, ladder: str, *names: str) -> Profile:
    """All severities of some perturbations."""
    return Profile(name, ladder, {n: PERTURBATIONS[n].severities for n in names})


_PUBLISHED = tuple(row.name for row in _ROWS if row.is_published)
_QUICK = ("gaussian_noise", "motion_blur", "jpeg", "static_rotation", "jumbling", "box_jumbling")
_VIDEO_C_NAMES = (
    "shot_noise", "temporal_blur", "rain", "contrast", "brightness", "saturate", "fog",
    "bit_error", "packet_loss", "h265_crf", "h264_crf", "frame_rate",
)  # fmt: skip
_VITTA_NAMES = (
    "gaussian_noise", "pepper_noise", "salt_noise", "shot_noise", "zoom_blur", "impulse_noise",
    "defocus_blur", "motion_blur", "jpeg", "contrast", "rain", "h265_abr",
)  # fmt: skip
_IMAGE_C_NAMES = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur",
    "zoom_blur", "snow", "frost", "fog", "brightness", "contrast", "elastic", "pixelate", "jpeg",
)  # fmt: skip

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        _profile("paper", "paper", *_PUBLISHED),
        _profile("paper_fixed", "paper_fixed", *_PUBLISHED),
        _profile("yi_c", "yi_c", *_VIDEO_C_NAMES),
        _profile("yi_c_ssv2", "yi_c_ssv2", *_VIDEO_C_NAMES),
        # the strongest severity alone; its constants are those of the two papers it draws on
        Profile("vitta", "paper", dict.fromkeys(_VITTA_NAMES, (5,))),
        _profile("imagenet_c", "imagenet_c", *_IMAGE_C_NAMES),
        _profile("quick", "paper_fixed", *_QUICK),
        _profile("quick_small", "small", *_QUICK),
        _profile(
            "coherent",
            "paper_fixed",
            *(n for n, row in PERTURBATIONS.items() if row.source == _COHERENT),
        ),
        # published severities that are stronger than those of training, hence `paper_fixed`
        *(
            Profile(f"mix:{m.name}", "paper_fixed", dict.fromkeys(m.tested, TESTED_SEVERITIES))
            for m in MIXES.values()
        ),
    )
}
