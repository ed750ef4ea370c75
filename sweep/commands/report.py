"""`report DIR`: (re)build the report of a sweep folder, finished or not, or print its answer."""

from __future__ import annotations

import sys
from pathlib import Path

from sweep.commands.examples import keep_examples
from sweep.runtime.program import program


def run(sweep: Path, *, answer: bool = False, latex: bool = False, wandb: bool = False) -> int:
    """Build the report and print its answer and paths.

    Args:
        sweep: Sweep folder.
        answer: Print the answer alone, with its grades; nothing is drawn or written.
        latex: Write tables for papers, too.
        wandb: Also publish the comparison report to Weights & Biases; a failure there is a
            warning, the local report stands.

    Returns:
        Exit code: 0, or 2 if the folder is no sweep or the report cannot be written.
    """
    from sweep.report.build import answer_text, build

    try:
        if answer:
            print("\n".join(answer_text(Path(sweep), command=program)))
            return 0
        keep_examples(Path(sweep))
        paths = build(Path(sweep), command=program, latex=latex)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{sweep}: the report cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    for sentence in (*paths.warnings, *paths.answer):
        print(f"- {sentence}")
    print()
    print(f"report   {paths.html}")
    print(f"markdown {paths.markdown}")
    print(f"tables   {paths.html.parent / 'tables'} ({len(paths.tables)} files)")
    print(f"figures  {paths.html.parent / 'figures'} ({len(paths.figures)} files)")
    if paths.latex:
        print(f"LaTeX    {paths.latex[0].parent} ({len(paths.latex)} files)")
    if wandb:
        _publish(Path(sweep))
    return 0


def _publish(sweep: Path) -> None:
    try:
        from sweep.report.workspace import publish

        print(f"W&B      {publish(sweep)}")
    except Exception as error:  # noqa: BLE001 - nothing that W&B does may cost the local report
        print(f"warning: no W&B report: {error}", file=sys.stderr)
