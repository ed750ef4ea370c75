"""Parts of speech of everyday captions, by a small lexicon and a few rules.

Made for sentences such as "a man is riding a horse near the beach". Tags are a subset of those of
the Penn Treebank. Any function from words to such tags can take its place, for example one that
calls a trained tagger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLOSED = {
    "DT": "a an the this that these those some any every each no another all both",
    "IN": "in on at of for with from by into onto over under near behind beside between through "
    "across around along after before during while as about against off towards toward "
    "until like among inside outside above below within without down up out",
    "CC": "and or but nor",
    "PRP": "i you he she it we they him them us himself herself itself themselves someone "
    "something somebody",
    "PRP$": "his her its their our my your",
    "MD": "can could will would should may might must",
    "TO": "to",
    "WP": "who what which whose when where how why",
    "EX": "there",
    "CD": "one two three four five six seven eight nine ten",
    "RB": "not very then together again also just there here now away back well too quickly",
    "JJ": "young old big small large little red blue green white black brown yellow pink orange "
    "different other several many few new good bad hot cold long short tall happy sad high low "
    "wooden beautiful same various front full empty open dark bright heavy asian grey gray",
    "VBZ": "is has does",
    "VBP": "are am have do",
    "VBD": "was were had did",
    "VB": "be",
    "VBN": "been done gone made taken shown seen given",
    "VBG": "being having doing",
}
_WORDS = {word: tag_ for tag_, words in _CLOSED.items() for word in words.split()}
_VERBS_TEXT = """
play ride run walk talk sing dance cook cut eat drink drive swim jump throw catch kick hit hold
put take make show explain discuss perform sit stand lie fall climb look watch see tell say
speak write read draw paint build fix open close pour mix stir add chop slice peel fry bake boil
wash clean brush comb push pull lift drop move turn spin roll slide fly shoot fight wrestle box
train practice practise teach learn demonstrate describe introduce give get go come leave enter
begin start stop try use wear carry bring pick place feed pet hug kiss laugh smile cry wave clap
point press touch tap type work sleep wake rest wait chase follow race compete score win lose
pass serve bounce fold tie sew knit apply remove attach connect assemble record film interview
present address answer ask prepare season sprinkle spread dip crack whisk beat heat melt taste
smell shake squeeze tear break bend stretch crawl march skate ski surf sail row fish hunt dig
plant water mow cover uncover approach
"""
_VERBS = frozenset(_VERBS_TEXT.split())
_PAST_TEXT = """
ran rode sat stood ate drank sang spoke made took put cut got gave held threw swam drove wrote
fell showed hit told saw came flew began built said left caught wore went
"""
_PAST = frozenset(_PAST_TEXT.split())
_NOUNS_IN_ING = {
    "thing", "something", "anything", "nothing", "everything", "king", "ring", "string", "wing",
    "spring", "building", "ceiling", "morning", "evening", "wedding", "clothing", "painting",
    "swing", "sling", "earring", "dumpling", "pudding", "railing", "sibling",
}  # fmt: skip
_AFTER_THESE_A_NOUN = {"DT", "JJ", "PRP$", "CD"}


def tag(words: Sequence[str]) -> list[str]:
    """Tag words of one caption, in order.

    Args:
        words: Without punctuation; an empty word is tagged `.`.
    """
    tags: list[str] = []
    for word in words:
        tags.append(_tag_of(word.lower(), tags[-1] if tags else ""))
    return tags


def _tag_of(word: str, previous: str) -> str:
    if not word:
        return "."
    if word in _WORDS:
        return _WORDS[word]
    if word[0].isdigit():
        return "CD"
    if word.endswith("ly") and len(word) > 4:
        return "RB"
    is_noun = previous in _AFTER_THESE_A_NOUN
    if word.endswith("ing") and len(word) > 4 and word not in _NOUNS_IN_ING:
        return "NN" if is_noun else "VBG"
    if not is_noun:
        found = _verb(word, previous)
        if found:
            return found
    elif word.endswith("ed") and len(word) > 4 and _stem_is_verb(word, "ed"):
        return "JJ"  # the fried egg
    return "NNS" if word.endswith("s") and not word.endswith(("ss", "us", "is")) else "NN"


def _verb(word: str, previous: str) -> str | None:
    if word in _PAST:
        return "VBD"
    if word in _VERBS:
        return "VB" if previous in ("TO", "MD") else "VBP"
    if word.endswith("s") and _stem_is_verb(word, "s"):
        return "VBZ"
    if word.endswith("ed") and len(word) > 4:
        return "VBN" if previous in ("VBZ", "VBP", "VBD", "VBN") else "VBD"
    return None


def _stem_is_verb(word: str, ending: str) -> bool:
    stem = word[: -len(ending)]
    candidates = [stem, f"{stem}e", stem.removesuffix("e")]
    if stem.endswith(("ie", "i")):
        candidates.append(f"{stem.rstrip('e')[:-1]}y")
    if len(stem) > 2 and stem[-1] == stem[-2]:
        candidates.append(stem[:-1])
    return any(one in _VERBS for one in candidates)
