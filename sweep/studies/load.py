"""Find a study, read it, overlay its scale and overrides, explain mistakes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from models.catalogue import clip_of, default_weights
from sweep.cells.designs.catalogue import DESIGNS, OF_EVERY_KIND
from sweep.cells.search.dimensions import measured
from sweep.data.catalogue import DATASETS, given_options
from sweep.data.motes.knobs import knobs_of
from sweep.data.sets import shifts_of
from sweep.evaluation.conditions import CONTROLS, TestPlan, default_outcomes
from sweep.records.equal import equal_by_settings
from sweep.settings.data import DataSettings
from sweep.settings.model import ModelSettings
from sweep.settings.names import nearest
from sweep.settings.section import ConfigError, known
from sweep.settings.study import StudyConfig
from sweep.studies.checks import check_study
from sweep.studies.files import STUDIES_DIR, parse, study_names
from sweep.tasks.catalogue import AUTO, TASKS, task_of

#: Share of the training clips that a search keeps out to choose by; so many clips at least, as long
#: as that is not more than ``MOST_VALIDATION``.
VALIDATION_SHARE, VALIDATION_CLIPS, MOST_VALIDATION = 0.1, 100, 0.25


def load_study(
    source: str, *, scale: str | None = None, overrides: Sequence[str] = ()
) -> StudyConfig:
    """Read a built-in study by name or a YAML file by path, overlay its scale and overrides.

    Raises:
        ConfigError: for an unknown study, key, name or value; says where.
    """
    path = _locate(source)
    content = _read_yaml(path)
    scales = _scales(content.pop("scales", {}), path)
    if scale is not None or scales:
        scale = str(scale or content.get("scale") or "mini")
        # a resolved study knows its own scale and has no others
        own = content.get("scale", "mini") if not scales else None
        if scale not in scales and scale != own:
            allowed = ", ".join(sorted(scales)) or str(own)
            raise ConfigError(f"{path.name}: no scale '{scale}' (allowed: {allowed})")
        content = _overlay(content, scales.get(scale, {}))
        content["scale"] = scale
    for text in overrides:
        keys, value = _parse_override(text)
        content = _overlay(content, _nested(keys, value), given_at=keys)
    if isinstance(content.get("losses"), Mapping):
        content["losses"] = {
            name: {} if value is True else value
            for name, value in content["losses"].items()
            if value is not None and value is not False
        }
    return validate_study(content, where=path.name)


def validate_study(content: Mapping[str, Any], *, where: str) -> StudyConfig:
    """Typed study from plain data, with every name checked against its catalogue."""
    data = _with_own_defaults(content.get("data"))
    model = _with_weights(content.get("model"))
    content = {**content, "data": _with_size_of_model(data, model)}
    if model is not None:
        content["model"] = model
    try:
        study = StudyConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(error, where)) from None
    if not content.get("outcomes"):
        study = _with_own_outcomes(study, has_headline=bool(content.get("headline")))
    if study.design.kind != "search":
        check_study(study, where)
        return study
    study = _with_early_stopping(study)
    if "validation_share" not in (content.get("data") or {}):
        study = _with_validation(study)
    check_study(study, where)
    return _with_conditions_to_choose_by(study)


def _with_own_outcomes(study: StudyConfig, *, has_headline: bool) -> StudyConfig:
    """Outcomes of a study that names none: of all that it tests, shifts of its folder included."""
    spec = DATASETS.get(study.data.dataset)
    task = study.evaluate.task
    if spec is None or task not in {AUTO, *TASKS}:  # a wrong name, which the checks explain
        return study
    try:
        shifts = shifts_of(study.data)
    except (ValueError, OSError):  # no such folder, which `plan` explains
        shifts = spec.shifts
    try:
        sides = task_of(study.evaluate, study.primary).sides
        rows = TestPlan.of(study.evaluate, shifts, sides, 0).rows
        same = equal_by_settings((row.name for row in rows), study.model_dump())
    except (ConfigError, KeyError):  # likewise
        return study
    found = default_outcomes(rows, same)
    headline = study.headline if has_headline else [n for n in found if n != CONTROLS]
    return study.model_copy(update={"outcomes": found, "headline": headline})


def _with_own_defaults(data: Any) -> Any:
    """Settings of `data` in which a data set differs from the others, where none are given."""
    if not isinstance(data, Mapping):
        return data if data is not None else {}
    spec = DATASETS.get(str(data.get("dataset")))
    return data if spec is None else {**spec.settings, **data}


def _with_weights(model: Any) -> Any:
    """`model.weights`, where nobody names them: the first published checkpoint, if there is one.

    The folder of a network is named from the root, for trials that run elsewhere.
    """
    if not isinstance(model, Mapping):
        return model
    library, colon, folder = str(model.get("name", "")).partition(":")
    if colon and (path := Path(folder).expanduser()).is_dir():
        model = {**model, "name": f"{library}:{path.absolute()}"}
    if model.get("weights") is not None:
        return model
    others = {key: value for key, value in model.items() if key != "weights"}
    try:
        weights = default_weights(str(model.get("name", ModelSettings().name)))
    except (OSError, ValueError):  # a wrong name, which the checks explain
        return others
    return {**others, "weights": weights}


def _with_size_of_model(data: Any, model: Any) -> Any:
    """`data.size_px`, where nobody names one, is that of the model's clips."""
    given = model if isinstance(model, Mapping) else {}
    if not isinstance(data, Mapping) or data.get("size_px") is not None:
        return data
    name = str(given.get("name", ModelSettings().name))
    try:
        clip = clip_of(name, weights=str(given.get("weights", ModelSettings().weights)))
    except (OSError, ValueError):  # a wrong name, which the checks explain
        return {key: value for key, value in data.items() if key != "size_px"}
    return {**data, "size_px": clip.size_px}


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


def _with_validation(study: StudyConfig) -> StudyConfig:
    """Validation clips of a search that says nothing of them.

    A tenth of the training clips, as the convention is. A tenth of few is noise: where their number
    is known beforehand (embedded data), so many more that there are a hundred, by which an accuracy
    is known to about ten points; never more than a quarter.
    """
    search, spec = study.search, DATASETS.get(study.data.dataset)
    chooses = search.objective_on == "validation" or search.early_stopping
    if spec is None or spec.validation or not chooses:
        return study
    share = VALIDATION_SHARE
    if spec.embedded:
        knobs = knobs_of(study.data)
        wanted = VALIDATION_CLIPS / knobs.items(spec.name)[0]
        share = round(min(max(share, wanted), MOST_VALIDATION), 3)
    data = study.data.model_copy(update={"validation_share": share})
    return study.model_copy(update={"data": data})


def _with_conditions_to_choose_by(study: StudyConfig) -> StudyConfig:
    """What trials of a search test on their validation clips: whatever it chooses by."""
    if study.search.objective_on == "test":
        return study
    patterns = [p.rpartition(":")[2] for name in measured(study) for p in study.outcomes[name]]
    wanted = list(dict.fromkeys([*study.evaluate.on_validation, *patterns]))
    each = bool(study.search.early_stopping) and len(study.search.objectives) > 1
    changes = {"on_validation": wanted, "each_validation": each}
    evaluate = study.evaluate.model_copy(update=changes)
    return study.model_copy(update={"evaluate": evaluate})


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
        content = parse(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a study is a mapping of keys, got {type(content).__name__}")
    return content


def _scales(given: object, path: Path) -> Mapping[str, Mapping[str, Any]]:
    """What a study says of its scales: changes by name."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{path}: scales: expected changes by name, got {given!r}")
    for name, change in given.items():
        if not isinstance(change, Mapping):
            raise ConfigError(f"{path}: scales.{name}: expected a mapping of keys, got {change!r}")
    return given


def _parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`a.b=1` -> ("a", "b"), 1; the value is YAML."""
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
    return tuple(dotted.strip().split(".")), value


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    """("a", "b"), 1 -> {"a": {"b": 1}}."""
    for name in reversed(path):
        value = {name: value}
    return dict(value)


#: Mappings that are a choice rather than an accumulation.
_REPLACED = frozenset(
    {
        ("combiners",),
        ("outcomes",),
        ("evaluate", "conditions"),
        ("evaluate", "captions"),
    }
)


def _overlay(
    base: Mapping[str, Any], top: Mapping[str, Any], *, given_at: Sequence[str] = ()
) -> dict[str, Any]:
    """A study with a scale or an override laid over it.

    Mappings are merged key by key; anything else is replaced, and so are ``combiners``,
    ``outcomes``, ``evaluate.conditions`` and ``evaluate.captions``, which are choices: given as a
    whole they replace what was there, for a scale as for an override, and a dotted key below
    (``outcomes.late=[...]``, ``combiners.meltr.gamma=.2``) changes or adds one name.

    Three things follow what they belong to, unless the overlay names them, too: the profile of an
    override takes the place of listed conditions, outcomes that are replaced leave in the headline
    those of the same name, or are all in it where there is none, and another kind of design takes
    over the settings of the former one that it reads, and no others. What is said about losses and
    outcomes that are taken away goes with them.

    Args:
        base: The study as it is.
        top: What is laid over it.
        given_at: Where an override puts its value; () for a scale.
    """
    merged = _merge(_without_idle(base, top), top, given_at=tuple(given_at))
    given = top.get("evaluate")
    if given_at and isinstance(given, Mapping) and given.get("profile"):
        merged["evaluate"] = {**merged["evaluate"], "conditions": given.get("conditions")}
    outcomes = top.get("outcomes")
    if isinstance(outcomes, Mapping) and len(given_at) < 2 and "headline" not in top:
        field = StudyConfig.model_fields["headline"]
        before = base.get("headline", field.get_default(call_default_factory=True))
        if isinstance(before, list):  # anything else is explained later
            merged["headline"] = [n for n in before if n in outcomes] or list(outcomes)
    return _without_orphans(merged, base, top)


def _without_orphans(
    merged: dict[str, Any], base: Mapping[str, Any], top: Mapping[str, Any]
) -> dict[str, Any]:
    """Drop what the base says about outcomes and losses that the overlay takes away."""
    headline = merged.get("headline")
    if not isinstance(headline, (list, Mapping)):  # that, as other things here, is explained later
        return merged
    headline = list(headline)
    if "primary_outcome" not in top and merged.get("primary_outcome") not in headline:
        merged.pop("primary_outcome", None)
    if "margins" not in top and isinstance(merged.get("margins"), Mapping):
        merged["margins"] = {n: m for n, m in merged["margins"].items() if n in headline}
    losses, outcomes = merged.get("losses") or {}, merged.get("outcomes") or {}
    is_whole = isinstance(losses, Mapping) and isinstance(outcomes, Mapping)
    if is_whole and "disclosures" not in top and isinstance(base.get("disclosures"), list):
        there = {
            "loss": [name for name, g in losses.items() if g is not None and g is not False],
            "outcome": list(outcomes),
        }
        merged["disclosures"] = [
            row
            for row in base["disclosures"]
            if not isinstance(row, Mapping)
            or all(row.get(kind) in names for kind, names in there.items())
        ]
    return merged


def _without_idle(base: Mapping[str, Any], top: Mapping[str, Any]) -> Mapping[str, Any]:
    """The study without settings of its design that another kind in ``top`` does not read."""
    old, new = base.get("design"), top.get("design")
    row = DESIGNS.get(str(new.get("kind"))) if isinstance(new, Mapping) else None
    if row is None or not isinstance(old, Mapping) or old.get("kind", row.name) == row.name:
        return base
    kept = {*OF_EVERY_KIND, *row.reads}
    return {**base, "design": {name: value for name, value in old.items() if name in kept}}


def _merge(
    base: Mapping[str, Any],
    top: Mapping[str, Any],
    here: tuple[str, ...] = (),
    *,
    given_at: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Deep merge of mappings; choices are replaced unless ``given_at`` leads into them."""
    merged = dict(base)
    for key, value in top.items():
        old, path = merged.get(key), (*here, key)
        leads_below = len(given_at) > len(path) and given_at[: len(path)] == path
        chosen = path in _REPLACED and not leads_below
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not chosen:
            merged[key] = _merge(old, value, path, given_at=given_at)
        else:
            merged[key] = value
    return merged


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


def data_settings_from(dataset: str, overrides: Sequence[str]) -> DataSettings:
    """Data section from `data.key=value` overrides (the `data` verb)."""
    content: dict[str, Any] = {"dataset": dataset}
    for text in overrides:
        keys, value = _parse_override(text)
        if keys == ("data",) and not isinstance(value, Mapping):
            raise ConfigError(f"override '{text}': a mapping is expected, such as data.seed=2")
        content = _merge(content, _nested(keys[1:] if keys[0] == "data" else keys, value))
    try:
        settings = DataSettings.model_validate(_with_own_defaults(content))
    except ValidationError as error:
        raise ConfigError(_explain(error, "data", DataSettings)) from None
    known(settings.dataset, DATASETS, "--dataset", "data set")
    if not DATASETS[settings.dataset].embedded and settings.root is None:
        raise ConfigError(f"'{settings.dataset}' is not embedded: give data.root=FOLDER")
    try:
        given_options(settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return settings


def dump_study(study: StudyConfig) -> str:
    """YAML of the resolved study; itself a valid study file."""
    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
