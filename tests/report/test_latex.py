"""Tables for papers: what TeX would refuse, and the numbers in them."""

import re
import shutil
import subprocess

import pytest

from sweep.report import build as building
from sweep.report import latex
from sweep.report.evidence import collect
from sweep.statistics.intervals import mean_interval

SMALL = {"few": True, "clips": 40, "steps": 40}
WHOLE = {"untrained": (), "failed": (), "missing": ()}


def found_in(sweep):
    return building._findings(collect(sweep), lambda *_: "")


def check(text):
    """Raise on what TeX refuses of a table; returns the cells of its rows, the head first."""
    assert text.isascii(), sorted({c for c in text if not c.isascii()})
    body = re.sub(r"(?<!\\)%.*", "", text)
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    bare = re.sub(r"\\[&%$#_{}\\]", "", body)
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert "#" not in bare
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lrc]+)\}", body)
    inside = body.split("\\toprule")[1].split("\\bottomrule")[0].replace("\\midrule", "")
    rows = [row.strip() for row in inside.split("\\\\") if row.strip()]
    table = [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]
    for row in table:
        assert len(row) == len(columns), row
        assert not row[0].startswith(("[", "*")), "read as the argument of the line's end"
        for cell in row:
            parts = re.split(r"(?<!\\)\$", cell)
            assert len(parts) % 2 == 1, f"open formula: {cell}"
            for outside in parts[::2]:
                assert not re.search(r"(?<!\\)[_^]", outside), f"script outside a formula: {cell}"
    assert "&" not in re.sub(r"\\&", "", body.split("\\begin{tabular}")[0])
    assert not re.search(r"(?<![\\$])[_^]", re.sub(r"\$[^$]*\$", "", body.split("\\label")[0]))
    for needed in ("\\caption{", "\\label{tab:", "\\centering"):
        assert needed in body
    return table


STRANGE = {
    "sets": {
        "none": (),
        "all": ("consistency", "infonce"),
        "[odd] 50% & more_of #1": ("consistency",),
        "*star* ^~\\x {b}": ("infonce",),
    }
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seeds": (300, 301, 302, 303, 304), **WHOLE},
        {"seeds": (300,), **WHOLE},
        {"combiners": ("meltr", "equal"), **WHOLE},
        {"design": "pairs", "losses": ("consistency", "infonce", "pixel"), **WHOLE},
        {"design": "sets", "losses": ("consistency", "infonce"), **STRANGE, **WHOLE},
    ],
)
def test_every_table_is_one_that_tex_takes(new_sweep, tmp_path, options):
    texts = latex.tables(found_in(new_sweep(**SMALL, **options)))
    assert list(texts) == ["cells", "comparisons"]
    for text in texts.values():
        check(text)
    program = shutil.which("pdflatex")
    if program is not None:
        whole = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        (tmp_path / "t.tex").write_text(f"{whole}{''.join(texts.values())}\\end{{document}}\n")
        command = [program, "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stdout.decode(errors="replace")[-2000:]


@pytest.fixture(scope="session")
def five(new_sweep):
    return new_sweep(**SMALL, **WHOLE, seeds=(300, 301, 302, 303, 304))


def test_the_numbers_are_those_of_the_cells(five):
    evidence = collect(five)
    head, *rows = check(latex.tables(found_in(five))["cells"])
    assert head[1:] == list(evidence.outcomes)
    assert len(rows) == len(evidence.finished)
    for row, cell in zip(rows, evidence.finished, strict=True):
        for text, patterns in zip(row[1:], evidence.outcomes.values(), strict=True):
            i = mean_interval(cell.values(patterns).values())
            assert text == f"${i.mean:.1f} \\pm {i.half:.1f}$"


def test_the_marks_are_the_grades(five):
    found = found_in(five)
    grades = {e.claim.grade for e in found.effects}
    assert grades == {"holds", "suggestive", "unresolved"}
    head, *rows = check(latex.tables(found)["comparisons"])
    by_name = {
        row[0].replace("\\_", "_"): dict(zip(head[1:], row[1:], strict=True)) for row in rows
    }
    for e in found.effects:
        shown = by_name[e.comparison.name][e.outcome]
        assert ("\\ast" in shown) == e.holds
        assert ("\\circ" in shown) == e.suggestive
        assert f"{abs(e.contrast.mean):.1f}" in shown


def test_a_run_that_did_not_train_is_marked(loo_sweep):
    texts = latex.tables(found_in(loo_sweep))
    assert "all $-$ infonce $^{\\dagger}$" in texts["cells"]
    assert "$^{\\dagger}$ a run of it did not train" in texts["cells"]
    assert "infonce $^{\\dagger}$" in texts["comparisons"]


def test_older_tables_are_never_left_beside_a_new_report(five, tmp_path):
    found = found_in(five)
    folder = tmp_path / "latex"
    folder.mkdir()
    (folder / "gone.tex").write_text("old")
    written = latex.write(found, folder)
    assert sorted(folder.iterdir()) == sorted(written)


def test_escaping_leaves_nothing_that_tex_reads_otherwise():
    strange = "\\ ~ ^ & % $ # _ { } < > | − – × ± γ ρ → †"
    text = latex.escaped(strange)
    assert text.isascii()
    for mark in "&%#_{}":
        assert f"\\{mark}" in text
    assert latex.escaped("plain words, 1.5") == "plain words, 1.5"
