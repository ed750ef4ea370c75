"""Contracts of the report: complete, honest about gaps, self-contained, equal to the records."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sweep.commands import report as command
from sweep.records.files import read_records
from sweep.records.outcomes import Outcomes
from sweep.records.patterns import matching, outcome
from sweep.report.build import answer, build
from sweep.report.evidence import collect
from sweep.runtime.program import program
from sweep.statistics.contrasts import adjust, paired_contrast
from sweep.statistics.intervals import crossed_interval, mean_interval

ROOT = Path(__file__).resolve().parents[2]
STUDY = yaml.safe_load((ROOT / "sweep/studies/quickstart.yaml").read_text())
#: In the order of the page: those of the answer come first.
OUTCOMES = {name: STUDY["outcomes"][name] for name in STUDY["headline"]}
FIRST, PRIMARY = STUDY["headline"][0], STUDY["primary_outcome"]


@pytest.fixture(scope="session")
def report(loo_sweep):
    return build(loo_sweep)


@pytest.fixture(scope="session")
def small(new_sweep):
    """Writer of whole sweeps with few perturbations, clips and steps."""
    whole = {"untrained": (), "failed": (), "missing": (), "few": True, "clips": 80, "steps": 100}
    return lambda **options: new_sweep(**(whole | options))


@pytest.fixture(scope="session")
def page(report):
    return report.markdown.read_text()


def by_label(sweep):
    found = {}
    for record in read_records(sweep):
        if record.status == "done":
            found.setdefault(record.label, {})[record.seed] = record
    return found


def trained(record):
    return record.final.get("trained") is not False


def values(records, patterns):
    return {seed: outcome(record, patterns) for seed, record in records.items()}


def gains(sweep, treated, reference, seeds, patterns):
    """Paired gain in points, one (seeds, clips) table per set of clips."""
    conditions = matching(list(treated[seeds[0]].accuracy), patterns)
    tables = {}
    for seed in seeds:
        one, two = (
            Outcomes.load(sweep / "cells" / side[seed].key / "outcomes.npz")
            for side in (treated, reference)
        )
        rows = {}
        for c in conditions:
            gain = 100 * (one.correct(c).astype(float) - two.correct(c)) / len(conditions)
            rows[one.clip_set(c)] = rows.get(one.clip_set(c), 0) + gain
        for name, row in rows.items():
            tables.setdefault(name, []).append(row)
    return [np.array(table) for table in tables.values()]


def number(value, digits=1):
    text = f"{value:.{digits}f}"
    text = text.lstrip("-") if float(text) == 0 else text
    return text.replace("-", "−")


def signed(value, digits=1):
    text = number(value, digits)
    return f"+{text}" if float(f"{value:.{digits}f}") > 0 else text


def rows_of(page, heading):
    """Rows of the first Markdown table whose header starts with ``heading``."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]])
    return {row[0]: row[1:] for row in rows}


# --------------------------------------------------------------------------- completeness


def test_every_cell_failure_gap_and_flag_is_named(loo_sweep, page):
    planned = {c["label"] for c in json.loads((loo_sweep / "plan.json").read_text())["cells"]}
    board = rows_of(page, f"| cell | {FIRST}")
    named = {name.split(" (")[0].removesuffix(" †") for name in board}
    assert named == planned
    assert "Partial sweep" in page.split("## Answer")[0]
    assert "2 of 18 planned runs have no result" in page
    assert "all - frame_difference, seed 302 (missing)" in page
    assert "Divergence: unified loss is NaN at step 137" in page
    assert "**Did not train**: all - infonce, seed 301" in page
    assert "all - infonce †" in board
    assert "| infonce † (all minus (all - infonce))" in page
    assert "motes-00017" in page
    assert "truncated: 9 of 24 frames" in page


def test_disclosures_stand_verbatim_before_the_sections(loo_sweep, page):
    head = page.split("## Effect of each loss")[0]
    for row in yaml.safe_load((loo_sweep / "sweep.yaml").read_text())["disclosures"]:
        bound = isinstance(row, dict)
        about = f"`{row['loss']}` on {row['outcome']}: " if bound else ""
        assert f"- {about}{(row['text'] if bound else row).strip()}" in head
    assert page.index("## Answer") < page.index("## Disclosures")


def test_headings_come_in_reading_order(page):
    wanted = [
        "## Answer",
        "## Disclosures",
        "## Effect of each loss",
        "## Accuracies",
        "## Robustness measures",
        "## Perturbation by perturbation",
        "## Accuracy against robustness",
        "## Severity curves",
        "## Effective weights",
        "## Training",
        "## What is flagged, failed or missing",
        "## Protocol",
    ]
    places = [page.index(heading) for heading in wanted]
    assert places == sorted(places)


# --------------------------------------------------------------------------- numbers


def test_accuracies_equal_a_recomputation(loo_sweep, page):
    board = rows_of(page, f"| cell | {FIRST}")
    for label, records in by_label(loo_sweep).items():
        row = next(v for k, v in board.items() if k.split(" (")[0].removesuffix(" †") == label)
        for text, patterns in zip(row, OUTCOMES.values(), strict=True):
            found = values(records, patterns)
            x = np.array([*found.values()])
            half = mean_interval(x).half
            assert text.startswith(f"{number(x.mean())} ± {number(half)} (")
            shown = re.findall(r"[\d.]+", text.split("(")[1].split(";")[0])
            assert shown == [number(v) for v in x]
            if patterns != ["clean"]:
                clean = np.array([records[s].accuracy["clean"] for s in found])
                relative = f"{(x / clean).mean():.2f}".removeprefix("0")
                absolute = f"{(1 - (clean - x) / 100).mean():.2f}".removeprefix("0")
                assert f"γr {relative}, γa {absolute}" in text


def test_contrasts_equal_a_recomputation(loo_sweep, page):
    cells = by_label(loo_sweep)
    pairs = {
        name: ("all", f"all - {name}")
        for name in ("consistency", "frame_difference", "infonce", "pixel")
    } | {"whole set": ("all", "none")}
    found = {}
    for name, patterns in OUTCOMES.items():
        for key, (a, b) in pairs.items():
            c = paired_contrast(values(cells[a], patterns), values(cells[b], patterns))
            both = crossed_interval(
                gains(loo_sweep, cells[a], cells[b], list(c.differences), patterns)
            )
            assert both.mean == pytest.approx(c.mean)
            found[name, key] = c, both
    # a claim needs three pairs of which both runs trained
    tested = [
        at
        for at, (c, _) in found.items()
        if sum(trained(cells[s][seed]) for seed in c.differences for s in pairs[at[1]]) >= 2 * 3
    ]
    floor = {}
    for family in (
        [at for at in tested if at[0] == PRIMARY],
        [at for at in tested if at[0] != PRIMARY],
    ):
        largest = [max(found[at][0].t_p, found[at][1].p) for at in family]
        floor |= dict(zip(family, adjust(largest, "holm"), strict=True))
    gate = all(floor[at] < 0.05 for at in floor if at[0] == PRIMARY)
    for (name, key), (c, both) in found.items():
        table = rows_of(page, f"| comparison | {name}: difference")
        row = next(v for k, v in table.items() if k.split(" (")[0].removesuffix(" †") == key)
        assert row[0].startswith(f"{signed(c.mean)} [{signed(both.low)}, {signed(both.high)}]")
        per_seed = " / ".join(signed(v) for v in c.differences.values())
        assert per_seed in row[0]
        assert ("1 pair missing" in row[0]) == (c.missing == 1)
        assert row[4] == f"{c.sign_flip_p:.2f}".removeprefix("0")
        if (name, key) in floor:
            shown = float(row[3].replace("< ", "").replace("–", "nan"))
            if name == PRIMARY or gate:
                assert shown == pytest.approx(floor[name, key], abs=0.006)
                assert (row[1] == "holds") == (floor[name, key] < 0.05)
            else:
                assert np.isnan(shown), "secondary outcomes wait for the primary one"
                assert row[1] != "holds"
        else:
            assert row[1] in {"not resolved", "no verdict"}


def test_answer_sentences_follow_the_grades(loo_sweep, page, report):
    said = page.split("## Answer")[1].split("## Disclosures")[0]
    table = pd.read_csv(report.html.parent / "tables" / "contrasts.csv", keep_default_na=False)
    lines = [line[2:] for line in said.splitlines() if line.startswith("- ")]
    assert answer(loo_sweep) == lines
    for row in table.itertuples():
        lead = f"{row.comparison} {'pays' if row.difference > 0 else 'hurts'} on {row.outcome}"
        if row.kind == "loss":
            assert (f"**{lead}**" in said) == (row.grade == "holds")
            assert (lead in said) == (row.grade in {"holds", "suggestive"})
    holds = [line for line in lines if "; p " in line and "(paired" in line]
    assert len(holds) == (table.grade == "holds").sum()
    if not holds:
        assert lines[0].startswith("**Nothing holds** after correction for the ")
    assert "true difference has to be at least about" in said
    assert "The models use the order of frames" in said


def test_both_sources_of_doubt_are_in_the_file(loo_sweep, report):
    table = pd.read_csv(report.html.parent / "tables" / "contrasts.csv")
    row = table[(table.comparison == "whole set") & (table.outcome == "ood")].iloc[0]
    cells = by_label(loo_sweep)
    seeds = sorted(set(cells["all"]) & set(cells["none"]))
    both = crossed_interval(gains(loo_sweep, cells["all"], cells["none"], seeds, OUTCOMES["ood"]))
    assert (row.low, row.high) == pytest.approx((both.low, both.high))
    assert (row.seeds_low, row.seeds_high) == pytest.approx((both.rows.low, both.rows.high))
    assert (row.clips_low, row.clips_high) == pytest.approx((both.columns.low, both.columns.high))
    assert row.high - row.low >= row.seeds_high - row.seeds_low


def test_tables_round_trip(loo_sweep, report):
    folder = report.html.parent / "tables"
    cells = by_label(loo_sweep)
    conditions = pd.read_csv(folder / "conditions.csv")
    assert len(conditions) == sum(len(r.scores) for rs in cells.values() for r in rs.values())
    for row in conditions.sample(60, random_state=0).itertuples():
        record = cells[row.cell][row.seed]
        assert row.accuracy == record.accuracy[row.condition]
        assert row.gamma_r == pytest.approx(row.accuracy / record.accuracy["clean"])
        assert row.gamma_a == pytest.approx(1 - (record.accuracy["clean"] - row.accuracy) / 100)
    runs = pd.read_csv(folder / "runs.csv")
    assert sorted(runs.status.value_counts().items()) == [
        ("done", 16),
        ("failed", 1),
        ("missing", 1),
    ]
    for row in runs[runs.status == "done"].itertuples():
        for name, patterns in OUTCOMES.items():
            expected = outcome(cells[row.cell][row.seed], patterns)
            assert getattr(row, name) == pytest.approx(expected)
    assert {path.name for path in report.tables} == {path.name for path in folder.iterdir()}


# --------------------------------------------------------------------------- the page itself


class Reader(HTMLParser):
    """Collects what a browser would load, and what a screen reader would need."""

    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.links, self.alts, self.stack = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.sources += [v for k, v in attributes.items() if k in {"src", "srcset", "data"}]
        self.links += [v for k, v in attributes.items() if k == "href"]
        if tag == "img":
            self.alts.append(attributes.get("alt", ""))
        if tag not in {"meta", "img", "br", "link"}:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def test_html_is_self_contained_and_accessible(report):
    text = report.html.read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.stack == []
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert all(source.startswith("data:image/") for source in reader.sources)
    assert all(link.startswith("#") for link in reader.links)
    assert "@import" not in text
    assert "url(" not in text
    assert "@page" in text
    assert len(reader.alts) >= 6
    assert all(len(alt) > 30 for alt in reader.alts)
    assert len(set(re.findall(r'id="([^"]+)"', text))) == len(re.findall(r' id="', text))


def test_figures_load_nothing(report):
    for path in report.figures:
        assert path.stat().st_size > 1000
        if path.suffix == ".svg":
            assert not re.search(r'(href|src)="(?!#)', path.read_text())
    stems = {path.stem for path in report.figures}
    assert {
        "effects",
        "heat_effects",
        "heat_accuracy",
        "robustness",
        "severity",
        "losses",
        "training",
    } <= stems


# --------------------------------------------------------------------------- other sweeps


def test_count_design_with_a_loss_in_no_set_of_a_size(small, undrawn):
    sweep = small(
        design="count", combiners=("static", "meltr"), learned=True, seeds=(1, 2), untrained=(),
        failed=(), missing=(),
    )  # fmt: skip
    for folder in (sweep / "cells").iterdir():
        if json.loads((folder / "result.json").read_text())["losses"] == ["pixel"]:
            shutil.rmtree(folder)
    assert "| pixel [meltr] | – |" in build(sweep).markdown.read_text()


def test_count_design_shows_the_dose(small):
    sweep = small(
        design="count",
        combiners=("static", "meltr"),
        learned=True,
        seeds=(1, 2),
        untrained=(),
        failed=(),
        missing=(),
    )
    paths = build(sweep)
    text = paths.markdown.read_text()
    assert any("noise rises with the number of losses (static)" in s for s in paths.answer)
    tests = pd.read_csv(paths.html.parent / "tables" / "dose_response.csv")
    assert set(tests.loss_sets) == {14}
    fits = pd.read_csv(paths.html.parent / "tables" / "dose_curves.csv")
    for _, rows in fits.groupby(["outcome", "combiner"]):
        assert set(rows.curve) == {"constant", "linear", "quadratic", "saturating"}
        assert rows.weight.sum() == pytest.approx(1)
    assert "dose_response" in {p.stem for p in paths.figures}
    assert "weights" in {p.stem for p in paths.figures}
    assert "The combiner learns its weights" in text
    assert "| final weight dM/dl | 1 losses |" in text
    gaps = pd.read_csv(paths.html.parent / "tables" / "combiners_by_count.csv")
    cells = by_label(sweep)
    for _, row in gaps[gaps.losses == 2].iterrows():
        sides = [
            np.mean([
                list(values(records, OUTCOMES[row.outcome]).values())
                for label, records in cells.items()
                if label.startswith("k=2:") and label.endswith(f"[{combiner}]")
            ])
            for combiner in ("static", "meltr")
        ]  # fmt: skip
        assert row.comparison == "static minus meltr"
        assert row.difference == pytest.approx(sides[0] - sides[1])
    assert set(gaps.losses) == {1, 2, 3, 4}
    assert any("gains on the other" in s or "static gains on meltr" in s for s in paths.answer)
    assert any("static against meltr, all sets" in s for s in paths.answer)


def test_factorial_design_attributes_the_whole_gain(small):
    sweep = small(
        design="factorial",
        losses=("consistency", "infonce", "pixel"),
        untrained=(),
        failed=(),
        missing=(),
    )
    paths = build(sweep)
    shares = pd.read_csv(paths.html.parent / "tables" / "shapley.csv")
    assert set(shares.method) == {"exact Shapley"}
    cells = by_label(sweep)
    for name, patterns in OUTCOMES.items():
        gain = np.mean([*values(cells["all"], patterns).values()])
        gain -= np.mean([*values(cells["none"], patterns).values()])
        assert shares[shares.outcome == name].share.sum() == pytest.approx(gain)
    assert "sum to all minus none to 1e-9" in paths.markdown.read_text()
    assert {"shapley", "interactions"} <= {p.stem for p in paths.figures}


def test_search_warns_of_the_winners_curse(small):
    sweep = small(design="search")
    config = {"label": "pixel", "seed": 300}
    (sweep / "cells" / "stopped00").mkdir()
    (sweep / "cells" / "stopped00" / "config.json").write_text(json.dumps(config))
    with (sweep / "ledger.jsonl").open("a") as file:
        event = {"event": "stopped", "key": "stopped00", "step": 200, "validation": {"top1": 31.0}}
        file.write("\n" + json.dumps(event) + "\n")
    paths = build(sweep)
    text = paths.markdown.read_text()
    assert any(s.startswith("Winner's curse") for s in paths.answer)
    assert "early stopping at step 200, clean accuracy 31.0 %" in text
    assert "Partial sweep" not in text
    names = [c.name for c in collect(sweep).cells]
    assert len(set(names)) == len(names)


def test_listed_sets_are_compared_with_none(small):
    sets = {"none": (), "all": ("consistency", "pixel"), "pixel": ("pixel",)}
    sweep = small(
        design="sets",
        losses=("consistency", "pixel"),
        sets=sets,
        outcomes=False,
        untrained=(),
        failed=(),
        missing=(),
    )
    paths = build(sweep)
    table = pd.read_csv(paths.html.parent / "tables" / "contrasts.csv")
    assert set(table.comparison) == {"whole set", "pixel"}
    assert table.clips_low.isna().all()


def test_one_seed_has_no_interval_and_old_files_go(small):
    sweep = small(seeds=(5,))
    content = yaml.safe_load((sweep / "sweep.yaml").read_text())
    content["title"] = "<script>alert(1)</script>"
    (sweep / "sweep.yaml").write_text(yaml.safe_dump(content))
    old = sweep / "report" / "figures" / "dose_response.svg"  # of an earlier state of the sweep
    old.parent.mkdir(parents=True)
    old.write_text("old")
    paths = build(sweep)
    assert not old.exists()
    html = paths.html.read_text()
    assert "<script" not in html  # what comes from outside is escaped
    assert "&lt;script&gt;" in html
    assert any("a paired interval needs two seeds" in s for s in paths.answer)
    text = paths.markdown.read_text()
    assert "n=1" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_other_pixels_are_not_comparable(small, undrawn):
    sweep = small(seeds=(1, 2), other_pixels=(("none", 2, "jumbling/5"),))
    for path in (sweep / "cells").glob("*/result.json"):
        content = json.loads(path.read_text())
        other = content["label"] == "none" and content["seed"] == 2
        content["run"]["versions"] = {"torch": "2.11.0", "av": "18.1" if other else "18.0"}
        path.write_text(json.dumps(content))
    paths = build(sweep)
    page = paths.markdown.read_text()
    assert page.count("av 18.0 against av 18.1") + page.count("av 18.1 against av 18.0") == 2
    assert "torch 2.11.0 against" not in page, "equal in both"
    assert any("jumbling/5" in w and "none (seed 2)" in w for w in paths.warnings)
    assert "DIFFERENT between cells for jumbling/5" in paths.markdown.read_text()


@pytest.mark.parametrize(
    ("primary", "thresholds", "words"),
    [
        ("classification", (1.6636, 1.6636), "0.8 of chance level, ln(classes) (1.66)"),
        ("siglip", (2.3, 2.5), "0.9 of its mean over the first 2 % of the steps (2.30 to 2.50)"),
    ],
)
def test_the_rule_of_the_flag_did_not_train_is_told(small, undrawn, primary, thresholds, words):
    sweep = small(seeds=(1, 2), untrained=(("none", 2),))
    study = yaml.safe_load((sweep / "sweep.yaml").read_text())
    study["train"]["trained_below"], study["primary"] = None, primary
    (sweep / "sweep.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    for path in (sweep / "cells").glob("*/result.json"):
        content = json.loads(path.read_text())
        content["final"]["trained_below"] = thresholds[content["seed"] - 1]
        path.write_text(json.dumps(content))
    page = build(sweep).markdown.read_text()
    assert f"Did not train: final primary loss above {words}. The runs" in page
    assert ("The dashed line is the threshold" in page) == (len(set(thresholds)) == 1)


def test_conditions_seen_in_training_are_named(small, undrawn):
    sweep = small(seeds=(1, 2), few=True)
    for path in (sweep / "cells").glob("*/result.json"):
        content = json.loads(path.read_text())
        content["config"]["train"]["perturb"] = "temporal"
        content["data"]["seen_in_training"] = {"jumbling/3": "condition", "jumbling/5": "kind"}
        path.write_text(json.dumps(content))
    (warning,) = (w for w in build(sweep).warnings if "Seen in training" in w)
    assert "perturb: temporal" in warning
    assert "trained on: jumbling/3; of a kind trained on: jumbling/5" in warning


def test_a_model_without_order_fails_the_control(small, monkeypatch):
    sweep = small(seeds=(1, 2))
    for path in (sweep / "cells").glob("*/result.json"):
        content = json.loads(path.read_text())
        clean = content["scores"][0]["metrics"]["top1"]
        for score in content["scores"]:
            if score["condition"] == "frame_shuffle/1":
                score["metrics"]["top1"] = clean - 0.4
        path.write_text(json.dumps(content))
    assert any("order control failed" in s for s in answer(sweep))


def test_an_order_control_that_two_seeds_leave_open_has_not_failed(small):
    sweep = small(seeds=(1, 2))
    for path in (sweep / "cells").glob("*/result.json"):
        content = json.loads(path.read_text())
        clean = content["scores"][0]["metrics"]["top1"]
        for score in content["scores"]:
            if score["condition"] == "frame_shuffle/1":
                score["metrics"]["top1"] = clean - (50 if content["seed"] == 1 else 12)
        path.write_text(json.dumps(content))
    assert any("seem to use the order" in s for s in answer(sweep))


def test_nothing_finished_is_a_report_too(small):
    labels = [
        "none",
        "all",
        *(f"all - {n}" for n in ("consistency", "frame_difference", "infonce", "pixel")),
    ]
    sweep = small(
        seeds=(1,),
        untrained=(),
        failed=(("all", 1),),
        missing=tuple((n, 1) for n in labels if n != "all"),
    )
    paths = build(sweep)
    assert paths.answer[0] == "No cell has finished: there is no answer yet."
    assert "6 of 6 planned runs have no result" in paths.warnings[0]
    with pytest.raises(ValueError, match="6 of 6 cells have no result"):
        build(sweep, partial_ok=False)


# --------------------------------------------------------------------------- the command


def test_command_prints_the_answer_and_the_paths_and_repeats_exactly(small, capsys):
    sweep = small(seeds=(1, 2, 3), losses=("consistency", "pixel"))
    first = build(sweep, command=program)
    before = {p: p.read_bytes() for p in (first.html, first.markdown, *first.tables)}
    assert command.run(sweep) == 0
    assert {p: p.read_bytes() for p in before} == before
    out = capsys.readouterr().out
    assert "consistency pays on" in out
    assert "**" not in out
    assert "report.html" in out


def test_command_refuses_what_is_no_sweep(tmp_path, capsys):
    assert command.run(tmp_path) == 2
    assert "no sweep.yaml" in capsys.readouterr().err


def test_building_a_report_never_waits_for_torch_or_ray():
    code = (
        "import sys, sweep.report.build, sweep.commands.report; "
        "print(sorted({'torch', 'ray', 'wandb', 'decord'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
