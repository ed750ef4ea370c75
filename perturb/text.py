"""Corrupt captions reproducibly, after arXiv:2207.02159.

    >>> perturb_captions(["a man rides a horse"], "no_nouns", caption_ids=["v1"])
    ['a [UNK] rides a [UNK]']
    >>> perturb_captions(["a man rides a horse"], "no_nouns", caption_ids=["v1"], unknown=None)
    ['a rides a']

The result depends on the caption, the perturbation, the caption's id and the seed alone. Rules and
word lists are small and ours: they follow the published rules, not the published word lists.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perturb.apply import nearest
from perturb.draws import draws_for
from perturb.tagging import tag
from perturb.text_catalogue import TEXT_PERTURBATIONS, VIDEO_TEXT_GRID, TextSpec

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    Tagger = Callable[[Sequence[str]], Sequence[str]]
    Model = Callable[[str, random.Random], str]

UNKNOWN = "[UNK]"
_DROPPED = "\x00"
_WORD = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)
_SHORTEST_EDITED = 4
_WORDS_PER_EDIT = 5


def perturb_captions(
    captions: Sequence[str],
    name: str,
    severity: int = 1,
    *,
    caption_ids: Sequence[str | int],
    seed: int = 0,
    unknown: str | None = UNKNOWN,
    tagger: Tagger = tag,
    models: Mapping[str, Model] | None = None,
) -> list[str]:
    """Return perturbed captions, in order.

    Quirk: fixed. The released code stores two perturbations under each other's name, and tags the
    last sentence of a caption only.

    Args:
        captions: Texts.
        name: Key of `TEXT_PERTURBATIONS`.
        severity: 0 (returns the captions) or a severity of the perturbation.
        caption_ids: One identity per caption; the key of its draws.
        seed: Seed of the evaluation.
        unknown: What a removed word becomes: the tokenizer's own token for unknown words (BERT:
            `[UNK]`), or None to leave the word out, for tokenizers without one (CLIP).
        tagger: Words -> Penn Treebank tags; `perturb.tagging.tag` knows everyday captions.
        models: Perturbation -> function of caption and generator, for those that need a model.

    Raises:
        ValueError: If a name or severity does not exist, or a count differs.
        RuntimeError: If the perturbation needs a model; ask `unavailable_text` first.
    """
    spec = _spec(name, severity)
    if isinstance(captions, str) or len(captions) != len(caption_ids):
        raise ValueError(f"captions is a list with one id each; got {len(caption_ids)} ids")
    if severity == 0:
        return list(captions)
    reason = unavailable_text(name, models)
    if reason is not None:
        raise RuntimeError(reason)
    made = []
    for caption, caption_id in zip(captions, caption_ids, strict=True):
        order = draws_for(name, severity, caption_id, seed).order()
        if models is not None and name in models:
            made.append(models[name](caption, order))
        elif not caption.split():
            made.append(caption)
        else:
            made.append(_by_rule(spec, caption, severity, order, tagger, unknown))
    return made


def unavailable_text(name: str, models: Mapping[str, Model] | None = None) -> str | None:
    """Say why a perturbation of captions cannot run; None if it can.

    Args:
        name: Key of `TEXT_PERTURBATIONS`.
        models: As for `perturb_captions`.
    """
    spec = _spec(name, 1)
    if spec.needs_model and name not in (models or {}):
        return f"{name} needs a model: pass models={{'{name}': function(caption, generator)}}"
    return None


def joint_grid(models: Mapping[str, Model] | None = None) -> list[tuple[str, str, str | None]]:
    """Return the pairs of video and caption perturbation, each with why it cannot run (or None).

    A score under a pair is compared with the score of clean videos and clean captions.

    Args:
        models: As for `perturb_captions`.
    """
    return [(video, text, unavailable_text(text, models)) for video, text in VIDEO_TEXT_GRID]


def _spec(name: str, severity: int) -> TextSpec:
    if name not in TEXT_PERTURBATIONS:
        raise ValueError(
            f"unknown perturbation of captions {name!r}{nearest(name, TEXT_PERTURBATIONS)}"
        )
    spec = TEXT_PERTURBATIONS[name]
    if isinstance(severity, bool) or severity not in (0, *spec.severities):
        allowed = ", ".join(map(str, (0, *spec.severities)))
        raise ValueError(f"{name} has no severity {severity!r}; allowed: {allowed} (0 = clean)")
    return spec


def _by_rule(
    spec: TextSpec,
    caption: str,
    severity: int,
    order: random.Random,
    tagger: Tagger,
    unknown: str | None,
) -> str:
    words = caption.split()
    arguments: dict[str, object] = dict(spec.parameters or {})
    if spec.needs_tags:
        arguments["tags"] = list(tagger([_core(word) for word in words]))
    if len(spec.severities) > 1:
        arguments["edits"] = max(severity, severity * len(words) // _WORDS_PER_EDIT)
    if not spec.deterministic:
        arguments["order"] = order
    made = spec.load()(words, **arguments)
    kept = [word if word != _DROPPED else unknown for word in made]
    return " ".join(word for word in kept if word is not None)


def _core(word: str) -> str:
    return _parts(word)[1]


def _parts(word: str) -> tuple[str, str, str]:
    """What stands before, in and after the word: `"Hello,` -> `"`, `Hello`, `,`."""
    found = _WORD.match(word)
    return found.groups() if found else ("", word, "")  # type: ignore[return-value]


def _replaced(word: str, core: str) -> str:
    """The word with another core, in the case and between the marks of the old one."""
    before, old, after = _parts(word)
    if old.isupper() and len(old) > 1:
        core = core.upper()
    elif old[:1].isupper():
        core = core[:1].upper() + core[1:]
    return f"{before}{core}{after}"


# ------------------------------------------------------------------------------------ positional
def drop_ends(words: list[str], *, first: bool, last: bool) -> list[str]:
    """Remove the first or the last word, or both.

    Quirk: followed. A single word that is first and last is removed twice: two unknown words.

    Args:
        words: At least one.
        first: Whether the first goes.
        last: Whether the last goes.
    """
    if len(words) == 1:
        return [_DROPPED] * (first + last)
    middle = words[1:-1]
    return [_DROPPED if first else words[0], *middle, _DROPPED if last else words[-1]]


def shuffle_order(words: list[str], *, order: random.Random) -> list[str]:
    """Put the words in any order.

    Args:
        words: Of the caption.
        order: Source of the permutation.
    """
    return order.sample(words, len(words))


# -------------------------------------------------------------------------------- parts of speech
def _is(tag_: str, what: str) -> bool:
    return any(tag_.startswith({"noun": "NN", "verb": "VB"}[kind]) for kind in what.split())


def drop_tagged(words: list[str], *, tags: list[str], what: str, others: bool) -> list[str]:
    """Remove nouns, verbs or both, or everything else.

    Args:
        words: Of the caption.
        tags: Part of speech of each.
        what: `noun`, `verb` or `noun verb`.
        others: Whether these stay and the others go.
    """
    pairs = zip(words, tags, strict=True)
    return [_DROPPED if _is(tag_, what) != others else word for word, tag_ in pairs]


def drop_one_tagged(
    words: list[str], *, tags: list[str], what: str, order: random.Random
) -> list[str]:
    """Remove one noun or verb wherever it occurs; without a verb the first word goes.

    Args:
        words: Of the caption.
        tags: Part of speech of each.
        what: `noun` or `verb`.
        order: Source of the choice.
    """
    pairs = zip(words, tags, strict=True)
    known = sorted({_core(word).lower() for word, tag_ in pairs if _is(tag_, what)})
    if not known:
        return words if what == "noun" else [_DROPPED, *words[1:]]
    gone = order.choice(known)
    return [_DROPPED if _core(word).lower() == gone else word for word in words]


# ------------------------------------------------------------------------------------ characters
def _edit(
    words: list[str], edits: int, order: random.Random, change: Callable[[str], str]
) -> list[str]:
    """Change some of the words that are long enough."""
    long = [i for i, word in enumerate(words) if len(_core(word)) >= _SHORTEST_EDITED]
    chosen = set(order.sample(long, min(edits, len(long))))
    made = []
    for i, word in enumerate(words):
        before, core, after = _parts(word)
        made.append(f"{before}{change(core)}{after}" if i in chosen else word)
    return made


_ROWS_OF_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_LOOK_ALIKE = {
    "l": "1", "i": "1", "o": "0", "s": "5", "b": "6", "g": "9", "z": "2", "a": "@", "e": "c",
    "c": "e", "u": "v", "v": "u", "n": "h", "h": "n", "t": "f", "f": "t", "m": "n", "w": "v",
    "q": "9", "r": "n", "d": "cl", "k": "lc", "y": "v", "p": "n", "x": "k", "j": "i",
}  # fmt: skip
_MISSPELT = {
    "about": "abuot", "across": "accross", "because": "becuase", "before": "befor",
    "beginning": "begining", "being": "beeing", "bicycle": "bycicle", "children": "childern",
    "different": "diffrent", "friend": "freind", "friends": "freinds", "from": "form",
    "front": "frount", "game": "gaem", "guitar": "gitar", "horse": "hores", "kitchen": "kichen",
    "making": "makeing", "people": "poeple", "piece": "peice", "playing": "plaiyng",
    "putting": "puting", "running": "runing", "showing": "shwoing", "sitting": "siting",
    "someone": "somone", "something": "somthing", "swimming": "swiming", "talking": "talkign",
    "their": "thier", "there": "thier", "through": "throught", "together": "togehter",
    "using": "useing", "video": "vidoe", "watching": "waching", "water": "watter",
    "which": "wich", "while": "whlie", "with": "wiht", "woman": "womman", "writing": "writting",
    "young": "yuong",
}  # fmt: skip


def _beside(letter: str) -> str:
    """Keys to the left and right, and above and below."""
    for row, keys in enumerate(_ROWS_OF_KEYS):
        place = keys.find(letter.lower())
        if place >= 0:
            near = keys[max(0, place - 1) : place] + keys[place + 1 : place + 2]
            for other in _ROWS_OF_KEYS[max(0, row - 1) : row] + _ROWS_OF_KEYS[row + 1 : row + 2]:
                near += other[place : place + 1]
            return near
    return ""


def _letter(core: str, order: random.Random, options: Callable[[str], str | list[str]]) -> str:
    """Replace one letter that has options by one of them."""
    places = [i for i, letter in enumerate(core) if options(letter)]
    if not places:
        return core
    place = order.choice(places)
    return core[:place] + order.choice(options(core[place])) + core[place + 1 :]


def keyboard(words: list[str], *, edits: int, order: random.Random) -> list[str]:
    """Hit neighbouring keys, one letter per edited word.

    Args:
        words: Of the caption.
        edits: Number of words, as far as there are long ones.
        order: Source of words, letters and keys.
    """
    return _edit(words, edits, order, lambda core: _letter(core, order, _beside))


def ocr(words: list[str], *, edits: int, order: random.Random) -> list[str]:
    """Misread letters as a scanner does, one per edited word.

    Args:
        words: Of the caption.
        edits: Number of words, as far as there are long ones.
        order: Source of words and letters.
    """

    def alike(letter: str) -> list[str]:
        return [_LOOK_ALIKE[letter.lower()]] if letter.lower() in _LOOK_ALIKE else []

    return _edit(words, edits, order, lambda core: _letter(core, order, alike))


def spelling_error(words: list[str], *, edits: int, order: random.Random) -> list[str]:
    """Misspell words: a common mistake if one is known, else a doubled or a lost letter.

    Args:
        words: Of the caption.
        edits: Number of words, as far as there are long ones.
        order: Source of words and letters.
    """

    def misspell(core: str) -> str:
        if core.lower() in _MISSPELT:
            return _replaced(core, _MISSPELT[core.lower()])
        place = order.randrange(1, len(core))
        twice = order.random() < 0.5
        return core[:place] + (core[place] * 2 if twice else "") + core[place + 1 :]

    return _edit(words, edits, order, misspell)


def typos(words: list[str], *, edits: int, order: random.Random) -> list[str]:
    """Add, lose, replace or exchange a letter, one per edited word.

    Args:
        words: Of the caption.
        edits: Number of words, as far as there are long ones.
        order: Source of words, letters and mistakes.
    """

    def mistype(core: str) -> str:
        place = order.randrange(len(core) - 1)
        letter = order.choice("abcdefghijklmnopqrstuvwxyz")
        head, tail = core[:place], core[place:]
        kind = order.choice(("add", "lose", "replace", "exchange"))
        if kind == "exchange":
            return head + tail[1] + tail[0] + tail[2:]
        return head + {"add": letter + tail, "lose": tail[1:], "replace": letter + tail[1:]}[kind]

    return _edit(words, edits, order, mistype)


_PREFIXES = (
    "un",
    "re",
    "dis",
    "mis",
    "pre",
    "over",
    "under",
    "out",
    "non",
    "inter",
    "sub",
    "trans",
)


def prefix_swap(words: list[str], *, order: random.Random) -> list[str]:
    """Exchange the prefix of one word; unchanged without a prefix.

    Args:
        words: Of the caption.
        order: Source of the word and the prefix.
    """
    found = [
        (i, prefix)
        for i, word in enumerate(words)
        for prefix in sorted(_PREFIXES, key=len, reverse=True)
        if _core(word).lower().startswith(prefix)
        and len(_core(word)) >= len(prefix) + _SHORTEST_EDITED
    ]
    if not found:
        return words
    place, prefix = order.choice(found)
    other = order.choice([one for one in _PREFIXES if one != prefix])
    core = other + _core(words[place])[len(prefix) :]
    return [*words[:place], _replaced(words[place], core), *words[place + 1 :]]


def add_punctuation(words: list[str], *, order: random.Random) -> list[str]:
    """Put marks before and after the caption.

    Args:
        words: Of the caption.
        order: Source of the marks.
    """
    before, after = order.choice(("''", '""', "()", "[]", "{}", "--", "~~", "**"))
    end = order.choice((".", "!", "?", "...", ";", ","))
    return f"{before}{' '.join(words)}{after}{end}".split(" ")


# ------------------------------------------------------------------------------- words are added
_IRRELEVANT = (
    "The library opens at nine on Tuesdays.",
    "Copper conducts heat better than iron.",
    "My neighbour collects old stamps.",
    "The train to the coast was late again.",
    "Seven is a prime number.",
    "The moon was hidden behind clouds all night.",
    "They painted the fence green last spring.",
    "A letter arrived without a sender.",
)
_ADVERBS = (
    "slowly", "quickly", "happily", "carefully", "quietly", "suddenly", "gently", "often",
    "rarely", "eagerly", "calmly", "loudly",
)  # fmt: skip


def append_irr(words: list[str], *, order: random.Random) -> list[str]:
    """Append an unrelated sentence.

    Args:
        words: Of the caption.
        order: Source of the sentence.
    """
    last = words[-1] if words[-1][-1] in ".!?" else f"{words[-1]}."
    return [*words[:-1], last, order.choice(_IRRELEVANT)]


def insert_adverb(words: list[str], *, tags: list[str], order: random.Random) -> list[str]:
    """Insert an adverb before one verb; unchanged without a verb.

    Args:
        words: Of the caption.
        tags: Part of speech of each.
        order: Source of the verb and the adverb.
    """
    verbs = [i for i, tag_ in enumerate(tags) if _is(tag_, "verb")]
    if not verbs:
        return words
    place = order.choice(verbs)
    return [*words[:place], order.choice(_ADVERBS), *words[place:]]


# --------------------------------------------------------------------------------- style and bias
_PAST = {
    "is": "was", "are": "were", "am": "was", "has": "had", "have": "had", "does": "did",
    "do": "did", "can": "could", "will": "would", "goes": "went", "runs": "ran", "rides": "rode",
    "sits": "sat", "stands": "stood", "eats": "ate", "drinks": "drank", "sings": "sang",
    "speaks": "spoke", "makes": "made", "takes": "took", "puts": "put", "cuts": "cut",
    "gets": "got", "gives": "gave", "holds": "held", "throws": "threw", "swims": "swam",
    "drives": "drove", "writes": "wrote", "falls": "fell", "shows": "showed", "hits": "hit",
    "tells": "told", "sees": "saw", "comes": "came", "flies": "flew", "begins": "began",
    "builds": "built", "says": "said", "leaves": "left", "catches": "caught", "wears": "wore",
}  # fmt: skip
_PRESENT = {past: now for now, past in reversed(_PAST.items()) if past != now}
_AUXILIARIES = {
    "is", "are", "am", "was", "were", "can", "could", "will", "would", "has", "have", "had",
    "does", "do", "did", "should", "may", "might", "must",
}  # fmt: skip


def change_tense(words: list[str], *, tags: list[str]) -> list[str]:
    """Put verbs of the present into the past and the reverse; participles stay.

    Args:
        words: Of the caption.
        tags: Part of speech of each.
    """
    return [
        _replaced(word, _other_tense(_core(word).lower(), tag_))
        if _is(tag_, "verb") or tag_ == "MD"
        else word
        for word, tag_ in zip(words, tags, strict=True)
    ]


def _other_tense(verb: str, tag_: str) -> str:
    if verb in _PAST:
        return _PAST[verb]
    if verb in _PRESENT:
        return _PRESENT[verb]
    if tag_ in ("VBZ", "VBP"):
        base = _base(verb) if tag_ == "VBZ" else verb
        if f"{base}s" in _PAST:
            return _PAST[f"{base}s"]
        if base.endswith("y") and base[-2:-1] not in "aeiou":
            return f"{base[:-1]}ied"
        return f"{base}d" if base.endswith("e") else f"{base}ed"
    return f"{verb[:-1]}s" if tag_ == "VBD" and verb.endswith("ed") else verb


def _base(verb: str) -> str:
    """Third person -> base form, by spelling."""
    if verb.endswith("ies") and len(verb) > 4:
        return f"{verb[:-3]}y"
    if verb.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return verb[:-2]
    return verb[:-1] if verb.endswith("s") else verb


def reverse_negation(words: list[str], *, tags: list[str]) -> list[str]:
    """Deny the first verb, or take a denial back; unchanged without a verb.

    Args:
        words: Of the caption.
        tags: Part of speech of each.
    """
    cores = [_core(word).lower() for word in words]
    if "not" in cores:
        return [word for word, core in zip(words, cores, strict=True) if core != "not"]
    for i, (core, tag_) in enumerate(zip(cores, tags, strict=True)):
        if core in _AUXILIARIES:
            return [*words[: i + 1], "not", *words[i + 1 :]]
        if tag_ == "VBZ":
            return [*words[:i], "does", "not", _replaced(words[i], _base(core)), *words[i + 1 :]]
        if _is(tag_, "verb"):
            return [*words[:i], *(("do", "not") if tag_ == "VBP" else ("not",)), *words[i:]]
    return words


_GENDERS = (
    ("he", "she", "they"), ("him", "her", "them"), ("his", "her", "their"),
    ("his", "hers", "theirs"), ("himself", "herself", "themselves"), ("man", "woman", "person"),
    ("men", "women", "people"), ("boy", "girl", "child"), ("boys", "girls", "kids"),
    ("guy", "lady", "person"), ("guys", "ladies", "people"), ("actor", "actress", "person"),
    ("actors", "actresses", "people"), ("male", "female", "person"),
)  # fmt: skip
_TO_FEMALE = {male: female for male, female, _ in reversed(_GENDERS)}
_TO_MALE = {female: male for male, female, _ in reversed(_GENDERS)} | {"her": "his"}
_TO_NEUTRAL = {word: neutral for male, female, neutral in reversed(_GENDERS)
               for word in (male, female)}  # fmt: skip
_TO_NEUTRAL |= {"her": "their", "his": "their"}
_GENDER_MAPS = {
    "female": _TO_FEMALE,
    "male": _TO_MALE,
    "neutral": _TO_NEUTRAL,
    "swap": _TO_FEMALE | _TO_MALE,
}


def change_gender(words: list[str], *, to: str) -> list[str]:
    """Exchange words of one gender by those of another; `her` counts as a possessive.

    Args:
        words: Of the caption.
        to: `male`, `female`, `neutral` or `swap`.
    """
    table = _GENDER_MAPS[to]
    return [
        _replaced(word, table[_core(word).lower()]) if _core(word).lower() in table else word
        for word in words
    ]
