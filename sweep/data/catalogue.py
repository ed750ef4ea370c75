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
        extras: What else clips have for tasks, in `Record.meta`: such as `answer`, `rating`.
        clean: Split of the reader that is tested on as `clean`.
        validation: Split of the reader to choose by, where there is one that is not tested on;
            without it a part of the training clips may be (`data.validation_share`).
        shifts: Shifted evaluation sets that always exist; a folder of the user's may hold others.
        settings: Settings of `data` whose default is another one here.
        options: What a study may tell the reader as `data.options.NAME` -> its default. `fps` is
            the rate of folders of images, which have none (None = not known).
        is_listed: Annotation files name the clips; else the clips are the files that there are, of
            which none can be missing.
        files: What is expected where below `data.root`, a line each.
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
    is_listed: bool = True
    files: tuple[str, ...] = ()
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

_UCF_LISTS = "ucfTrainTestlist/classInd.txt, trainlist0<fold>.txt, testlist0<fold>.txt"
_UCF_TABLE = "or ucf.csv with video_id,label,split1,split2,split3"
_UCF_VIDEOS = "UCF-101/<Class>/*.avi"
#: Where nothing says what is tested on, a share of every class is, drawn from a seed.
_DRAWN = {"test_share": 0.2, "split_seed": 1}

_ROWS = (
    DatasetSpec(
        name="motes-ssv2",
        reader="sweep.data.readers.ssv2",
        classes=8,
        embedded=True,
        captions=True,
        shifts=SHIFTS,
        options={"classes": 8, "resolution": 64},
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
        options={"resolution": 64},
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
        options={"resolution": 64},
        description="made here: captions to retrieve clips by; 400 to train on, 100 per test set",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="motes-howto",
        reader="sweep.data.readers.howto100m",
        classes=0,
        embedded=True,
        captions=True,
        labelled=False,
        extras=frozenset({"segments"}),
        clean="test",
        shifts=SHIFTS,
        settings={"train_per_class": 48, "val_per_class": 12},
        options={"resolution": 64},
        description="made here: long videos of eight motions, narrated loosely; clips to test on",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="motes-qa",
        reader="sweep.data.readers.msvdqa",
        classes=0,
        embedded=True,
        captions=False,
        labelled=False,
        extras=frozenset({"question", "answer", "answer_id"}),
        clean="test",
        shifts=SHIFTS,
        settings={"train_per_class": 48, "val_per_class": 12},
        options={"resolution": 64},
        description="made here: four questions on every clip of motes-vtt, answered by a word",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="motes-qa-choice",
        reader="sweep.data.readers.tgifqa",
        classes=0,
        embedded=True,
        captions=False,
        labelled=False,
        extras=frozenset({"question", "options", "answer"}),
        clean="test",
        shifts=SHIFTS,
        settings={"train_per_class": 100, "val_per_class": 25},
        options={"resolution": 64},
        description="made here: what happens in clips of motes-vtt, one of five options",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="motes-mosi",
        reader="sweep.data.readers.mosi",
        classes=0,
        embedded=True,
        captions=True,
        labelled=False,
        extras=frozenset({"rating"}),
        clean="test",
        shifts=SHIFTS,
        settings={"train_per_class": 384, "val_per_class": 120},
        options={"resolution": 64},
        description="made here: a rating from -3 to 3, which is how far an object rises",
        source="sweep/data/motes/make.py",
    ),
    DatasetSpec(
        name="ssv2",
        reader="sweep.data.readers.ssv2",
        classes=174,
        embedded=False,
        captions=True,
        shifts=(),
        options={"tested_on": "validation", "encoding": "utf-8", "fps": None},
        description="Something-Something V2, or a folder of your own in its format",
        source="arXiv:1706.04261",
        files=(
            "labels/labels.json, train.json, validation.json, or something-something-v2-*.json",
            "labels/test-answers.csv for data.options.tested_on=test",
            "or train.csv, validation.csv with filename,classname, or with `path label` lines",
            "20bn-something-something-v2/<id>.webm, or videos/",
        ),
    ),
    DatasetSpec(
        name="ucf101",
        reader="sweep.data.readers.ucf101",
        classes=101,
        embedded=False,
        captions=False,
        shifts=(),
        options={"fold": 1, "encoding": "utf-8", "fps": None},
        description="UCF101 (three splits: data.options.fold), or a folder in its format",
        source="arXiv:1212.0402",
        files=(_UCF_LISTS, _UCF_TABLE, _UCF_VIDEOS),
    ),
    DatasetSpec(
        name="hmdb51",
        reader="sweep.data.readers.hmdb51",
        classes=51,
        embedded=False,
        captions=False,
        shifts=(),
        options={"fold": 1, "encoding": "utf-8", "fps": None},
        description="HMDB51 (three splits: data.options.fold), or a folder in its format",
        source="doi:10.1109/ICCV.2011.6126543",
        files=(
            "testTrainMulti_7030_splits/<class>_test_split<fold>.txt",
            "or hmdb51.csv with video_id,label,split1,split2,split3",
            "hmdb51/<class>/*.avi, or hmdb51_org/, videos/",
        ),
    ),
    DatasetSpec(
        name="msrvtt",
        reader="sweep.data.readers.msrvtt",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        shifts=(),
        options={"split": "9k", "encoding": "utf-8"},
        files=(
            "MSRVTT_data.json, MSRVTT_train.9k.csv (or .7k), MSRVTT_JSFUSION_test.csv",
            "or MSR_VTT.json, train_list_9k.txt, val_list_jsfusion.txt, jsfusion_val_*.pkl",
            "or train_9k.json, test.json, or txt_msrvtt-retrieval.json",
            "TrainValVideo/, TestVideo/, or videos/",
        ),
        description="MSR-VTT, 1k-A test pairs (9k or 7k training videos: data.options.split)",
        source="doi:10.1109/CVPR.2016.571",
    ),
    DatasetSpec(
        name="msrvtt-full",
        reader="sweep.data.readers.msrvtt_full",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        clean="test",
        validation="val",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "MSRVTT_data.json, and its split or MSRVTT_{train,val,test}.full.csv",
            "TrainValVideo/, TestVideo/, or videos/",
        ),
        description="MSR-VTT, official split: 6,513, 497 and 2,990 videos of 20 captions",
        source="doi:10.1109/CVPR.2016.571",
    ),
    DatasetSpec(
        name="msvd",
        reader="sweep.data.readers.msvd",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        clean="test",
        validation="val",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "{train,val,test}_list.txt",
            "raw-captions.json, captions_msvd.json or raw-captions.pkl",
            "or MSVD_{train,val,test}.tsv",
            "YouTubeClips/<id>.avi, or videos/",
        ),
        description="MSVD: 1,200, 100 and 670 videos of about 40 captions",
        source="aclanthology:P11-1020",
    ),
    DatasetSpec(
        name="didemo",
        reader="sweep.data.readers.didemo",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        clean="test",
        validation="val",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "{train,val,test}_data.json; {train,val,test}_list.txt, if any",
            "videos/<video>, with any extension",
        ),
        description="DiDeMo: a paragraph a video",
        source="arXiv:1708.01641",
    ),
    DatasetSpec(
        name="lsmdc",
        reader="sweep.data.readers.lsmdc",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        clean="test",
        validation="val",
        shifts=(),
        options={"test": "1k", "encoding": "utf-8"},
        files=(
            "LSMDC16_annos_training.csv, LSMDC16_annos_val.csv",
            "LSMDC16_challenge_1000_publictect.csv, or LSMDC16_annos_test.csv",
            "<film>/<clip>.avi, or videos/<film>/",
        ),
        description="LSMDC: clips of films (1,000 test clips, or all: data.options.test=full)",
        source="arXiv:1605.03705",
    ),
    DatasetSpec(
        name="activitynet",
        reader="sweep.data.readers.activitynet",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        extras=frozenset({"segments", "sentences"}),
        clean="test",
        shifts=(),
        options={"val": 1, "encoding": "utf-8"},
        files=(
            "train.json, val_1.json, val_2.json; train_ids.json, val_ids.json, if any",
            "videos/v_<id>.mp4, or train/, val/",
        ),
        description="ActivityNet Captions: a paragraph a video (val_1 or val_2: data.options.val)",
        source="arXiv:1705.00754",
    ),
    DatasetSpec(
        name="youcook2",
        reader="sweep.data.readers.youcook2",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        extras=frozenset({"task", "segments"}),
        clean="test",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "youcookii_annotations_trainval.json; validation_youcook.csv, if any",
            "raw_videos/<training or validation>/<recipe>/<id>, or videos/",
        ),
        description="YouCook2: a clip of a cooking video for every instruction",
        source="arXiv:1703.09788",
    ),
    DatasetSpec(
        name="crosstask",
        reader="sweep.data.readers.crosstask",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        extras=frozenset({"task", "segments"}),
        clean="test",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "tasks_primary.txt, videos.csv, videos_val.csv, annotations/<task>_<video>.csv",
            "or crosstask.csv, train_crosstask.csv with end,start,task_id,text,video_id",
            "videos/<task>/<video>.mp4, or videos/",
        ),
        description="CrossTask: a clip for every step of 18 tasks",
        source="arXiv:1903.08225",
    ),
    DatasetSpec(
        name="howto100m",
        reader="sweep.data.readers.howto100m",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        extras=frozenset({"segments"}),
        clean="test",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "videos.csv or train.csv with video_path, HowTo100M_v1.csv or ht100_videos_split.csv",
            "captions/<id>.json or caption/<id>.json, raw_caption.json or caption.json",
            "crosstask.csv or validation_youcook.csv",
            "videos/",
        ),
        description="HowTo100M: narrated videos; tested on clips of CrossTask or YouCook2",
        source="arXiv:1906.03327",
    ),
    DatasetSpec(
        name="tgifqa",
        reader="sweep.data.readers.tgifqa",
        classes=0,
        embedded=False,
        captions=False,
        labelled=False,
        extras=frozenset({"question", "options", "answer"}),
        clean="test",
        shifts=(),
        options={"task": "action", "encoding": "utf-8"},
        files=(
            "{Train,Test}_<task>_question.csv (tabs), or <task>_{train,test}.jsonl",
            "or txt_tgif-<task>.json",
            "gifs/<gif_name>.gif, or videos/",
        ),
        description="TGIF-QA, one of five options (action or transition: data.options.task)",
        source="arXiv:1704.04497",
    ),
    DatasetSpec(
        name="tgifqa-frameqa",
        reader="sweep.data.readers.tgifqa_frameqa",
        classes=0,
        embedded=False,
        captions=False,
        labelled=False,
        extras=frozenset({"question", "answer", "answer_id"}),
        clean="test",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "{Train,Test}_frameqa_question.csv (tabs), or txt_tgif-frame.json",
            "gifs/<gif_name>.gif, or videos/",
        ),
        description="TGIF-QA, answers of one word",
        source="arXiv:1704.04497",
    ),
    DatasetSpec(
        name="tgifqa-count",
        reader="sweep.data.readers.tgifqa_count",
        classes=0,
        embedded=False,
        captions=False,
        labelled=False,
        extras=frozenset({"question", "count"}),
        clean="test",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "{Train,Test}_count_question.csv (tabs)",
            "gifs/<gif_name>.gif, or videos/",
        ),
        description="TGIF-QA, how often something is done",
        source="arXiv:1704.04497",
    ),
    DatasetSpec(
        name="msvdqa",
        reader="sweep.data.readers.msvdqa",
        classes=0,
        embedded=False,
        captions=False,
        labelled=False,
        extras=frozenset({"question", "answer", "answer_id"}),
        clean="test",
        validation="val",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "{train,val,test}_qa.json, youtube_mapping.txt; msvd_answer_set.txt, if any",
            "or txt_msvd-qa.json",
            "YouTubeClips/<name>.avi or vid<n>.avi, or videos/",
        ),
        description="MSVD-QA: questions answered by one of 1,000 words",
        source="doi:10.1145/3123266.3123427",
    ),
    DatasetSpec(
        name="mosi",
        reader="sweep.data.readers.mosi",
        classes=0,
        embedded=False,
        captions=True,
        labelled=False,
        extras=frozenset({"rating"}),
        clean="test",
        validation="val",
        shifts=(),
        options={"encoding": "utf-8"},
        files=(
            "label.csv with video_id,clip_id,text,label,mode",
            "Raw/<video_id>/<clip_id>.mp4, or Raw/Video/Segmented/<video_id>_<clip_id>.mp4",
        ),
        description="CMU-MOSI: how positive an opinion is, from -3 to 3",
        source="arXiv:1606.06259",
    ),
    DatasetSpec(
        name="ucf101-ds",
        reader="sweep.data.readers.ucf101",
        classes=101,
        embedded=False,
        captions=False,
        shifts=(),
        options={"fold": 1, "shifts": "category", "encoding": "utf-8", "fps": None},
        description="UCF101, tested on UCF101-DS as well: a set per category (data.options.shifts)",
        source="arXiv:2207.01398",
        files=(
            _UCF_LISTS,
            _UCF_TABLE,
            _UCF_VIDEOS,
            "ucf101-ds.csv with path,label[,shift,category]; its videos in UCF101-DS/",
        ),
    ),
    DatasetSpec(
        name="kinetics400",
        reader="sweep.data.readers.kinetics",
        classes=400,
        embedded=False,
        captions=False,
        shifts=(),
        options={"encoding": "utf-8", "fps": None},
        description="Kinetics-400 (or 600, 700), tested on its validation clips",
        source="arXiv:1705.06950",
        files=(
            "train.csv, val.csv (or kinetics-400_*.csv) with label,youtube_id,time_start,time_end",
            "kinetics_label_map.txt, if any: class names, one a line",
            "<split>/<class>/<youtube_id>_<start>_<end>.mp4 or <youtube_id>.mp4, or fewer folders",
        ),
    ),
    DatasetSpec(
        name="diving48",
        reader="sweep.data.readers.diving48",
        classes=48,
        embedded=False,
        captions=False,
        shifts=(),
        options={"encoding": "utf-8", "fps": None},
        description="Diving-48, version 2 (the labels of version 1 are refused)",
        source="doi:10.1007/978-3-030-01231-1_32",
        files=(
            "Diving48_V2_train.json, Diving48_V2_test.json",
            "Diving48_vocab.json, or label_map.txt",
            "rgb/<vid_name>.mp4",
        ),
    ),
    DatasetSpec(
        name="imagenet100",
        reader="sweep.data.readers.imagenet100",
        classes=100,
        embedded=False,
        captions=False,
        shifts=(),
        options={"order": "list", "encoding": "utf-8"},
        is_listed=False,
        description="ImageNet-100: still images; labels by the order of its list of classes",
        source="arXiv:1906.05849",
        files=(
            "imagenet100.txt: a hundred wnids, one a line",
            "train/<wnid>/*.JPEG, val/<wnid>/*.JPEG (of all of ImageNet, or of these alone)",
        ),
    ),
    DatasetSpec(
        name="folder",
        reader="sweep.data.readers.folder",
        classes=0,
        embedded=False,
        captions=False,
        shifts=(),
        options={**_DRAWN, "fps": None},
        is_listed=False,
        description="your own clips: a folder per class with videos, images or folders of frames",
        source="own",
        files=(
            "<class>/*.mp4: a share of every class is tested on (data.options.test_share)",
            "or train/<class>/, test/<class>/ (or val/), and <shift>/<class>/ for shifts",
        ),
    ),
    DatasetSpec(
        name="table",
        reader="sweep.data.readers.table",
        classes=0,
        embedded=False,
        captions=True,
        shifts=(),
        options={"file": "", **_DRAWN, "encoding": "utf-8", "fps": None},
        description="your own clips: a table of path,label, and split,caption,start,end if any",
        source="own",
        files=(
            "clips.csv or .tsv with path,label[,split,caption,start,end,group]",
            "or train.csv and test.csv (or val.csv); classes.txt, if any: class names",
            "videos below the root or videos/",
        ),
    ),
    DatasetSpec(
        name="list",
        reader="sweep.data.readers.path_list",
        classes=0,
        embedded=False,
        captions=False,
        shifts=(),
        options={"train": "", "test": "", "encoding": "utf-8", "fps": None},
        description="your own clips: lists of `path label` lines, as V-JEPA has them",
        source="own",
        files=(
            "train.txt and test.txt or val.txt (or .csv, or data.options.train and .test)",
            "classes.txt, if any: class names",
            "videos where the paths say, below the root or videos/",
        ),
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
