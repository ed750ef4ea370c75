"""Which records were tested on the same pixels, and what is said where they were not."""

from sweep.records.pixels import apart, conflict, differing, named, recipe
from sweep.records.record import Score, TrialRecord


def record(pixels, *, versions=None, host="a", evaluate=None, fingerprint="f", model=None):
    config = {
        "fingerprint": fingerprint, "model": model or {"name": "tiny"},
        "evaluate": {"batch": 60, "keep_perturbed": True, "seed": 0, **(evaluate or {})},
    }  # fmt: skip
    scores = tuple(
        Score(condition=c, category="", metrics={"top1": 1.0}, clips=2, pixels=p)
        for c, p in pixels.items()
    )
    return TrialRecord(
        key="k", label="all", status="done", seed=1, losses=(), combiner="static", config=config,
        scores=scores, run={"versions": versions or {}, "host": host, "device": "cpu"},
    )  # fmt: skip


def test_equal_conditions_with_other_hashes_differ():
    one = record({"clean": "1", "jpeg/3": "2", "fog/1": "", "snow/1": "9"})
    assert differing(one, record({"clean": "1", "jpeg/3": "2", "snow/1": "9"})) == []
    assert differing(one, record({"clean": "1", "jpeg/3": "3", "snow/1": "8"})) == [
        "jpeg/3", "snow/1",
    ]  # fmt: skip
    # what only one of them knows says nothing
    assert differing(one, record({"fog/1": "5", "rain/2": "5"})) == []


def test_other_recipes_may_have_other_pixels():
    one, other = {"clean": "1"}, {"clean": "2"}
    for change in (
        {"fingerprint": "g"},
        {"model": {"name": "tiny", "knobs": {"frames": 4}}},
        {"evaluate": {"fidelity": "probe"}},
    ):
        assert recipe(record(one)) != recipe(record(one, **change))
        assert differing(record(one), record(other, **change)) == []
    harmless = {"batch": 7, "keep_perturbed": False}
    assert differing(record(one), record(other, evaluate=harmless)) == ["clean"]


def test_what_made_them_is_named_as_far_as_it_differs():
    old, new = {"torch": "2.11.0", "av": "18.0"}, {"torch": "2.15.0", "av": "18.0"}
    one, two = record({"clean": "1"}, versions=old), record({"clean": "2"}, versions=new)
    assert apart([[one], [two]]) == ["torch 2.11.0", "torch 2.15.0"]
    assert conflict(one, [one, two]) == (["clean"], "torch 2.11.0 against torch 2.15.0")
    assert conflict(one, [one]) == ([], "")
    lacking = record({"clean": "2"}, versions={"torch": "2.11.0"})
    assert apart([[one], [lacking]]) == ["av 18.0", "av not recorded"]
    elsewhere = record({"clean": "2"}, versions=old, host="b")
    assert apart([[one], [elsewhere]]) == ["host a", "host b"]
    assert "the same libraries" in apart([[one], [one]])[0]


def test_long_lists_are_cut():
    assert named(["a", "b"]) == "a, b"
    assert named([str(n) for n in range(9)]) == "0, 1, 2, 3, 4, 5 and 3 more"
