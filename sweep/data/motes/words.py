"""The words in which `motes` clips are told."""

from __future__ import annotations

TEMPLATES = {
    "right": "Moving [something] from left to right",
    "left": "Moving [something] from right to left",
    "up": "Moving [something] up",
    "down": "Moving [something] down",
    "closer": "Moving [something] towards the camera",
    "away": "Moving [something] away from the camera",
    "appear": "Making [something] appear",
    "disappear": "Making [something] disappear",
    "clockwise": "Turning [something] clockwise",
    "counterclockwise": "Turning [something] counterclockwise",
    "apart": "Moving [something] and [something] apart",
    "together": "Moving [something] and [something] together",
}
# Third person and gerund of every motion; each caption draws one of the pairs.
PHRASES = {
    "right": (
        ("moves from left to right", "moving from left to right"),
        ("slides from left to right", "sliding from left to right"),
    ),
    "left": (
        ("moves from right to left", "moving from right to left"),
        ("slides from right to left", "sliding from right to left"),
    ),
    "up": (("moves up", "moving up"), ("slides up", "sliding up")),
    "down": (("moves down", "moving down"), ("slides down", "sliding down")),
    "closer": (("comes closer", "coming closer"), ("gets bigger", "getting bigger")),
    "away": (("goes away", "going away"),),
    "appear": (("appears", "appearing"),),
    "disappear": (("disappears", "disappearing"),),
    "clockwise": (("turns clockwise", "turning clockwise"),),
    "counterclockwise": (("turns counterclockwise", "turning counterclockwise"),),
    "apart": (("moves apart", "moving apart"),),
    "together": (("moves together", "moving together"),),
}
SYNONYMS = {"circle": ("circle", "disc"), "square": ("square", "box")}


def with_article(word: str) -> str:
    """`a red`, `an orange`."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
