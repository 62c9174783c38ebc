"""The program of tables 2 to 6: its rows, a small run, and what it says where data are missing."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import targeted_kernels
from targeted_kernels_parts import clock, protocols, tables, training

import keras_attention as ka
from tests.programs.here import train_in_this_process

ROOT = Path(__file__).parents[2]
SIZES = {2: (28, 28, 1), 3: (56, 56, 1), 4: (32, 32, 3), 5: (32, 32, 3), 6: (48, 48, 3)}


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["targeted_kernels.py", *map(str, arguments)])
    return targeted_kernels.main()


@pytest.mark.parametrize("number", tables.TABLES)
def test_the_papers_rows_have_its_parameters(number):
    """Within its rounding; STN and TSTN within 2 %."""
    classes = {5: 43, 6: 1}.get(number, 10)
    parameters = {}
    for row in tables.TABLES[number].rows:
        if row.paper is None:
            continue
        if row.model not in parameters:
            model = ka.applications.build(row.model, input_shape=SIZES[number], classes=classes)
            parameters[row.model] = ka.inspect.trainable_parameters(model)
        assert parameters[row.model] == pytest.approx(row.paper.parameters, rel=0.02)


@pytest.mark.parametrize("number", tables.TABLES)
def test_every_family_has_a_row_of_ours_with_shared_regions(number):
    rows = tables.TABLES[number].rows
    families = {row.model for row in rows if row.targeted}
    shared = [row for row in rows if row.roi_groups is not None]
    assert families == {row.model for row in shared}
    assert all(row.paper is None for row in shared)


def test_small_trainings_shrink_regions_as_far_as_the_papers():
    """The effect of L2 goes with the rate and the steps."""
    row, doubled = tables.Row("TDN10", "cauchy"), tables.Row("TDN10", "cauchy", scale_l2=2e-4)
    small = protocols.SMALL
    assert small.scale_l2(doubled) == pytest.approx(2 * small.scale_l2(row))
    gentle = tables.Row("TKN6", "cauchy")
    products = [small.scale_l2(each) * small.rate(each.model) for each in (row, gentle)]
    assert products[0] == pytest.approx(products[1])
    assert protocols.PAPER["mnist"].scale_l2(row) == row.scale_l2


def test_a_small_table(monkeypatch, tmp_path):
    train_in_this_process(monkeypatch, training)
    rows = [row for row in tables.TABLES[3].rows if row.model == "TDN10"]
    rows = [rows[0], next(row for row in rows if row.roi_groups is not None)]  # all are alike
    monkeypatch.setitem(tables.TABLES, 3, replace(tables.TABLES[3], rows=tuple(rows)))
    monkeypatch.setattr(clock, "BATCH", 4)
    markdown = tmp_path / "table.md"
    given = ("--table", 3, "--data", "top_left_digits", "--models", "TDN10")
    given += ("--train-size", 50, "--epochs", 1, "--size", 12, "--seeds", 0, "--processes", 1)
    given += ("--output", tmp_path / "run", "--markdown", markdown)
    assert main(monkeypatch, *given) == 0
    with (tmp_path / "run" / "results.csv").open(encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    assert len(records) == len(rows)
    text = markdown.read_text(encoding="utf-8")
    assert "--table 3 --data top_left_digits" in text
    assert all(row.label in text for row in rows)
    assert (tmp_path / "run" / "log.txt").is_file()
    assert (tmp_path / "run" / "attention.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--table", 6), "PAIN_ARCHIVE_DIR"),
        (("--table", 2, "--data", "mnits"), "Did you mean 'mnist'"),
        (("--table", 2, "--models", "STN"), "Received: --models=STN"),
    ],
)
def test_what_cannot_be_is_one_line(monkeypatch, capsys, arguments, message, tmp_path):
    monkeypatch.delenv("PAIN_ARCHIVE_DIR", raising=False)
    assert main(monkeypatch, *arguments, "--output", tmp_path / "run") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_it_is_a_program(tmp_path):
    """In a process of its own, from the root of the repository."""
    command = [sys.executable, "applications/targeted_kernels.py", "--table", "6"]
    result = subprocess.run(
        [*command, "--output", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PAIN_ARCHIVE_DIR": ""},
    )
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.stderr
