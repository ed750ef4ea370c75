"""Section on what the models saw: strips of frames, kept in the folder when the sweep ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweep.records.condition import Condition
from sweep.records.examples import FOLDER, Example, read_examples
from sweep.report.page import Gallery, Section, Strip, Text

if TYPE_CHECKING:
    from sweep.report.evidence import Evidence


def example_section(evidence: Evidence) -> Section | None:
    """Clean clips first, then shifts, then each perturbation; None where no frames were kept."""
    rows = [
        Strip(
            path=f"../{FOLDER}/{example.file}",
            content=content,
            title=_title(example),
            caption=_caption(example),
            alt=f"{len(example.frames)} frames of a clip: {_title(example)}.",
        )
        for example, content in read_examples(evidence.folder)
    ]
    if not rows:
        return None
    return Section(
        title="What was shown",
        blocks=[
            Text(
                text="A few frames of clips that were tested: as they are, of every shifted set, "
                "and the first of them under each perturbation at the strongest severity tested. "
                "Compressed for this page; what was tested was not."
            ),
            Gallery(strips=rows),
        ],
    )


def _title(example: Example) -> str:
    condition = Condition.parse(example.condition)
    name = condition.family.replace("_", " ")
    return f"{name}, severity {condition.level}" if example.level else name


def _caption(example: Example) -> str:
    parts = [example.level]
    if example.shown:
        shown = ", ".join(str(at + 1) for at in example.shown)
        parts.append(f"shows frames {shown} of {example.stored}")
    if example.category in {"clean", "shift"}:
        parts.append(example.label)
    return "; ".join(part for part in parts if part)
