"""The report as data: sections of paragraphs, lists, tables and figures.

HTML and Markdown are two renderings of one ``Page``, so they cannot say different things. Text may
contain **strong** and `code`; everything else in it is literal.
"""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MINUS = "\u2212"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph, or a list if it has items.

    ``tone``: "", `note`, `warning`, `lead`; in the answer `holds`, `suggestive`, `open`.
    """

    text: str = ""
    items: Sequence[str] = ()
    tone: str = ""
    kind: str = "text"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell of a table: the number, then smaller lines below it."""

    text: str
    details: Sequence[str] = ()
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for people.

    Attributes:
        columns: Headings.
        rows: Entries or plain text.
        caption: Below the table.
        csv: File below ``tables/`` with the full numbers.
        numeric: Whether columns after the first ``left`` ones hold numbers, aligned right.
        left: Number of leading text columns.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Entry | str]]
    caption: str = ""
    csv: str = ""
    numeric: bool = True
    left: int = 1
    kind: str = "table"

    @property
    def entries(self) -> list[list[Entry]]:
        """Rows with plain strings wrapped."""
        return [[e if isinstance(e, Entry) else Entry(text=e) for e in row] for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing: file stem below ``figures/``, text for those who do not see it, caption."""

    name: str
    alt: str
    caption: str
    svg: str = field(default="", repr=False)
    kind: str = "figure"


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A small picture of pixels: where it lies from the report, its WebP bytes, what it shows."""

    path: str
    content: bytes = field(repr=False)
    title: str
    caption: str
    alt: str

    @property
    def address(self) -> str:
        """The picture itself as an address, so that a page needs no file beside it."""
        return f"data:image/webp;base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Small pictures side by side."""

    strips: Sequence[Strip]
    kind: str = "gallery"


Block: TypeAlias = Text | Table | Figure | Gallery


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A labelled line of the answer that is no claim; ``command`` can be typed as it is."""

    label: str
    text: str
    command: str = ""

    @property
    def line(self) -> str:
        """All of it in one line, with marks."""
        shown = f" `{self.command}`" if self.command else ""
        return f"{self.label}: {self.text}{shown}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with blocks below it."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """Fragment of links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole report.

    Attributes:
        title: Of the study.
        question: What was asked.
        hypothesis: What was expected.
        status: Facts about the sweep as short labels.
        warnings: What a reader has to know first.
        answer: Sentences of the claims, first what holds.
        facts: What else stands in the answer: best set, what to run next, data and model.
        picture: The one figure of the answer.
        terms: Words of the answer -> (regular expression, what they mean).
        disclosures: Of the study.
        sections: All else.
        footer: Last line.
    """

    title: str
    question: str
    hypothesis: str
    status: Sequence[str]
    warnings: Sequence[str]
    answer: Sequence[Text]
    facts: Sequence[Fact]
    picture: Figure | None
    terms: Mapping[str, tuple[str, str]]
    disclosures: Sequence[str]
    sections: Sequence[Section]
    footer: str

    @property
    def answer_lines(self) -> list[str]:
        """The answer in lines with marks."""
        return [*(sentence.text for sentence in self.answer), *(fact.line for fact in self.facts)]


# ---------------------------------------------------------------------------------- rendering


def breakable(text: Markup) -> Markup:
    """HTML in which a line may end after the `+` of a loss set, but not after that of a number."""
    return Markup(re.sub(r"(?<=[a-z0-9])\+(?=[a-z])", "+<wbr>", text))


def html(text: str) -> Markup:
    """**strong** and `code` as HTML, the rest escaped."""
    safe = str(escape(text))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
    return Markup(safe)


def explaining(terms: Mapping[str, tuple[str, str]]) -> Callable[[str], Markup]:
    """A rendering as ``html`` that explains each term at its first place, in all that it renders.

    Args:
        terms: Term -> (regular expression of its forms, explanation).
    """
    left = dict(terms)

    def rendered(text: str) -> Markup:
        safe = str(html(text))
        for term, (forms, meaning) in list(left.items()):
            word = re.compile(rf"(?<![\w<>/`-])({forms})(?![\w-])(?![^<]*(?:>|</code>|</abbr>))")
            marked = rf'<abbr title="{_literal(str(escape(meaning)))}">\1</abbr>'
            safe, done = word.subn(marked, safe, count=1)
            if done:
                del left[term]
        return Markup(safe)

    return rendered


def _literal(text: str) -> str:
    """For the replacement of a regular expression."""
    return text.replace("\\", "\\\\")


def plain(text: str) -> str:
    """The text without marks, for terminals."""
    return re.sub(r"\*\*([^*]+)\*\*|`([^`]+)`", lambda m: m[1] or m[2], text)


def markdown_table(table: Table) -> str:
    """GitHub table; details follow the number in brackets."""
    numeric = [
        "---:" if table.numeric and i >= table.left else "---" for i in range(len(table.columns))
    ]
    lines = [_line(table.columns), _line(numeric)]
    lines += [
        _line([f"{e.text} ({'; '.join(e.details)})" if e.details else e.text for e in row])
        for row in table.entries
    ]
    return "\n".join(lines)


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(v.replace("|", "\\|").replace("\n", " ") for v in values) + " |"


# ---------------------------------------------------------------------------------- numbers


def number(value: float, digits: int = 1) -> str:
    """Fixed number of decimals with a true minus; a dash for what does not exist."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """With its sign."""
    text = number(value, digits)
    return f"+{text}" if math.isfinite(value) and float(f"{value:.{digits}f}") > 0 else text


def bracket(low: float, high: float, digits: int = 1) -> str:
    """`[low, high]`; empty without an interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{signed(low, digits)}, {signed(high, digits)}]"


def ratio(value: float) -> str:
    """A robustness ratio, two decimals, without the leading zero."""
    return number(value, 2).replace("0.", ".", 1) if abs(value) < 1 else number(value, 2)


def p_value(value: float) -> str:
    """`.012`, `< .001` or a dash."""
    if not math.isfinite(value):
        return "–"
    if value < 0.001:
        return "< .001"
    text = f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    return text if value >= 0.9995 else text.removeprefix("0")


def thousands(value: float) -> str:
    """Integer with thin separators."""
    return f"{round(value):,}"


def seconds(value: float) -> str:
    """`43 s`, `6.7 min`, `2.1 h`."""
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"


def join(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    rows = list(names)
    if len(rows) < 2:
        return "".join(rows)
    return f"{', '.join(rows[:-1])} and {rows[-1]}"
