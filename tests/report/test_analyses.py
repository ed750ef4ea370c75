"""Every analysis of the catalogue says something true about any sweep, finished or not."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from sweep.cells.designs.catalogue import DESIGNS
from sweep.report import build as building
from sweep.report import evidence
from sweep.report.analyses import catalogue
from sweep.report.analyses.catalogue import ANALYSES, asked, check_names
from sweep.report.evidence import collect
from sweep.settings.section import ConfigError
from sweep.settings.study import StudyConfig
from tests.report.conftest import LOSSES

FROZEN = Path(__file__).resolve().parents[1] / "frozen" / "sweeps"
#: A sweep whose design asks the analysis, written whole and then damaged.
DESIGN_OF = {
    "search": "search",
    "dose": "count",
    "diversity": "diversity",
    "shapley": "shapley",
    "controls": "loo",
}
#: Asked by every one of these sweeps, hence without one of their own.
EVERYWHERE = {"components", "aggregates"}
#: Asked by the sweep of another one, which has what it needs.
WITHIN = {"placebo": "dose"}
PLACEBO = "infonce_shuffled"
#: Numbers that do not exist, as Python writes them; `con+inf` is a set of losses.
ABSENT = re.compile(r".{0,60}(?:\b(?:nan|NaN|None)\b|(?<![+\w])inf\b(?!\+)).{0,60}")
ERROR = {"type": "ValueError", "message": "a new loss raised", "traceback": "...", "step": 3}


# ---------------------------------------------------------------- what may have become of a sweep


def results(folder):
    """Path and content of every result, in the order of the plan."""
    order = [row["key"] for row in json.loads((folder / "plan.json").read_text())["cells"]]
    paths = sorted(
        folder.glob("cells/*/result.json"),
        key=lambda p: order.index(p.parent.name) if p.parent.name in order else len(order),
    )
    return [(path, json.loads(path.read_text())) for path in paths]


def fail(path, content):
    path.unlink()
    kept = {k: v for k, v in content.items() if k not in {"scores", "final", "weights"}}
    (path.parent / "failure.json").write_text(
        json.dumps(kept | {"status": "failed", "error": ERROR, "scores": []})
    )
    (path.parent / "outcomes.npz").unlink(missing_ok=True)


def finished(folder):
    del folder


def unfinished(folder):
    for path, _ in results(folder)[::2]:
        shutil.rmtree(path.parent)


def some_failed(folder):
    for path, content in results(folder)[1::3]:
        fail(path, content)


def every_loss_raises(folder):
    """Only the cells without auxiliary losses finish: no comparison has a pair."""
    for path, content in results(folder):
        if content["losses"]:
            fail(path, content)


def nothing_finished(folder):
    for path, content in results(folder):
        fail(path, content)


def flatten(folder, accuracy):
    """All runs flagged, and equal under every condition."""
    for path, content in results(folder):
        content["final"] |= {"trained": False, "cross_entropy": 2.08}
        for score in content["scores"]:
            if "metrics" in score:
                score["metrics"] = dict.fromkeys(score["metrics"], accuracy)
            else:  # records of an earlier schema
                score["accuracy"] = accuracy
                if "retrieval" in score:
                    score["retrieval"] = dict.fromkeys(score["retrieval"], accuracy)
        path.write_text(json.dumps(content))
        (path.parent / "outcomes.npz").unlink(missing_ok=True)
    assert {record.accuracy["clean"] for record in collect(folder).records} == {accuracy}


def nothing_trained(folder):
    flatten(folder, 12.5)


def knows_nothing(folder):
    """Not one clip is right: no ratio to clean accuracy exists."""
    flatten(folder, 0.0)


def one_seed(folder):
    plan = json.loads((folder / "plan.json").read_text())
    first = min(row["seed"] for row in plan["cells"])
    plan["cells"] = [row for row in plan["cells"] if row["seed"] == first]
    (folder / "plan.json").write_text(json.dumps(plan))
    for path, content in results(folder):
        if content["seed"] != first:
            shutil.rmtree(path.parent)


def no_pair(folder):
    """`none` has one seed and all others another one."""
    seeds = sorted({content["seed"] for _, content in results(folder)})
    for path, content in results(folder):
        if (content["seed"] == seeds[0]) == bool(content["losses"]):
            shutil.rmtree(path.parent)


STATES = (
    finished, unfinished, some_failed, every_loss_raises, nothing_finished, nothing_trained,
    knows_nothing, one_seed, no_pair,
)  # fmt: skip


def two_outcomes(folder):
    """Everything is said of each outcome alike: two are enough, and faster."""
    study = yaml.safe_load((folder / "sweep.yaml").read_text())
    study["headline"] = ["clean", "temporal"]
    study["outcomes"] = {name: study["outcomes"][name] for name in study["headline"]}
    study["search"]["objective"] = "temporal"
    (folder / "sweep.yaml").write_text(yaml.safe_dump(study))


@pytest.fixture(scope="module")
def sweep_of(new_sweep, tmp_path_factory):
    """Writer of the sweep that an analysis is made for; leave-one-out asks all others, too."""
    written = {}

    def write(name):
        if name in DESIGN_OF and name not in written:
            written[name] = new_sweep(
                design=DESIGN_OF[name], report=tuple(ANALYSES) if name == "controls" else (),
                # its sets are the most, and one of its losses is a placebo
                losses=(*LOSSES[:2], PLACEBO) if name == "dose" else LOSSES,
                seeds=(300, 301), few=True, clips=24, steps=20, untrained=(), failed=(), missing=(),
            )  # fmt: skip
            two_outcomes(written[name])
        elif name not in written:
            written[name] = FROZEN / name
        folder = tmp_path_factory.mktemp("state") / "run"
        shutil.copytree(written[name], folder)
        return folder

    return write


def test_every_analysis_has_a_sweep_here():
    assert set(ANALYSES) == {*DESIGN_OF, *WITHIN, "retrieval", *EVERYWHERE}
    for name, other in WITHIN.items():
        assert name in DESIGNS[DESIGN_OF[other]].analyses
    for name, design in DESIGN_OF.items():
        assert {name, *EVERYWHERE} <= set(DESIGNS[design].analyses)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("name", [n for n in ANALYSES if n not in {*EVERYWHERE, *WITHIN}])
def test_any_sweep_has_a_report_in_whole_words(name, state, sweep_of, undrawn):
    folder = sweep_of(name)
    state(folder)
    paths = building.build(folder)
    # the HTML is another rendering of the same page
    assert not ABSENT.findall(paths.markdown.read_text())
    assert paths.answer
    if state is nothing_finished:
        assert paths.answer[0] == "No cell has finished: there is no answer yet."
        said = [line.partition(":")[0] for line in paths.answer[1:]]
        assert said == ["Run next", "Data and model"]
    assert building.answer(folder)


def test_a_loss_that_raises_in_every_cell_leaves_a_report_that_says_so(sweep_of, undrawn):
    folder = sweep_of("controls")
    every_loss_raises(folder)
    paths = building.build(folder)
    page = paths.markdown.read_text()
    assert page.count("**Nothing to compare yet**") == 2, "in the answer and in its section"
    assert "Not resolved" not in page
    assert "ValueError: a new loss raised" in page
    assert any("Partial sweep" in text for text in paths.warnings)


# ------------------------------------------------------------------------------ once, and by name


def test_nothing_is_computed_twice(sweep_of, undrawn, monkeypatch):
    calls = []

    def counted(module, name):
        original = getattr(module, name)

        def count(*args, **kwargs):
            calls.append(f"{module.__name__}.{name}")
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, count)

    rows = list(ANALYSES.values())
    for row in rows:
        counted(row.module(), "find")
    for name in ("collect", "comparisons", "outcome_effects", "resolution", "measure_robustness"):
        counted(building, name)
    building.build(sweep_of("controls"))
    assert sorted(calls) == sorted(set(calls))
    assert {f"{row.target}.find" for row in rows} <= set(calls)


def test_designs_and_studies_name_rows_that_exist():
    for design in DESIGNS.values():
        assert set(design.analyses) <= set(ANALYSES)
    with pytest.raises(ConfigError, match=r"report: unknown analysis 'shaply'; did you mean 'sha"):
        check_names(["dose", "shaply"])


def test_a_study_adds_analyses_to_those_of_its_design(sweep_of):
    folder = sweep_of("controls")
    found = collect(folder)
    assert [row.name for row in asked(found)] == list(ANALYSES)
    study = yaml.safe_load((folder / "sweep.yaml").read_text())
    (folder / "sweep.yaml").write_text(yaml.safe_dump(study | {"report": []}))
    names = ["shapley", "retrieval", "components", "aggregates", "controls"]
    assert [row.name for row in asked(collect(folder))] == names
    (folder / "sweep.yaml").write_text(yaml.safe_dump(study | {"report": ["dosis"]}))
    with pytest.raises(ConfigError, match="did you mean 'dose'"):
        building.build(folder)


def test_an_analysis_that_says_nothing_is_refused(tmp_path, monkeypatch, sweep_of):
    (tmp_path / "mute.py").write_text("def find(evidence):\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    row = catalogue.Analysis(name="mute", target="mute")
    with pytest.raises(TypeError, match="'mute': mute needs a function `find` and one of"):
        row.find(collect(sweep_of("controls")))


def test_the_key_is_one_of_a_study():
    assert StudyConfig.model_fields["report"].is_required() is False


def test_no_question_is_asked_by_the_kind_of_design():
    """What depends on the design is said by its row."""
    folder = Path(evidence.__file__).parent
    texts = {path: path.read_text() for path in folder.rglob("*.py")}
    asking = [path for path, text in texts.items() if re.search(r"\.design\s*(==|!=|in\b)", text)]
    assert not asking
