"""What YAML makes of words and numbers, in every section alike."""

from __future__ import annotations

from typing import Literal

import pytest

from sweep.settings.section import ConfigError, Section, setting
from sweep.settings.study import StudyConfig
from sweep.studies.load import load_study


class Switch(Section):
    """A section with words that YAML reads otherwise."""

    way: Literal["auto", "on", "off"] = setting("auto")
    maybe: Literal["yes", "no"] | None = setting(None)
    plain: bool | Literal["on"] = setting(False)
    word: Literal["a", "b"] = setting("a")


def test_words_that_yaml_reads_as_booleans_are_words_again():
    assert Switch.model_validate({"way": False}).way == "off"
    assert Switch.model_validate({"way": True}).way == "on"
    assert Switch.model_validate({"maybe": True}).maybe == "yes"
    assert Switch.model_validate({"plain": True}).plain is True
    with pytest.raises(ValueError, match="word"):
        Switch.model_validate({"word": True})


@pytest.mark.parametrize(("given", "meant"), [("off", "off"), ("on", "on"), ("auto", "auto")])
def test_reuse_of_workers_is_switched_by_words(given, meant):
    study = load_study("quickstart", overrides=[f"resources.reuse_workers={given}"])
    assert study.resources.reuse_workers == meant


def numbers(section, prefix=""):
    """Dotted keys whose type is a float."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from numbers(inner, f"{prefix}{name}.")
        elif inner is float or "float" in str(inner):
            yield f"{prefix}{name}"


@pytest.mark.parametrize("key", [*numbers(StudyConfig), "losses.infonce.weight"])
@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf"])
def test_a_number_without_end_is_refused_by_its_key(key, value):
    with pytest.raises(ConfigError, match=key.partition(".")[2] or key):
        load_study("quickstart", overrides=[f"{key}={value}"])
