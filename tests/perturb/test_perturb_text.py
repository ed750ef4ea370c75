"""Perturbations of captions: the table, the contract of every row, the rules by example."""

import random
from collections import Counter

import pytest

from perturb import PERTURBATIONS, TEXT_GROUPS, TEXT_PERTURBATIONS, VIDEO_TEXT_GRID
from perturb.tagging import tag
from perturb.text import joint_grid, perturb_captions, unavailable_text

CAPTIONS = [
    "A man is riding a brown horse, and she watches him from the beach.",
    "Two women cook dinner",
    "a person rewrites the interesting story. The children are playing guitar",
    "jumps",
]
IDS = ["v1", 2, "v3", "v4"]
RULES = [name for name, spec in TEXT_PERTURBATIONS.items() if not spec.needs_model]


def one(caption, name, severity=1, **options):
    return perturb_captions([caption], name, severity, caption_ids=["c"], **options)[0]


def test_thirty_five_are_published_in_seven_groups():
    sizes = Counter(spec.group for spec in TEXT_PERTURBATIONS.values())
    assert [sizes[group] for group in TEXT_GROUPS] == [4, 8, 6, 6, 2, 5, 4]
    assert len(VIDEO_TEXT_GRID) == len(set(VIDEO_TEXT_GRID)) == 66
    assert all(video in PERTURBATIONS for video, _ in VIDEO_TEXT_GRID)
    assert all(text in TEXT_PERTURBATIONS for _, text in VIDEO_TEXT_GRID)


@pytest.mark.parametrize("name", RULES)
def test_the_result_depends_on_caption_id_and_seed_alone(name):
    spec = TEXT_PERTURBATIONS[name]
    for severity in spec.severities:
        made = perturb_captions(CAPTIONS, name, severity, caption_ids=IDS)
        assert all(isinstance(text, str) and text for text in made)
        turned = perturb_captions(CAPTIONS[::-1], name, severity, caption_ids=IDS[::-1])
        assert turned == made[::-1]
    other = [perturb_captions(CAPTIONS[:1] * 9, name, caption_ids=range(9), seed=s) for s in (0, 1)]
    if spec.deterministic:
        assert len({*other[0], *other[1]}) == 1
    elif name != "prefix_swap":  # no prefix there
        assert other[0] != other[1]
    assert perturb_captions(CAPTIONS, name, 0, caption_ids=IDS) == CAPTIONS
    assert perturb_captions(["", " "], name, caption_ids=[1, 2]) == ["", " "]


@pytest.mark.parametrize(
    ("name", "caption", "expected"),
    [
        ("drop_first", "a dog runs", "[UNK] dog runs"),
        ("drop_last", "a dog runs", "a dog [UNK]"),
        ("drop_first_and_last", "a dog runs", "[UNK] dog [UNK]"),
        ("drop_first_and_last", "dog", "[UNK] [UNK]"),
        ("no_nouns", "a dog runs to the dog", "a [UNK] runs to the [UNK]"),
        ("no_verbs", "a man is playing guitar", "a man [UNK] [UNK] guitar"),
        ("no_nouns_and_no_verbs", "the cat sleeps", "the [UNK] [UNK]"),
        ("only_nouns", "the cat sleeps", "[UNK] cat [UNK]"),
        ("only_verbs", "the cat sleeps. A dog runs.", "[UNK] [UNK] sleeps. [UNK] [UNK] runs."),
        ("only_nouns_and_only_verbs", "the cat sleeps", "[UNK] cat sleeps"),
        ("random_noun", "dog and dog", "[UNK] and [UNK]"),
        ("random_noun", "they run", "they run"),
        ("random_verb", "the red car", "[UNK] red car"),
        ("gender_swap", "He sees a woman.", "She sees a man."),
        ("gender_male", "two girls and her mother", "two boys and his mother"),
        ("gender_female", "MEN and actors", "WOMEN and actresses"),
        ("gender_neutral", "a lady and two boys", "a person and two kids"),
        ("tense", "A man was cooking while she plays", "A man is cooking while she played"),
        ("reverse_neg", "a dog is barking", "a dog is not barking"),
        ("reverse_neg", "a dog is not barking", "a dog is barking"),
        ("reverse_neg", "a woman carries water", "a woman does not carry water"),
    ],
)
def test_rules(name, caption, expected):
    assert one(caption, name) == expected


def test_words_may_be_left_out_instead():
    assert one("the cat sleeps", "no_nouns", unknown=None) == "the sleeps"
    assert one("the cat sleeps", "no_nouns", unknown="[MASK]") == "the [MASK] sleeps"


def test_order_changes_and_words_stay():
    text = one(CAPTIONS[0], "shuffle_order")
    assert text != CAPTIONS[0]
    assert sorted(text.split()) == sorted(CAPTIONS[0].split())


@pytest.mark.parametrize("name", ["keyboard", "ocr", "spelling_error", "typos"])
def test_one_word_in_five_is_edited_and_more_with_severity(name):
    caption = "several children quickly throw yellow papers around their crowded classroom"
    for severity in (1, 2, 3, 4, 5):
        pairs = zip(one(caption, name, severity).split(), caption.split(), strict=True)
        edited = sum(a != b for a, b in pairs)
        assert severity <= edited <= 2 * severity or name == "typos"  # a letter for itself
    assert one("a cat is on it", name, 5) == "a cat is on it"  # words too short


def test_sentences_and_words_are_added():
    assert one("a dog runs", "append_irr").startswith("a dog runs. ")
    words = one("a dog runs home", "insert_adv").split()
    assert words[:2] == ["a", "dog"]
    assert words[3:] == ["runs", "home"]
    assert one("an unusual recorder", "prefix_swap") != "an unusual recorder"
    assert "a dog runs" in one("a dog runs", "punctuation")


def test_models_are_supplied_by_the_user():
    reason = unavailable_text("back_trans")
    assert "back_trans needs a model" in reason
    with pytest.raises(RuntimeError, match="needs a model"):
        one("a dog", "back_trans")

    def model(caption, order):
        assert isinstance(order, random.Random)
        return caption.upper()

    assert one("a dog", "back_trans", models={"back_trans": model}) == "A DOG"
    skipped = [text for _, text, why in joint_grid() if why]
    assert set(skipped) == {"mlm_suggestion", "multi_pos_swap_NN"}
    assert len(skipped) == 12
    with_model = joint_grid({"mlm_suggestion": model, "multi_pos_swap_NN": model})
    assert not any(why for _, _, why in with_model)


def test_a_tagger_can_be_replaced():
    assert one("b c d", "no_nouns", tagger=lambda words: ["NN", "X", "NNS"]) == "[UNK] c [UNK]"


def test_everyday_captions_are_tagged():
    words = [
        "a",
        "young",
        "woman",
        "was",
        "slowly",
        "walking",
        "her",
        "dogs",
        "to",
        "a",
        "building",
    ]
    assert tag(words) == ["DT", "JJ", "NN", "VBD", "RB", "VBG", "PRP$", "NNS", "TO", "DT", "NN"]
    assert tag(["he", "carries", "the", "fried", "eggs", "and", "they", "practiced"]) == (
        ["PRP", "VBZ", "DT", "JJ", "NNS", "CC", "PRP", "VBD"]
    )


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="did you mean 'no_nouns'"):
        one("a", "no_noun")
    with pytest.raises(ValueError, match="no severity 2; allowed: 0, 1 "):
        one("a", "no_nouns", 2)
    with pytest.raises(ValueError, match="one id each"):
        perturb_captions(["a", "b"], "ocr", caption_ids=["a"])
    with pytest.raises(ValueError, match="one id each"):
        perturb_captions("a", "ocr", caption_ids=["a"])
