"""The texts of one small table, word for word."""

# ruff: noqa: E501, RUF001 - texts as tables show them, with long notes and a true minus

import csv
import io
import math
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pdd_analysis.cells import Cell
from pdd_analysis.tables import Table, make_table, render
from tests.analysis.builders import record

MARKDOWN = r"""
| variant   | stages   |          progressive |
|:----------|:---------|---------------------:|
| mtt\|1    | 2        |     53.0 ± 2.6 (n=4) |
| pdd_5%    | 2        | **63.0 ± 3.2** (n=4) |

| stages   | compared        |                            progressive |
|:---------|:----------------|---------------------------------------:|
| 2        | pdd_5% − mtt\|1 | +10.0 [+3.6, +16.4] (2 seeds, p=0.032) |

Accuracy by variant, stages and mode. Protocol held_out: chosen on the validation slice, the test split read once after the last epoch. Mean ± standard deviation (ddof = 1) of n = 4 networks.

- Accuracy in percent on the test split (597 images) after the last epoch (300 epochs per stage).
- Cells: mean ± standard deviation (ddof = 1) over n networks of 2 seeds; 95% intervals (csv, json): Student t over the means of the seeds, since the networks of a seed share a distilled set; bold: highest mean of a column (and data set), and what ties with it, i.e. has a paired difference to it with an interval that contains 0.
- Chosen on validation: nothing.
- Differences: percentage points, paired by seed and network; 95% intervals: Student t over the means of the seeds, since the networks of a seed share a distilled set; p: paired t test, two-sided, not adjusted, as there is one comparison.
"""

LATEX = r"""
\begin{tabular}{llr}
\toprule
variant & stages & progressive \\
\midrule
mtt\textbar{}1 & 2 & 53.0 $\pm$ 2.6 (n=4) \\
pdd\_5\% & 2 & \textbf{63.0 $\pm$ 3.2} (n=4) \\
\bottomrule
\end{tabular}
\par\medskip
\begin{tabular}{llr}
\toprule
stages & compared & progressive \\
\midrule
2 & pdd\_5\% $-$ mtt\textbar{}1 & +10.0 [+3.6, +16.4] (2 seeds, p=0.032) \\
\bottomrule
\end{tabular}
\par\noindent{\footnotesize Accuracy by variant, stages and mode. Protocol held\_out: chosen on the validation slice, the test split read once after the last epoch. Mean $\pm$ standard deviation (ddof = 1) of n = 4 networks.}
\par\noindent{\footnotesize Accuracy in percent on the test split (597 images) after the last epoch (300 epochs per stage).}
\par\noindent{\footnotesize Cells: mean $\pm$ standard deviation (ddof = 1) over n networks of 2 seeds; 95\% intervals (csv, json): Student t over the means of the seeds, since the networks of a seed share a distilled set; bold: highest mean of a column (and data set), and what ties with it, i.e. has a paired difference to it with an interval that contains 0.}
\par\noindent{\footnotesize Chosen on validation: nothing.}
\par\noindent{\footnotesize Differences: percentage points, paired by seed and network; 95\% intervals: Student t over the means of the seeds, since the networks of a seed share a distilled set; p: paired t test, two-sided, not adjusted, as there is one comparison.}
"""

HTML = r"""
<table class="results">
<caption>Accuracy by variant, stages and mode. Protocol held_out: chosen on the validation slice, the test split read once after the last epoch. Mean ± standard deviation (ddof = 1) of n = 4 networks.</caption>
<thead>
<tr><th scope="col">variant</th><th scope="col">stages</th><th scope="col">progressive</th></tr>
</thead>
<tbody>
<tr><th scope="row">mtt|1</th><th scope="row">2</th><td>53.0 ± 2.6 (n=4)</td></tr>
<tr><th scope="row">pdd_5%</th><th scope="row">2</th><td><strong>63.0 ± 3.2</strong> (n=4)</td></tr>
</tbody>
</table>
<table class="results">
<caption>Paired differences</caption>
<thead>
<tr><th scope="col">stages</th><th scope="col">compared</th><th scope="col">progressive</th></tr>
</thead>
<tbody>
<tr><th scope="row">2</th><th scope="row">pdd_5% − mtt|1</th><td>+10.0 [+3.6, +16.4] (2 seeds, p=0.032)</td></tr>
</tbody>
</table>
<ul class="notes">
<li>Accuracy in percent on the test split (597 images) after the last epoch (300 epochs per stage).</li>
<li>Cells: mean ± standard deviation (ddof = 1) over n networks of 2 seeds; 95% intervals (csv, json): Student t over the means of the seeds, since the networks of a seed share a distilled set; bold: highest mean of a column (and data set), and what ties with it, i.e. has a paired difference to it with an interval that contains 0.</li>
<li>Chosen on validation: nothing.</li>
<li>Differences: percentage points, paired by seed and network; 95% intervals: Student t over the means of the seeds, since the networks of a seed share a distilled set; p: paired t test, two-sided, not adjusted, as there is one comparison.</li>
</ul>
"""


def golden_table() -> Table:
    """Return two variants, two seeds and two networks, with characters that need care."""
    accuracies = {
        ("mtt|1", 0): (0.50, 0.52),
        ("mtt|1", 1): (0.54, 0.56),
        ("pdd_5%", 0): (0.60, 0.61),
        ("pdd_5%", 1): (0.64, 0.67),
    }
    records = [
        record(accuracy, variant=variant, seed=seed, network=network)
        for (variant, seed), pair in accuracies.items()
        for network, accuracy in enumerate(pair)
    ]
    return make_table(records, ("variant", "stages"), ("mode",), baseline="mtt|1")


def test_markdown_is_as_before() -> None:
    assert render(golden_table(), "md") == MARKDOWN.removeprefix("\n")


def test_latex_is_as_before_with_booktabs_and_escaped_names() -> None:
    assert render(golden_table(), "latex") == LATEX.removeprefix("\n")


def test_csv_has_one_line_per_cell_and_difference_with_unrounded_numbers() -> None:
    table = golden_table()
    lines = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert [line["quantity"] for line in lines] == ["accuracy", "accuracy", "difference"]
    for line, row in zip(lines, table.cells, strict=False):
        cell = row[0]
        assert isinstance(cell, Cell)
        assert cell.estimate is not None
        assert float(line["mean"]) == cell.estimate.mean
        assert float(line["std"]) == cell.estimate.std
        assert (line["n"], line["n_seeds"], line["interval_over"]) == ("4", "2", "seeds")
    assert lines[2]["comparison"] == "variant: pdd_5% - mtt|1"
    assert float(lines[2]["mean"]) == pytest.approx(0.1)
    # differences of 9.5 and 10.5 points: t = 20 with one degree of freedom
    assert float(lines[2]["p"]) == pytest.approx(1 - 2 * math.atan(20) / math.pi)
    assert lines[2]["p_holm"] == lines[2]["p"]


def test_html_is_as_before() -> None:
    assert render(golden_table(), "html") == HTML.removeprefix("\n")


def awkward_table() -> Table:
    """Return a table whose names mean something to Markdown, LaTeX and HTML."""
    names = ('<b>&amp;"x"</b>', "a_b^c~{d}$%#\\", "[1, 2]", "*")
    records = [
        record(0.5 + 0.1 * index, variant=name, seed=seed)
        for index, name in enumerate(names)
        for seed in (0, 1)
    ]
    return make_table(records, ("variant",), ("mode",), baseline="[1, 2]")


def test_html_escapes_names() -> None:
    text = render(awkward_table(), "html")
    assert "&lt;b&gt;&amp;amp;&quot;x&quot;&lt;/b&gt;" in text
    assert "<b>" not in text


def test_html_is_well_formed_with_a_caption_in_every_table() -> None:
    root = ElementTree.fromstring(f"<div>{render(awkward_table(), 'html')}</div>")
    tables = root.findall("table")
    assert len(tables) == 2
    assert all(table[0].tag == "caption" and table[0].text for table in tables)
    assert all(item.text for item in root.findall("ul/li"))


def test_latex_compiles(tmp_path: Path) -> None:
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("there is no pdflatex to compile with")
    body = "\n\\newpage\n".join(render(t, "latex") for t in (golden_table(), awkward_table()))
    document = (
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    ended = subprocess.run(
        [program, "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "booktabs.sty' not found" in ended.stdout:
        pytest.skip("this LaTeX has no booktabs")
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (tmp_path / "table.pdf").is_file()


def test_the_best_of_each_column_is_bold() -> None:
    records = [
        record(accuracy, variant=variant, mode=mode)
        for variant, mode, accuracy in (
            ("a", "progressive", 0.9),
            ("a", "union", 0.1),
            ("b", "progressive", 0.8),
            ("b", "union", 0.2),
        )
    ]
    lines = render(make_table(records, ("variant",), ("mode",))).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[2:4]] == ["**90.0** (n=1)", "10.0 (n=1)"]
    assert [cell.strip() for cell in lines[3].split("|")[2:4]] == ["80.0 (n=1)", "**20.0** (n=1)"]


def test_results_on_different_data_do_not_compete_for_bold() -> None:
    records = [record(0.9, dataset="digits"), record(0.3, dataset="cifar10")]
    text = render(make_table(records, ("dataset",), ("mode",)))
    assert "**" not in text


def test_columns_of_several_fields_are_labelled_by_all_of_them() -> None:
    text = render(make_table([record()], ("variant",), ("mode", "stages")))
    assert "| progressive, stages=2 |" in text.replace("   ", " ").replace("  ", " ")
    assert " accuracy |" in render(make_table([record()], ("variant",), ()))


def test_captions_name_the_protocol_n_and_ddof() -> None:
    held_out = [record(0.5, network=network) for network in range(3)]
    text = render(make_table(held_out, ("variant",), ("mode",), title="Table 9"), "html")
    assert "<caption>Table 9. Protocol held_out: chosen on the validation slice" in text
    assert "(ddof = 1) of n = 3 networks.</caption>" in text
    reference = [record(0.6, variant="tested", protocol="reference")]
    text = render(make_table([*held_out, *reference], ("variant",), ("mode",)), "html")
    assert (
        "Protocol reference: chosen on the test split, best of k tests: the original protocol; "
        "not comparable. Mean ± standard deviation (ddof = 1) of n = 1 to 3 networks.</caption>"
    ) in text
    assert "after the last epoch, or (protocol reference) at the best of several tests" in text


def test_results_of_different_protocols_are_never_averaged() -> None:
    records = [record(0.5), record(0.9, protocol="reference")]
    table = make_table(records, ("variant",), ("mode",))
    assert table.rows == ("variant", "protocol")
    assert len(table.row_values) == 2


def test_networks_trained_on_all_images_are_labelled_so_and_come_last() -> None:
    full = {"mode": "full", "method": "full", "stages": 0, "images_per_class": 0, "model": "m"}
    records = [
        record(0.9, **full, total_stages=0, key="k", variant=variant) for variant in ("a", "b")
    ]
    records += [record(0.5, variant="a", model="m"), record(0.5, method="dm", model="m")]
    table = make_table(records, ("method",), ("total_images_per_class",))
    assert table.rows == ("method",)
    assert [row[0] for row in table.row_values] == ["dm", "mtt", "full"]
    header = render(table).splitlines()[0]
    assert header.index("total_images_per_class=10") < header.index("total_images_per_class=all")
    full_cell = table.cells[2][1]
    assert full_cell is not None
    assert full_cell.estimate is not None
    assert full_cell.estimate.n == 1
