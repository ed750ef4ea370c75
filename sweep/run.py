"""Command line: ``python -m sweep.run`` or ``auxsweep``. Parses, then hands over to one command.

Nothing heavy is imported here: ``--help``, ``list`` and ``plan`` answer at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sweep.commands.terminal import tolerant_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweep.commands.plan import Wishes

EPILOG = """\
examples:
  python -m sweep.run                                     the twelve-minute tour: study quickstart
  python -m sweep.run plan quickstart                     what would run; nothing is started
  python -m sweep.run study quickstart losses.pixel.weight=1 --out runs/pixel-1
  python -m sweep.run study quickstart --debug            one cell in this process, for pdb
  python -m sweep.run study my-study.yaml data.root=/data/ssv2 --scale paper
  ray job submit --working-dir . -- python -m sweep.run study quickstart

exit codes: 0 all cells done, 1 some failed, 2 configuration or environment, 3 over budget,
130/143 interrupted (resume with the same command)
"""

CATALOGUES = ("studies", "losses", "models", "perturbations", "combiners", "datasets", "tasks")


class _Parser(argparse.ArgumentParser):
    """Unknown verbs and flags name the nearest allowed one."""

    def error(self, message: str) -> NoReturn:
        import re

        from sweep.settings.section import nearest

        given = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if given:
            allowed = re.findall(r"[\w-]+", given[2])
            message += _study_hint(given[1]) or nearest(given[1], allowed)
        # argparse counts what may be left out among what is missing
        message = message.removesuffix(", KEY=VALUE")
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n")


def _study_hint(given: str) -> str:
    """For a study where a verb belongs."""
    from sweep.studies.load import study_names

    named = given in study_names() or given.endswith((".yaml", ".yml"))
    return f"; did you mean `study {given}`?" if named else ""


class _Version(argparse.Action):
    """Print the version; looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib import metadata

        try:
            found = metadata.version("auxsweep")
        except metadata.PackageNotFoundError:
            found = "source"
        print(f"auxsweep {found}")
        parser.exit(0)


def parser() -> argparse.ArgumentParser:
    """The whole command line; a closed list of verbs and flags (new knobs go to YAML)."""
    top = _Parser(
        prog="auxsweep",
        description="Which auxiliary losses - how many, how diverse, with which weights - make a "
        "video model robust out of distribution?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)

    study = verbs.add_parser("study", help="run a built-in study or a YAML file of your own")
    _study_arguments(study)
    study.add_argument("--local", action="store_true", help="in this process, without Ray")
    study.add_argument(
        "--debug", action="store_true", help="one cell, few steps, no Ray: pdb and breakpoints work"
    )
    study.add_argument(
        "--yes", action="store_true", help="run it although --effect would hardly be found"
    )
    study.add_argument(
        "--extend",
        action="store_true",
        help="add the cells of a study that grew (seeds, losses, sets) to the sweep in --out",
    )

    plan = verbs.add_parser("plan", help="show cells, seeds, cost and power; starts nothing")
    _study_arguments(plan)
    plan.add_argument("--json", action="store_true", help="machine-readable")
    plan.add_argument("--yes", action="store_true", help="plan it although --effect is too small")
    plan.add_argument("--local", action="store_true", help="for a run without Ray")
    plan.add_argument(
        "--dry-step", action="store_true", help="measure a few real steps of each kind of cell here"
    )
    plan.add_argument("--workers", type=int, metavar="N", help="trials at a time")
    plan.add_argument("--cluster", action="store_true", help="ask the running Ray cluster how many")

    for verb, text in (
        ("resume", "continue a sweep; finished cells never run again"),
        ("status", "what is done, running and failed"),
    ):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("sweep", type=Path, help="folder of the sweep")
        if verb == "resume":
            command.add_argument("--local", action="store_true", help="without Ray")
            command.add_argument(
                "--budget",
                metavar="16gpuh",
                help="instead of the stored limit; none: no limit",
            )
        else:
            command.add_argument("--json", action="store_true", help="machine-readable")

    report = verbs.add_parser("report", help="HTML, Markdown, CSV and figures; W&B report")
    report.add_argument("sweep", type=Path, help="folder of the sweep")
    report.add_argument("--wandb", action="store_true", help="also publish a W&B report")

    sync = verbs.add_parser(
        "sync", help="(re)create the W&B runs from the ledger, upload if online"
    )
    sync.add_argument("sweep", type=Path, help="folder of the sweep")
    sync.add_argument("--live", action="store_true", help="follow a sweep that is running")

    replay = verbs.add_parser("replay", help="one finished cell again, here; compares the numbers")
    replay.add_argument("sweep", type=Path, help="folder of the sweep")
    replay.add_argument("cell", help="cell key (or its beginning), or LABEL/sSEED")

    data = verbs.add_parser("data", help="make, index, cache or verify a data set")
    data.add_argument("action", choices=("make", "index", "cache", "verify"))
    data.add_argument(
        "--dataset", default="motes-ssv2", metavar="NAME", help="see `list datasets` (%(default)s)"
    )
    data.add_argument("overrides", nargs="*", metavar="data.KEY=VALUE")

    perturb = verbs.add_parser("perturb", help="contact sheets and clips of every perturbation")
    perturb.add_argument("video", type=Path, help="any video file")
    perturb.add_argument("--out", type=Path, required=True, help="folder for sheets and clips")
    perturb.add_argument("--only", nargs="+", metavar="NAME", help="these perturbations")
    perturb.add_argument("--ladder", default="paper_fixed", help="severity table")
    perturb.add_argument("--frames", type=int, default=16)
    perturb.add_argument("--size", type=int, default=224, help="side in pixels")
    perturb.add_argument("--seed", type=int, default=0)
    perturb.add_argument("--no-clips", action="store_true", help="sheets only")

    listing = verbs.add_parser("list", help="what can be named in a study")
    listing.add_argument("what", nargs="?", choices=CATALOGUES)
    listing.add_argument("--json", action="store_true", help="one JSON object for programs")

    doctor = verbs.add_parser("doctor", help="check this machine or cluster")
    doctor.add_argument("--address", help="of a Ray cluster (default: $RAY_ADDRESS)")
    doctor.add_argument("--out", type=Path, help="folder that sweeps will be written to")
    doctor.add_argument("--local", action="store_true", help="skip Ray")
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of lines")

    from sweep.commands.bench import ROWS

    bench = verbs.add_parser(
        "bench",
        help="ours against the naive way, interleaved",
        epilog=f"rows: {', '.join(ROWS)}",
    )
    bench.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    bench.add_argument("--only", nargs="+", metavar="NAME", help="these rows")
    bench.add_argument("--json", type=Path, help="also write the rows here")
    return top


def _study_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", help="name of a built-in study, or a YAML file")
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="dotted, YAML values")
    command.add_argument("--scale", help="mini (default) or paper")
    command.add_argument("--out", type=Path, help="folder of the sweep (default: runs/<study>)")
    command.add_argument(
        "--budget",
        metavar="8gpuh",
        help="largest cost (gpuh, cpuh; h, min, d from start to end): picks the fidelity that fits "
        "before a sweep begins, ends it before a cell that would not fit any more",
    )
    command.add_argument(
        "--effect",
        type=float,
        metavar="POINTS",
        help="smallest effect of interest: refused where it would hardly be found",
    )
    command.add_argument(
        "--reuse",
        nargs="+",
        default=[],
        metavar="DIR",
        help="sweeps, or folders of sweeps, whose finished cells of equal content are taken over",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; user mistakes become one message and exit code 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (
        arguments[0].startswith("--") and arguments[0] not in {"--help", "--version"}
    ):
        arguments = ["study", "quickstart", *arguments]
    with tolerant_output():
        args = _parse(arguments)
        try:
            return _dispatch(args)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 128 + signal.SIGINT
        except (ValueError, OSError, RuntimeError) as error:
            # every mistake of a user is a ValueError with a message made for them; what the
            # machine refuses (a folder, a disk) is an OSError
            if os.environ.get("AUXSWEEP_TRACEBACK") or not _is_told(error):
                raise
            print(f"auxsweep: {_message(error)}", file=sys.stderr)
            return 2


def _is_told(error: Exception) -> bool:
    """Whether its message is enough; any other error of the program shows where it happened."""
    return not isinstance(error, RuntimeError) or "home directory" in str(error)


def _message(error: Exception) -> str:
    """What to tell the user; an error of the machine gets its place and a way out."""
    if isinstance(error, RuntimeError):
        return (
            "there is no home folder here (HOME is not set, and this user has none): set HOME, or "
            "say where things go: AUXSWEEP_CACHE=DIR for stored clips, --out DIR for sweeps"
        )
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    return (
        f"{place}{error.strerror}. Folders can be set: AUXSWEEP_CACHE or data.cache_dir=DIR for "
        "stored clips, --out DIR or AUXSWEEP_RUNS for sweeps, TMPDIR for temporary files"
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse; `key=value` overrides may stand anywhere, before and after flags."""
    top = parser()
    args, rest = top.parse_known_args(arguments)
    strange = [text for text in rest if text.startswith("-") or "=" not in text]
    if strange or (rest and not hasattr(args, "overrides")):
        from sweep.settings.section import nearest

        first = (strange or rest)[0].partition("=")[0]
        hint = nearest(first, [f"--{name.replace('_', '-')}" for name in vars(args)])
        top.error(f"unrecognized arguments: {' '.join(strange or rest)}{hint}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    if getattr(args, "reuse", None):  # overrides behind it are none of its folders
        args.overrides += [text for text in args.reuse if "=" in text]
        args.reuse = [text for text in args.reuse if "=" not in text]
    return args


def _wishes(args: argparse.Namespace) -> Wishes:
    """What `plan` and `study` are asked besides the study itself."""
    from sweep.commands.plan import Wishes

    return Wishes(
        out=args.out,
        reuse=tuple(args.reuse),
        workers=getattr(args, "workers", None),
        cluster=getattr(args, "cluster", False),
        dry_step=getattr(args, "dry_step", False),
        budget=args.budget,
        effect=args.effect,
        yes=args.yes,
        ray=not args.local,
    )


def _dispatch(args: argparse.Namespace) -> int:
    """Import the command's module, and nothing else."""
    match args.verb:
        case "study":
            from sweep.commands import study

            return study.run(
                args.study,
                scale=args.scale,
                overrides=args.overrides,
                out=args.out,
                engine="local" if args.local or args.debug else "ray",
                debug=args.debug,
                extend=args.extend,
                wishes=_wishes(args),
            )
        case "plan":
            from sweep.commands import plan

            return plan.run(
                args.study,
                scale=args.scale,
                overrides=args.overrides,
                as_json=args.json,
                wishes=_wishes(args),
            )
        case "resume":
            from sweep.commands import resume

            engine = "local" if args.local else "ray"
            return resume.run(args.sweep, engine=engine, budget=args.budget)
        case "status":
            from sweep.commands import status

            return status.run(args.sweep, as_json=args.json)
        case "report":
            from sweep.commands import report

            return report.run(args.sweep, wandb=args.wandb)
        case "sync":
            from sweep.commands import sync

            return sync.run(args.sweep, live=args.live)
        case "replay":
            from sweep.commands import replay

            return replay.run(args.sweep, args.cell)
        case "data":
            from sweep.commands import data
            from sweep.studies.load import data_settings_from

            settings = data_settings_from(args.dataset, args.overrides)
            return data.run(args.action, settings)
        case "perturb":
            from sweep.commands import perturb

            return perturb.run(
                args.video,
                args.out,
                names=args.only,
                severities=range(1, 6),
                ladder=args.ladder,
                frames=args.frames,
                size=args.size,
                seed=args.seed,
                clips=not args.no_clips,
            )
        case "list":
            from sweep.commands import listing

            return listing.run(args.what, as_json=args.json)
        case "doctor":
            from sweep.commands import doctor

            return doctor.run(
                address=args.address, out=args.out, local=args.local, as_json=args.json
            )
        case _:
            from sweep.commands import bench

            return bench.run(device=args.device, only=args.only, json_path=args.json)


if __name__ == "__main__":
    sys.exit(main())
