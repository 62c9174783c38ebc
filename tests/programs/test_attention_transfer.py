"""Attention transfer program: rows, methods, reports, error messages."""

import re

import attention_transfer
import keras
import numpy as np
import pytest
from attention_transfer_experiment import networks, tables
from attention_transfer_experiment.training import LABELS_ONLY, LossWeight, Method
from harness import reports

import keras_attention as ka
from tests.programs.attention_transfer_helpers import cells_of, job_of, main, read, result_of


@pytest.mark.slow
def test_networks_of_labels():
    counts = {"WRN-16-1": 175_066, "WRN-16-2": 691_674, "NIN-thin": 201_682, "NIN-wide": 994_290}
    for label, count in counts.items():
        network = networks.parse(label)
        model = network.build(keras.Input((32, 32, 3)), 10, 5e-4)
        assert ka.inspect.trainable_parameters(model) == count
        assert all(model.get_layer(layer) for layer in network.layers)
    residual = networks.parse("ResNet-34-8")
    model = residual.build(keras.Input((32, 32, 3)), 10, 1e-4)
    assert model.get_layer("stage4").output.shape[-1] == 64
    # The gradient of an L2 weight is twice as large.
    assert float(model.get_layer("stage4_block1_conv1").kernel_regularizer.l2) == pytest.approx(
        5e-5
    )


def test_cells_of_the_tables():
    for table, count in ((1, 4 * 6 * 5), (2, 5 * 5), (3, 6), (5, 3)):
        found = cells_of("--table", table)
        assert len(found) == count
        # The paper has an error for each.
        for cell in found:
            assert tables.TABLES[table].published(cell.row.pair, cell.row.data, cell.column)
    (pair,) = {cell.row.pair for cell in cells_of("--table", 1, "--data", "digits")}
    assert pair == "WRN-16-1/WRN-16-2"
    without = ("--student-weights", "none", "--teacher-weights", "none")
    found = cells_of("--table", 4, *without)
    assert [cell.column for cell in found] == ["student", "KD", "AT", "teacher"] * 2
    assert found[0].job.source.options == (("crop", True),)
    assert all(cell.job.fine_tuning for cell in found)


def test_shared_networks_are_trained_once():
    found = cells_of("--table", 1, "--seeds", 3)
    first, second = tables.stages_of(found)
    # WRN-16-1 is a student twice, WRN-16-2 a teacher and a student.
    assert [job.network.label for job in first] == [
        "NIN-wide", "WRN-16-2", "WRN-40-1", "WRN-40-2", "NIN-thin", "WRN-16-1",
    ]  # fmt: skip
    assert len(second) == 16
    assert {job.teacher for job in second} <= set(first)
    names = [job.name for job in (*first, *second)]
    assert len(set(names)) == len(names)


def test_protocols():
    job = cells_of("--table", 1)[0].job
    protocol = job.protocol
    assert (protocol.batch_size, protocol.epochs, protocol.weight_decay) == (128, 200, 5e-4)
    assert [round(share * protocol.epochs) for share in protocol.drops] == [60, 120, 160]
    assert protocol.steps_per_epoch(50_000) == 390
    optimizer = protocol.make_optimizer(2000)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
    rates = [float(optimizer._learning_rate(step)) for step in (600, 601, 1201, 1601)]
    np.testing.assert_allclose(rates, [0.1, 0.02, 0.004, 0.0008], rtol=1e-6)
    late = cells_of("--table", 5)[1].job.protocol
    assert (late.batch_size, late.epochs, late.weight_decay) == (256, 100, 1e-4)
    assert [round(share * late.epochs) for share in late.drops] == [30, 60, 90]
    student, *_, transferred = cells_of("--table", 3, "--learning-rate", 0.02)
    assert student.job.protocol.weight_decay == 0
    assert (student.job.protocol.learning_rate, transferred.job.teacher.protocol.learning_rate) == (
        0.02,
        0.1,
    )


def test_photographs_are_augmented_and_digits_are_not():
    for given, expected in (
        (("--table", 1), "crop"),
        (("--table", 3), "flip"),
        (("--table", 3, "--data", "digits"), "none"),
        (("--table", 3, "--data", "svhn_cropped", "--augmentation", "none"), "none"),
        (("--table", 5), "none"),
    ):
        assert cells_of(*given)[0].job.source.augmentation == expected


def test_methods_of_the_columns():
    methods = tables.methods_of(read("--table", 1))
    assert methods["student"] == LABELS_ONLY
    assert methods["AT"].attention == LossWeight(1e3)
    assert (methods["KD"].distillation, methods["KD"].temperature) == (0.9, 4.0)
    assert methods["AT+KD"] == Method(LossWeight(1e3, "linear"), distillation=0.9)
    assert methods["F-ActT"].hints.schedule == "linear"
    maps = tables.methods_of(read("--table", 2))
    assert {name: (one.power, one.reduce) for name, one in maps.items() if one != LABELS_ONLY} == {
        "F_sum": (1, "mean"),
        "F_sum^2": (2, "mean"),
        "F_sum^4": (4, "mean"),
        "F_max^1": (1, "max"),
    }
    weights = ("--gradient-weights", "symmetry=3", "min_l2=0.5")
    gradients = tables.methods_of(read("--table", 3, *weights))
    assert gradients["symmetry norm"] == Method(gradient="symmetry", gradient_weight=3)
    assert gradients["min-l2"].gradient_weight == 0.5
    with_teacher = [name for name, method in gradients.items() if method.needs_teacher]
    assert with_teacher == ["grad-based AT", "KD", "activation-based AT"]


def test_schedules_of_loss_weights():
    assert LossWeight(1e3).over(100) == 1e3
    for schedule in ("linear", "cosine"):
        beta = LossWeight(1e3, schedule).over(100)
        found = [float(beta(step)) for step in (0, 50, 100)]
        np.testing.assert_allclose(found, [1e3, 500, 0], atol=1e-3)
    late = LossWeight(1e3, start=0.6).over(100)
    assert [float(late(step)) for step in (0, 59, 60, 99)] == [0, 0, 1e3, 1e3]


def test_medians_leave_out_diverged_trainings():
    made = [result_of(job_of(seed=seed), error) for seed, error in enumerate((4.0, None, 9.0, 5.0))]
    assert attention_transfer.median(made, "error %") == "5.00 [1 of 4 diverged]"
    assert attention_transfer.median(made[2:], "error %") == "7.00"
    assert attention_transfer.median(made[1:2], "error %") == "diverged"
    assert reports.line_of("x", made[1]) == "x: diverged, trained in 1 s"


def test_comparison_with_the_paper():
    given = read("--table", 1, "--data", "digits", "--seeds", 1, 2)
    cells = tables.cells_of(given)
    done = {cell.job: result_of(cell.job, 2.0 + cell.job.seed) for cell in cells}
    text = attention_transfer.comparison(given, cells, done)
    assert "| WRN-16-1/WRN-16-2 | digits | 3.50 (8.77) | 3.50 (7.93) |" in text
    assert text.endswith("In brackets: the paper's errors on cifar10.")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--table", 1, "--rows", "WRN-16-1"), "STUDENT/TEACHER. Received: --rows=WRN-16-1"),
        (("--table", 1, "--rows", "WRN-16/WRN-16-2"), "NIN-thin.* Received: 'WRN-16'"),
        (("--table", 1, "--rows", "WRN-11-1/WRN-16-2", "--data", "digits"), "depth=11"),
        (("--table", 1, "--rows", "NIN-thin/WRN-16-2"), "pairs of networks of one kind"),
        (("--table", 3, "--rows", "WRN-16-1/WRN-16-2"), "networks in networks with --table 3"),
        (("--table", 1, "--columns", "ATT"), "'AT\\+KD', 'teacher' with --table 1. .*: 'ATT'"),
        (("--table", 1, "--data", "cifar11"), "Did you mean 'cifar1"),
        (("--table", 1, "--data", "digit_sequences"), "images with one class label"),
        (
            ("--table", 1, "--data", "digits", "--train-size", 9, "--teacher-train-size", 50),
            "--train-size must be 10 or more",
        ),
        (
            ("--table", 1, "--data", "digits", "--train-size", 99, "--teacher-train-size", 98),
            "at most --teacher-train-size, 98. Received: --train-size=99",
        ),
        (("--table", 1, "--data", "digits", "--teacher-train-size", 1790), "train_size=1790"),
        (("--table", 1, "--data", "digits", "--distractors", 4), "Received: --data=digits"),
        (("--table", 1, "--data", "digits", "--epochs", 7), "multiple of the epochs, 7"),
        (("--table", 1, "--data", "digits", "--steps-per-execution", 3), "divide the 160 steps"),
        (
            ("--table", 4, "--student-weights", "none", "--teacher-weights", "none"),
            "caltech_birds2011",
        ),
        (("--table", 5), "imagenet2012"),
    ],
)
def test_errors_are_one_line(monkeypatch, capsys, given, message, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert main(monkeypatch, *given, "--output", tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line), line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("--table", 2, "--alpha", 0.5),
            "--alpha needs --table 1, --table 3 or --table 4. Received: --table 2",
        ),
        (("--table", 1, "--gradient-weights", "symmetry=1"), "--gradient-weights needs --table 3"),
        (("--table", 3, "--gradient-weights", "norm=1"), "KIND among transfer, symmetry, min_l2"),
        (("--table", 3, "--gradient-weights", "symmetry"), "a positive number. Received: ''"),
        (("--table", 4), "such as --table 5 writes, or none"),
        (("--table", 1, "--alpha", 1.5), "at most 1. Received: '1.5'"),
        (("--table", 6), "invalid choice"),
    ],
)
def test_invalid_options_are_refused(monkeypatch, capsys, given, message):
    with pytest.raises(SystemExit):
        main(monkeypatch, *given)
    assert message in capsys.readouterr().err
