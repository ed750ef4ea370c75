"""The severity tables of the README, made from the catalogue: `python -m perturb.tables`."""

from __future__ import annotations

from pathlib import Path

from perturb.catalogue import CATEGORIES, LADDERS, PERTURBATIONS, PROFILES, PerturbSpec

README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- tables: begin -->", "<!-- tables: end -->"


def tables() -> str:
    """Return the tables in Markdown: one per ladder, then the profiles."""
    parts = []
    for ladder in LADDERS.values():
        parts += [
            f"### Ladder `{ladder.name}`",
            "",
            f"{ladder.meaning[0].upper()}{ladder.meaning[1:]}.",
        ]
        changed = [spec for spec in _rows() if _differs(spec, ladder.name)]
        if ladder.name != "paper":
            parts += ["", "Only what differs from `paper`."]
        parts += [
            "",
            "| perturbation | 1 | 2 | 3 | 4 | 5 | numbers |",
            "|---|---|---|---|---|---|---|",
        ]
        parts += [_line(spec, ladder.name) for spec in changed]
        parts.append("")
    parts += [
        "### Profiles",
        "",
        "| profile | ladder | conditions | perturbations |",
        "|---|---|---|---|",
    ]
    for profile in PROFILES.values():
        names = ", ".join(profile.conditions)
        parts.append(
            f"| `{profile.name}` | `{profile.ladder}` | {len(profile.names())} | {names} |"
        )
    return "\n".join(parts)


def _rows() -> list[PerturbSpec]:
    return sorted(PERTURBATIONS.values(), key=lambda spec: CATEGORIES.index(spec.category))


def _differs(spec: PerturbSpec, ladder: str) -> bool:
    return ladder == "paper" or spec.levels[ladder] != spec.levels["paper"]


def _line(spec: PerturbSpec, ladder: str) -> str:
    levels = [spec.describe(severity, ladder) for severity in spec.severities]
    cells = " | ".join(levels + [""] * (5 - len(levels)))
    mark = "" if spec.is_published else " (extra)"
    order = " Severity does not order the strength." if ladder in spec.not_monotone else ""
    return f"| `{spec.name}`{mark} | {cells} | {spec.category}: {spec.unit}.{order} |"


def with_tables(text: str) -> str:
    """Return a README with its tables replaced by those of the catalogue."""
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    return f"{before}{_BEGIN}\n\n{tables()}\n\n{_END}{after}"


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
