"""What is known about every loss and combiner before any tensor exists (imports no torch)."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from losses.knob_ranges import (
    BLOCK,
    EXPONENT,
    FACTOR,
    FEEDFORWARD,
    HIDDEN,
    INNER_SHARE,
    LAYERS,
    LEVELS,
    MARGIN,
    SCALE,
    SEED,
    SHARE,
    SPREAD,
    TEMPERATURE,
    WIDTH,
    KnobRange,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


Family = Literal[
    "reconstruct",
    "predict",
    "dynamics",
    "factorise",
    "distribution",
    "contrast_v",
    "contrast_vt",
    "match",
    "mask_lang",
    "mask_frame",
    "generate",
    "order",
    "concept",
    "hard_weight",
    "mask_policy",
    "supervised",
]
GRANULARITIES = ("pixel", "token", "frame", "clip", "video-text")
DATA_FEATURES = frozenset(
    {
        "labels",
        "pixels",
        "caption_ids",
        "caption_mask",
        "caption_ids_masked",
        "caption_targets",
        "frame_mask",
        "prediction_mask",
        "visual_codes",
        "correct_option",
        "answer_ids",
    }
)
VIEWS = {"": "a", "_b": "b", "_masked": "masked", "_target": "target"}
_TEXT = ("text_tokens", "text_embed", "text_pooled", "text_concepts")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """One loss: what it needs, what it measures, where it comes from.

    Attributes:
        name: Unique name, as written in a study.
        family: Kind of loss.
        granularity: 0 pixel, 1 token, 2 frame, 3 clip, 4 video-text.
        needs: Names of the features, with view suffix.
        detached: Those of ``needs`` that are fixed targets: no gradient flows into them.
        knobs: Settable numbers and their defaults.
        ranges: What a search may try of them by default; a knob without a range must be given one.
        choices: Every value of those knobs that name one of a few ways.
        default_weight: Weight under the static combiner when the study names none.
        primary: The task itself rather than an auxiliary loss.
        placebo: A control that teaches nothing: a gradient of the usual size towards targets of
            other clips. Designs that ask about the number of losses do not count it.
        chance: Value, in nats, where every class or every pair of the batch gets the same score:
            `ln classes`, `ln batch`; "" where there is no such value.
        source: Paper and equation, or this project's own study.
        target: ``module:attribute``, imported by :meth:`load`.
        description: One line for people.
        cost_hint: Time of a training step relative to one without this loss, in words.
    """

    name: str
    family: Family
    granularity: int
    needs: frozenset[str]
    detached: frozenset[str] = frozenset()
    knobs: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, KnobRange] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_weight: float = 1.0
    primary: bool = False
    placebo: bool = False
    chance: Literal["", "ln classes", "ln batch"] = ""
    source: str
    target: str
    description: str
    cost_hint: str

    @property
    def views(self) -> frozenset[str]:
        """Video views that must be encoded: any of ``a``, ``b``, ``masked``, ``target``."""
        return frozenset(view for base, view in self._model_features() if base not in _TEXT)

    @property
    def text_views(self) -> frozenset[str]:
        """Caption views that must be encoded: ``a`` the caption, ``masked`` with words hidden."""
        return frozenset(view for base, view in self._model_features() if base in _TEXT)

    def _model_features(self) -> list[tuple[str, str]]:
        return [split_view(feature) for feature in self.needs - DATA_FEATURES]

    def load(self) -> Any:
        """The function or module class; this imports torch."""
        return load_target(self.target)


def split_view(feature: str) -> tuple[str, str]:
    """``frames_masked`` -> ``("frames", "masked")``; a feature without suffix is of view ``a``."""
    for suffix, view in VIEWS.items():
        if suffix and feature.endswith(suffix):
            return feature.removesuffix(suffix), view
    return feature, VIEWS[""]


def load_target(target: str) -> Any:
    """What `module:attribute` names."""
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


_LOSS_ROWS = (
    LossSpec(
        name="classification",
        family="supervised",
        granularity=3,
        needs=frozenset({"logits", "labels"}),
        knobs={"label_smoothing": 0.05},
        primary=True,
        chance="ln classes",
        source="arXiv:1512.00567, label smoothing",
        target="losses.primary.classification:classification",
        description="cross-entropy with label smoothing, over the labelled clips",
        cost_hint="part of every step",
    ),
    LossSpec(
        name="caption",
        family="generate",
        granularity=4,
        needs=frozenset({"video", "caption_ids", "caption_mask"}),
        knobs={"width": 64},
        ranges={"width": WIDTH},
        source="arXiv:2002.06353, decoder loss (here one recurrent layer)",
        target="losses.auxiliary.caption:Caption",
        description="say the caption word by word from the clip feature",
        cost_hint="a recurrence over words: small beside the video model",
    ),
    LossSpec(
        name="consistency",
        family="distribution",
        granularity=3,
        needs=frozenset({"logits", "logits_b"}),
        detached=frozenset({"logits"}),
        source="arXiv:1904.12848, consistency term",
        target="losses.auxiliary.consistency:consistency",
        description="a second, noisy view must get the class scores of the first",
        cost_hint="x2.05: a second view",
    ),
    LossSpec(
        name="frame_difference",
        family="dynamics",
        granularity=0,
        needs=frozenset({"frames", "pixels"}),
        source="this project, quickstart study",
        target="losses.auxiliary.frame_difference:FrameDifference",
        description="each frame feature tells how brightness changes around its frame",
        cost_hint="x1.01",
    ),
    LossSpec(
        name="infonce",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"video_embed", "text_embed", "caption_ids"}),
        knobs={"temperature": 0.1},
        ranges={"temperature": TEMPERATURE},
        chance="ln batch",
        source="arXiv:1807.03748, both directions",
        target="losses.auxiliary.infonce:infonce",
        description="clip and caption find each other among the pairs of the batch",
        cost_hint="x1.03",
    ),
    LossSpec(
        name="infonce_shuffled",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"video_embed", "text_embed", "caption_ids"}),
        knobs={"temperature": 0.1},
        ranges={"temperature": TEMPERATURE},
        placebo=True,
        source="this project: a control for the number of losses",
        target="losses.auxiliary.infonce_shuffled:infonce_shuffled",
        description="placebo: infonce with the captions of other clips, which teaches nothing",
        cost_hint="x1.03",
    ),
    LossSpec(
        name="latent_prediction",
        family="predict",
        granularity=2,
        needs=frozenset({"frames_masked", "frame_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"width": 64},
        ranges={"width": WIDTH},
        source="arXiv:2404.08471 (here over frames instead of tokens)",
        target="losses.auxiliary.latent_prediction:LatentPrediction",
        description="predict what a slow teacher sees in hidden frames",
        cost_hint="about x2.3: a masked view, and a teacher forward",
    ),
    LossSpec(
        name="masked_frame",
        family="mask_frame",
        granularity=2,
        needs=frozenset({"frames_masked", "frame_mask", "frames"}),
        detached=frozenset({"frames"}),
        knobs={"temperature": 0.1},
        ranges={"temperature": TEMPERATURE},
        source="arXiv:2002.06353, conditioned masked frame model",
        target="losses.auxiliary.masked_frame:masked_frame",
        description="a hidden frame is recognised among all frames of the batch",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="masked_text",
        family="mask_lang",
        granularity=1,
        needs=frozenset({"text_tokens_masked", "video", "caption_targets"}),
        source="arXiv:2002.06353, conditioned masked language model",
        target="losses.auxiliary.masked_text:MaskedText",
        description="guess hidden words of the caption from the others and the clip",
        cost_hint="a second caption view: small beside the video model",
    ),
    LossSpec(
        name="pixel",
        family="reconstruct",
        granularity=0,
        needs=frozenset({"frames", "pixels"}),
        default_weight=0.2,
        source="this project, quickstart study",
        target="losses.auxiliary.pixel:Pixel",
        description="each frame feature paints a 4x4 picture of its frame",
        cost_hint="x1.01",
    ),
    LossSpec(
        name="variance_covariance",
        family="distribution",
        granularity=3,
        needs=frozenset({"video", "video_b"}),
        knobs={"invariance": 1.0, "variance": 1.0, "covariance": 0.04},
        ranges={"invariance": SPREAD, "variance": SPREAD, "covariance": SHARE},
        source="arXiv:2105.04906, all three terms",
        target="losses.auxiliary.variance_covariance:variance_covariance",
        description="two views agree, and features stay spread out and uncorrelated (VICReg)",
        cost_hint="x2.05: a second view",
    ),
    LossSpec(
        name="s2dtw",
        family="contrast_vt",
        granularity=2,
        needs=frozenset({"frames", "text_tokens", "caption_mask", "caption_ids"}),
        knobs={
            "width": 64,
            "gamma": 0.1,
            "threshold": 0.5,
            "smoothing": True,
            "weak_alignment": True,
            "symmetric": False,
            "temporal_augmentation": False,
            "seed": 0,
        },
        ranges={
            "width": WIDTH,
            "gamma": KnobRange(1e-3, 10.0, log=True),
            "threshold": SHARE,
            "seed": SEED,
        },
        source="arXiv:2203.16784 (here frames and words instead of clips and captions)",
        target="losses.auxiliary.s2dtw:SequenceContrast",
        description="frames in order align with the words of their own caption (S2DTW)",
        cost_hint="batch^2 small alignments: about x1.3 for the small model",
    ),
    LossSpec(
        name="univl_joint",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"video_embed", "text_embed", "caption_ids"}),
        knobs={"margin": 0.1, "dedupe": True, "block": 1, "hard_rate": 0.5},
        ranges={"margin": MARGIN, "block": BLOCK, "hard_rate": SHARE},
        source="arXiv:2002.06353, joint loss (max-margin form)",
        target="losses.auxiliary.univl_joint:univl_joint",
        description="the right clip and the right caption lead the others by a margin",
        cost_hint="x1.03",
    ),
    LossSpec(
        name="univl_m_joint",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"video_embed_masked", "text_embed_masked", "caption_ids"}),
        knobs={"margin": 0.1, "dedupe": True, "block": 1, "hard_rate": 0.5},
        ranges={"margin": MARGIN, "block": BLOCK, "hard_rate": SHARE},
        source="arXiv:2303.13009, masked joint loss",
        target="losses.auxiliary.univl_m_joint:univl_m_joint",
        description="the right pair leads by a margin while frames and words are hidden",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="mil_nce",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"video_embed", "text_embed", "caption_ids"}),
        knobs={"temperature": 0.1, "dedupe": True, "block": 1},
        ranges={"temperature": TEMPERATURE, "block": BLOCK},
        source="arXiv:1912.06430, equation 1 (the form in UniVL's code)",
        target="losses.auxiliary.mil_nce:mil_nce",
        description="a clip's bag of captions is found in one softmax over row and column",
        cost_hint="x1.03",
    ),
    LossSpec(
        name="siglip",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"video_embed", "text_embed", "caption_ids"}),
        knobs={"scale": 10.0, "bias": -10.0, "dedupe": True},
        ranges={"scale": SCALE, "bias": KnobRange(-20.0, 0.0)},
        source="arXiv:2303.15343, equation 1",
        target="losses.auxiliary.siglip:Siglip",
        description="every pair is judged on its own: same clip and caption, or not",
        cost_hint="x1.03",
    ),
    LossSpec(
        name="allinone_vtc",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"video_embed", "text_embed", "caption_ids"}),
        knobs={"temperature": 0.05, "dedupe": True},
        ranges={"temperature": TEMPERATURE},
        source="arXiv:2203.07303, video-text contrast",
        target="losses.auxiliary.allinone_vtc:allinone_vtc",
        description="clip and caption find each other, both directions added",
        cost_hint="x1.03",
    ),
    LossSpec(
        name="univl_align",
        family="match",
        granularity=4,
        needs=frozenset({"frames", "text_tokens", "caption_ids", "caption_mask"}),
        knobs={"width": 32, "dedupe": True},
        ranges={"width": WIDTH},
        chance="ln batch",
        source="arXiv:2002.06353, alignment loss",
        target="losses.auxiliary.univl_align:UnivlAlign",
        description="a network that reads caption and clip together picks the right clip",
        cost_hint="all pairs of the batch through a small network",
    ),
    LossSpec(
        name="univl_m_align",
        family="match",
        granularity=4,
        needs=frozenset({"frames_masked", "text_tokens_masked", "caption_ids", "caption_mask"}),
        knobs={"width": 32, "dedupe": True},
        ranges={"width": WIDTH},
        chance="ln batch",
        source="arXiv:2303.13009, masked alignment loss",
        target="losses.auxiliary.univl_m_align:UnivlMAlign",
        description="the right clip is picked while frames and words are hidden",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="univl_cmlm",
        family="mask_lang",
        granularity=1,
        needs=frozenset({"text_tokens_masked", "frames_masked", "caption_mask", "caption_targets"}),
        knobs={"width": 64},
        ranges={"width": WIDTH},
        source="arXiv:2002.06353, conditioned masked language model",
        target="losses.auxiliary.univl_cmlm:UnivlCmlm",
        description="hidden words are guessed from the others and a clip with hidden frames",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="univl_cmfm",
        family="mask_frame",
        granularity=2,
        needs=frozenset(
            {"frames_masked", "frame_mask", "frames", "text_tokens_masked", "caption_mask"}
        ),
        detached=frozenset({"frames"}),
        knobs={"width": 64},
        ranges={"width": WIDTH},
        source="arXiv:2002.06353, conditioned masked frame model",
        target="losses.auxiliary.univl_cmfm:UnivlCmfm",
        description="a hidden frame is recognised with the help of the caption",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="univl_decoder",
        family="generate",
        granularity=4,
        needs=frozenset({"frames", "caption_ids", "caption_mask"}),
        knobs={"width": 64, "layers": 1, "count_padding": False},
        ranges={"width": WIDTH, "layers": LAYERS},
        source="arXiv:2002.06353, decoder loss",
        target="losses.auxiliary.univl_decoder:UnivlDecoder",
        description="a transformer says the caption from the frames",
        cost_hint="a decoder over words: small beside the video model",
    ),
    LossSpec(
        name="univl_m_decoder",
        family="generate",
        granularity=4,
        needs=frozenset({"frames_masked", "caption_ids", "caption_mask"}),
        knobs={"width": 64, "layers": 1, "count_padding": False},
        ranges={"width": WIDTH, "layers": LAYERS},
        source="arXiv:2303.13009, masked decoder loss",
        target="losses.auxiliary.univl_m_decoder:UnivlMDecoder",
        description="the whole caption is said from a clip with hidden frames",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="violet_vtm",
        family="match",
        granularity=4,
        needs=frozenset({"frames", "text_tokens", "caption_ids", "caption_mask"}),
        knobs={"width": 32, "temperature": 0.05, "dedupe": True},
        ranges={"width": WIDTH, "temperature": TEMPERATURE},
        chance="ln batch",
        source="arXiv:2111.12681, visual-text matching",
        target="losses.auxiliary.violet_vtm:VioletVtm",
        description="a network that reads clip and caption together picks the right caption",
        cost_hint="all pairs of the batch through a small network",
    ),
    LossSpec(
        name="violet_mtm",
        family="mask_lang",
        granularity=1,
        needs=frozenset({"text_tokens_masked", "frames_masked", "caption_mask", "caption_targets"}),
        knobs={"width": 64},
        ranges={"width": WIDTH},
        source="arXiv:2111.12681, masked language modelling",
        target="losses.auxiliary.violet_mtm:VioletMtm",
        description="hidden words are guessed from the others and a damaged clip",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="allinone_mlm",
        family="mask_lang",
        granularity=1,
        needs=frozenset({"text_tokens_masked", "frames", "caption_mask", "caption_targets"}),
        knobs={"width": 64},
        ranges={"width": WIDTH},
        source="arXiv:2203.07303, masked language modelling",
        target="losses.auxiliary.allinone_mlm:AllinoneMlm",
        description="hidden words are guessed from the others and the whole clip",
        cost_hint="a second caption view: small beside the video model",
    ),
    LossSpec(
        name="allinone_vtm",
        family="match",
        granularity=4,
        needs=frozenset({"frames", "text_tokens", "caption_ids", "caption_mask"}),
        knobs={"width": 32, "dedupe": True},
        ranges={"width": WIDTH},
        source="arXiv:2203.07303, video-text matching",
        target="losses.auxiliary.allinone_vtm:AllinoneVtm",
        description="true pairs of clip and caption are told from false ones",
        cost_hint="all pairs of the batch through a small network",
    ),
    LossSpec(
        name="violet_mvm",
        family="mask_frame",
        granularity=1,
        needs=frozenset({"tokens_masked", "text_tokens_masked", "caption_mask", "visual_codes"}),
        knobs={"width": 64, "codes": 8192},
        ranges={"width": WIDTH, "codes": KnobRange(64, 16384, log=True)},
        source="arXiv:2111.12681, masked visual-token modelling",
        target="losses.auxiliary.violet_mvm:VioletMvm",
        description="hidden cells of the clip are named by their discrete code",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="violet_multiple_choice",
        family="match",
        granularity=4,
        needs=frozenset({"option_logits", "correct_option"}),
        source="arXiv:2111.12681, multiple-choice answering",
        target="losses.auxiliary.violet_multiple_choice:violet_multiple_choice",
        description="the right one of several answers fits clip and question best",
        cost_hint="one forward per option",
    ),
    LossSpec(
        name="violet_open_ended",
        family="generate",
        granularity=4,
        needs=frozenset({"answer_logits", "answer_ids"}),
        source="arXiv:2111.12681, open-ended answering",
        target="losses.auxiliary.violet_open_ended:violet_open_ended",
        description="a question about the clip is answered from a list of all answers",
        cost_hint="a forward of clip and question",
    ),
    LossSpec(
        name="glscl",
        family="contrast_vt",
        granularity=4,
        needs=frozenset({"frames", "text_tokens", "text_embed", "caption_ids", "caption_mask"}),
        knobs={
            "queries": 8,
            "layers": 1,
            "heads": 8,
            "feedforward": 128,
            "share_queries": True,
            "share_decoder": True,
            "mask_padding": True,
            "use_global": True,
            "use_local": True,
            "temperature": 3.0,
            "local_weight": 0.5,
            "scale": 100.0,
            "dedupe": False,
            "contrast": 1.0,
            "gap": 1.0,
            "consistency": 0.005,
            "consistency_target": 0.75,
            "consistency_norm": "reference",
            "diversity": 1e-4,
            "diversity_margin": 0.1,
            "diversity_sides": "video",
        },
        choices={
            "consistency_norm": ("reference", "batch"),
            "diversity_sides": ("video", "both"),
        },
        ranges={
            "queries": KnobRange(1, 64),
            "layers": LAYERS,
            "heads": KnobRange(1, 16),
            "feedforward": FEEDFORWARD,
            "temperature": TEMPERATURE,
            "local_weight": SHARE,
            "scale": KnobRange(1.0, 100.0, log=True),
            "contrast": FACTOR,
            "gap": FACTOR,
            "consistency": SHARE,
            "consistency_target": SHARE,
            "diversity": SHARE,
            "diversity_margin": SHARE,
        },
        source="arXiv:2405.12710, total objective",
        target="losses.auxiliary.glscl:Glscl",
        description="global and local contrast, consistent and diverse concepts, each switchable",
        cost_hint="two small decoders",
    ),
    LossSpec(
        name="glscl_contrast",
        family="contrast_vt",
        granularity=4,
        needs=frozenset(
            {"frame_embeds", "text_pooled", "video_concepts", "text_concepts", "caption_ids"}
        ),
        knobs={"temperature": 3.0, "local_weight": 0.5, "scale": 100.0, "dedupe": False},
        ranges={
            "temperature": TEMPERATURE,
            "local_weight": SHARE,
            "scale": KnobRange(1.0, 100.0, log=True),
        },
        source="arXiv:2405.12710, global and local contrast",
        target="losses.auxiliary.glscl_contrast:GlsclContrast",
        description="clip and caption find each other by a global and a local score",
        cost_hint="x1.03, concepts given",
    ),
    LossSpec(
        name="glscl_icl",
        family="concept",
        granularity=1,
        needs=frozenset({"video_concepts", "text_concepts"}),
        knobs={"gap": 1.0, "beta": 0.005, "target": 0.75, "norm": "reference"},
        choices={"norm": ("reference", "batch")},
        ranges={"gap": FACTOR, "beta": KnobRange(1e-4, 0.1, log=True), "target": SHARE},
        source="arXiv:2405.12710, inter-consistency loss",
        target="losses.auxiliary.glscl_icl:glscl_icl",
        description="clip and caption fill the same concepts",
        cost_hint="x1.01, concepts given",
    ),
    LossSpec(
        name="glscl_idl",
        family="concept",
        granularity=1,
        needs=frozenset({"video_concepts"}),
        knobs={"margin": 0.1},
        ranges={"margin": MARGIN},
        default_weight=1e-4,
        source="arXiv:2405.12710, intra-diversity loss",
        target="losses.auxiliary.glscl_idl:glscl_idl",
        description="the concepts of a clip differ from one another",
        cost_hint="x1.01, concepts given",
    ),
    LossSpec(
        name="delta",
        family="dynamics",
        granularity=1,
        needs=frozenset({"frames_masked", "frame_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"normalise": True},
        default_weight=0.5,
        source="arXiv:2605.17165, delta",
        target="losses.auxiliary.delta:delta",
        description="latents change from frame to frame as a slow teacher's do",
        cost_hint="about x2.3: a masked view, and a teacher forward",
    ),
    LossSpec(
        name="factorised",
        family="factorise",
        granularity=1,
        needs=frozenset({"frames_masked", "frame_mask"}),
        knobs={"static": 0.05, "orthogonality": 0.01, "ratio": 0.5, "levels": 1},
        ranges={"static": SHARE, "orthogonality": SHARE, "ratio": INNER_SHARE, "levels": LEVELS},
        source="arXiv:2605.17165, factorised world model",
        target="losses.auxiliary.factorised:factorised",
        description="some channels keep still over time and are uncorrelated with the others",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="frame_order",
        family="order",
        granularity=2,
        needs=frozenset({"frames"}),
        knobs={"hidden": 64},
        ranges={"hidden": HIDDEN},
        source="arXiv:1708.01246, pairwise comparison of parts",
        target="losses.auxiliary.frame_order:FrameOrder",
        description="tell the order of three parts of the clip",
        cost_hint="x1.01",
    ),
    LossSpec(
        name="frame_spread",
        family="distribution",
        granularity=1,
        needs=frozenset({"frames"}),
        knobs={"variance": 1.0, "covariance": 0.04},
        ranges={"variance": SPREAD, "covariance": SHARE},
        source="arXiv:2105.04906, variance and covariance terms over frames",
        target="losses.auxiliary.frame_spread:frame_spread",
        description="frame features stay spread out and uncorrelated",
        cost_hint="x1.01",
    ),
    LossSpec(
        name="hamiltonian",
        family="dynamics",
        granularity=1,
        needs=frozenset({"frames_masked", "frame_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"hidden": 256, "dt": 0.1, "exponent": 1.0, "normalise": True},
        ranges={"hidden": HIDDEN, "dt": KnobRange(0.01, 1.0, log=True), "exponent": EXPONENT},
        source="arXiv:2605.17165, Hamiltonian",
        target="losses.auxiliary.hamiltonian:Hamiltonian",
        description="latents move as positions and momenta under a learned energy",
        cost_hint="about x2.3: a masked view, and a teacher forward",
    ),
    LossSpec(
        name="hard_region",
        family="hard_weight",
        granularity=1,
        needs=frozenset({"frames_masked", "frame_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"width": 64, "temperature": 1.0, "exponent": 1.0, "normalise": True},
        ranges={"width": WIDTH, "temperature": TEMPERATURE, "exponent": EXPONENT},
        default_weight=0.3,
        source="arXiv:2605.17165, hard-region weighting",
        target="losses.auxiliary.hard_region:HardRegion",
        description="predict hidden frames, those predicted badly above all",
        cost_hint="about x2.3: a masked view, and a teacher forward",
    ),
    LossSpec(
        name="jepa_context",
        family="predict",
        granularity=1,
        needs=frozenset({"predictions", "frame_mask", "prediction_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"exponent": 1.0, "weighted": True, "normalise": True},
        ranges={"exponent": EXPONENT},
        default_weight=0.5,
        source="arXiv:2605.17165, context loss",
        target="losses.auxiliary.jepa_context:jepa_context",
        description="the model's predictor tells visible cells, most of all beside hidden ones",
        cost_hint="part of every step of a JEPA",
    ),
    LossSpec(
        name="jepa_prediction",
        family="predict",
        granularity=1,
        needs=frozenset({"predictions", "prediction_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"exponent": 1.0, "normalise": True},
        ranges={"exponent": EXPONENT},
        source="arXiv:2404.08471, equation 1",
        target="losses.auxiliary.jepa_prediction:jepa_prediction",
        description="the model's predictor tells what a slow teacher sees in hidden cells",
        cost_hint="part of every step of a JEPA",
    ),
    LossSpec(
        name="kinematic",
        family="dynamics",
        granularity=1,
        needs=frozenset({"frames"}),
        knobs={"form": "l1", "ratio": 0.5, "threshold": 0.1},
        choices={"form": ("l1", "acceleration", "huber", "split")},
        ranges={"ratio": INNER_SHARE, "threshold": SHARE},
        default_weight=0.1,
        source="arXiv:2605.17165, kinematic (four forms; the fifth is a schedule)",
        target="losses.auxiliary.kinematic:kinematic",
        description="latents move little, or evenly, over time",
        cost_hint="x1.01",
    ),
    LossSpec(
        name="latent_dynamics",
        family="dynamics",
        granularity=1,
        needs=frozenset({"frames_masked", "frame_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={
            "hidden": 256,
            "inputs": "all",
            "ratio": 0.5,
            "levels": 1,
            "hard": False,
            "temperature": 1.0,
            "detached": False,
            "normalise": True,
        },
        choices={"inputs": ("all", "dynamics")},
        ranges={
            "hidden": HIDDEN,
            "ratio": INNER_SHARE,
            "levels": LEVELS,
            "temperature": TEMPERATURE,
        },
        source="arXiv:2605.17165, latent dynamics",
        target="losses.auxiliary.latent_dynamics:LatentDynamics",
        description="each frame tells how a slow teacher's latents change next",
        cost_hint="about x2.3: a masked view, and a teacher forward",
    ),
    LossSpec(
        name="pixel_delta",
        family="dynamics",
        granularity=0,
        needs=frozenset({"frames_masked", "frame_mask", "pixels"}),
        knobs={"hidden": 256, "inputs": "all", "ratio": 0.5, "levels": 1},
        choices={"inputs": ("all", "dynamics")},
        ranges={"hidden": HIDDEN, "ratio": INNER_SHARE, "levels": LEVELS},
        source="arXiv:2605.17165, action-conditioned",
        target="losses.auxiliary.pixel_delta:PixelDelta",
        description="each frame tells how its mean colour changes next",
        cost_hint="about x2: a masked view",
    ),
    LossSpec(
        name="sigreg",
        family="distribution",
        granularity=3,
        needs=frozenset({"video"}),
        knobs={"directions": 256, "seed": 0, "normalise_n": True},
        ranges={"directions": KnobRange(16, 4096, log=True), "seed": SEED},
        source="arXiv:2511.08544, SIGReg",
        target="losses.auxiliary.sigreg:sigreg",
        description="clip features are normally distributed in every direction",
        cost_hint="x1.01",
    ),
    LossSpec(
        name="spectral",
        family="dynamics",
        granularity=3,
        needs=frozenset({"frames", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"normalise": True},
        source="arXiv:2605.17165, spectral",
        target="losses.auxiliary.spectral:spectral",
        description="latents vary with the frequencies of a slow teacher's",
        cost_hint="about x1.3: a teacher forward",
    ),
    LossSpec(
        name="temporal_contrast",
        family="contrast_v",
        granularity=1,
        needs=frozenset({"frames_masked", "frame_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"margin": 0.5, "normalise": True},
        ranges={"margin": MARGIN},
        default_weight=0.5,
        source="arXiv:2605.17165, latent temporal contrast",
        target="losses.auxiliary.temporal_contrast:temporal_contrast",
        description="latents are nearer to a slow teacher's of the same frame than of the next",
        cost_hint="about x2.3: a masked view, and a teacher forward",
    ),
    LossSpec(
        name="temporal_similarity",
        family="dynamics",
        granularity=2,
        needs=frozenset({"frames"}),
        source="this project, after the temporal similarity term of EB-JEPA",
        target="losses.auxiliary.temporal_similarity:temporal_similarity",
        description="neighbouring frames have similar features",
        cost_hint="x1.01",
    ),
    LossSpec(
        name="velocity_gate",
        family="dynamics",
        granularity=1,
        needs=frozenset({"frames_masked", "frame_mask", "frames_target"}),
        detached=frozenset({"frames_target"}),
        knobs={"percentile": 0.5, "normalise": True},
        ranges={"percentile": INNER_SHARE},
        source="arXiv:2605.17165, velocity gate",
        target="losses.auxiliary.velocity_gate:velocity_gate",
        description="latents keep still where a slow teacher's do",
        cost_hint="about x2.3: a masked view, and a teacher forward",
    ),
)


class _Row(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str: ...


Row = TypeVar("Row", bound=_Row)


def index_by_name(rows: Iterable[Row]) -> Mapping[str, Row]:
    """Rows by name, read-only.

    Raises:
        ValueError: Two rows share a name; both targets are named.
    """
    table: dict[str, Row] = {}
    for row in rows:
        if row.name in table:
            raise ValueError(f"{row.name!r} twice: {table[row.name].target} and {row.target}")
        table[row.name] = row
    return MappingProxyType(table)


LOSSES: Mapping[str, LossSpec] = index_by_name(_LOSS_ROWS)


def moving_targets(names: Iterable[str]) -> list[str]:
    """Those of the losses that hold something fixed which the trained weights make.

    Differences of such a loss between two points of weight space are not its derivative. The slow
    teacher's features do not count: other weights make them.
    """
    return [
        name
        for name in names
        if any(
            split_view(feature)[1] != "target" for feature in LOSSES[name].detached - DATA_FEATURES
        )
    ]


def nearest(given: str, allowed: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the nearest allowed name, or nothing."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def loss_table() -> str:
    """The losses as a Markdown table, for the README of this package."""
    lines = [
        "| loss | family | level | needs | knobs | weight | step time | what it asks | source |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in LOSSES.values():
        name = f"`{row.name}` (primary)" if row.primary else f"`{row.name}`"
        needs = ", ".join(f"`{feature}`" for feature in sorted(row.needs))
        level = f"{row.granularity} {GRANULARITIES[row.granularity]}"
        lines.append(
            f"| {name} | {row.family} | {level} | {needs} | {knobs_text(row.knobs)} "
            f"| {row.default_weight:g} | {row.cost_hint} | {row.description} | {row.source} |"
        )
    return "\n".join(lines)


def knobs_text(knobs: Mapping[str, Any]) -> str:
    """Knobs and their defaults, for a table."""
    return ", ".join(f"`{name}={value}`" for name, value in knobs.items()) or "none"
