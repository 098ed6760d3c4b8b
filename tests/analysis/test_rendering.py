"""The texts of one small table, word for word."""

# ruff: noqa: E501, RUF001 - texts as tables show them, with long notes and a true minus

import csv
import io

import pytest

from analysis.cells import Cell
from analysis.tables import Table, make_table, render
from tests.analysis.builders import record

MARKDOWN = r"""
| variant   | stages   |          progressive |
|:----------|:---------|---------------------:|
| mtt\|1    | 2        |     53.0 ± 2.6 (n=4) |
| pdd_5%    | 2        | **63.5 ± 3.5** (n=4) |

| stages   | compared        |                   progressive |
|:---------|:----------------|------------------------------:|
| 2        | pdd_5% − mtt\|1 | +10.5 [−2.2, +23.2] (2 seeds) |

- Accuracy in percent on the test split (597 images) after the last epoch (300 epochs per stage).
- Cells: mean ± standard deviation (ddof = 1) over n networks of 2 seeds; 95% intervals (csv, json): Student t over the means of the seeds, since the networks of a seed share a distilled set; bold: highest mean of a column, which is no test.
- Chosen on validation: nothing.
- Differences: percentage points, paired by seed and network; 95% intervals: Student t over the means of the seeds, since the networks of a seed share a distilled set.
"""

LATEX = r"""
\begin{tabular}{llr}
\toprule
variant & stages & progressive \\
\midrule
mtt\textbar{}1 & 2 & 53.0 $\pm$ 2.6 (n=4) \\
pdd\_5\% & 2 & \textbf{63.5 $\pm$ 3.5} (n=4) \\
\bottomrule
\end{tabular}
\par\medskip
\begin{tabular}{llr}
\toprule
stages & compared & progressive \\
\midrule
2 & pdd\_5\% $-$ mtt\textbar{}1 & +10.5 [$-$2.2, +23.2] (2 seeds) \\
\bottomrule
\end{tabular}
\par\noindent{\footnotesize Accuracy in percent on the test split (597 images) after the last epoch (300 epochs per stage).}
\par\noindent{\footnotesize Cells: mean $\pm$ standard deviation (ddof = 1) over n networks of 2 seeds; 95\% intervals (csv, json): Student t over the means of the seeds, since the networks of a seed share a distilled set; bold: highest mean of a column, which is no test.}
\par\noindent{\footnotesize Chosen on validation: nothing.}
\par\noindent{\footnotesize Differences: percentage points, paired by seed and network; 95\% intervals: Student t over the means of the seeds, since the networks of a seed share a distilled set.}
"""


def golden_table() -> Table:
    """Return two variants, two seeds and two networks, with characters that need care."""
    accuracies = {
        ("mtt|1", 0): (0.50, 0.52),
        ("mtt|1", 1): (0.54, 0.56),
        ("pdd_5%", 0): (0.60, 0.61),
        ("pdd_5%", 1): (0.66, 0.67),
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
    assert float(lines[2]["mean"]) == pytest.approx(0.105)


def test_only_the_best_of_each_column_is_bold() -> None:
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
    assert "accuracy |" in render(make_table([record()], ("variant",), ()))
