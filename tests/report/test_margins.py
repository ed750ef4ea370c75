"""Margins within which a difference does not matter, from the study to the sentence."""

import pytest
import yaml

from sweep.report.build import answer
from sweep.report.evidence import collect
from sweep.settings.section import ConfigError
from sweep.studies.load import dump_study, load_study

SMALL = {"few": True, "clips": 400, "steps": 40, "untrained": (), "failed": (), "missing": ()}
SEEDS = tuple(range(300, 310))


@pytest.fixture(scope="session")
def ten(new_sweep):
    return new_sweep(**SMALL, seeds=SEEDS, noise=0.8)


def under(sweep, target, headline):
    """The same records under a study with this headline, as `study` would have stored it."""
    target.mkdir()
    for path in sweep.iterdir():
        (target / path.name).symlink_to(path)
    stored = yaml.safe_load((sweep / "sweep.yaml").read_text())
    given = target / "given.yaml"
    given.write_text(
        yaml.safe_dump({**stored, "headline": headline, "primary_outcome": None}, sort_keys=False)
    )
    (target / "sweep.yaml").unlink()
    (target / "sweep.yaml").write_text(dump_study(load_study(str(given))))
    given.unlink()
    return target


def without(lines, loss):
    return [line for line in lines if line.startswith(f"**Without {loss} ")]


def test_what_may_be_left_out_is_claimed(ten, tmp_path):
    sweep = under(ten, tmp_path / "run", {"ood": {"margin": 4}, "clean": {}})
    evidence = collect(sweep)
    assert evidence.headline == ["ood", "clean"]
    assert evidence.margins == {"ood": 4.0}
    lines = answer(sweep)
    (said,) = without(lines, "frame_difference")
    assert said.startswith("**Without frame_difference no more than 4.0 points are lost on ood**: ")
    assert "holds; p " in said
    assert not any("on clean" in line for line in without(lines, "frame_difference"))
    # a loss that pays by more than the margin is no loss that may be left out
    assert any(line.startswith("**infonce pays on ood**") for line in lines)
    assert not without(lines, "infonce")


def test_the_margin_is_a_test_of_the_family(ten, tmp_path):
    def tests_in(headline, name):
        lines = answer(under(ten, tmp_path / name, headline))
        return {
            line.partition("Holm over ")[2].split()[0] for line in lines if "Holm over " in line
        }

    # five comparisons of two outcomes; a margin asks each comparison once more
    assert tests_in(["ood", "clean"], "plain") == {"10"}
    assert tests_in({"ood": {"margin": 4}, "clean": {}}, "margin") == {"15"}


def test_a_margin_that_is_too_narrow_concludes_nothing(ten, tmp_path):
    lines = answer(under(ten, tmp_path / "run", {"ood": {"margin": 0.05}}))
    assert not without(lines, "frame_difference")
    assert any("frame_difference" in line for line in lines if line.startswith("Not resolved"))


def test_a_run_that_did_not_train_leaves_harmlessness_open(new_sweep, tmp_path):
    failing = SMALL | {"untrained": (("all - frame_difference", 304),)}
    sweep = new_sweep(**failing, seeds=SEEDS, noise=0.8)
    lines = answer(under(sweep, tmp_path / "run", {"ood": {"margin": 4}}))
    assert not without(lines, "frame_difference")
    assert without(lines, "consistency")


@pytest.mark.parametrize("wrong", [{"margin": 0}, {"margin": -1}, {"margins": 1}, 2])
def test_a_wrong_margin_is_refused_by_name(ten, tmp_path, wrong):
    with pytest.raises(ConfigError, match=r"(headline|margins).*(margin|ood)"):
        under(ten, tmp_path / "run", {"ood": wrong})
