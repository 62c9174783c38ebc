"""What the programs share: how figures are written, and options of every run."""

import argparse
from pathlib import Path

import pytest
from program_parts import run_options
from program_parts.markdown import over_seeds

BASE = Path("runs/program")


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
def test_deviations_are_of_several_seeds(values, trainings, expected):
    assert over_seeds(values, trainings) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "runs/program"),
        (["--table", "3"], "runs/program_table3"),
        (["--figure", "10"], "runs/program_figure10"),
        (["--table", "3", "--output", "elsewhere"], "elsewhere"),
    ],
)
def test_a_folder_for_each_table(given, expected):
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", type=int)
    parser.add_argument("--figure", type=int)
    run_options.add(parser, f"{BASE}_table3")
    assert run_options.output(parser.parse_args(given), BASE) == Path(expected)


def test_a_program_of_tables_alone():
    options = argparse.Namespace(output=None, table=2)
    assert run_options.output(options, BASE) == Path("runs/program_table2")
