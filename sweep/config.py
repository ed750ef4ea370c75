"""What a user may say: studies (what varies) and trials (one resolved point).

A study is YAML: built-in or the user's own file, with a ``scales`` section (``mini``, ``paper``)
that overlays data, model and budget, and dotted ``key=value`` overrides on top. Everything is
checked here, before data is touched or a worker started: an unknown key or name is a
``ConfigError`` that says what was given, where, and the nearest allowed spelling.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from losses.catalogue import COMBINERS, DATA_FEATURES, LOSSES, moving_targets, split_view
from models.catalogue import MODELS
from perturb.catalogue import LADDERS, PERTURBATIONS, PROFILES
from perturb.mixes import PROBABILITY
from perturb.text_catalogue import TEXT_PERTURBATIONS
from sweep.data.catalogue import DATASETS
from sweep.designs.catalogue import DESIGNS
from sweep.record import RECALLS, metric_of
from sweep.search_settings import SearchSettings
from sweep.search_settings import check as check_search
from sweep.spending import parse as parse_budget
from sweep.views import data_features

STUDIES_DIR = Path(__file__).parent / "studies"
#: Raised by hand when a change of code changes the numbers of a cell; part of every cell key.
CODE_EPOCH = 3
#: A resolved trial above this size carries data that belongs in a file, not in a config.
MAX_TRIAL_JSON_BYTES = 64 * 1024
#: Clips per cell that a rung of the fidelity ladder may have.
FIDELITY_CLIPS = {"probe": (8, 63), "screen": (64, 200)}
#: Settings of views that keys leave out at the default policy, which is older than they are.
MASK_CHOICES = ("mask_policy", "mask_strength", "mask_random")
#: Settings of training that keys leave out where clips are not perturbed.
PERTURB_CHOICES = ("perturb", "perturb_probability")
#: Settings of a model that the trial derives from the data.
TRIAL_SETS = frozenset({"classes", "size_px", "vocabulary", "text"})

#: Keys that older records lack, and what they then stood for: left out of cell keys at that value.
ADDED_KEYS: Mapping[str, Mapping[str, Any]] = {
    "": {"primary": "classification"},
    "evaluate": {
        "task": "auto",
        "captions": "few",
        "joint": "few",
        "joint_severity": 3,
        "captions_per_clip": "first",
    },
}

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(ValueError):
    """A mistake of the user: shown as one message with exit code 2, never as a traceback."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossSettings(_Strict):
    """One auxiliary loss of a study or trial."""

    weight: float | None = Field(None, ge=0, description="factor; None = the loss's default")
    knobs: dict[str, Any] = Field(default_factory=dict, description="hyperparameters by name")


class CombinerSettings(_Strict):
    """How the losses become one number."""

    name: str = "static"
    knobs: dict[str, Any] = Field(default_factory=dict)


class ModelSettings(_Strict):
    """Which network is fine-tuned."""

    name: str = "tiny"
    knobs: dict[str, Any] = Field(default_factory=dict)


class DataSettings(_Strict):
    """Which clips are used and how they are stored."""

    dataset: str = "motes-ssv2"
    root: str | None = Field(None, description="folder of a data set of your own; absolute path")
    seed: int = Field(1, ge=0, description="generation seed of embedded data")
    train_per_class: int = Field(48, ge=1, description="embedded data: training clips per class")
    val_per_class: int = Field(30, ge=1, description="embedded data: clips per class and set")
    labelled_per_class: int | None = Field(
        None, ge=1, description="cross-entropy sees the first n clips of each class only"
    )
    size_px: int = Field(64, ge=16, description="side of the stored square frames")
    cache_frames: int = Field(24, ge=2, description="frames stored per video, uniform in time")
    backend: Literal["auto", "decord", "pyav"] = "auto"
    access: Literal["auto", "seek", "sequential"] = "auto"
    max_bad_fraction: Share = Field(0.02, description="unreadable share above which we stop")
    cache_dir: str | None = Field(None, description="default: $AUXSWEEP_CACHE or ~/.cache/auxsweep")
    workers: int | None = Field(None, ge=1, description="decoding processes")


class ViewSettings(_Strict):
    """Training views (quickstart recipe). Lengths in pixels of the stored frame."""

    shift_px: int = Field(6, ge=0, description="largest shift, one draw per clip")
    gain: Share = Field(0.15, description="channel gain in 1 +- gain")
    exposure: Share = Field(0.2, description="exposure in 1 +- exposure")
    noise_b: float = Field(0.15, ge=0, description="view B: largest noise std, range 0..1")
    mask_frames: Share = Field(0.5, description="share of masked frames in the masked view")
    mask_policy: Literal["random", "block", "future", "motion", "aggressive"] = Field(
        "random",
        description="which frames are masked: any, one run of neighbours, the last ones, or rather "
        "those that change most (`aggressive`: almost only those)",
    )
    mask_strength: float | None = Field(
        None, ge=0, description="`motion` (2), `aggressive` (5): power of the change; 0 = any frame"
    )
    mask_random: Share | None = Field(
        None, description="`motion` (.1), `aggressive` (0): share of the draw that ignores change"
    )
    mask_words: Share = Field(0.3, description="share of masked caption words")


class TrainSettings(_Strict):
    """The fine-tuning budget and recipe."""

    steps: int = Field(400, ge=1)
    batch: int = Field(16, ge=2)
    labelled_share: Share = Field(0.5, description="part of a batch drawn from labelled clips")
    lr: Positive = 2e-3
    weight_decay: float = Field(0.05, ge=0)
    warmup: Share = Field(0.05, description="share of the steps with linear warm-up")
    clip_norm: Positive = 5.0
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the EMA teacher, where one is used")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    views: ViewSettings = Field(default_factory=ViewSettings)
    perturb: Literal["none", "mixed", "temporal", "spatial", "pixmix"] = Field(
        "none", description="perturbed training clips: a row of `perturb/mixes.py`"
    )
    perturb_probability: Share = Field(PROBABILITY, description="share of clips perturbed so")
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")
    validate_every: int = Field(0, ge=0, description="steps between clean validations; 0 = never")
    max_loss: Positive = Field(1e4, description="a larger unified loss counts as diverged")
    trained_below: Positive = Field(
        1.0, description="final training cross-entropy above this is flagged: did not train"
    )


class EvaluateSettings(_Strict):
    """What the trained model is tested on."""

    shifts: list[str] | Literal["all"] = "all"
    profile: str | None = Field("quick_small", description="named set of perturbation conditions")
    ladder: str | None = Field(None, description="severity table; None = the profile's")
    conditions: dict[str, list[int]] | None = Field(
        None, description="perturbation -> severities; replaces the profile's list"
    )
    temporal_checks: bool = Field(True, description="frame shuffle and reversal as controls")
    seed: int = Field(0, ge=0, description="key of the perturbation draws")
    batch: int = Field(60, ge=1)
    keep_perturbed: bool = Field(True, description="make perturbed clips once per node and reuse")
    fidelity: Literal["probe", "screen", "full"] = Field(
        "full", description="perturbed clips: `full` = all, `screen` and `probe` = a few per cell"
    )
    clips_per_cell: int | None = Field(
        None, ge=2, description="`probe` and `screen`: clips per perturbation and severity"
    )

    task: Literal["auto", "classification", "retrieval"] = Field(
        "auto", description="auto: classification for that primary loss, else retrieval"
    )
    captions: dict[str, list[int]] | Literal["few", "all", "none"] = Field(
        "few", description="retrieval: perturbation of captions -> severities"
    )
    captions_per_clip: Literal["first", "all"] = Field(
        "first", description="retrieval: captions of a clip that are queries"
    )
    joint: list[tuple[str, str]] | Literal["few", "all", "none"] = Field(
        "few", description="retrieval: pairs of a video and a caption perturbation, together"
    )
    joint_severity: int = Field(
        3, ge=1, le=5, description="of the video in a pair; captions have severity 1"
    )


class DesignSettings(_Strict):
    """Which loss sets become cells."""

    kind: str = Field("loo", description="a row of `sweep/designs/catalogue.py`")
    counts: list[int] | None = Field(None, description="count: sizes k; None = 0..K")
    subsets_per_count: int = Field(3, ge=1, description="count: random subsets per size")
    sets: list[list[str]] = Field(default_factory=list, description="further loss sets, by name")
    resolution: Literal[4, 5] = Field(
        4,
        description="fractional: 4 = losses clear of interactions of two (4 to 16 losses), "
        "5 = those clear of each other, too (5 to 8)",
    )
    fold_over: bool = Field(
        False, description="plackett_burman: every row's opposite as well; clears the losses"
    )
    permutations: int = Field(8, ge=2, description="shapley: pairs of an order and its reverse")
    size: int = Field(3, ge=2, description="diversity: losses per subset")
    subsets: int = Field(20, ge=2, description="diversity: number of subsets")
    measure: str = Field(
        "catalogue_distance",
        description="diversity: what the subsets are spread over: catalogue_distance (mean over "
        "pairs, by family and level), family_entropy, families, level_entropy or span_level",
    )
    seed: int = Field(
        0,
        ge=0,
        description="draws the subsets of `count` and `diversity`, the orders of `shapley`, and "
        "which loss gets which column of `fractional` and `plackett_burman`",
    )


class ResourceWhen(_Strict):
    """Which trials a resource rule is for; everything given must hold."""

    model: str | None = None
    combiner: str | None = None
    losses: list[str] = Field(default_factory=list, description="at least one of these losses")
    min_losses: int = Field(0, ge=0, description="auxiliary losses")
    min_views: int = Field(1, ge=1, description="views of the clip, each a forward of its own")


class ResourceRule(_Strict):
    """Other resources for some trials; what is left out stays as it is."""

    when: ResourceWhen
    cpus_per_trial: Positive | None = None
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] | None = None
    memory_gb_per_trial: Positive | None = None
    workers_per_trial: int | None = Field(None, ge=1)


class ResourceSettings(_Strict):
    """What one trial asks of the machine or cluster."""

    cpus_per_trial: Positive = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        0.0, description="below 1, trials share a card; auto: from the memory of a dry step"
    )
    memory_gb_per_trial: Positive | None = Field(
        None, description="main memory in GiB; None: not asked for, or measured with `auto`"
    )
    workers_per_trial: int = Field(
        1, ge=1, description="ranks that train a trial data-parallel; they share what it asks for"
    )
    custom: dict[str, Positive] = Field(
        default_factory=dict, description="further Ray resources of each rank, by name"
    )
    rules: list[ResourceRule] = Field(
        default_factory=list, description="other resources for some trials; the last one wins"
    )
    shared_checkpoints: bool = Field(
        False, description="refuse to start where a node does not see the sweep's folder"
    )
    max_concurrent: int | None = Field(None, ge=1)
    max_failures: int = Field(
        2, ge=0, description="restarts of a trial whose worker died or hung; a lost node is free"
    )
    hang_timeout_s: Positive | None = Field(
        1800.0, description="a trial that gives no sign of life for so long is killed; null: never"
    )
    reuse_workers: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: on for CPU trials, off for GPU trials"
    )
    budget: str | None = Field(
        None, description="no cell is begun beyond it: 8gpuh, 20cpuh, 3h, 45min, 2d; None: no limit"
    )

    @property
    def gpus(self) -> float:
        """GPUs of a trial as far as they are known before a start: `auto` counts as a whole one."""
        return 1.0 if self.gpus_per_trial == "auto" else self.gpus_per_trial


class TrackSettings(_Strict):
    """Weights & Biases."""

    wandb: Literal["auto", "offline", "online", "disabled"] = Field(
        "auto", description="auto: $WANDB_MODE, else offline"
    )
    project: str = "auxsweep"
    entity: str | None = None
    tags: list[str] = Field(default_factory=list)


class StudyConfig(_Strict):
    """One research question: what is fixed, what varies, what is measured."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str
    question: str
    hypothesis: str = ""
    disclosures: list[str] = Field(default_factory=list, description="printed in the report")
    scale: str = "mini"
    design: DesignSettings = Field(default_factory=DesignSettings)
    primary: str = Field("classification", description="the task's own loss; weight 1")
    losses: dict[str, LossSettings]
    combiners: dict[str, dict[str, Any]] = {"static": {}}
    seeds: int | list[int] = 3
    seed_base: int = Field(0, ge=0, description="first seed when `seeds` is a number")
    model: ModelSettings = Field(default_factory=ModelSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    outcomes: dict[str, list[str]] = Field(
        default_factory=lambda: {"clean": ["clean"]},
        description="name -> patterns of conditions whose accuracies are averaged",
    )
    headline: list[str] = Field(
        default_factory=lambda: ["clean"], description="outcomes of the answer, in order"
    )
    resources: ResourceSettings = Field(default_factory=ResourceSettings)
    reuse: list[str] = Field(
        default_factory=list,
        description="folders of sweeps whose finished cells of equal content are taken over",
    )
    track: TrackSettings = Field(default_factory=TrackSettings)

    @property
    def task(self) -> str:
        """`classification` or `retrieval`: what the trained model is tested by."""
        return task(self.evaluate, self.primary)

    @property
    def seed_list(self) -> list[int]:
        """Training seeds, in order."""
        if isinstance(self.seeds, int):
            return list(range(self.seed_base, self.seed_base + self.seeds))
        return list(self.seeds)


class TrialConfig(_Strict):
    """One resolved point: the only thing that travels to a worker."""

    study: str
    label: str = Field(description="for people, e.g. `all - pixel`")
    primary: str = "classification"
    losses: dict[str, LossSettings]
    combiner: CombinerSettings
    model: ModelSettings
    data: DataSettings
    fingerprint: str = Field("", description="of the prepared data set")
    train: TrainSettings
    evaluate: EvaluateSettings
    seed: int

    @property
    def key(self) -> str:
        """Content address: 16 hex digits over everything that changes the numbers."""
        content = self.model_dump(
            exclude={
                "study": True,
                "label": True,
                "data": {"root", "cache_dir", "workers", "max_bad_fraction"},
                "train": {"log_every", "checkpoint_every"},
                "evaluate": {"batch", "keep_perturbed"},
            }
        )
        if self.evaluate.fidelity == "full":  # as before there was a choice
            del content["evaluate"]["fidelity"], content["evaluate"]["clips_per_cell"]
        for section, keys in ADDED_KEYS.items():
            place = content[section] if section else content
            for name, default in keys.items():
                if place[name] == default:
                    del place[name]
        if self.train.views.mask_policy == "random":  # likewise
            for name in MASK_CHOICES:
                del content["train"]["views"][name]
        if self.train.perturb == "none":  # likewise
            for name in PERTURB_CHOICES:
                del content["train"][name]
        content["code_epoch"] = CODE_EPOCH
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]

    @property
    def task(self) -> str:
        """`classification` or `retrieval`: what the trained model is tested by."""
        return task(self.evaluate, self.primary)

    @property
    def loss_set(self) -> str:
        """Sorted names joined by `+`, `none` without auxiliary losses."""
        return "+".join(sorted(self.losses)) or "none"


def task(settings: EvaluateSettings, primary: str) -> str:
    """What a model is tested by: its classes, or pairs of videos and captions."""
    if settings.task != "auto":
        return settings.task
    return "classification" if LOSSES[primary].primary else "retrieval"


def canonical_json(content: Any) -> str:
    """JSON with sorted keys and no blanks; floats as Python's shortest ``repr``."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def nearest(given: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` or an empty string."""
    close = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def study_names() -> list[str]:
    """Names of the built-in studies."""
    return sorted(path.stem for path in STUDIES_DIR.glob("*.yaml"))


def load_study(
    source: str, *, scale: str | None = None, overrides: Sequence[str] = ()
) -> StudyConfig:
    """Read a built-in study by name or a YAML file by path, overlay its scale and overrides.

    Raises:
        ConfigError: for an unknown study, key, name or value; says where.
    """
    path = _locate(source)
    content = _read_yaml(path)
    scales = content.pop("scales", {})
    if scale is not None or scales:
        scale = scale or content.get("scale") or "mini"
        # a resolved study knows its own scale and has no others
        own = content.get("scale", "mini") if not scales else None
        if scale not in scales and scale != own:
            allowed = ", ".join(sorted(scales)) or str(own)
            raise ConfigError(f"{path.name}: no scale '{scale}' (allowed: {allowed})")
        content = _merge(content, scales.get(scale, {}))
        content["scale"] = scale
    for text in overrides:
        change = _parse_override(text)
        if isinstance(evaluate := change.get("evaluate"), dict) and evaluate.get("profile"):
            evaluate.setdefault("conditions", None)  # a list in the file would hide the profile
        content = _merge(content, change)
    if isinstance(content.get("losses"), Mapping):
        content["losses"] = {
            name: {} if value is True else value
            for name, value in content["losses"].items()
            if value is not None and value is not False
        }
    return validate_study(content, where=path.name)


def validate_study(content: Mapping[str, Any], *, where: str) -> StudyConfig:
    """Typed study from plain data, with every name checked against its catalogue."""
    content = {**content, "data": _with_own_defaults(content.get("data"))}
    try:
        study = StudyConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(error, where)) from None
    _check_names(study, where)
    return _with_early_stopping(study) if study.design.kind == "search" else study


def _with_own_defaults(data: Any) -> Any:
    """Settings of `data` in which a data set differs from the others, where none are given."""
    if not isinstance(data, Mapping):
        return data if data is not None else {}
    spec = DATASETS.get(str(data.get("dataset")))
    return data if spec is None else {**spec.settings, **data}


def _with_early_stopping(study: StudyConfig) -> StudyConfig:
    """Whether a search stops early, and validations for it: by default ten per trial."""
    settings, train = study.search, study.train
    if settings.early_stopping is None:
        on = len(settings.objectives) == 1
        settings = settings.model_copy(update={"early_stopping": on})
    if settings.early_stopping and not train.validate_every:
        every = max(1, train.steps // 10)
        train = train.model_copy(update={"validate_every": every})
    return study.model_copy(update={"search": settings, "train": train})


def _locate(source: str) -> Path:
    builtin = STUDIES_DIR / f"{source}.yaml"
    if builtin.is_file():
        return builtin
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.suffix in {".yaml", ".yml"} or "/" in source:
        raise ConfigError(f"no such study file: {source}")
    names = study_names()
    raise ConfigError(
        f"unknown study '{source}'{nearest(source, names)} "
        f"(built in: {', '.join(names)}; or give a YAML file)"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a study is a mapping of keys, got {type(content).__name__}")
    return content


def _parse_override(text: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}; the value is YAML."""
    dotted, separator, raw = text.partition("=")
    if not separator or not dotted.strip("."):
        raise ConfigError(f"override '{text}': expected key=value, such as train.steps=100")
    try:
        value = yaml.safe_load(raw) if raw else None
    except yaml.YAMLError:
        raise ConfigError(f"override '{text}': the value is not valid YAML") from None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)  # YAML 1.1 reads 1e-3 as text
    *outer, last = dotted.strip().split(".")
    content: dict[str, Any] = {last: value}
    for part in reversed(outer):
        content = {part: content}
    return content


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge of mappings; anything else is replaced.

    ``combiners`` is a choice, not an accumulation: an overlay replaces it whole, and so do
    ``outcomes`` and ``evaluate.conditions``.
    """
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and key not in _REPLACED:
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


_REPLACED = frozenset({"combiners", "conditions", "captions"})


def _explain(error: ValidationError, where: str, root: type[BaseModel] = StudyConfig) -> str:
    """All mistakes of a study, one line each, with the nearest key for unknown ones."""
    lines = []
    for item in error.errors():
        dotted = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            allowed = _fields_at(root, item["loc"][:-1])
            key = str(item["loc"][-1])
            lines.append(
                f"{where}: unknown key '{dotted}'{nearest(key, allowed)} "
                f"(allowed: {', '.join(sorted(allowed))})"
            )
        else:
            shown = json.dumps(item.get("input"), default=str)
            lines.append(f"{where}: {dotted}: {item['msg']} (given: {shown[:80]})")
    return "\n".join(dict.fromkeys(lines))


def _fields_at(root: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    """Field names of the model that a validation error's location leads to."""
    model: Any = root
    for part in loc:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        annotation: Any = field.annotation
        inner = [
            a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        model = inner[0] if inner else annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return list(root.model_fields)


def _check_names(study: StudyConfig, where: str) -> None:
    """Every name exists, every knob is known, every loss finds its features."""
    _known(study.primary, LOSSES, f"{where}: primary", "loss")
    if study.primary in study.losses:
        raise ConfigError(
            f"{where}: losses.{study.primary}: it is the primary loss of this study; remove it "
            f"from the auxiliary ones: losses.{study.primary}=null"
        )
    auxiliary = [name for name, row in LOSSES.items() if not row.primary]
    for name, settings in study.losses.items():
        _known(name, auxiliary, f"{where}: losses", "loss")
        _known_knobs(settings.knobs, LOSSES[name].knobs, f"{where}: losses.{name}.knobs")
    for name, knobs in study.combiners.items():
        _known(name, COMBINERS, f"{where}: combiners", "combiner")
        _installed(COMBINERS[name].package, COMBINERS[name].extra, f"{where}: combiners.{name}")
        _known_knobs(knobs or {}, COMBINERS[name].knobs, f"{where}: combiners.{name}")
        held = moving_targets(study.losses)
        if (knobs or {}).get("method") == "fd" and held:
            raise ConfigError(
                f"{where}: combiners.{name}.method: fd does not see the derivative of "
                f"{', '.join(held)}, which hold a feature of the trained model fixed; use jvp, "
                "loop or auto"
            )
    if not study.combiners:
        raise ConfigError(f"{where}: combiners: at least one of {', '.join(COMBINERS)}")
    _known(study.model.name, MODELS, f"{where}: model.name", "model")
    free = {k: v for k, v in MODELS[study.model.name].settings.items() if k not in TRIAL_SETS}
    _known_knobs(study.model.knobs, free, f"{where}: model.knobs")
    _known(study.data.dataset, DATASETS, f"{where}: data.dataset", "data set")
    if study.evaluate.profile is not None:
        _known(study.evaluate.profile, PROFILES, f"{where}: evaluate.profile", "profile")
    for name, severities in (study.evaluate.conditions or {}).items():
        _known(name, PERTURBATIONS, f"{where}: evaluate.conditions", "perturbation")
        allowed = PERTURBATIONS[name].severities
        if not severities or any(s not in allowed for s in severities):
            raise ConfigError(
                f"{where}: evaluate.conditions.{name}: severities are "
                f"{', '.join(map(str, allowed))}, given {severities}"
            )
    _check_fidelity(study.evaluate, where)
    _check_masks(study.train.views, where)
    _check_resources(study, where)
    if study.evaluate.ladder is not None:
        _known(study.evaluate.ladder, LADDERS, f"{where}: evaluate.ladder", "severity table")
    _known(study.design.kind, DESIGNS, f"{where}: design.kind", "design")
    for names in study.design.sets:
        for name in names:
            _known(name, study.losses, f"{where}: design.sets", "loss of this study")
    for name in study.headline:
        _known(name, study.outcomes, f"{where}: headline", "outcome")
    if study.design.kind == "search":
        try:
            check_search(study)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    if not study.seed_list:
        raise ConfigError(f"{where}: seeds: at least one")
    if len(set(study.seed_list)) != len(study.seed_list):
        raise ConfigError(f"{where}: seeds: each once, given {study.seed_list}")
    if not DATASETS[study.data.dataset].embedded and study.data.root is None:
        raise ConfigError(
            f"{where}: data.root: '{study.data.dataset}' is not embedded; give its folder, "
            "such as data.root=/data/ssv2"
        )
    trained = (study.primary, *study.losses)
    check_needs(trained, study.model.name, where)
    _check_labels(study, where)
    if not DATASETS[study.data.dataset].captions:
        wanting = [n for n in trained if any("caption" in f for f in data_features([n]))]
        if study.primary in wanting:
            raise ConfigError(
                f"{where}: primary: '{study.primary}' needs captions, which the data set "
                f"'{study.data.dataset}' does not have"
            )
        if wanting:
            raise ConfigError(
                f"{where}: the losses {', '.join(wanting)} need captions, which the data set "
                f"'{study.data.dataset}' does not have; remove them: losses.{wanting[0]}=null"
            )
    if study.task == "retrieval":
        _check_retrieval(study, where)
    _check_metrics(study, where)


def _check_labels(study: StudyConfig, where: str) -> None:
    """Classes are there for those who learn or are tested by them."""
    if DATASETS[study.data.dataset].labelled:
        return
    dataset = study.data.dataset
    wanting = [n for n in (study.primary, *study.losses) if "labels" in LOSSES[n].needs]
    if wanting:
        raise ConfigError(
            f"{where}: the loss '{wanting[0]}' needs classes, which the data set '{dataset}' does "
            "not have; train by captions instead, such as primary=infonce"
        )
    if study.task == "classification":
        raise ConfigError(
            f"{where}: evaluate.task: '{dataset}' has no classes to be tested by; use retrieval"
        )


def _check_retrieval(study: StudyConfig, where: str) -> None:
    """Captions, a space that they share with videos, whole galleries, known perturbations."""
    settings, dataset = study.evaluate, study.data.dataset
    if not DATASETS[dataset].captions:
        raise ConfigError(
            f"{where}: evaluate.task: retrieval needs captions, which '{dataset}' does not have"
        )
    missing = {"video_embed", "text_embed"} - MODELS[study.model.name].provides
    if missing:
        raise ConfigError(
            f"{where}: evaluate.task: retrieval needs {', '.join(sorted(missing))}, which the "
            f"model '{study.model.name}' does not provide"
        )
    if settings.fidelity != "full":
        raise ConfigError(
            f"{where}: evaluate.fidelity: '{settings.fidelity}' would shrink the gallery, and "
            "ranks in galleries of different sizes do not compare; fewer queries would save no "
            "clip, since every one is in the gallery; retrieval needs 'full'"
        )
    if isinstance(settings.captions, dict):
        for name, severities in settings.captions.items():
            _known_captions(name, f"{where}: evaluate.captions")
            allowed = TEXT_PERTURBATIONS[name].severities
            if not severities or any(s not in allowed for s in severities):
                raise ConfigError(
                    f"{where}: evaluate.captions.{name}: severities are "
                    f"{', '.join(map(str, allowed))}, given {severities}"
                )
    if not isinstance(settings.joint, str):
        for video, text in settings.joint:
            _known(video, PERTURBATIONS, f"{where}: evaluate.joint", "perturbation")
            if settings.joint_severity not in PERTURBATIONS[video].severities:
                raise ConfigError(
                    f"{where}: evaluate.joint: {video} has no severity {settings.joint_severity}"
                )
            _known_captions(text, f"{where}: evaluate.joint")


def _known_captions(name: str, where: str) -> None:
    _known(name, TEXT_PERTURBATIONS, where, "perturbation of captions")
    if TEXT_PERTURBATIONS[name].needs_model:
        able = [n for n, row in TEXT_PERTURBATIONS.items() if not row.needs_model]
        raise ConfigError(
            f"{where}: '{name}' needs a language model; those that need none: {', '.join(able)}"
        )


def _check_metrics(study: StudyConfig, where: str) -> None:
    """`t2v_R5:clean` names a recall, which retrieval alone has."""
    for name, patterns in study.outcomes.items():
        for metric in {metric_of(pattern) for pattern in patterns} - {""}:
            if study.task != "retrieval":
                raise ConfigError(
                    f"{where}: outcomes.{name}: '{metric}:' is a recall of retrieval, and this "
                    "study tests classification"
                )
            _known(metric, RECALLS, f"{where}: outcomes.{name}", "recall")
        if len({metric_of(pattern) for pattern in patterns}) > 1:
            raise ConfigError(
                f"{where}: outcomes.{name}: one recall per outcome, given {', '.join(patterns)}"
            )


def _check_resources(study: StudyConfig, where: str) -> None:
    """Ranks share a batch evenly and have a card each; rules name what exists."""
    resources = study.resources
    for number, one in enumerate(resources.rules):
        here = f"{where}: resources.rules.{number}.when"
        for name in one.when.losses:
            _known(name, study.losses, f"{here}.losses", "loss of this study")
        if one.when.model is not None:
            _known(one.when.model, MODELS, f"{here}.model", "model")
        if one.when.combiner is not None:
            _known(one.when.combiner, COMBINERS, f"{here}.combiner", "combiner")
    for name in resources.custom:
        if name.lower() in {"cpu", "gpu", "memory", "object_store_memory"}:
            raise ConfigError(
                f"{where}: resources.custom.{name}: has a key of its own, such as cpus_per_trial"
            )
    if resources.budget is not None:
        _check_budget(resources, f"{where}: resources.budget")
    every = [ResourceRule(when=ResourceWhen()), *resources.rules]  # the first changes nothing
    for rule in every:
        workers = rule.workers_per_trial or resources.workers_per_trial
        gpus = rule.gpus_per_trial
        gpus = resources.gpus_per_trial if gpus is None else gpus
        if workers == 1:
            continue
        if study.train.batch % workers:
            raise ConfigError(
                f"{where}: resources.workers_per_trial: {workers} ranks cannot share train.batch "
                f"{study.train.batch} evenly; make the batch a multiple"
            )
        if gpus != "auto" and gpus % workers:
            raise ConfigError(
                f"{where}: resources.gpus_per_trial: {gpus:g} for {workers} ranks; each rank needs "
                "whole cards of its own: 0, or a multiple of resources.workers_per_trial"
            )
        if any(
            (knobs or {}).get("method") == "double_backward" for knobs in study.combiners.values()
        ):
            raise ConfigError(
                f"{where}: resources.workers_per_trial: the meta step's method double_backward is "
                "for one process; use jvp, loop or auto"
            )


def _check_budget(resources: ResourceSettings, where: str) -> None:
    """The limit can be read, and is of something that trials use."""
    try:
        budget = parse_budget(resources.budget or "")
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    given = [resources.gpus_per_trial, *(rule.gpus_per_trial for rule in resources.rules)]
    if budget.unit == "gpuh" and not any(given):
        raise ConfigError(
            f"{where}: {resources.budget}: no trial of this study asks for a GPU "
            "(resources.gpus_per_trial); give cpuh, or h for the time from start to end"
        )


def _check_fidelity(settings: EvaluateSettings, where: str) -> None:
    """Clips per cell belong to thinned tests, and to each rung its own range."""
    given = settings.clips_per_cell
    if given is None:
        return
    if settings.fidelity == "full":
        raise ConfigError(
            f"{where}: evaluate.clips_per_cell: {given} given, but evaluate.fidelity is 'full', "
            "which tests every clip; set evaluate.fidelity to 'probe' or 'screen'"
        )
    low, high = FIDELITY_CLIPS[settings.fidelity]
    if not low <= given <= high:
        raise ConfigError(
            f"{where}: evaluate.clips_per_cell: '{settings.fidelity}' takes {low} to {high} clips "
            f"per cell, given {given}"
        )


def _check_masks(views: ViewSettings, where: str) -> None:
    """Knobs of motion belong to policies that look at motion."""
    if views.mask_policy in {"motion", "aggressive"}:
        return
    for name in ("mask_strength", "mask_random"):
        given = getattr(views, name)
        if given is not None:
            raise ConfigError(
                f"{where}: train.views.{name}: {given} given, but train.views.mask_policy is "
                f"'{views.mask_policy}', which does not look at motion; set it to 'motion' or "
                "'aggressive'"
            )


def check_needs(loss_names: Iterable[str], model: str, where: str) -> None:
    """Refuse a loss that needs a feature which the model does not provide."""
    provides = MODELS[model].provides
    for name in loss_names:
        for feature in sorted(LOSSES[name].needs - DATA_FEATURES):
            base, _ = split_view(feature)
            if base not in provides:
                able = [row.name for row in MODELS.values() if base in row.provides]
                raise ConfigError(
                    f"{where}: loss '{name}' needs the feature '{base}', which model '{model}' "
                    f"does not provide (it provides {', '.join(sorted(provides))}; "
                    f"models that do: {', '.join(able) or 'none'})"
                )


def _known(name: str, allowed: Iterable[str], where: str, what: str) -> None:
    allowed = list(allowed)
    if name not in allowed:
        raise ConfigError(
            f"{where}: unknown {what} '{name}'{nearest(name, allowed)} "
            f"(allowed: {', '.join(allowed)})"
        )


def _installed(package: str, extra: str, where: str) -> None:
    if package and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{where}: needs the package {package}, which is not installed; "
            f"pip install 'auxsweep[{extra}]'"
        )


def _known_knobs(given: Mapping[str, Any], allowed: Mapping[str, Any], where: str) -> None:
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f"{where}: unknown knob '{key}'{nearest(key, allowed)} "
                f"(allowed: {', '.join(allowed) or 'none'})"
            )


def data_settings_from(dataset: str, overrides: Sequence[str]) -> DataSettings:
    """Data section from `data.key=value` overrides (the `data` verb)."""
    content: dict[str, Any] = {"dataset": dataset}
    for text in overrides:
        parsed = _parse_override(text)
        content = _merge(content, parsed.get("data", parsed))
    try:
        settings = DataSettings.model_validate(_with_own_defaults(content))
    except ValidationError as error:
        raise ConfigError(_explain(error, "data", DataSettings)) from None
    _known(settings.dataset, DATASETS, "--dataset", "data set")
    if not DATASETS[settings.dataset].embedded and settings.root is None:
        raise ConfigError(f"'{settings.dataset}' is not embedded: give data.root=FOLDER")
    return settings


def dump_study(study: StudyConfig) -> str:
    """YAML of the resolved study; itself a valid study file."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def difference(old: Any, new: Any, path: str = "") -> list[str]:
    """Human-readable lines of what differs between two plain structures."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines: list[str] = []
        for key in sorted({*old, *new}, key=str):
            here = f"{path}.{key}" if path else str(key)
            if key not in old:
                lines.append(f"{here}: (absent) -> {new[key]!r}")
            elif key not in new:
                lines.append(f"{here}: {old[key]!r} -> (absent)")
            else:
                lines += difference(old[key], new[key], here)
        return lines
    return [] if old == new else [f"{path}: {old!r} -> {new!r}"]
