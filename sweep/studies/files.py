"""The built-in studies, and YAML files as data. Knows no setting, so that lists come at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

STUDIES_DIR = Path(__file__).parent
#: The parser in C, where PyYAML has it: built-in studies are read at every start. A text that nests
#: without end makes it crash, so that it reads no others.
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def study_names() -> list[str]:
    """Names of the built-in studies."""
    return sorted(path.stem for path in STUDIES_DIR.glob("*.yaml"))


def parse(path: Path) -> Any:
    """What a YAML file says.

    Raises:
        yaml.YAMLError, UnicodeDecodeError: It is none.
        OSError: It cannot be read.
    """
    is_ours = path.parent == STUDIES_DIR
    return yaml.load(path.read_text(encoding="utf-8"), _FAST if is_ours else yaml.SafeLoader)
