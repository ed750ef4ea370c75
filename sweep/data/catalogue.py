"""The data sets that a study can name: one row each. Imports no numpy, no torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from sweep.settings.names import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweep.settings.data import DataSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """What a study must know about a data set before any file is read.

    Attributes:
        name: As in a study's `data.dataset`.
        reader: Module with `splits(root, options)` and `read(root, split, options)`; see README.md.
        classes: Number of classes of the published data set.
        embedded: Made by us from a seed; needs no root.
        captions: Whether clips have captions.
        labelled: Whether clips have classes.
        extras: What else clips have for tasks, in `Record.meta`: such as `answers`, `rating`.
        clean: Split of the reader that is tested on as `clean`.
        validation: Split of the reader to choose by, where there is one that is not tested on;
            without it a part of the training clips may be (`data.validation_share`).
        shifts: Shifted evaluation sets that always exist; a folder of the user's may hold others.
        settings: Settings of `data` whose default is another one here.
        options: What a study may tell the reader as `data.options.NAME` -> its default.
        description: One line for people.
        source: Where the format comes from.
    """

    name: str
    reader: str
    classes: int
    embedded: bool
    captions: bool
    labelled: bool = True
    extras: frozenset[str] = frozenset()
    clean: str = "validation"
    validation: str = ""
    shifts: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    description: str
    source: str

    @property
    def clips_have(self) -> frozenset[str]:
        """What clips have besides pixels, as tasks name it (``TaskSpec.clips``)."""
        said = {"labels": self.labelled, "captions": self.captions}
        return self.extras.union(name for name, is_there in said.items() if is_there)

    def load(self) -> ModuleType:
        """The reader module."""
        return importlib.import_module(self.reader)


SHIFTS = ("appearance", "viewpoint", "dynamics")

_ROWS = (
    DatasetSpec(
        name="motes-ssv2",
        reader="sweep.data.readers.ssv2",
        classes=8,
        embedded=True,
        captions=True,
        shifts=SHIFTS,
        description="made here: eight motions in time-reversed pairs; captions; order decides",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="motes-ucf",
        reader="sweep.data.readers.ucf101",
        classes=8,
        embedded=True,
        captions=False,
        shifts=SHIFTS,
        description="made here: shape and fill tell the class, the scene is a spurious cue",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="motes-vtt",
        reader="sweep.data.readers.msrvtt",
        classes=0,
        embedded=True,
        captions=True,
        labelled=False,
        shifts=(*SHIFTS, "appearance-known"),
        settings={"train_per_class": 100, "val_per_class": 25},
        description="made here: captions to retrieve clips by; 400 to train on, 100 per test set",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="ssv2",
        reader="sweep.data.readers.ssv2",
        classes=174,
        embedded=False,
        captions=True,
        shifts=(),
        options={"encoding": "utf-8"},
        description="Something-Something V2, or a folder of your own in its format",
        source="arXiv:1706.04261",
    ),
    DatasetSpec(
        name="ucf101",
        reader="sweep.data.readers.ucf101",
        classes=101,
        embedded=False,
        captions=False,
        shifts=(),
        options={"fold": 1, "encoding": "utf-8"},
        description="UCF101 (three splits: data.options.fold), or a folder in its format",
        source="arXiv:1212.0402",
    ),
    DatasetSpec(
        name="hmdb51",
        reader="sweep.data.readers.hmdb51",
        classes=51,
        embedded=False,
        captions=False,
        shifts=(),
        options={"fold": 1, "encoding": "utf-8"},
        description="HMDB51 (three splits: data.options.fold), or a folder in its format",
        source="doi:10.1109/ICCV.2011.6126543",
    ),
    DatasetSpec(
        name="msrvtt",
        reader="sweep.data.readers.msrvtt",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        shifts=(),
        options={"encoding": "utf-8"},
        description="MSR-VTT (9k training videos, 1k-A test pairs), or a folder in its format",
        source="doi:10.1109/CVPR.2016.571",
    ),
)

DATASETS: Mapping[str, DatasetSpec] = MappingProxyType({row.name: row for row in _ROWS})


def find(name: str) -> DatasetSpec:
    """The row of a name.

    Raises:
        ValueError: Unknown; names the nearest one.
    """
    if name in DATASETS:
        return DATASETS[name]
    raise ValueError(
        f"data.dataset: unknown {name!r}{nearest(name, DATASETS)} (allowed: {', '.join(DATASETS)})"
    )


def given_options(settings: DataSettings) -> dict[str, Any]:
    """The options of a reader that are not at their defaults, in the order of its row.

    Raises:
        ValueError: One that the reader does not have (names the nearest and the allowed ones), or
            true and false where something else belongs, and the other way round.
    """
    spec = find(settings.dataset)
    for name in settings.options:
        if name not in spec.options:
            raise ValueError(
                f"data.options: {spec.name!r} has no option {name!r}{nearest(name, spec.options)} "
                f"(allowed: {', '.join(spec.options) or 'none'})"
            )
        value, default = settings.options[name], spec.options[name]
        if isinstance(value, bool) != isinstance(default, bool):
            wanted = "true or false" if isinstance(default, bool) else f"such as {default!r}"
            raise ValueError(f"data.options.{name}: {value!r} given, expected {wanted}")
    return {
        name: settings.options[name]
        for name, default in spec.options.items()
        if name in settings.options and settings.options[name] != default
    }
