"""Harness of the programs: published numbers, numbers in reports and options of every run."""

import argparse
from pathlib import Path

import pytest
from harness.options import add_run_options, output_folder
from harness.published import read_tables
from harness.reports import mean_and_deviation

BASE = Path("runs/program")


def test_published_numbers_are_read_by_their_headings(tmp_path):
    path = tmp_path / "tables.txt"
    path.write_text(
        "# A comment.\n[table 1] table I\ndata=mnist,gtsrb; column=error %,MACs\n"
        "a, b: 1.5 2e6 -\na, b: 4\nempty:\n[figure 2] figure 2\ndata=mnist\na: 1\n"
    )
    (table,) = read_tables(path).values()
    assert (table.title, table.rows) == ("table I", ["a, b", "empty"])
    assert table.headings("column") == ["error %", "MACs"]
    assert table.number("a, b", data="mnist", column="MACs") == 2e6
    assert table.number("a, b", data="gtsrb", column="error %") is None
    assert table.number("a, b", data="gtsrb", column="MACs") == 4
    assert table.number("empty", data="mnist", column="MACs") is None
    assert table.number("a, b", data="cifar10", column="MACs") is None
    assert list(read_tables(path, "figure")) == [2]


@pytest.mark.parametrize(
    ("values", "trainings", "expected"),
    [
        ([], 2, "diverged"),
        ([4.456], 1, "4.46"),
        ([4.456], 3, "4.46 (2 of 3 diverged)"),
        ([4.0, 6.0], 2, "5.00 +- 1.41"),
        ([4.0, 4.0], 2, "4.00 +- 0.00"),
        ([4.0, 6.0], 3, "5.00 +- 1.41 (1 of 3 diverged)"),
    ],
)
def test_deviation_needs_several_seeds(values, trainings, expected):
    assert mean_and_deviation(values, trainings) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "runs/program"),
        (["--table", "3"], "runs/program_table3"),
        (["--figure", "10"], "runs/program_figure10"),
        (["--table", "3", "--output", "elsewhere"], "elsewhere"),
    ],
)
def test_output_folder_depends_on_the_table(given, expected):
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", type=int)
    parser.add_argument("--figure", type=int)
    add_run_options(parser, f"{BASE}_table3")
    assert output_folder(parser.parse_args(given), BASE) == Path(expected)


def test_output_folder_of_a_program_without_figures():
    options = argparse.Namespace(output=None, table=2)
    assert output_folder(options, BASE) == Path("runs/program_table2")
