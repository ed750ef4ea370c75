"""The combiners, one row each. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from losses.catalogue import LOSSES, index_by_name, knobs_text, load_target
from losses.knob_ranges import (
    FACTOR,
    FEEDFORWARD,
    FLOOR,
    HIDDEN,
    SHARE,
    TEMPERATURE,
    WIDTH,
    KnobRange,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinerSpec:
    """One way to turn the vector of losses into the scalar to descend.

    Attributes:
        name: Unique name, as written in a study.
        knobs: Settable numbers and their defaults, those of the meta step included.
        ranges: What a search may try of them by default; a knob without a range must be given one.
        choices: Every value of those knobs that name one of a few ways.
        learned: Whether it has parameters.
        meta: Whether those parameters are moved by the meta step (otherwise by the optimiser of
            the model).
        uses_weights: Whether the study's weights of the losses change anything.
        gradients: Whether it looks at the gradients of the single losses.
        package: Optional package that it needs; empty = none.
        extra: The extra of this project that brings the package.
        source: Paper and equation.
        target: ``module:attribute``, imported by :meth:`load`.
        description: One line for people.
    """

    name: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, KnobRange] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    learned: bool
    meta: bool
    uses_weights: bool = False
    gradients: bool = False
    package: str = ""
    extra: str = ""
    source: str
    target: str
    description: str

    def load(self) -> Any:
        """The module class; this imports torch."""
        return load_target(self.target)


#: Knobs of the meta step and of the optimiser that takes it, alike for all who are taught by it.
_META_KNOBS: Mapping[str, Any] = MappingProxyType(
    {
        "interval": 3,
        "method": "jvp",
        "gamma": 0.1,
        "direct_term": True,
        "data": "memory",
        "holdout_share": 0.1,
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "weight_decay": 3e-5,
        "decoupled": False,
        "clip_norm": 50.0,
    }
)
_META_RANGES: Mapping[str, KnobRange] = MappingProxyType(
    {
        "interval": KnobRange(1, 100),
        "gamma": FACTOR,
        "holdout_share": KnobRange(0.01, 0.5),
        "lr": KnobRange(1e-6, 1.0, log=True),
        "weight_decay": SHARE,
        "clip_norm": KnobRange(0.1, 1000.0, log=True),
    }
)
_META_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "method": ("auto", "jvp", "fd", "loop", "double_backward"),
        "data": ("memory", "current", "holdout"),
    }
)
_LEVELS = ("representation", "full")


_COMBINER_ROWS = (
    CombinerSpec(
        name="equal",
        learned=False,
        meta=False,
        source="plain sum",
        target="losses.combine.equal:Equal",
        description="the sum of the losses",
    ),
    CombinerSpec(
        name="static",
        learned=False,
        meta=False,
        uses_weights=True,
        source="weighted sum",
        target="losses.combine.static:Static",
        description="the sum with one fixed weight per loss",
    ),
    CombinerSpec(
        name="uncertainty",
        knobs={"form": "regression"},
        choices={"form": ("regression", "classification")},
        learned=True,
        meta=False,
        source="arXiv:1705.07115",
        target="losses.combine.uncertainty:Uncertainty",
        description="weights from one learned noise level per loss",
    ),
    CombinerSpec(
        name="dwa",
        knobs={"temperature": 2.0, "period": 20},
        ranges={"temperature": TEMPERATURE, "period": KnobRange(1, 1000)},
        learned=False,
        meta=False,
        source="arXiv:1803.10704",
        target="losses.combine.dwa:Dwa",
        description="more weight to losses that fell little lately",
    ),
    CombinerSpec(
        name="rlw",
        learned=False,
        meta=False,
        source="arXiv:2111.10603",
        target="losses.combine.rlw:Rlw",
        description="random weights at every step: the control of learned ones",
    ),
    CombinerSpec(
        name="gls",
        knobs={"floor": 0.01},
        ranges={"floor": FLOOR},
        learned=False,
        meta=False,
        source="arXiv:1904.08492",
        target="losses.combine.gls:Gls",
        description="the geometric mean of the losses",
    ),
    CombinerSpec(
        name="gradnorm",
        knobs={"alpha": 1.5, "level": "representation"},
        ranges={"alpha": KnobRange(0.0, 3.0)},
        choices={"level": _LEVELS},
        learned=True,
        meta=False,
        gradients=True,
        source="arXiv:1711.02257",
        target="losses.combine.gradnorm:GradNorm",
        description="learned weights that bring gradient norms to like training rates",
    ),
    CombinerSpec(
        name="pcgrad",
        knobs={"level": "representation"},
        choices={"level": _LEVELS},
        learned=False,
        meta=False,
        gradients=True,
        source="arXiv:2001.06782",
        target="losses.combine.pcgrad:PcGrad",
        description="each gradient without what opposes another",
    ),
    CombinerSpec(
        name="cagrad",
        knobs={"c": 0.5, "level": "representation"},
        ranges={"c": SHARE},
        choices={"level": _LEVELS},
        learned=False,
        meta=False,
        gradients=True,
        source="arXiv:2110.14048",
        target="losses.combine.cagrad:CaGrad",
        description="near the mean gradient, the best for the worst-off loss",
    ),
    CombinerSpec(
        name="mgda",
        knobs={"level": "representation"},
        choices={"level": _LEVELS},
        learned=False,
        meta=False,
        gradients=True,
        source="arXiv:1810.04650",
        target="losses.combine.mgda:Mgda",
        description="the shortest mean of the gradients: no loss objects to it",
    ),
    CombinerSpec(
        name="imtl",
        knobs={"level": "representation"},
        choices={"level": _LEVELS},
        learned=True,
        meta=False,
        gradients=True,
        source="Liu et al., ICLR 2021",
        target="losses.combine.imtl:Imtl",
        description="losses of like scale, steps equally far along every gradient",
    ),
    CombinerSpec(
        name="torchjd",
        knobs={"method": "upgrad", "level": "representation"},
        choices={
            "method": ("upgrad", "dual_proj", "aligned_mtl", "mgda", "imtl_g"),
            "level": _LEVELS,
        },
        learned=False,
        meta=False,
        gradients=True,
        package="torchjd",
        extra="gradients",
        source="arXiv:2406.16232 and others, by the library torchjd",
        target="losses.combine.torchjd:TorchJd",
        description="a method of torchjd: UPGrad, dual projection, Aligned-MTL",
    ),
    CombinerSpec(
        name="famo",
        knobs={"floor": 0.01, "xi_lr": 0.025, "xi_decay": 1e-3},
        ranges={
            "floor": FLOOR,
            "xi_lr": KnobRange(1e-4, 1.0, log=True),
            "xi_decay": KnobRange(0.0, 0.1),
        },
        learned=True,
        meta=False,
        source="arXiv:2306.03792",
        target="losses.combine.famo:Famo",
        description="weights that even out relative progress; a second look per step",
    ),
    CombinerSpec(
        name="meta_linear",
        knobs={
            "initial": None,
            **_META_KNOBS,
        },
        ranges={"initial": KnobRange(1e-3, 10.0, log=True), **_META_RANGES},
        choices=_META_CHOICES,
        learned=True,
        meta=True,
        uses_weights=True,
        source="arXiv:2202.03091",
        target="losses.combine.meta_linear:MetaLinear",
        description="one weight per loss, taught by the primary loss (Auto-Lambda)",
    ),
    CombinerSpec(
        name="meta_mlp",
        knobs={
            "hidden": 8,
            "monotone": True,
            **_META_KNOBS,
            "gamma": 0.0,
        },
        ranges={"hidden": HIDDEN, **_META_RANGES},
        choices=_META_CHOICES,
        learned=True,
        meta=True,
        source="arXiv:2007.02693",
        target="losses.combine.meta_mlp:MetaMlp",
        description="the primary loss plus a small network of all losses (AuxiLearn)",
    ),
    CombinerSpec(
        name="meltr",
        knobs={
            "output": "residual",
            "input": "ratio",
            "size": "small",
            "hidden": None,
            "width": None,
            "feedforward": None,
            "dropout": 0.0,
            "slope": "any",
            "init": "torch",
            **_META_KNOBS,
        },
        ranges={
            "hidden": HIDDEN,
            "width": WIDTH,
            "feedforward": FEEDFORWARD,
            "dropout": KnobRange(0.0, 0.9),
            **_META_RANGES,
        },
        choices={
            "output": ("residual", "plain"),
            "input": ("ratio", "raw", "log1p"),
            "size": ("small", "reference"),
            "slope": ("any", "positive"),
            "init": ("torch", "normal"),
            **_META_CHOICES,
        },
        learned=True,
        meta=True,
        uses_weights=True,
        source="arXiv:2303.13009",
        target="losses.combine.meltr:Meltr",
        description="a small transformer over the losses, taught by the primary loss (MELTR)",
    ),
)
COMBINERS: Mapping[str, CombinerSpec] = index_by_name(_COMBINER_ROWS)


def held_out(name: str, knobs: Mapping[str, Any]) -> float:
    """Share of the labelled clips that the meta steps of a combiner keep out of training.

    Args:
        name: A row.
        knobs: As given; others are at their defaults.
    """
    every = {**COMBINERS[name].knobs, **knobs}
    return float(every["holdout_share"]) if every.get("data") == "holdout" else 0.0


def ignored_weights(combiners: Iterable[str], weights: Mapping[str, float | None]) -> list[str]:
    """Weights that a combiner does not use, in words: `equal ignores weights: pixel 0.2 -> 1`.

    Args:
        combiners: Rows of the catalogue; names that it does not have are passed over.
        weights: Loss -> weight; None = the default of the loss. A loss of weight 0 is absent.
    """
    meant = {
        name: LOSSES[name].default_weight if given is None and name in LOSSES else given
        for name, given in sorted(weights.items())
    }
    other = [f"{name} {w:g} -> 1" for name, w in meant.items() if w is not None and w not in (0, 1)]
    deaf = [name for name in combiners if name in COMBINERS and not COMBINERS[name].uses_weights]
    return [f"{name} ignores weights: {', '.join(other)}" for name in deaf if other]


def combiner_table() -> str:
    """The combiners as a Markdown table, for the README of this package."""
    lines = ["| combiner | learned | knobs | what it is | source |", "|---|---|---|---|---|"]
    for row in COMBINERS.values():
        learned = "by meta steps" if row.meta else "with the model" if row.learned else "no"
        lines.append(
            f"| `{row.name}` | {learned} | {knobs_text(row.knobs)} | {row.description} "
            f"| {row.source} |"
        )
    return "\n".join(lines)
