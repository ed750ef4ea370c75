"""Captions as word numbers: the vocabulary of a training set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAD, UNKNOWN, MASK = 0, 1, 2
_WORD = re.compile(r"[\w']+")


def words(caption: str) -> list[str]:
    """Lower-case words of a caption, without punctuation."""
    return _WORD.findall(caption.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Word numbers, sorted by word: 0 padding, 1 unknown, 2 mask, then the words.

    A :class:`models.interface.Tokenizer`.

    Attributes:
        numbers: Word -> number.
        length: Words per encoded caption; longer captions are cut.
        pad: Number of padding.
        mask: Number of a hidden word.
    """

    numbers: dict[str, int]
    length: int
    pad: int = PAD
    mask: int = MASK

    @classmethod
    def of(cls, captions: Iterable[str], *, max_words: int = 32) -> Vocabulary:
        """Vocabulary of all words of the captions."""
        split = [words(caption) for caption in captions]
        names = sorted({word for caption in split for word in caption})
        longest = max((len(caption) for caption in split), default=1)
        return cls({w: i for i, w in enumerate(names, start=MASK + 1)}, min(longest, max_words))

    @property
    def size(self) -> int:
        """How many numbers there are, the three special ones included."""
        return len(self.numbers) + MASK + 1

    def encode(self, sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """int64 ``(N, length)``, padded with 0, and bool: True at words.

        An empty caption is one unknown word.
        """
        rows = np.full((len(sentences), self.length), PAD, dtype=np.int64)
        for row, caption in zip(rows, sentences, strict=True):
            found = [self.numbers.get(w, UNKNOWN) for w in words(caption)][: self.length]
            row[: max(1, len(found))] = found or [UNKNOWN]
        return rows, rows != PAD
