"""Dynamic capacity program: short runs, shared checkpoints, error messages."""

import csv
import re
import sys
from dataclasses import replace

import dynamic_capacity
import keras
import numpy as np
import pytest
from dynamic_capacity_experiment import cluttered, numbers, training
from dynamic_capacity_experiment.cluttered import ClutteredImages, ClutteredJob
from dynamic_capacity_experiment.training import DCNResult
from harness import reports
from harness import training as harness_training

import keras_attention as ka
from tests.programs.in_process import run_in_this_process

# All but 17 of the bundled digits.
IMAGES = ("--data", "cluttered_digits", "--size", 40, "--train-size", 1780, "--test-draws", 1)
SHORT = ("--epochs", 2, "--steps", 2, "--batch-size", 2, "--seeds", 0)
PROTOCOL = replace(training.CLUTTERED_SMALL, batch_size=2, epochs=2, steps=2)
DCN = "DCN, 6 patches, 2 scales"
NUMBERS = ("--data", "number_photographs", "--width", 0.05, "--test-size", 2, "--train-size", 64)


def main(patch, *given):
    patch.setattr(sys, "argv", ["dynamic_capacity.py", *map(str, given)])
    return dynamic_capacity.main()


def read(*given):
    return dynamic_capacity.read_options([*map(str, given)])


def records_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def in_this_process():
    """Trains eagerly in this process: tracing graphs takes longer than so few steps."""
    compiled = training.compiled

    def eagerly(*given):
        model, steps = compiled(*given)
        model.run_eagerly = True
        return model, steps

    with pytest.MonkeyPatch.context() as patch:
        run_in_this_process(patch)
        patch.setattr(training, "compiled", eagerly)
        for module, name in ((harness_training, "error_percent"), (numbers, "number_error")):
            patch.setattr(module, name, without_graphs(getattr(module, name)))
        yield patch


def without_graphs(error_of):
    def eager_error_of(model, tests):
        model.run_eagerly = True
        return error_of(model, tests)

    return eager_error_of


@pytest.fixture(scope="module")
def trained(in_this_process, tmp_path_factory):
    """Output folder of a short run of table 1."""
    folder = tmp_path_factory.mktemp("table1")
    given = ("--table", 1, *IMAGES, *SHORT, "--output", folder, "--markdown", folder / "page.md")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            cluttered,
            "time_jobs",
            lambda jobs, rounds: {job.label: {"step": 1.0, "forward": 0.25} for job in jobs},
        )
        assert main(patch, *given) == 0
    return folder


@pytest.mark.slow
def test_table_1_writes_results_curves_and_report(trained):
    records = records_of(trained / "results.csv")
    assert [record["network"] for record in records] == cluttered.TABLE1.rows
    assert all(0 <= float(record["error_percent"]) <= 100 for record in records)
    curves = records_of(trained / "curves.csv")
    assert [line["epoch"] for line in curves] == ["1", "2"] * 4
    assert [bool(line["distance"]) for line in curves] == [False] * 4 + [True] * 4
    page = (trained / "page.md").read_text(encoding="utf-8")
    assert re.search(r"\| DCN with hints +\| [\d.]+ +\| 1.39 ", page)
    assert re.search(r"\| 1000 +\| 250 ", page)
    assert len(records_of(trained / "times.csv")) == 4
    assert not training_of(trained).network().compiled


def training_of(folder, row=cluttered.WITH_HINTS):
    images = ClutteredImages("cluttered_digits", 40, 1780, 1)
    job = ClutteredJob(row.label, "cluttered_digits", 0, PROTOCOL, row, images)
    return training.train(folder / "checkpoints", job, 1)


@pytest.mark.slow
def test_figures_load_the_networks_of_table_1(trained, monkeypatch, tmp_path, capsys):
    shared = (*IMAGES, *SHORT, "--checkpoint-dir", trained / "checkpoints")
    assert main(monkeypatch, "--figure", 2, *shared, "--output", tmp_path) == 0
    assert capsys.readouterr().out.count("by an earlier run") == 2
    points = records_of(tmp_path / "figure2.csv")
    assert [point["network"] for point in points] == ["DCN w/o hints"] * 2 + ["DCN with hints"] * 2
    assert (tmp_path / "figure2.png").stat().st_size > 1000


@pytest.mark.slow
def test_figure_3_changes_only_the_number_of_patches(
    trained, monkeypatch, tmp_path, in_this_process
):
    shared = (*IMAGES, *SHORT, "--checkpoint-dir", trained / "checkpoints", "--output", tmp_path)
    assert main(monkeypatch, "--figure", 3, *shared, "--patches", 1, 8) == 0
    lines = records_of(tmp_path / "figure3.csv")
    assert [line["patches"] for line in lines] == ["1", "8"]
    (known,) = [
        line
        for line in records_of(trained / "results.csv")
        if line["network"] == cluttered.WITH_HINTS.label
    ]
    assert lines[1]["error_percent"] == known["error_percent"]
    assert int(lines[0]["macs"]) < int(lines[1]["macs"]) == int(known["macs"])
    for name in ("figure3.png", "figure3_patches.png"):
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.slow
def test_patch_positions_are_those_of_the_refiner(trained):
    records = cluttered.patch_positions(training_of(trained))
    assert len(records) == cluttered.SHOWN_IMAGES * 8
    assert [record["rank"] for record in records[:8]] == list(range(1, 9))
    assert {(record["top"] + 1) % 4 for record in records} == {0}, "stride 4, offset 1"
    assert {(record["height"], record["width"]) for record in records} == {(14, 14)}


def test_validation_holds_out_training_digits():
    images = ClutteredImages("cluttered_digits", 40, 1780, 1, validation=True)
    counts = [
        int(part.cardinality()) for part in (images.training_data(0), images.test(0).unbatch())
    ]
    assert counts[0] == 1780 - 356
    labels = np.concatenate([labels for _, labels in images.test(0)])
    assert len(labels) == 356
    again = [next(iter(images.test(0)))[0].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_times_by_network(in_this_process):
    row = cluttered.COARSE
    images = ClutteredImages("cluttered_digits", 40, 1780)
    job = ClutteredJob(row.label, "cluttered_digits", 0, PROTOCOL, row, images)
    times = cluttered.time_jobs([job], 1)
    assert set(times["coarse"]) == {"training_step_seconds", "forward_seconds"}
    assert min(times["coarse"].values()) > 0


def test_verdict_compares_means():
    def of(label, *errors):
        return [made(label, seed, error) for seed, error in enumerate(errors)]

    labels = [row.label for row in cluttered.ROWS]
    done = [
        one
        for label, errors in zip(labels, ((4, 6), (2, 2), (1, 2), (2, 3)), strict=True)
        for one in of(label, *errors)
    ]
    lines = cluttered.verdict(done).splitlines()
    assert [": yes," in line for line in lines] == [True, True, False]
    assert "2.50 % and 5.00 %" in lines[0]
    diverged = [one for one in done if one.job.label != "coarse"] + of("coarse", None)
    assert "no comparison" in cluttered.verdict(diverged)


def made(label, seed, error, distances=()):
    job = ClutteredJob(label, "cluttered_digits", seed, PROTOCOL, cluttered.COARSE, None)
    scores = {} if error is None else {"error %": float(error)}
    curve = [{"epoch": 1, "distance": distance} for distance in distances]
    return DCNResult(
        job=job,
        seconds=1.0,
        steps=2,
        parameters=1,
        macs=1,
        executed_macs=1,
        curve=curve,
        scores=scores,
    )


def test_reports_leave_out_diverged_trainings():
    done = [
        made("DCN w/o hints", seed, error, (4.0, 2.0 * seed))
        for seed, error in enumerate((9, None, 5))
    ]
    assert reports.spread_of(done, "error %").startswith("7.00 +- 2.83 (1 of 3 diverged)")
    assert (
        reports.line_of("DCN w/o hints, seed 1", done[1])
        == "DCN w/o hints, seed 1: diverged, trained in 1 s"
    )
    points = cluttered.distances(done)
    assert [point["distance"] for point in points] == [4.0, 2.0]


def test_protocols():
    small = training.CLUTTERED_SMALL
    rate = small.schedule(2000)
    rates = [round(float(rate(step)), 6) for step in (0, 1600, 1601, 1999)]
    assert rates == [1e-3, 1e-3, 1e-4, 1e-4]
    assert isinstance(small.make_optimizer(2000), keras.optimizers.Adam)
    assert training.CLUTTERED.schedule(10) == 1e-3
    sgd = training.NUMBERS.make_optimizer(100)
    assert sgd.momentum == 0.9
    assert float(training.NUMBERS.schedule(100)(100)) == pytest.approx(1e-4)
    assert training.CLUTTERED.steps_per_epoch(60_000) == 937


def test_rows_of_table_2_are_those_of_the_paper():
    assert [row.label for row in numbers.ROWS] == numbers.TABLE2.rows


@pytest.mark.slow
def test_short_run_of_table_2(monkeypatch, tmp_path, in_this_process):
    rows = [row for row in numbers.ROWS if row.label in ("soft attention, 1 scale", DCN)]
    monkeypatch.setattr(numbers, "ROWS", rows)
    monkeypatch.setattr(numbers, "CURVE_IMAGES", 2)
    served = {}
    monkeypatch.setattr(
        ka.export, "export_saved_model", lambda model, path, overwrite: served.update({path: model})
    )
    page = tmp_path / "page.md"
    given = ("--table", 2, *NUMBERS, *SHORT, "--output", tmp_path, "--markdown", page, "--export")
    assert main(monkeypatch, *given) == 0
    lines = records_of(tmp_path / "table2.csv")
    assert [line["row"] for line in lines] == [row.label for row in rows]
    text = page.read_text(encoding="utf-8")
    assert re.search(rf"\| {DCN} +\| [\d.]+ +\| 18.2 ", text)
    assert [path.name.split("_")[0] for path in served] == ["coarse", "fine", "DCN"]
    assert list(served.values())[-1].get_layer("refiner").patches == 3
    # Stored measurements are loaded.
    pair = next(iter(numbers.pairs(trained_by(given))))
    monkeypatch.setattr(numbers, "number_error", None)
    assert numbers.measure(numbers.Measurement(rows[0], *pair), 1)["row"] == rows[0].label


def trained_by(given):
    options = read(*given)
    return [
        training.train(options.checkpoint_dir, job, 1) for job in numbers.Table2().jobs(options)
    ]


def test_number_error_counts_whole_numbers():
    labels = np.array([[0, 7, 10, 10, 10, 10], [1, 4, 2, 10, 10, 10]])
    outputs = [np.eye(5)[labels[:, 0]], *(np.eye(11)[labels[:, i]] for i in range(1, 6))]
    outputs[2] = outputs[2][[0, 0]]

    class FixedModel:
        def predict_on_batch(self, images):
            return outputs

    assert numbers.number_error(FixedModel(), [[(None, labels)]]) == 50.0


def test_figure_5_needs_no_training(monkeypatch, tmp_path):
    shown = {"numbers": slice(1), "digits in clutter": slice(2, 3)}
    panels = {name: (sizes[shown[name]], rows) for name, (sizes, rows) in cluttered.PANELS.items()}
    monkeypatch.setattr(cluttered, "PANELS", panels)
    page = tmp_path / "page.md"
    given = ("--figure", 5, "--width", 0.25, "--output", tmp_path, "--markdown", page)
    assert main(monkeypatch, *given) == 0
    records = records_of(tmp_path / "figure5.csv")
    assert len(records) == 2
    hundred = records[-1]
    assert (hundred["height"], int(hundred["fine"])) == ("100", 83_549_050)
    assert "| 100x100 |" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--table", 1, "--data", "digits"), "cluttered_mnist, cluttered_digits"),
        (("--table", 2, "--data", "digits"), "svhn_numbers, number_photographs"),
        (("--table", 2, "--test-size", 5), "--test-size needs --data number_photographs"),
        (("--table", 1, *IMAGES, "--steps", 7), "multiple of the epochs, 20"),
        pytest.param(("--table", 2, *NUMBERS, "--width", 0.01), "width", marks=pytest.mark.slow),
    ],
)
def test_errors_are_one_line(monkeypatch, capsys, given, message, tmp_path):
    assert main(monkeypatch, *given, "--output", tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--table", 1, "--figure", 2), "not allowed with"),
        (("--table", 2, "--patches", 3), "--patches needs --figure 3. Received: --table 2"),
        (("--figure", 5, "--steps", 3), "--steps needs --table 1, --figure 2"),
        (("--figure", 5, "--data", "mnist"), "--data needs"),
        (("--table", 3), "invalid choice"),
    ],
)
def test_options_of_other_experiments_are_refused(monkeypatch, capsys, given, message):
    with pytest.raises(SystemExit):
        main(monkeypatch, *given)
    assert message in capsys.readouterr().err
