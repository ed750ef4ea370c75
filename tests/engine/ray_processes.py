"""What the tests on real Ray share: a clean environment, free ports, processes that end."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

RAY = Path(sys.executable).with_name("ray")
CLUSTER = Path(__file__).with_name("small_cluster.py")


def clean_environment(**extra):
    """The environment of a plain laptop: nothing of Ray is set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "TUNE_"))}
    kept["PATH"] = f"{RAY.parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "OMP_NUM_THREADS": "1", **extra}


def wait_until(condition, process=None, limit_s=90):
    """Wait for a condition; a process that ends before it is an error."""
    end = time.monotonic() + limit_s
    while not condition():
        if process is not None:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "too slow"
        time.sleep(0.05)


def end(process, text=None):
    """Let a process end; whatever of its session is left then is killed."""
    try:
        process.communicate(text, timeout=30)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def processes():
    """Process, its parent and its command line, of everything on this machine."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(folder.name), parent, (folder / "cmdline").read_text(errors="replace")


def kill_all_with(folder):
    """Kill what runs with a temporary folder of ours in its command line."""
    for pid, _, name in list(processes()):
        if folder in name and pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def free_ports(count):
    """Ports outside the range 10002..19999, which Ray keeps for its workers."""
    found = []
    sockets = []
    for port in random.sample(range(20500, 31000), 400):
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
            continue
        sockets.append(probe)
        found.append(port)
        if len(found) == count:
            break
    for probe in sockets:
        probe.close()
    return found


def open_environment(**extra):
    """Of a cluster without a token."""
    return clean_environment(RAY_AUTH_MODE="disabled", **extra)


def answers(port):
    """Whether anybody listens there on this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def head_with_token(home):
    """A head of two CPUs with dashboard and token, as `ray start` makes it.

    Yields the addresses of its control service and its dashboard, and the environment of those
    who know the token.
    """
    port, dashboard, client, agent = free_ports(4)
    token = clean_environment(
        RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0123456789abcdef" * 4, HOME=str(home)
    )
    cache = os.environ.get("AUXSWEEP_CACHE", str(home / "cache"))
    with tempfile.TemporaryDirectory(prefix="rj", dir="/tmp", ignore_cleanup_errors=True) as short:
        head = subprocess.Popen(
            [RAY, "start", "--head", "--block", f"--port={port}", "--dashboard-host=127.0.0.1",
             f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}",
             f"--dashboard-agent-listen-port={agent}",
             "--num-cpus=2", f"--temp-dir={short}", "--disable-usage-stats",
             "--object-store-memory=100000000"],
            env={**token, "AUXSWEEP_CACHE": cache}, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            wait_until(lambda: answers(dashboard), head)
            yield SimpleNamespace(
                address=f"127.0.0.1:{port}", dashboard=f"http://127.0.0.1:{dashboard}", env=token
            )
        finally:
            head.terminate()
            end(head)


class SmallCluster:
    """Raylets of a cluster in a process of its own; see `small_cluster.py`."""

    def __init__(self, folder, *cpus, cwd=None):
        self.process = subprocess.Popen(
            [sys.executable, str(CLUSTER), folder, *map(str, cpus)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=open_environment(), start_new_session=True, cwd=cwd,
        )  # fmt: skip
        self._read()

    def _read(self):
        said = json.loads(self.process.stdout.readline())
        self.address, self.raylets = said["address"], said["raylets"]

    def add(self, cpus, cwd="."):
        """A node more, begun in another folder."""
        self.process.stdin.write(f"add {cpus} {cwd}\n")
        self.process.stdin.flush()
        self._read()

    def workers(self, raylet=None):
        """Processes that run a trial, of one raylet or of all."""
        wanted = set(self.raylets if raylet is None else [raylet])
        return [pid for pid, parent, name in processes() if parent in wanted and "Implicit" in name]


@contextlib.contextmanager
def small_cluster(*cpus, cwd=None):
    """Nodes with so many CPUs, the first one the head, begun in a folder."""
    with tempfile.TemporaryDirectory(prefix="rr", dir="/tmp", ignore_cleanup_errors=True) as short:
        cluster = SmallCluster(short, *cpus, cwd=cwd)
        try:
            yield cluster
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(cluster.process.pid, signal.SIGKILL)
            cluster.process.communicate()
            kill_all_with(short)  # raylets start sessions of their own
