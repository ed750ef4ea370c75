"""What decoders say on bad files, in one line."""

from __future__ import annotations

import re


class DecodeError(ValueError):
    """A file gives no usable frames; the message says which file and why."""


#: What decord puts before its words: the time, its place in C++ and the file.
_NATIVE = re.compile(r"^\[[\d:]+\] \S+:\d+: (\[[^\]]*\] ?)?")


def first_line(error: BaseException) -> str:
    """A short form of an error: decord appends a native stack trace."""
    text = getattr(error, "strerror", None) or str(error).strip().split("\n", 1)[0]
    for mark in (" ERROR ", "Check failed: "):
        text = text.rpartition(mark)[2]
    return _NATIVE.sub("", text)[:200] or type(error).__name__
