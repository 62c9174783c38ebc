"""Targeted kernels program: rows of the tables, short runs, error messages."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import targeted_kernels
from targeted_kernels_experiment import tables, training

import keras_attention as ka
from tests.harness import cross_section
from tests.programs.in_process import run_in_this_process

ROOT = Path(__file__).parents[2]
SIZES = {2: (28, 28, 1), 3: (56, 56, 1), 4: (32, 32, 3), 5: (32, 32, 3), 6: (48, 48, 3)}


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["targeted_kernels.py", *map(str, arguments)])
    return targeted_kernels.main()


@pytest.mark.parametrize("number", cross_section(tables.TABLES, fast={2}))
def test_rows_have_the_published_number_of_parameters(number):
    """Up to rounding; STN and TSTN up to 2 %."""
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
def test_every_family_has_an_unpublished_row_with_shared_rois(number):
    rows = tables.TABLES[number].rows
    families = {row.model for row in rows if row.targeted}
    shared = [row for row in rows if row.roi_groups is not None]
    assert families == {row.model for row in shared}
    assert all(row.paper is None for row in shared)


def test_short_protocol_scales_l2_with_learning_rate_and_steps():
    """The effect of the L2 weight is proportional to learning rate times steps."""
    row, doubled = tables.Row("TDN10", "cauchy"), tables.Row("TDN10", "cauchy", scale_l2=2e-4)
    small = training.SMALL
    assert small.scale_l2(doubled) == pytest.approx(2 * small.scale_l2(row))
    sensitive = tables.Row("TKN6", "cauchy")
    products = [small.scale_l2(each) * small.rate(each.model) for each in (row, sensitive)]
    assert products[0] == pytest.approx(products[1])
    assert training.PAPER["mnist"].scale_l2(row) == row.scale_l2


@pytest.mark.slow
def test_short_run_of_a_table(monkeypatch, tmp_path):
    run_in_this_process(monkeypatch)
    # Few layers and test images: tracing TDN10 takes a minute.
    load = training.Job.load
    monkeypatch.setattr(training.Job, "load", lambda self, split: load(self, split).take(2))
    rows = [row for row in tables.TABLES[3].rows if row.model == "TKN6"]
    rows = [rows[0], next(row for row in rows if row.roi_groups is not None)]
    monkeypatch.setitem(tables.TABLES, 3, replace(tables.TABLES[3], rows=tuple(rows)))
    monkeypatch.setattr(training, "TIMED_BATCH", 4)
    markdown = tmp_path / "table.md"
    given = ("--table", 3, "--data", "top_left_digits", "--models", "TKN6")
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
def test_errors_are_one_line(monkeypatch, capsys, arguments, message, tmp_path):
    monkeypatch.delenv("PAIN_ARCHIVE_DIR", raising=False)
    assert main(monkeypatch, *arguments, "--output", tmp_path / "run") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.slow
def test_program_runs_in_its_own_process(tmp_path):
    """Started from the root of the repository."""
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
