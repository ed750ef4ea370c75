"""What the tests on real Ray share: a clean environment, free ports, processes that end."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

RAY = Path(sys.executable).with_name("ray")


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
