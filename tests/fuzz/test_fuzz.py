"""A hundred damaged inputs end in a refusal, a counted exclusion or a right run."""

from tests.fuzz.run import fuzz


def test_damage_is_refused_counted_or_harmless(tmp_path):
    found = fuzz(100, tmp_path)
    assert len(found) == 100
    assert not [(one.kind, one.seed, one.fault) for one in found if one.fault]
    assert {one.ending for one in found} >= {"refused", "counted", "ran"}
