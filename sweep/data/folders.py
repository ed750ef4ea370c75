"""Where data lies and where it is kept: the one place that resolves paths. Imports no numpy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.data.catalogue import find
from sweep.data.motes.knobs import knobs_of

if TYPE_CHECKING:
    from sweep.settings.data import DataSettings


def cache_of(settings: DataSettings) -> Path:
    """Folder of everything that we store about data on this node.

    As set, else `$AUXSWEEP_CACHE`, else `auxsweep` in `$XDG_CACHE_HOME` or `~/.cache`.
    """
    if named := settings.cache_dir or os.environ.get("AUXSWEEP_CACHE"):
        return Path(named).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # ignored, as the XDG base directory specification has it
        base = Path.home() / ".cache"
    return base / "auxsweep"


def root_of(settings: DataSettings) -> Path:
    """Folder of the data set: as given, or where embedded data is made.

    Raises:
        ValueError: Unknown data set, or no folder given for one that is not embedded.
    """
    spec = find(settings.dataset)
    if settings.root is not None:
        return Path(settings.root).expanduser().resolve()
    if not spec.embedded:
        raise ValueError(f"data.root: {spec.name!r} is not embedded; give its folder")
    key = knobs_of(settings).key(spec.name)
    return cache_of(settings) / "motes" / f"{spec.name}-{key}"
