"""The answer box: best set, runs that did not train, what to run next, data and model, words."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import yaml

from sweep import run
from sweep.cells.resolve import cells
from sweep.engine.folder import check_same, read_study
from sweep.records.files import read_records
from sweep.records.patterns import outcome
from sweep.report import answer as box
from sweep.report import build as building
from sweep.report.evidence import collect
from sweep.report.page import explaining, html, number, plain, ratio, signed
from sweep.statistics.contrasts import paired_contrast
from sweep.studies.load import load_study
from tests.report.conftest import LOSSES

WHOLE = {"untrained": (), "failed": (), "missing": ()}
SMALL = {"few": True, "clips": 40, "steps": 40}


@pytest.fixture(scope="session")
def new_plain(new_sweep):
    """Writer of sweeps whose study names no primary outcome: `clean` stands first."""

    def write(**options):
        sweep = new_sweep(**options)
        study = yaml.safe_load((sweep / "sweep.yaml").read_text())
        study |= {"primary_outcome": None, "headline": ["clean", "ood", "noise", "temporal"]}
        (sweep / "sweep.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
        return sweep

    return write


@pytest.fixture(scope="session")
def whole(new_plain):
    return new_plain(**SMALL, **WHOLE)


def found_in(sweep):
    return building._findings(collect(sweep), lambda *_: "")


def facts_of(sweep):
    return {fact.label: fact for fact in box.facts(found_in(sweep))}


def edited(sweep, target, **changes):
    """The same sweep under another study; records are shared."""
    target.mkdir()
    for path in sweep.iterdir():
        (target / path.name).symlink_to(path)
    study = yaml.safe_load((sweep / "sweep.yaml").read_text()) | changes
    (target / "sweep.yaml").unlink()
    (target / "sweep.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return target


def values(sweep, patterns):
    found = {}
    for record in read_records(sweep):
        if record.status == "done":
            found.setdefault(record.label, {})[record.seed] = outcome(record, patterns)
    return found


def command_of(fact):
    words = shlex.split(fact.command)
    assert words[:3] == ["python", "-m", "sweep.run"]
    return run._parse(words[3:])


# --------------------------------------------------------------------------------- the best set


@pytest.mark.parametrize("primary", [None, "noise"])
def test_the_best_set_is_that_of_the_primary_outcome_and_no_claim(whole, tmp_path, primary):
    sweep = edited(whole, tmp_path / "run", primary_outcome=primary)
    name = primary or "clean"
    patterns = read_study(sweep).outcomes[name]
    by_cell = values(sweep, patterns)
    first, second = sorted(by_cell, key=lambda c: -np.mean([*by_cell[c].values()]))[:2]
    contrast = paired_contrast(by_cell[first], by_cell[second])
    text = facts_of(sweep)[f"Best loss set by {name}"].text
    mean = number(np.mean([*by_cell[first].values()]))
    assert text.startswith(f"{first} ({mean} %), {signed(contrast.mean)} points [")
    assert f"over the next, {second}. " in text
    low, high = (float(x.replace("−", "-")) for x in re.search(r"\[(.*), (.*)\]", text).groups())
    assert low <= contrast.low + 0.05  # doubt about clips comes on top
    assert contrast.high - 0.05 <= high
    assert "no claim" in text
    assert "**" not in text


def test_a_set_with_a_run_that_did_not_train_or_is_missing_is_not_the_best(new_plain):
    # by its mean, `all - pixel` would be first
    gone = {"missing": (("all - pixel", 302),), "untrained": (("all", 300),), "failed": ()}
    sweep = new_plain(**SMALL, **gone)
    text = facts_of(sweep)["Best loss set by clean"].text
    assert not text.startswith(("all - pixel", "all ("))
    assert "2 of 6 sets with missing or untrained runs stand aside" in text


def test_no_best_set_is_named_where_nothing_trained(new_plain):
    labels = ("none", "all", *(f"all - {n}" for n in LOSSES))
    all_of_it = tuple((label, seed) for label in labels for seed in (300, 301, 302))
    facts = facts_of(new_plain(**SMALL, **WHOLE | {"untrained": all_of_it}))
    assert facts["Best loss set by clean"].text.startswith("not named")
    assert "18 of 18 runs" in facts["Did not train"].text
    longer = command_of(facts["Run next"])
    assert longer.overrides == ["train.steps=800"]
    assert not longer.extend


# ------------------------------------------------------------------------------- what to run next


def test_an_unfinished_sweep_is_resumed_first(loo_sweep):
    fact = facts_of(loo_sweep)["Run next"]
    args = command_of(fact)
    assert (args.verb, args.sweep) == ("resume", loo_sweep)
    assert "2 of 18 runs" in fact.text


@pytest.mark.parametrize("seeds", [3, [300, 301, 302]])
def test_the_proposed_command_extends_this_very_sweep(whole, tmp_path, seeds):
    sweep = edited(whole, tmp_path / "run", seeds=seeds, seed_base=300)
    fact = facts_of(sweep)["Run next"]
    args = command_of(fact)
    assert args.verb == "study"
    assert args.extend
    assert args.out == sweep
    grown = load_study(args.study, overrides=args.overrides)
    stored = read_study(sweep)
    assert check_same(stored, grown, sweep, extend=True)  # refused otherwise
    assert set(grown.seed_list) > set(stored.seed_list)
    assert fact.text.startswith(f"{len(grown.seed_list)} seeds instead of 3.")


@pytest.mark.parametrize(("engine", "flag"), [("local", True), ("ray", False)])
def test_the_command_runs_as_the_last_one_did(whole, tmp_path, engine, flag):
    sweep = edited(whole, tmp_path / "run")
    ledger = sweep / "ledger.jsonl"
    text = ledger.read_text()
    ledger.unlink()
    opened = [{"event": "opened", "engine": name} for name in ("ray", "local", engine)]
    ledger.write_text("".join(json.dumps(event) + "\n" for event in opened) + text)
    assert command_of(facts_of(sweep)["Run next"]).local == flag


def test_the_chances_are_those_of_the_resolution(whole):
    found = found_in(whole)
    row = next(r for r in found.resolutions if r.outcome == "clean")
    text = facts_of(whole)["Run next"].text
    n = int(text.split()[0])
    seen = float(re.search(r"on clean, ([\d.]+) points", text)[1])
    left = [e for e in found.effects if e.outcome == "clean" and not e.holds]
    largest = max(abs(e.contrast.mean) for e in left)
    assert seen == pytest.approx(largest, abs=0.05)
    # who adds seeds has looked
    added = ratio(row.power(n, largest, added=True))
    assert f"holds with a chance of at least {added}, " in text
    assert f"with {ratio(row.power(n, row.detectable, added=True))}." in text
    assert f"at once the chance would be at least {ratio(row.power(n, largest))}." in text
    assert row.power(n, largest, added=True) < row.power(n, largest)


@pytest.mark.parametrize(
    ("design", "key"), [("count", "subsets_per_count"), ("diversity", "subsets")]
)
def test_a_trend_wants_more_loss_sets_and_takes_over_what_is_there(new_plain, design, key):
    sweep = new_plain(**SMALL, **WHOLE, design=design)
    args = command_of(facts_of(sweep)["Run next"])
    grown, stored = load_study(args.study, overrides=args.overrides), read_study(sweep)
    assert getattr(grown.design, key) == 2 * getattr(stored.design, key)
    assert args.reuse == [str(sweep)]
    assert args.out != sweep


def test_where_everything_holds_other_data_are_proposed(new_plain):
    sweep = new_plain(**SMALL, **WHOLE, losses=("consistency",), design="anchors")
    study = yaml.safe_load((sweep / "sweep.yaml").read_text()) | {"headline": ["noise"]}
    (sweep / "sweep.yaml").write_text(yaml.safe_dump(study))
    fact = facts_of(sweep)["Run next"]
    args = command_of(fact)
    assert args.overrides == [f"data.seed={study['data']['seed'] + 1}"]
    labels = {cell.label for cell in cells(load_study(args.study, overrides=args.overrides))}
    assert labels == {"none", "all"}


def test_after_the_declared_looks_no_seed_is_proposed(whole, tmp_path):
    study = yaml.safe_load((whole / "sweep.yaml").read_text())
    design = study["design"] | {"stopping": {"max_seeds": 3, "look_every": 3}}
    fact = facts_of(edited(whole, tmp_path / "run", design=design))["Run next"]
    assert fact.text.startswith("the declared looks are made; ")
    assert command_of(fact).overrides == [f"data.seed={study['data']['seed'] + 1}"]


# ------------------------------------------------------------------------------- data and model


def test_data_and_model_stand_in_one_line(whole):
    text = facts_of(whole)["Data and model"].text
    for part in (
        "motes-ssv2 (synthetic clips", "384 training clips (12 per class with a label)",
        "40 clean test clips", "model tiny (", "296,904 parameters",
        "400 steps of 16 clips",
    ):  # fmt: skip
        assert part in text, part


def test_data_of_ones_own_are_not_called_synthetic(whole, tmp_path):
    data = {"dataset": "ssv2", "root": "/data/ssv2", "size_px": 64}
    text = facts_of(edited(whole, tmp_path / "run", data=data))["Data and model"].text
    assert text.startswith("ssv2 (real videos; ")
    text = facts_of(edited(whole, tmp_path / "other", data={"dataset": "gone"}))[
        "Data and model"
    ].text
    assert text.startswith("gone, ")


# ------------------------------------------------------------------------------------ the page


@pytest.fixture(scope="session")
def pages(whole):
    paths = building.build(whole, command=lambda *words: "go " + " ".join(map(str, words)))
    return paths, paths.html.read_text(), paths.markdown.read_text()


def test_terminal_markdown_and_html_say_the_same(pages):
    paths, shown, text = pages
    said = text.split("## Answer")[1].split("![")[0]
    lines = tuple(plain(line[2:]) for line in said.splitlines() if line.startswith("- "))
    assert lines == paths.answer
    flat = re.sub(r"<[^>]+>", "", shown)
    for label in ("Best loss set by clean", "Run next", "Data and model"):
        assert any(line.startswith(f"{label}: ") for line in lines)
        assert label in flat
    assert "<pre><code>go study " in shown


def test_the_answer_has_one_picture_of_its_first_outcome(pages):
    paths, _, text = pages
    assert "![Forest plot of paired differences on clean, in points: consistency" in text
    assert {"answer.svg", "answer.png"} <= {path.name for path in paths.figures}


def test_each_word_is_explained_once_where_it_stands_first(pages):
    _, shown, text = pages
    for word in ("seeds", "paired", "Holm", "ood", "temporal"):
        assert shown.count(f'">{word}</abbr>') == 1, word
    assert "*ood*: outcome: mean top-1 accuracy over appearance, viewpoint and dynamics" in text
    assert "gamma" not in text.split("What the words mean")[1].splitlines()[0]


def test_headings_of_tables_are_explained_where_they_stand(pages):
    _, shown, text = pages
    there = [name for name in box.HEADINGS if f"| {name} |" in text]
    assert {"grade", "p", "Holm p", "sign-flip p", "g_z"} <= set(there)
    for name in there:
        assert f'<abbr title="{box.HEADINGS[name]}">{name}</abbr>' in shown


def test_explaining_changes_no_letter_and_no_code():
    terms = {"seed": ("seeds?", 'a "start"'), "p": ("p", "chance"), "ood": ("ood", "over <x>")}
    text = "**ood**: 3 seeds, p < .001; `study seeds=8 ood` and seed-free p & good ood"
    shown = explaining(terms)(text)
    assert re.sub(r"</?abbr[^>]*>", "", str(shown)) == str(html(text))
    assert shown.count("<abbr") == 3
    assert "<code>study seeds=8 ood</code>" in shown
    assert 'title="over &lt;x&gt;"' in shown


def test_once_explained_a_word_stays_plain():
    shown = explaining({"seed": ("seeds?", "a start")})
    assert "<abbr" in shown("one seed")
    assert "<abbr" not in shown("two seeds")


# ------------------------------------------------------------------------------------ the terminal


def test_the_answer_alone_shows_every_grade_and_writes_nothing(new_plain, capsys):
    gone = WHOLE | {"missing": (("all - frame_difference", 302),)}
    sweep = new_plain(**SMALL, **gone, seeds=(300, 301, 302, 303, 304))
    before = sorted(sweep.iterdir())
    assert run.main(["report", str(sweep), "--answer"]) == 0
    assert sorted(sweep.iterdir()) == before
    title, asked, *lines = capsys.readouterr().out.splitlines()
    study = read_study(sweep)
    assert title == study.title
    assert asked == f"Asked: {study.question}"
    marks = [line.partition("]")[0].lstrip("[") for line in lines if line.startswith("[")]
    assert set(marks) == {"warning", "holds", "suggestive", "open", "described"}
    assert not any("**" in line or "`" in line for line in lines)
    (at,) = [i for i, line in enumerate(lines) if line.startswith("Run next: ")]
    assert lines[at + 1].startswith("    ")
    assert lines[at + 1].endswith(f"resume {sweep}")
    graded = [e for e in found_in(sweep).effects if e.holds]
    assert marks.count("holds") == len(graded)


def test_the_answer_of_no_sweep_is_a_mistake_of_the_user(tmp_path, capsys):
    assert run.main(["report", str(tmp_path), "--answer"]) == 2
    assert "no sweep.yaml" in capsys.readouterr().err


def test_the_answer_waits_for_nothing_that_only_a_page_needs(whole):
    code = (
        "import sys; from pathlib import Path; from sweep.report.build import answer_text\n"
        "assert answer_text(Path(sys.argv[1]))\n"
        "print(*{'matplotlib', 'pandas', 'torch', 'ray'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(whole)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == []
