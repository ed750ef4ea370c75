"""Records of a tiny sweep, and a W&B server on the loopback interface that answers just enough."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from sweep.records.files import write_cell, write_json
from sweep.records.record import Score, TrialRecord
from sweep.settings.losses import CombinerSettings, TrialLoss
from sweep.settings.trial import TrialConfig
from sweep.studies.load import dump_study, load_study
from sweep.tracking.track import cell_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sweep.settings.study import StudyConfig

KEY = "k" * 40
STEPS = 400


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    """No setting of the machine gets in, nothing gets out into the home folder."""
    for name in (
        "WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT",
        "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "NETRC", "WANDB_SERVICE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture
def study() -> StudyConfig:
    return load_study("quickstart", overrides=[f"train.steps={STEPS}", "track.tags=[mine]"])


def cell(study: StudyConfig, losses: list[str], seed: int) -> TrialConfig:
    return TrialConfig(
        study=study.name,
        label="+".join(losses) or "none",
        losses={name: TrialLoss(weight=0.5) for name in losses},
        combiner=CombinerSettings(),
        model=study.model,
        data=study.data.model_copy(update={"root": "/home/someone/data"}),
        fingerprint="f00d",
        train=study.train,
        evaluate=study.evaluate,
        seed=seed,
    )


def record(config: TrialConfig, *, failed: bool = False) -> TrialRecord:
    common = {
        "key": config.key,
        "label": config.label,
        "seed": config.seed,
        "losses": tuple(sorted(config.losses)),
        "combiner": config.combiner.name,
        "config": config.model_dump(mode="json"),
        "run": {"seconds": {"train": 1.5, "all": 2.0}, "attempt": 1},
    }
    if failed:
        error = {"type": "Diverged", "message": "loss is NaN", "traceback": "Trace", "step": 30}
        return TrialRecord(status="failed", error=error, **common)
    gain = 5.0 * len(config.losses) + config.seed / 10
    scores = [Score(condition="clean", category="clean", metrics={"top1": 70 + gain}, clips=40)]
    scores += [
        Score(condition=name, category="shift", metrics={"top1": 40 + gain}, clips=40)
        for name in ("appearance", "viewpoint", "dynamics")
    ]
    scores += [
        Score(
            condition=f"gaussian_noise/{s}",
            category="noise",
            metrics={"top1": 60 - 10 * s + gain},
            clips=40,
            level=f"std {s / 20}",
        )
        for s in (1, 3, 5)
    ]
    return TrialRecord(
        status="done",
        scores=tuple(scores),
        final={"trained": True, "cross_entropy": 0.3, "steps": config.train.steps},
        weights={"cross_entropy": 1.0, **dict.fromkeys(config.losses, 0.5)},
        forwards={"train": 6400, "evaluate": 900, "avoided": 100},
        data={"fingerprint": "f00d", "counts": {"train": {"n_used": 384}}},
        **common,
    )


def history(config: TrialConfig, *, every: int = 10, start: int = 0) -> list[dict]:
    steps = range(start + every, config.train.steps + 1, every)
    rows: list[dict] = [
        {
            "step": step,
            "unified": 2.0 / step,
            "losses": {"cross_entropy": 1.0 / step, **dict.fromkeys(config.losses, 0.1)},
            "slopes": {"cross_entropy": 1.0, **dict.fromkeys(config.losses, 0.5)},
            "lr": 1e-3,
            "gradient_norm": float("nan") if step == 20 else 1.0,
        }
        for step in steps
    ]
    return [*rows, {"step": config.train.steps, "validation": {"top1": 75.0}}]


@pytest.fixture
def cells(study) -> list[TrialConfig]:
    sets = ([], ["pixel"], ["infonce"], ["infonce", "pixel"])
    return [cell(study, losses, seed) for losses in sets for seed in (1, 2)]


@pytest.fixture
def sweep(tmp_path, study, cells) -> Path:
    """A sweep folder with eight cells, the last of which failed."""
    folder = tmp_path / "my sweep's"
    folder.mkdir()
    (folder / "sweep.yaml").write_text(dump_study(study), encoding="utf-8")
    write_json(
        folder / "plan.json",
        {
            "study": study.name,
            "scale": study.scale,
            "created": "2026-01-01T00:00:00+00:00",
            "cells": [
                {
                    "key": c.key,
                    "label": c.label,
                    "losses": sorted(c.losses),
                    "combiner": "static",
                    "seed": c.seed,
                    "design": "loo",
                }
                for c in cells
            ],
            "data": {"fingerprint": "f00d", "counts": {}, "excluded": []},
        },
    )
    for config in cells:
        found = record(config, failed=config is cells[-1])
        write_cell(folder / "cells" / config.key, found, history(config), None)
    return folder


# -------------------------------------------------------------------------------------- server


class Server(ThreadingHTTPServer):
    """Answers what W&B's clients ask for one user's runs and reports; keeps what they sent.

    Attributes:
        graphql: (query, variables) in order.
        posts: (path, body) of everything else that was posted.
        uploads: Path -> body of files.
        hangs_after: Kind of request from which on no answer comes any more, or None.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.graphql: list[tuple[str, dict]] = []
        self.posts: list[tuple[str, bytes]] = []
        self.uploads: dict[str, bytes] = {}
        self.hangs_after: str | None = None
        self.gone = threading.Event()
        self.views = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients hang up when they are done."""

    def buckets(self) -> dict[str, dict]:
        """Cell key -> the variables its run was created and updated with, later ones win."""
        found: dict[str, dict] = {}
        for query, variables in self.graphql:
            if "upsertBucket" in query:
                given = {k: v for k, v in variables.items() if v is not None}
                found.setdefault(cell_key(variables["name"]), {}).update(given)
        return found

    def streamed(self, key: str, name: str) -> list[dict]:
        """Lines of a run's file (`wandb-history.jsonl`, `wandb-summary.json`) in order."""
        lines: dict[int, dict] = {}
        for path, body in self.posts:
            if path.endswith(f"-{key}/file_stream"):
                chunk = json.loads(body).get("files", {}).get(name, {})
                for i, line in enumerate(chunk.get("content", [])):
                    lines[chunk["offset"] + i] = json.loads(line)
        return [lines[i] for i in sorted(lines)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer(b"")

    def do_GET(self):
        self._answer(b"{}")

    def do_PUT(self):
        self.server.uploads[self.path] = self._body()
        self._answer(b"{}")

    def do_POST(self):
        body = self._body()
        if self.server.hangs_after and (
            self.server.hangs_after == "now" or self.server.hangs_after in self.path
        ):
            self.server.hangs_after = "now"
            self.server.gone.wait(300)
            return
        if self.path == "/graphql":
            question = json.loads(body)
            variables = question.get("variables") or {}
            self.server.graphql.append((question["query"], variables))
            data = self._data(question["query"], variables)
            self._answer(json.dumps({"data": data}).encode())
        else:
            self.server.posts.append((self.path, body))
            self._answer(b"{}")

    def _data(self, query: str, v: dict) -> dict:
        user = {
            "id": "u", "entity": "ent", "username": "ent", "email": "e@x", "name": "e",
            "admin": False, "flags": "{}", "deletedAt": None, "teams": {"edges": []},
            "apiKeys": {"edges": []},
        }  # fmt: skip
        internal_id = base64.b64encode(b"ProjectInternalId:1").decode()
        if "upsertBucket" in query:
            project = {"id": "p", "name": v["project"], "entity": {"id": "e", "name": "ent"}}
            bucket = {
                "id": "b", "name": v["name"], "displayName": v.get("displayName"),
                "description": "", "config": v.get("config"), "sweepName": None,
                "historyLineCount": 0, "project": project,
            }  # fmt: skip
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "CreateArtifact " in query:
            artifact = {"id": "a", "state": "COMMITTED"}
            artifact["artifactSequence"] = {"latestArtifact": {"id": "a"}}
            return {"createArtifact": {"artifact": artifact}}
        if "ArtifactType(" in query:
            return {"project": {"artifact": None}}
        if "CreateRunFiles" in query:
            files = [
                {"name": f, "uploadUrl": f"{self.server.url}/up/{v['run']}/{f}"} for f in v["files"]
            ]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        if "upsertView" in query:
            self.server.views += not v.get("id")
            project = {"id": "p", "name": v["projectName"], "entityName": v["entityName"]}
            view = {
                "id": v.get("id") or f"view{self.server.views}", "type": v["type"],
                "name": v["name"], "displayName": v["displayName"],
                "description": v["description"], "project": project, "spec": v["spec"],
                "updatedAt": "2026-01-01T00:00:00",
            }  # fmt: skip
            return {"upsertView": {"view": view, "inserted": True}}
        if "GetProjects" in query:
            node = {
                "id": "p", "internalId": internal_id, "name": "auxsweep", "entityName": "ent",
                "createdAt": "2026-01-01T00:00:00", "isBenchmark": False, "user": user,
            }  # fmt: skip
            page = {"endCursor": None, "hasNextPage": False}
            return {"models": {"edges": [{"node": node, "cursor": "c"}], "pageInfo": page}}
        if "ServerFeatures" in query:
            return {"serverInfo": {"features": []}}
        if "iewer" in query:
            return {"viewer": user}
        if "project(" in query:
            return {"project": {"id": "p", "internalId": internal_id}}
        return {}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    server = Server(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.gone.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    """A server that the environment points to, with a key."""
    with serving() as found:
        monkeypatch.setenv("WANDB_BASE_URL", found.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield found
