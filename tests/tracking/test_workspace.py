"""The W&B report: real client, real HTTP, a server on the loopback interface."""

from __future__ import annotations

import json

import pytest

from sweep.commands import report as report_command
from sweep.report import workspace


def _panels(spec: dict) -> list[dict]:
    grids = [b for b in spec["blocks"] if b["type"] == "panel-grid"]
    return [p for g in grids for p in g["metadata"]["panelBankSectionConfig"]["panels"]]


def test_publish_saves_panels_and_filter(server, sweep, study):
    url = workspace.publish(sweep)
    sent = [v for q, v in server.graphql if "upsertView" in q]
    assert len(sent) == 1
    assert url.startswith(server.url)
    assert url.endswith("--view1")
    assert sent[0]["projectName"] == "auxsweep"
    assert sent[0]["entityName"] == "ent"
    assert sent[0]["type"] == "runs"
    assert len(sent[0]["displayName"]) <= 128
    spec = json.loads(sent[0]["spec"])
    panels = _panels(spec)
    kinds = [p["viewType"] for p in panels]
    assert kinds.count("Bar Chart") == len(study.outcomes)
    assert kinds.count("Scatter Plot") == len(study.outcomes) - 1
    assert kinds.count("Parallel Coordinates Plot") == 1
    assert kinds.count("Run History Line Plot") == len(study.losses)
    assert kinds.count("Run Comparer") == 1
    bar = next(p["config"] for p in panels if p["viewType"] == "Bar Chart")
    assert bar["groupBy"] == "loss_set.value"
    assert bar["groupAgg"] == "mean"
    assert bar["groupArea"] == "stderr"
    comparer = next(p["config"] for p in panels if p["viewType"] == "Run Comparer")
    assert comparer["diffOnly"] is True
    coordinates = next(p["config"] for p in panels if p["viewType"] == "Parallel Coordinates Plot")
    accessors = [c["accessor"] for c in coordinates["columns"]]
    assert "summary:weights/pixel" in accessors
    assert "summary:final/ood" in accessors
    for grid in (b for b in spec["blocks"] if b["type"] == "panel-grid"):
        (runset,) = grid["metadata"]["runSets"]
        (shown,) = runset["filters"]["filters"]
        assert shown["key"] == {"section": "run", "name": "group"}
        assert (shown["op"], shown["value"]) == ("=", sweep.name)
        assert runset["project"]["name"] == "auxsweep"


def test_publish_contains_question_answer_and_every_cell(server, sweep, study, cells):
    workspace.publish(sweep)
    spec = next(v["spec"] for q, v in server.graphql if "upsertView" in q)
    assert study.question.split("?")[0] in spec.replace("\\n", " ")
    for config in cells:
        assert f"| {config.label} |" in spec
    assert "failed" in spec
    for name in study.outcomes:
        assert f"**{name}**" in spec


def test_publish_again_replaces_the_report(server, sweep):
    first = workspace.publish(sweep)
    assert workspace.publish(sweep) == first
    ids = [v["id"] for q, v in server.graphql if "upsertView" in q]
    assert ids == [None, "view1"]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "WANDB_API_KEY"),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_MODE": "offline"}, "WANDB_MODE"),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "127.0.0.1:9"),
    ],
)
def test_without_a_server_the_message_says_what_to_do(monkeypatch, sweep, variables, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match=named) as caught:
        workspace.publish(sweep)
    assert "report.html" in str(caught.value)


def test_command_warns_and_exits_0(sweep, capsys):
    assert report_command.run(sweep, wandb=True) == 0
    assert "WANDB_API_KEY" in capsys.readouterr().err
    assert (sweep / "report" / "report.html").is_file()
