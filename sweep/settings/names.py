"""The nearest of the names that there are. Imports nothing of a study: lists come at once."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(given: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` or an empty string.

    For all of ``sweep``. The science packages stand alone and have one each, of the same reach.
    """
    close = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
