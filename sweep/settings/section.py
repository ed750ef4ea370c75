"""What all sections of a study share: strictness, messages, the nearest spelling."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]


Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(ValueError):
    """A mistake of the user: shown as one message with exit code 2, never as a traceback."""


class Section(BaseModel):
    """A section of a study: frozen, and no key that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def nearest(given: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` or an empty string."""
    close = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def known(name: str, allowed: Iterable[str], where: str, what: str) -> None:
    """Refuse a name that is not allowed, with the nearest one that is."""
    allowed = list(allowed)
    if name not in allowed:
        raise ConfigError(
            f"{where}: unknown {what} '{name}'{nearest(name, allowed)} "
            f"(allowed: {', '.join(allowed)})"
        )


def known_knobs(given: Mapping[str, Any], allowed: Mapping[str, Any], where: str) -> None:
    """Refuse a knob that a row does not have."""
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f"{where}: unknown knob '{key}'{nearest(key, allowed)} "
                f"(allowed: {', '.join(allowed) or 'none'})"
            )


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
