"""The role of a setting is declared once: keys, resume and searches follow it."""

from __future__ import annotations

import types
import typing

import pytest
from pydantic import BaseModel, Field

from sweep.cells.resolve import cells
from sweep.engine.folder import check_same
from sweep.settings.losses import LossSettings
from sweep.settings.search import BoundSettings, RangeSettings
from sweep.settings.section import (
    ConfigError,
    Section,
    Since,
    declared,
    free_on_resume,
    keyed,
    searchable,
    setting,
)
from sweep.settings.study import StudyConfig
from sweep.settings.train import TrainSettings
from sweep.settings.trial import TrialConfig
from sweep.studies.load import load_study


def inner(annotation):
    """The section that an annotation names, directly or among others."""
    kinds = (annotation, *typing.get_args(annotation))
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def every_section(root, seen=()):
    yield root
    for field in root.model_fields.values():
        kind = inner(field.annotation)
        if kind is not None and kind not in seen:
            yield from every_section(kind, (*seen, root))


SECTIONS = sorted(
    {*every_section(StudyConfig), *every_section(TrialConfig), RangeSettings, BoundSettings},
    key=lambda kind: kind.__name__,
)


def paths(root, prefix=()):
    """Every field of every section below, as a path, with how it is kept."""
    for name, kept in declared(root).items():
        kind = inner(root.model_fields[name].annotation)
        if kind is None or typing.get_origin(root.model_fields[name].annotation) in (dict, list):
            yield (*prefix, name), kept
        else:
            yield from paths(kind, (*prefix, name))


PATHS = {root: list(paths(root)) for root in (StudyConfig, TrialConfig)}


def dotted(value):
    """Ids of cases: the path, without how it is kept."""
    return ".".join(value) if isinstance(value, tuple) else value.role


def other(value, annotation, name):
    """A valid value that differs."""
    special = {
        "losses": lambda: {n: v for n, v in value.items() if n != "pixel"},
        "combiners": lambda: {"static": {}, "equal": {}},
        "knobs": lambda: {"words": 3},
        "shifts": lambda: ["appearance"],
        "space": lambda: {"train.lr": {"choices": [1e-3, 2e-3]}},
        "constraints": lambda: {"clips": {"high": 9.0}},
        "outcomes": lambda: {**value, "more": ["clean"]},
        "margins": lambda: {"clean": 1.0},
        "rules": lambda: [{"when": {"model": "tiny"}, "cpus_per_trial": 2}],
        "custom": lambda: {"licence": 1.0},
        "conditions": lambda: {"jpeg": [1]},
        "captions": lambda: "none",
        "joint": lambda: "none",
        "sets": lambda: [["pixel"]],
        "weight_range": lambda: (0.5, 2.0),
        "dataset": lambda: "motes-ucf",
        "primary": lambda: "siglip",
        "kind": lambda: "pairs",
        "measure": lambda: "families",
        "objective": lambda: "noise",
        "profile": lambda: "paper",
        "ladder": lambda: "imagenet_c",
        "name": lambda: f"{value}_2",
        "budget": lambda: "3h",
        "batch": lambda: value * 2,
        "options": lambda: {"fold": 2},
    }
    if name in special:
        return special[name]()
    if typing.get_origin(annotation) is typing.Literal:
        return next(v for v in typing.get_args(annotation) if v != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.25
    if isinstance(value, str):
        literal = [a for a in typing.get_args(annotation) if typing.get_origin(a)]
        allowed = [v for a in literal for v in typing.get_args(a) if v != value]
        return allowed[0] if allowed else f"{value}x"
    if isinstance(value, list):
        return [*value, "clean"]
    text = str(annotation)
    for kind, one in (("list", [2]), ("bool", True), ("int", 7), ("float", 0.5), ("str", "/else")):
        if kind in text:
            return one
    raise AssertionError(f"{name}: {value!r} of {annotation}")


def changed(content, path, root):
    """The content with another value at a path; what makes the field idle is changed first."""
    place, section = content, root
    for name in path[:-1]:
        if place[name] is None:  # an optional section
            place[name] = inner(section.model_fields[name].annotation)().model_dump()
        place, section = place[name], inner(section.model_fields[name].annotation)
    name = path[-1]
    since = declared(section)[name].since
    if since is not None and since.unless is not None:
        field, idle = since.unless
        if place[field] == idle:
            place[field] = other(place[field], section.model_fields[field].annotation, field)
    before = root.model_validate(content)
    place[name] = other(place[name], section.model_fields[name].annotation, name)
    return before, root.model_validate(content)


def test_every_field_of_every_section_is_declared_with_its_role():
    assert len(SECTIONS) > 15
    for section in SECTIONS:
        assert set(declared(section)) == set(section.model_fields)
    with pytest.raises(TypeError, match=r"Loose\.a: declare it by setting"):
        keyed(types.new_class("Loose", (Section,), exec_body=_loose), {"a": 1})


def _loose(body):
    body["__annotations__"] = {"a": int}
    body["a"] = Field(1)


@pytest.mark.parametrize(("path", "kept"), PATHS[TrialConfig], ids=dotted)
def test_a_field_changes_the_key_exactly_if_its_role_says_so(path, kept):
    trial = cells(load_study("quickstart"), "f")[1]
    before, after = changed(trial.model_dump(), path, TrialConfig)
    assert before != after
    assert (before.key != after.key) == (kept.role == "numbers"), path


@pytest.mark.parametrize(("path", "kept"), PATHS[StudyConfig], ids=dotted)
def test_a_field_is_refused_on_resume_exactly_if_its_role_says_so(path, kept, tmp_path):
    before, after = changed(load_study("quickstart").model_dump(), path, StudyConfig)
    assert before != after
    if kept.role == "numbers":
        with pytest.raises(ConfigError, match=r"another configuration"):
            check_same(before, after, tmp_path)
    else:
        assert check_same(before, after, tmp_path) == []


def test_what_resume_lets_pass_is_all_that_is_no_number():
    free = free_on_resume(StudyConfig)
    for path, kept in paths(StudyConfig):
        above = {".".join(path[: i + 1]) for i in range(len(path))}
        assert bool(above & free) == (kept.role != "numbers"), path


def test_an_outcome_that_a_search_learns_from_is_no_mere_word(tmp_path):
    def search(*more):
        given = ("design.kind=search", "search.objective=noise")
        return load_study("quickstart", overrides=[*given, *more])

    assert not check_same(search(), search("outcomes.ood=[clean]"), tmp_path)
    with pytest.raises(ConfigError, match=r"outcomes\.noise"):
        check_same(search(), search("outcomes.noise=[clean]"), tmp_path)


def test_only_numbers_are_searched_and_the_budget_never():
    assert {path.partition(".")[0] for path in searchable(StudyConfig)} == {
        "losses", "combiners", "train",
    }  # fmt: skip
    found = searchable(TrainSettings)
    assert {"lr", "views.noise_b", "perturb"} <= found
    assert not found & {
        "steps", "batch", "log_every", "checkpoint_every", "validate_every", "max_loss",
        "trained_below", "precision",
    }  # fmt: skip
    assert not found & free_on_resume(TrainSettings)


class Inner(Section):
    power: int = setting(1, since=Since(1, unless=("kind", "flat")))
    kind: str = setting("flat", since=Since("flat"))
    folder: str = setting("here", role="place")


class Outer(Section):
    note: str = setting("", role="words")
    rule: float | None = setting(None, none_means=1.0)
    inner: Inner = setting(default_factory=Inner)
    many: dict[str, Inner] = setting(default_factory=dict)


def test_records_of_every_age_give_one_content():
    whole = Outer(many={"a": Inner()}).model_dump()
    older = {"rule": 1.0, "inner": {"folder": "there"}, "many": {"a": {}}}
    assert keyed(Outer, whole) == keyed(Outer, older)
    assert keyed(Outer, whole) == {"rule": 1.0, "inner": {}, "many": {"a": {}}}
    steep = keyed(Inner, {"kind": "steep", "power": 1})
    assert steep == {"kind": "steep", "power": 1}, "not idle: kept, at its default as well"
    assert keyed(Inner, {"power": 3}) == {}, "idle, since older records are flat"
    assert keyed(Inner, {"later": 2}) == {"later": 2}, "of a newer program"
    assert keyed(Outer, {"inner": None}) == {"inner": None}


def test_a_trial_always_knows_its_weights():
    for trial in cells(load_study("loss-diversity")):
        assert all(isinstance(loss.weight, float) for loss in trial.losses.values())
    assert LossSettings().weight is None
    content = cells(load_study("quickstart"))[1].model_dump()
    content["losses"]["pixel"]["weight"] = None
    with pytest.raises(ValueError, match=r"losses\.pixel\.weight"):
        TrialConfig.model_validate(content)
