"""What is said over a `motes-howto` video: rightly in tests, loosely in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweep.data.motes.words import PHRASES, SYNONYMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

Said = tuple[float, float, str]  # start and end in seconds, and the words

OFF_TOPIC = (
    "hello everyone and welcome back",
    "please like and subscribe",
    "let me know what you think",
    "thanks for watching",
    "sorry about the noise outside",
    "this is my favourite part",
    "as i said in the last video",
    "we will come to that later",
    "i bought this some years ago",
    "my sister showed me this",
    "give me just a second",
    "that looks really good",
)
_OFFSET_S, _BORDER_S = 1.5, 0.4
_SWAPPED, _REPLACED, _DELETED = 0.25, 0.2, 0.1


def told_in(
    params: Mapping[str, Any], seconds: float, generator: np.random.Generator
) -> list[Said]:
    """When each segment of a video is shown, and what happens in it.

    Args:
        params: Of the scene, with `segments`.
        seconds: Length of the video.
        generator: For synonyms.
    """
    length = seconds / len(params["segments"])
    rows = []
    for number, segment in enumerate(params["segments"]):
        shapes = SYNONYMS.get(params["shape"], (params["shape"],))
        shape = shapes[int(generator.integers(len(shapes)))]
        phrases = PHRASES[segment["motion"]]
        does, _ = phrases[int(generator.integers(len(phrases)))]
        text = f"the {shape} which is {params['colour']} {does}"
        rows.append((round(number * length, 3), round((number + 1) * length, 3), text))
    return rows


def spoken(rows: Sequence[Said], seconds: float, generator: np.random.Generator) -> list[Said]:
    """The same as people narrate it: late or early, out of order, off topic, or not at all.

    In this order: all times are moved by one offset within 1.5 s; each text changes places with the
    next one with probability .25, gives way to an unrelated one with .2, and is left out with .1;
    every border moves within .4 s. One text stays at least; times stay in the video.
    """

    def around(width: float) -> float:
        return float(width * (2 * generator.random() - 1))

    offset = around(_OFFSET_S)
    texts = [text for _, _, text in rows]
    for number in range(len(texts) - 1):
        if generator.random() < _SWAPPED:
            texts[number : number + 2] = texts[number + 1], texts[number]
    for number in range(len(texts)):
        if generator.random() < _REPLACED:
            texts[number] = OFF_TOPIC[int(generator.integers(len(OFF_TOPIC)))]
    kept = [generator.random() >= _DELETED for _ in texts]
    kept[0] = kept[0] or not any(kept)
    found = []
    for (start, end, _), text, stays in zip(rows, texts, kept, strict=True):
        first = min(max(start + offset + around(_BORDER_S), 0.0), seconds - 0.1)
        last = min(max(end + offset + around(_BORDER_S), first + 0.1), seconds)
        if stays:
            found.append((round(first, 3), round(last, 3), text))
    return found
