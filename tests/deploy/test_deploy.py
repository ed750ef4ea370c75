"""The files of sweep/deploy are valid for their readers; the Slurm script really starts Ray."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "sweep" / "deploy"
SLURM = DEPLOY / "slurm.sh"


def load(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def pinned(package):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


@pytest.mark.parametrize(
    "break_it",
    [None, lambda c: c.update(max_worker=3), lambda c: c["provider"].pop("type")],
)
def test_ray_up_accepts_its_file(break_it):
    """By Ray's own schema; the broken copies show that it looks."""
    from ray.autoscaler._private.util import validate_config

    config = {**load("cluster.yaml"), "cluster_synced_files": []}
    if break_it is None:
        validate_config(config)
        return
    break_it(config)
    with pytest.raises(Exception, match=r"max_worker|type"):
        validate_config(config)


def test_ray_up_starts_with_a_token_and_no_trials_on_the_head():
    config = load("cluster.yaml")
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = next(line for line in config[key] if "ray start" in line)
        assert "RAY_AUTH_MODE=token" in start
        assert "/root/.ray/auth_token" in start
    assert "/root/.ray/auth_token" in config["file_mounts"]
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"]["CPU"] == 0
    assert any(kind["resources"].get("GPU") for kind in types.values())


def test_rayjob_has_what_a_multi_node_sweep_needs():
    job = load("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec["entrypoint"].startswith("python -m sweep.run study ")
    assert " --out /shared/" in spec["entrypoint"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["backoffLimit"] in range(3)
    assert yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["WANDB_MODE"] == "offline"
    cluster = spec["rayClusterSpec"]
    assert cluster["rayVersion"] == pinned("ray")
    assert cluster["authOptions"]["mode"] == "token"
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    for group in (head, *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert "persistentVolumeClaim" in volumes[mounts["/shared"]]
        memory = container["resources"]["limits"]["memory"]
        shared = volumes[mounts["/dev/shm"]]["emptyDir"]
        assert shared["medium"] == "Memory"
        assert int(shared["sizeLimit"][:-2]) >= 0.3 * int(memory[:-2])
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        (container,) = group["template"]["spec"]["containers"]
        assert int(container["resources"]["limits"]["nvidia.com/gpu"]) >= 1


@pytest.mark.parametrize("name", ["README.md", "rayjob.yaml"])
def test_the_commands_in_the_files_are_commands(name):
    from sweep.run import _parse

    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    if name == "rayjob.yaml":
        text = load(name)["spec"]["entrypoint"]
    found = re.findall(
        r"(?:python -m sweep\.run|auxsweep|slurm\.sh) ((?:study|doctor) [^\n]+)", text
    )
    assert found
    for line in found:
        assert _parse(line.split()).verb in {"study", "doctor"}


def test_the_image_holds_what_it_copies():
    text = (DEPLOY / "Dockerfile").read_text()
    copied = [w for line in re.findall(r"^COPY (.+)$", text, re.M) for w in line.split()[:-1]]
    assert {"losses", "models", "perturb", "sweep", "constraints.txt"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert "RAY_AUTH_MODE=token" in text


def test_the_slurm_script_is_sound():
    subprocess.run(["bash", "-n", SLURM], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--severity=warning", SLURM], check=True)
    wrong = subprocess.run(["bash", SLURM], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "usage" in wrong.stderr


FAKE = {
    "scontrol": "#!/bin/sh\nprintf 'one\\ntwo\\nthree\\n'\n",
    # runs the command once per task, on this machine
    "srun": """#!/usr/bin/env bash
tasks=1
while [[ $1 == -* ]]; do
    [[ $1 == --ntasks=* ]] && tasks=${1#*=}
    [[ $1 == -w ]] && shift
    shift
done
[[ $1 == hostname ]] && { echo 127.0.0.1; exit; }
trap 'kill $(jobs -p) 2>/dev/null; wait' TERM EXIT
# one after the other: raylets of one machine that start at once may choose the same ports
for ((i = 0; i < tasks; i++)); do "$@" & sleep 6; done
wait
""",
}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_slurm_script_runs_on_three_nodes(tmp_path):
    """With `srun` and `scontrol` of this test: three raylets on this machine, with a token."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in FAKE.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "TUNE_", "SLURM_"))}
    job = os.getpid()
    environment = {
        **kept,
        "PATH": f"{tools}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "SLURM_JOB_ID": str(job),
        "SLURM_JOB_NODELIST": "three", "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "1",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    process = subprocess.Popen(
        ["bash", SLURM, "doctor", "--json", "--out", tmp_path / "runs"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=380)
    finally:
        process.kill()
        shutil.rmtree(f"/tmp/ray-{job}", ignore_errors=True)
    assert process.returncode == 0, out + err
    assert "joined 127.0.0.1" in out
    assert "3 nodes, 3 CPU" in out
    assert "RAY_AUTH_MODE=token, from $RAY_AUTH_TOKEN" in out
