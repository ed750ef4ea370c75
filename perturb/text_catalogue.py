"""The perturbations of captions, and the grid of videos and captions perturbed together.

The thirty-five of Schiappa et al., "Robustness Analysis of Video-Language Models Against Visual and
Language Perturbations" (arXiv:2207.02159). Those that its authors made with a language model, a
translator or a thesaurus run through a function that the user supplies.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEXT_GROUPS = (
    "positional", "drop_text", "change_char", "swap_text", "add_text", "text_style", "bias",
)  # fmt: skip
_SOURCE = "arXiv:2207.02159"


@dataclass(frozen=True)
class TextSpec:
    """One perturbation of captions.

    Attributes:
        name: Canonical name.
        group: One of `TEXT_GROUPS`.
        rule: What it does, in words.
        target: `module:function`; empty where the user supplies the function.
        parameters: Constants passed to the function.
        needs_tags: Whether words have to be tagged by part of speech.
        deterministic: Whether there is no draw.
        severities: 1 as published; where more exist, severity s edits s times as many words.
        source: Paper.
    """

    name: str
    group: str
    rule: str
    target: str = ""
    parameters: Mapping[str, str | bool] | None = None
    needs_tags: bool = False
    deterministic: bool = False
    severities: tuple[int, ...] = (1,)
    source: str = _SOURCE

    @property
    def needs_model(self) -> bool:
        """Whether the user has to supply the function."""
        return not self.target

    def load(self) -> Callable[..., str]:
        """Import and return the function behind the row."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def _drop(name: str, rule: str, what: str, *, others: bool = False) -> TextSpec:
    return TextSpec(
        name, "drop_text", rule, "perturb.text:drop_tagged", {"what": what, "others": others},
        needs_tags=True, deterministic=True,
    )  # fmt: skip


def _edit(name: str, rule: str) -> TextSpec:
    return TextSpec(
        name, "change_char", rule, f"perturb.text:{name}", severities=(1, 2, 3, 4, 5)
    )  # fmt: skip


def _gender(name: str, rule: str, to: str) -> TextSpec:
    target = "perturb.text:change_gender"
    return TextSpec(name, "bias", rule, target, {"to": to}, deterministic=True)


def _place(name: str, rule: str, *, first: bool, last: bool) -> TextSpec:
    parameters = {"first": first, "last": last}
    target = "perturb.text:drop_ends"
    return TextSpec(name, "positional", rule, target, parameters, deterministic=True)


_ROWS = (
    _place("drop_first", "the first word is unknown", first=True, last=False),
    _place("drop_last", "the last word is unknown", first=False, last=True),
    _place("drop_first_and_last", "the first and the last word are unknown", first=True, last=True),
    TextSpec("shuffle_order", "positional", "words in any order", "perturb.text:shuffle_order"),
    _drop("no_nouns", "nouns are unknown", "noun"),
    _drop("no_verbs", "verbs are unknown", "verb"),
    _drop("no_nouns_and_no_verbs", "nouns and verbs are unknown", "noun verb"),
    _drop("only_nouns", "all but nouns are unknown", "noun", others=True),
    _drop("only_verbs", "all but verbs are unknown", "verb", others=True),
    _drop("only_nouns_and_only_verbs", "all but these are unknown", "noun verb", others=True),
    TextSpec(
        "random_noun", "drop_text", "one noun is unknown, wherever it occurs",
        "perturb.text:drop_one_tagged", {"what": "noun"}, needs_tags=True,
    ),
    TextSpec(
        "random_verb", "drop_text", "one verb is unknown; without a verb, the first word",
        "perturb.text:drop_one_tagged", {"what": "verb"}, needs_tags=True,
    ),
    _edit("keyboard", "a letter becomes a neighbour on the keyboard"),
    _edit("ocr", "a letter becomes one that scanners confuse with it"),
    _edit("spelling_error", "a common misspelling; where none is known, a doubled or lost letter"),
    _edit("typos", "a letter is added, lost, replaced or exchanged with the next"),
    TextSpec(
        "prefix_swap", "change_char", "a prefix becomes another one", "perturb.text:prefix_swap"
    ),
    TextSpec(
        "punctuation", "change_char", "marks are put before and after",
        "perturb.text:add_punctuation",
    ),
    TextSpec("mlm_suggestion", "swap_text", "words that a masked language model suggests"),
    TextSpec("back_trans", "swap_text", "translated to another language and back"),
    TextSpec("multi_pos_swap_JJ", "swap_text", "adjectives with a word of another sense"),
    TextSpec("multi_pos_swap_NN", "swap_text", "nouns with a word of another sense"),
    TextSpec("swap_syn_word_embedding", "swap_text", "the nearest words of an embedding"),
    TextSpec("swap_syn_wordnet", "swap_text", "synonyms of a thesaurus"),
    TextSpec("append_irr", "add_text", "an unrelated sentence follows", "perturb.text:append_irr"),
    TextSpec(
        "insert_adv", "add_text", "an adverb before a verb",
        "perturb.text:insert_adverb", needs_tags=True,
    ),
    TextSpec("active_to_passive", "text_style", "passive voice"),
    TextSpec("casual_to_formal", "text_style", "formal language"),
    TextSpec("formal_to_casual", "text_style", "casual language"),
    TextSpec(
        "tense", "text_style", "present tense becomes past, past becomes present",
        "perturb.text:change_tense", needs_tags=True, deterministic=True,
    ),
    TextSpec(
        "reverse_neg", "text_style", "a statement is denied, a denial is taken back",
        "perturb.text:reverse_negation", needs_tags=True, deterministic=True,
    ),
    _gender("gender_swap", "each gender becomes the other", "swap"),
    _gender("gender_male", "female words become male", "male"),
    _gender("gender_female", "male words become female", "female"),
    _gender("gender_neutral", "gender is left open", "neutral"),
)  # fmt: skip

TEXT_PERTURBATIONS: Mapping[str, TextSpec] = {row.name: row for row in _ROWS}

_GRID_VIDEO = ("box_jumbling", "defocus_blur", "jpeg", "jumbling", "shot_noise", "static_rotation")
_GRID_TEXT = (
    "append_irr", "gender_female", "gender_male", "gender_swap", "mlm_suggestion",
    "multi_pos_swap_NN", "no_nouns_and_no_verbs", "no_verbs", "random_noun", "shuffle_order",
    "spelling_error",
)  # fmt: skip
#: The sixty-six pairs (perturbation of the video, perturbation of the caption) of the paper.
VIDEO_TEXT_GRID: tuple[tuple[str, str], ...] = tuple(
    (video, text) for video in _GRID_VIDEO for text in _GRID_TEXT
)
