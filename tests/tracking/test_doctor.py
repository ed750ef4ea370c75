"""Every line of `doctor` says what was found, and what to do where that is not good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweep.commands import doctor


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch, tmp_path):
    for name in (
        "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH",
        "RAY_JOB_CONFIG_JSON_ENV_VAR",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUXSWEEP_CACHE", str(tmp_path / "cache"))


def table(capsys) -> list[tuple[str, str]]:
    """(status, rest) of each line; remedies follow their line as status `->`."""
    lines = capsys.readouterr().out.splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if len(line.split()) > 1]


def test_this_machine_is_fine(tmp_path, capsys):
    out = tmp_path / "runs"
    assert doctor.run(address=None, out=out, local=True) == 0
    lines = table(capsys)
    text = "\n".join(rest for _, rest in lines)
    for name in ("Python", "torch pair", "GPU", "CPU", "decoders", "data cache", "output", "W&B"):
        assert name in text
    assert "Ray token" not in text
    assert not out.exists(), "looking leaves nothing behind"
    assert not [s for s, _ in lines if s == "fail"]


def test_every_problem_has_a_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    found = [
        *doctor.output(tmp_path / "file" / "runs"),
        *doctor.ray_checks("http://127.0.0.1:8265", tmp_path),
        *doctor.ray_checks("127.0.0.1:9", tmp_path),
        *doctor.ray_checks("nonsense", tmp_path),
    ]
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    found += doctor.ray_checks(None, tmp_path)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    found += doctor.ray_checks(None, tmp_path)
    monkeypatch.setenv("WANDB_MODE", "online")
    found += doctor.tracking()
    bad = [check for check in found if check.status != "ok"]
    assert [check.status for check in bad] == [
        "fail",
        "fail",
        "fail",
        "fail",
        "fail",
        "warn",
        "warn",
    ]
    assert all(check.remedy for check in bad)


def test_token_file_without_mode_is_a_trap(tmp_path, monkeypatch):
    folder = tmp_path / "home" / ".ray"
    folder.mkdir()
    (folder / "auth_token").write_text("t" * 32)
    check = next(iter(doctor.ray_checks(None, tmp_path)))
    assert check.status == "warn"
    assert "RAY_AUTH_MODE=token" in check.remedy
    assert "t" * 32 not in check.found
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert next(iter(doctor.ray_checks(None, tmp_path))).status == "ok"


def test_old_and_missing_packages(monkeypatch):
    monkeypatch.setattr(doctor, "FLOORS", {"torch": "99.1", "no-such-package": "1"})
    check = next(c for c in doctor.packages() if c.status == "fail")
    assert "needs 99.1" in check.found
    assert "'no-such-package>=1'" in check.remedy


def test_a_probe_that_breaks_is_a_finding():
    def cracked():
        yield doctor.Check("ok", "first", "fine")
        raise OSError("a broken library")

    found = list(doctor._guarded(cracked))
    assert [check.status for check in found] == ["ok", "fail"]
    assert "a broken library" in found[1].found


def test_exit_code_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert doctor.run(address=None, out=tmp_path / "file" / "x", local=True) == 2
    assert "needed fails" in capsys.readouterr().out


def test_no_ray_without_an_address(tmp_path):
    program = (
        "import sys; from pathlib import Path; import sweep.engine.tune.probe; "
        "from sweep.commands import doctor; "
        "assert all(c.status == 'ok' for c in doctor.ray_checks(None, Path('.'))); "
        "assert not {'ray', 'torch', 'wandb'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)


ASK = """
import dataclasses, json, sys
from pathlib import Path
from sweep.commands import doctor
from sweep.engine.tune import probe
address, out, log = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
checks = [dataclasses.asdict(check) for check in doctor.ray_checks(address, out)]
there = any(check["name"] == "node" for check in checks)
bad = [n.problem for n in probe.nodes(address, Path("/proc"), log=log)] if there else []
print(json.dumps([checks, bad]))
"""


@pytest.mark.ray
def test_running_cluster(token_head, tmp_path):
    """A real head with a token: joined, its node asked, its storage compared.

    Asked by a process of its own, as users do: Ray keeps what an earlier cluster told a process.
    """
    env = {**os.environ, **token_head.env}
    out = tmp_path / "shared"
    command = [sys.executable, "-c", ASK, token_head.address, str(out), str(tmp_path / "ray.log")]
    root = Path(__file__).resolve().parents[2]
    end = time.monotonic() + 60
    checks, bad = [], []
    while time.monotonic() < end and not bad:  # the node registers a little after the port opens
        done = subprocess.run(
            command, env=env, cwd=root, check=True, capture_output=True, text=True
        )
        checks, bad = json.loads(done.stdout.splitlines()[-1])
    assert [check["status"] for check in checks] == ["ok", "ok", "ok"], checks
    assert "1 node, 2 CPU" in checks[1]["found"]
    assert str(out) in checks[2]["found"]
    assert not out.exists()
    assert len(bad) == 1
    assert "cannot write" in bad[0]
