"""Seeded damage to what the command line reads, and what came of it.

Every case must end in one of three ways: a refusal (exit 2 and a message), a counted exclusion, or
a right run that shows something. A traceback, a silent success and an overrun are faults.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import shutil
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path

import yaml

from sweep.run import main
from tests.data.numbered import write

ROOT = Path(__file__).resolve().parents[2]
STUDIES = sorted((ROOT / "sweep" / "studies").glob("*.yaml"))
SWEEPS = sorted(f for f in (ROOT / "tests" / "frozen" / "sweeps").iterdir() if f.name != "count")
LIMIT_S = 60
KINDS = ("study", "annotation", "sweep", "video")
#: One sweep of so many is reported, which draws figures; the others are asked for their status.
REPORT_EVERY = 12
#: Videos that one call of `data index` looks at.
VIDEOS = 25
#: Suffix of a container file and the codec in it.
CONTAINERS = {
    "mp4": "libx264", "mov": "libx264", "mkv": "libx264", "avi": "mpeg4", "webm": "libvpx",
    "ts": "mpeg2video", "flv": "libx264", "3gp": "mpeg4",
}  # fmt: skip

VALUES = (
    None, True, False, 0, -1, 3, 2.5, 10**5, float("inf"), float("nan"), "", " ", "yes", "nan",
    "12:30:45", "ä\u0000ö", "../../etc", "x" * 5000, [], {}, [None], [[1]], [3, "x"], {"": 1},
    {"a": {"b": []}},
)  # fmt: skip
TEXTS = (
    "", "\t", "null", "~", "[", "{", "*none", "&a [*a]", "!!python/object:os.system x",
    "2020-01-01", ".inf", "-.inf", ".nan", "0x10", "1_000", "no", "'", '"', "|", "? x",
    "<<: 1", "%YAML 9", "---",
)  # fmt: skip
BYTES = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x80\x81",
    b"\r",
    b"\n\n",
    b"{}",
    b"[]",
    b"null",
)

#: What a command says that did something.
DID = {
    "plan": r"^cells +[1-9]",
    "data": r"^train +[1-9]",
    "status": r"^SWEEP_STATUS=|is damaged and counts as missing",
    "report": r"report",
}


class Overrun(BaseException):
    """The case took longer than its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one case ended; `fault` is None where it ended well."""

    kind: str
    seed: int
    ending: str
    fault: str | None = None


def run(kind: str, seed: int, folder: Path, weight: int = 1) -> list[Outcome]:
    """One case, or, for videos, `weight` of them by one call."""
    chance = random.Random(f"{kind} {seed}")
    folder.mkdir(parents=True)
    arguments = {"study": study, "annotation": annotation, "sweep": sweep}.get(kind)
    command = arguments(chance, folder) if arguments else videos(chance, folder, weight)
    code, shown = call(command)
    shutil.rmtree(folder, ignore_errors=True)
    ending, fault = judge(code, shown, verb=command[0])
    if kind == "video" and fault is None:
        fault = uncounted(shown, weight)
    if fault:
        fault = f"{' '.join(command)}: {fault}\n{shown[-1500:]}"
    return [Outcome(kind=kind, seed=seed, ending=ending, fault=fault)] * weight


def call(command: list[str]) -> tuple[int | str, str]:
    """Exit code, or what was raised, and what was printed."""
    out = io.StringIO()
    before = signal.signal(signal.SIGALRM, _overrun)
    left, _ = signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code: int | str = main(command)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except Overrun:
        code = f"longer than {LIMIT_S} s"
    except Exception as error:
        places = traceback.extract_tb(error.__traceback__)[-2:]
        where = ", ".join(f"{Path(p.filename).name}:{p.lineno} {p.name}" for p in places)
        code = f"{type(error).__name__}: {error} ({where})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)
    return code, out.getvalue()


def _overrun(*_: object) -> None:
    raise Overrun


def judge(code: int | str, shown: str, *, verb: str) -> tuple[str, str | None]:
    """The ending, and what is wrong with it."""
    if isinstance(code, str):
        return "raised", code
    if "Traceback" in shown:
        return "raised", "a traceback was printed"
    if not shown.strip():
        return "silent", f"exit {code} without a word"
    if code == 2:
        return "refused", None
    if code == 1 and verb == "data" and re.search("too many unusable|trained on", shown):
        return "counted", None
    if code:
        return "failed", f"exit {code}"
    return "ran", None if re.search(DID[verb], shown, re.M) else "exit 0 with nothing done"


def uncounted(shown: str, files: int) -> str | None:
    """Whether the table of the index speaks of every video."""
    row = next((line for line in shown.splitlines() if line.startswith("train")), "")
    counts = [int(number) for number in re.findall(r"\b\d+\b", row)]
    return None if counts and counts[0] == files else f"{files} videos, and the index says {row!r}"


# ---------------------------------------------------------------------------------------- kinds
def study(chance: random.Random, folder: Path) -> list[str]:
    path = folder / "study.yaml"
    text = chance.choice(STUDIES).read_text(encoding="utf-8")
    if chance.random() < 0.5:
        content = yaml.safe_load(text)
        for _ in range(chance.choice((1, 1, 2))):
            change_value(chance, content)
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    else:
        path.write_bytes(change_text(chance, text))
    return ["plan", str(path), "--out", str(folder / "out")]


def annotation(chance: random.Random, folder: Path) -> list[str]:
    form = chance.choice(tuple(FORMS))
    files = annotated(form, folder)
    path = chance.choice(files)
    if path.suffix == ".json" and chance.random() < 0.6:
        content = json.loads(path.read_text())
        holder = {"": content}
        change_value(chance, holder)
        path.write_text(json.dumps(holder.get("", [])))
    elif chance.random() < 0.1:
        path.unlink()
    else:
        path.write_bytes(change_text(chance, path.read_text()))
    cache = f"data.cache_dir={folder / 'cache'}"
    return ["data", "index", "--dataset", FORMS[form].dataset, f"data.root={folder}", cache]


@dataclass(frozen=True, slots=True)
class Form:
    """A data set, and where its videos stand: {0} is a number, {1} a name, {2} its class."""

    dataset: str
    video: str


FORMS = {
    "ssv2": Form("ssv2", "videos/{0}.mp4"),
    "list": Form("ssv2", "videos/{1}.mp4"),
    "ucf101": Form("ucf101", "videos/{2}/{1}.avi"),
    "hmdb51": Form("hmdb51", "videos/{2}/{1}.avi"),
    "msrvtt": Form("msrvtt", "videos/video{0}.mp4"),
}


def annotated(form: str, root: Path) -> list[Path]:
    """Annotation files of six videos."""
    names = [f"v_Jump_g{g:02d}_c01" for g in range(3)] + [f"v_Run_g{g:02d}_c01" for g in range(3)]
    if form == "ssv2":
        rows = [
            {
                "id": str(n),
                "label": f"moving {n}",
                "template": f"Moving [{n % 2}]",
                "placeholders": [str(n)],
            }
            for n in range(6)
        ]
        held = {
            "labels.json": json.dumps({"Moving 0": "0", "Moving 1": "1"}),
            "train.json": json.dumps(rows[:4]),
            "validation.json": json.dumps(rows[4:]),
        }
    elif form == "list":
        lines = [f"{name}.mp4 {int('Run' in name)}\n" for name in names]
        held = {
            "train.txt": "".join(lines[:2] + lines[3:5]), "validation.txt": lines[2] + lines[5],
        }  # fmt: skip
    elif form == "hmdb51":
        held = {
            f"{kind}_test_split1.txt": "".join(
                f"{name}.avi {1 + (place == 2)} \n"
                for place, name in enumerate(n for n in names if kind in n)
            )
            for kind in ("Jump", "Run")
        }
    elif form == "ucf101":
        lines = [f"{name.split('_')[1]}/{name}.avi" for name in names]
        held = {
            "classInd.txt": "1 Jump\n2 Run\n",
            "trainlist01.txt": "".join(f"{n} {1 + ('Run' in n)}\n" for n in lines[:2] + lines[3:5]),
            "testlist01.txt": "".join(f"{line}\n" for line in (lines[2], lines[5])),
        }
    else:
        sentences = [{"video_id": f"video{n}", "caption": f"a cat {n}"} for n in range(6)]
        held = {
            "MSRVTT_data.json": json.dumps({"sentences": sentences, "videos": []}),
            "MSRVTT_train.9k.csv": "video_id\n" + "".join(f"video{n}\n" for n in range(4)),
            "MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\n"
            + "".join(f"ret{n},msr{n},video{n},a cat {n}\n" for n in (4, 5)),
        }
    for name, text in held.items():
        (root / name).write_text(text)
    for number, name in enumerate(names):
        place = root / FORMS[form].video.format(number, name, name.split("_")[1])
        write(place, codec="mpeg4", frames=10, first=20 * number)
    return [root / name for name in held]


def sweep(chance: random.Random, folder: Path) -> list[str]:
    place = folder / "sweep"
    shutil.copytree(chance.choice(SWEEPS), place)
    files = sorted(f for f in place.rglob("*") if f.is_file())
    at_top = [f for f in files if f.parent == place]
    for _ in range(chance.choice((1, 1, 3))):
        path = chance.choice(at_top if chance.random() < 0.6 else files)
        if path.exists():
            damage(chance, path)
    verb = "report" if chance.randrange(REPORT_EVERY) == 0 else "status"
    return [verb, str(place)]


def damage(chance: random.Random, path: Path) -> None:
    """Cut, empty, remove or fill a file with what does not belong there."""
    if path.is_dir():
        return
    if path.suffix == ".json" and chance.random() < 0.5 and _is_json(path):
        holder = {"": json.loads(path.read_text())}
        change_value(chance, holder)
        path.write_text(json.dumps(holder.get("", [])))
        return
    old = path.read_bytes()
    how = chance.randrange(6)
    if how == 0:
        path.unlink()
    elif how == 1:
        path.unlink()
        path.mkdir()
    elif how == 2:
        path.write_bytes(old[: chance.randrange(len(old) + 1)])
    elif how == 3:
        path.write_bytes(chance.choice(BYTES))
    elif how == 4:
        path.write_bytes(chance.randbytes(200))
    else:
        place = chance.randrange(len(old) + 1)
        path.write_bytes(old[:place] + chance.choice(BYTES) + old[place + 3 :])


def _is_json(path: Path) -> bool:
    """Whether nothing damaged it before."""
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def videos(chance: random.Random, folder: Path, count: int) -> list[str]:
    """`count` training videos, most of them damaged."""
    whole = []
    for number, suffix in enumerate(chance.sample(sorted(CONTAINERS), 3)):
        path = folder / f"{number}.{suffix}"
        write(path, codec=CONTAINERS[suffix], frames=20, first=number)
        whole.append((suffix, path.read_bytes()))
        path.unlink()
    (folder / "videos").mkdir()
    lists = {"train.csv": "", "validation.csv": ""}
    for number in range(count + 2):
        suffix, content = chance.choice(whole)
        if number < count:
            content = change_bytes(chance, content)
        (folder / "videos" / f"{number}.{suffix}").write_bytes(content)
        lists["train.csv" if number < count else "validation.csv"] += (
            f"{number}.{suffix} {number % 2}\n"
        )
    for name, text in lists.items():
        (folder / name).write_text(text)
    cache = f"data.cache_dir={folder / 'cache'}"
    return ["data", "index", "--dataset", "ssv2", f"data.root={folder}", cache]


# -------------------------------------------------------------------------------------- changes
def change_value(chance: random.Random, content: dict) -> None:
    """Replace, remove, rename or double one value somewhere inside."""
    places = [(content, key) for key in content]
    for holder, key in places:
        inner = holder[key]
        if isinstance(inner, dict):
            places += [(inner, k) for k in inner]
        elif isinstance(inner, list):
            places += [(inner, k) for k in range(len(inner))]
    holder, key = chance.choice(places)
    how = chance.randrange(5)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict) and isinstance(key, str) and key:
        holder[key + chance.choice("xé ")] = holder.pop(key)
    elif how == 2:
        holder[key] = [holder[key], holder[key]]
    else:
        holder[key] = chance.choice(VALUES)


def change_text(chance: random.Random, text: str) -> bytes:
    """Lines lost, doubled, swapped, moved, filled with other words, bytes of other encodings."""
    lines = text.splitlines()
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(lines)) if lines else 0
        line = lines[place] if lines else ""
        how = chance.randrange(8)
        if how == 0 and lines:
            del lines[place]
        elif how == 1:
            lines.insert(place, line)
        elif how == 2 and lines:
            lines[place] = chance.choice((" ", "  ", "\t")) + line
        elif how == 3 and ":" in line:
            lines[place] = line.partition(":")[0] + ": " + chance.choice(TEXTS)
        elif how == 4 and lines:
            lines[place] = line[: chance.randrange(len(line) + 1)]
        elif how == 5:
            lines = lines[:place]
        elif how == 6 and lines:
            lines[place] = line + chance.choice((" 3", ",", " x y", " -1", "\u2028", " #"))
        else:
            lines.insert(place, chance.choice(TEXTS))
    content = "\n".join(lines).encode()
    if chance.random() < 0.2:
        place = chance.randrange(len(content) + 1)
        content = content[:place] + chance.choice(BYTES) + content[place:]
    return (
        content.decode("utf-8", "replace").encode("utf-16") if chance.random() < 0.03 else content
    )


def change_bytes(chance: random.Random, content: bytes) -> bytes:
    """Cut off, emptied, flipped, foreign or left as it is."""
    how = chance.randrange(6)
    if how == 0:
        return content
    if how == 1:
        return content[: chance.randrange(len(content))]
    if how == 2:
        return chance.choice(BYTES) or chance.randbytes(3000)
    if how == 3:
        start = chance.randrange(len(content))
        return content[:start] + content[start + chance.randrange(1, 500) :]
    changed = bytearray(content)
    for _ in range(chance.choice((1, 5, 50))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)
