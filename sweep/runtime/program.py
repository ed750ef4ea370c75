"""How the user starts this program: for hints that can be typed as they are."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from pathlib import Path


def program(*arguments: object) -> str:
    """A command that the user can type, with the program as it was started here.

    After `make run` there is no `auxsweep` on the path, only an interpreter in a folder.
    """
    started = Path(sys.argv[0]).name
    if started == "auxsweep":
        words = ["auxsweep"]
    else:
        python = Path(sys.executable)
        with contextlib.suppress(ValueError):
            python = python.relative_to(Path.cwd())
        on_path = shutil.which("python")
        plain = on_path is not None and Path(on_path).resolve() == Path(sys.executable).resolve()
        words = ["python" if plain else str(python), "-m", "sweep.run"]
    return shlex.join([*words, *map(str, arguments)])
