"""What all sections of a study share: strictness, the role of a field, messages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sweep.settings.names import nearest

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(ValueError):
    """A mistake of the user: shown as one message with exit code 2, never as a traceback."""


class Section(BaseModel):
    """A section of a study: frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_words(cls, content: Any) -> Any:
        """YAML reads `on`, `off`, `yes` and `no` as booleans; where words belong, back."""
        if not isinstance(content, Mapping):
            return content
        read = dict(content)
        for name, value in content.items():
            field = cls.model_fields.get(str(name))
            if isinstance(value, bool) and field is not None:
                words = [word for word in _words(field.annotation) if _YAML.get(word) is value]
                if words and not _takes_bool(field.annotation):
                    read[name] = words[0]
        return read


#: What YAML 1.1 reads in place of a word.
_YAML = MappingProxyType({"on": True, "yes": True, "off": False, "no": False})


def _words(annotation: Any) -> list[str]:
    """The words that a type lists, in order."""
    if get_origin(annotation) is Literal:
        return [one for one in get_args(annotation) if isinstance(one, str)]
    return [word for one in get_args(annotation) for word in _words(one)]


def _takes_bool(annotation: Any) -> bool:
    """Whether a type is, or may be, true or false."""
    if get_origin(annotation) is Literal:
        return any(isinstance(one, bool) for one in get_args(annotation))
    return annotation is bool or any(_takes_bool(one) for one in get_args(annotation))


# ------------------------------------------------------------------------------ roles of fields

Role = Literal["numbers", "place", "words"]


@dataclass(frozen=True, slots=True)
class Since:
    """A field that older records lack: left out of keys where it says what they meant.

    Attributes:
        value: What records without the field meant.
        unless: Another field of the section and the value of it that makes this one idle; it is
            then left out there, whatever it says, and nowhere else.
    """

    value: Any
    unless: tuple[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a field is kept: its ``json_schema_extra``, so that the schema shows the role, too."""

    role: Role
    since: Since | None
    searched: bool
    none_means: Any

    def __call__(self, schema: dict[str, Any]) -> None:
        """Pydantic's hook: one field of the JSON schema."""
        schema["role"] = self.role


def setting(
    default: Any = ...,
    *,
    role: Role = "numbers",
    since: Since | None = None,
    searched: bool = True,
    none_means: Any = None,
    **field: Any,
) -> Any:
    """A field of a section: the one place that says what depends on it.

    A field that holds a section has the roles of that section's fields, if its own is `numbers`;
    otherwise everything in it has the role of the field.

    Args:
        default: As in ``pydantic.Field``; left out where there is none.
        role: `numbers`: in the key of a cell, and equal on resume. `place` (folders, workers,
            `log_every`, batch of tests): in no key, and free on resume. `words` (title, label): as
            `place`, and never in what trials compute.
        since: Set where records are older than the field.
        searched: Whether a search may try values of it; only `numbers` are searched.
        none_means: What keys hold in place of None, where a rule has replaced a constant.
        **field: Limits and description, as in ``pydantic.Field``.
    """
    kept = Kept(role=role, since=since, searched=searched, none_means=none_means)
    if "default_factory" in field:
        return Field(json_schema_extra=kept, **field)
    return Field(default, json_schema_extra=kept, **field)


@cache
def declared(section: type[BaseModel]) -> Mapping[str, Kept]:
    """Field -> how it is kept.

    Raises:
        TypeError: for a field that is not declared by ``setting``.
    """
    found = {}
    for name, field in section.model_fields.items():
        kept = field.json_schema_extra
        if not isinstance(kept, Kept):
            raise TypeError(f"{section.__name__}.{name}: declare it by setting(), with its role")
        found[name] = kept
    return MappingProxyType(found)


def keyed(section: type[BaseModel], content: Mapping[str, Any]) -> dict[str, Any]:
    """What of a section changes numbers, in the form that keys have had since the first record.

    Args:
        section: Its class.
        content: A dump of it, or the plain data of a record of any age: keys may be missing, and
            those that the class does not know are kept.
    """
    kept, sections = declared(section), _sections(section)
    found: dict[str, Any] = {}
    for name, value in content.items():
        about = kept.get(name)
        if about is None:
            found[name] = value
        elif about.role == "numbers" and not _is_idle(name, content, kept):
            value = about.none_means if value is None else value
            inner, many = sections[name]
            found[name] = value if inner is None else _keyed_below(inner, many, value)
    return found


def _is_idle(name: str, content: Mapping[str, Any], kept: Mapping[str, Kept]) -> bool:
    since = kept[name].since
    if since is None:
        return False
    if since.unless is None:
        return bool(content[name] == since.value)
    other, idle = since.unless
    older = kept[other].since
    return bool(content.get(other, older.value if older else None) == idle)


def _keyed_below(inner: type[BaseModel], many: bool, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if many:
        return {
            name: keyed(inner, one) if isinstance(one, Mapping) else one
            for name, one in value.items()
        }
    return keyed(inner, value)


def free_on_resume(root: type[BaseModel]) -> frozenset[str]:
    """Dotted fields that may differ when a sweep is continued, with what is below them."""
    return frozenset(path for path, kept in _leaves(root, _is_number) if kept.role != "numbers")


def searchable(root: type[BaseModel]) -> frozenset[str]:
    """Dotted fields that a search may vary, with what is below them."""
    return frozenset(path for path, kept in _leaves(root, _is_searched) if _is_searched(kept))


def _is_number(kept: Kept) -> bool:
    return kept.role == "numbers"


def _is_searched(kept: Kept) -> bool:
    return kept.role == "numbers" and kept.searched


def _leaves(root: type[BaseModel], enters: Callable[[Kept], bool]) -> Iterator[tuple[str, Kept]]:
    """Dotted path -> how it is kept, entering the sections of those fields alone."""
    for name, kept in declared(root).items():
        inner, many = _sections(root)[name]
        if inner is None or many or not enters(kept):
            yield name, kept
        else:
            for path, below in _leaves(inner, enters):
                yield f"{name}.{path}", below


@cache
def _sections(section: type[BaseModel]) -> Mapping[str, tuple[type[BaseModel] | None, bool]]:
    """Field -> see ``_inner``; asked again for every key."""
    return {name: _inner(field) for name, field in section.model_fields.items()}


def _inner(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The section that a field holds, and whether it holds many of them."""
    many = get_origin(field.annotation) in (dict, list, tuple)
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind, many
    return None, False


# ------------------------------------------------------------------------------------- messages


def known(name: str, allowed: Iterable[str], where: str, what: str) -> None:
    """Refuse a name that is not allowed, with the nearest one that is."""
    allowed = list(allowed)
    if name not in allowed:
        raise ConfigError(
            f"{where}: unknown {what} '{name}'{nearest(name, allowed)} "
            f"(allowed: {', '.join(allowed) or 'none'})"
        )


def known_knobs(given: Mapping[str, Any], allowed: Mapping[str, Any], where: str) -> None:
    """Refuse a knob that a row does not have."""
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f"{where}: unknown knob '{key}'{nearest(key, allowed)} "
                f"(allowed: {', '.join(allowed) or 'none'})"
            )


def check_knobs(
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    where: str,
    choices: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> None:
    """Refuse a knob that a row does not have, and a value that cannot mean anything to it.

    Args:
        given: Knob -> value.
        defaults: The knobs of the row.
        where: File and key of the knobs, for messages.
        choices: Every value of the knobs that are words.
    """
    known_knobs(given, defaults, where)
    for key, value in given.items():
        here, default = f"{where}.{key}", defaults[key]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(one, float) and not math.isfinite(one) for one in numbers):
            raise ConfigError(f"{here}: a finite number is expected (given: {value})")
        if key in choices and value not in choices[key]:
            raise ConfigError(
                f"{here}: unknown value {value!r}{nearest(str(value), choices[key])} "
                f"(allowed: {', '.join(choices[key])})"
            )
        if isinstance(default, bool) and not isinstance(value, bool):
            raise ConfigError(f"{here}: true or false is expected (given: {value!r})")
        if isinstance(default, (int, float)) and not isinstance(default, bool) and not is_number:
            raise ConfigError(f"{here}: a number is expected (given: {value!r})")


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
