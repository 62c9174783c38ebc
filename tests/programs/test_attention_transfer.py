"""The program of tables 1 to 5: rows, methods, images, small runs that are taken up again."""

import csv
import json
import re
import sys
from dataclasses import replace

import attention_transfer
import keras
import numpy as np
import pytest
from attention_transfer_parts import (
    methods,
    networks,
    options,
    paper,
    plan,
    protocols,
    report,
    sources,
    tables,
    training,
)
from attention_transfer_parts.methods import ALONE, Method, Strength
from attention_transfer_parts.sources import Source
from attention_transfer_parts.training import Job, Training

import keras_attention as ka
from tests.datasets.made_pictures import make_mit_scenes
from tests.datasets.test_imagenet import make_archives
from tests.programs.here import train_in_this_process

CLUTTER = "cluttered_translated_digits"
TINY_WRN = ("--rows", "WRN-10-0.25/WRN-10-0.5", "--data", CLUTTER)
TINY_NIN = ("--rows", "NIN-thin-0.05/NIN-wide-0.05", "--data", "digits")
TINY_RESNET = ("--rows", "ResNet-18-2/ResNet-18-4", "--size", 16, "--batch-size", 4)
SHORT = ("--size", 12, "--epochs", 2, "--steps", 4, "--batch-size", 4, "--seeds", 0)
PROTOCOL = replace(protocols.CIFAR_SMALL, batch_size=4, epochs=2, steps=4)
DIGITS = Source("digits", 12, 20, 100)


def arguments(monkeypatch, *given):
    monkeypatch.setattr(sys, "argv", ["attention_transfer.py", *map(str, given)])


def main(monkeypatch, *given):
    arguments(monkeypatch, *given)
    return attention_transfer.main()


def read(monkeypatch, *given):
    arguments(monkeypatch, *given)
    return options.read("")


def cells_of(monkeypatch, *given):
    return plan.cells(read(monkeypatch, *given))


def records_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def in_this_process(monkeypatch):
    """Trains without a process of its own, and tests on few images."""
    tests = Source.tests
    monkeypatch.setattr(
        Source,
        "tests",
        lambda self: (batches.unbatch().take(8).batch(8) for batches in tests(self)),
    )
    train_in_this_process(monkeypatch, attention_transfer)


@pytest.fixture
def without_graphs(monkeypatch):
    """Runs operation by operation: graphs take longer to make than so few steps."""
    compiled = training.compiled

    def eagerly(*given):
        trainee, steps = compiled(*given)
        trainee.run_eagerly = True
        return trainee, steps

    monkeypatch.setattr(training, "compiled", eagerly)


def job_of(label="WRN-10-0.25", method=ALONE, teacher=None, seed=0):
    return Job(networks.parse(label), DIGITS, PROTOCOL, seed, method, teacher)


def test_labels_are_networks():
    counts = {"WRN-16-1": 175_066, "WRN-16-2": 691_674, "NIN-thin": 201_682, "NIN-wide": 994_290}
    for label, count in counts.items():
        network = networks.parse(label)
        model = network.build(keras.Input((32, 32, 3)), 10, 5e-4)
        assert ka.inspect.trainable_parameters(model) == count
        assert all(model.get_layer(tap) for tap in network.taps)
    residual = networks.parse("ResNet-34-8")
    model = residual.build(keras.Input((32, 32, 3)), 10, 1e-4)
    assert model.get_layer("stage4").output.shape[-1] == 64
    # In its gradient an L2 weight counts twice.
    assert float(model.get_layer("stage4_block1_conv1").kernel_regularizer.l2) == pytest.approx(
        5e-5
    )


def test_cells_of_the_papers_tables(monkeypatch):
    for table, count in ((1, 4 * 6 * 5), (2, 5 * 5), (3, 6), (5, 3)):
        found = cells_of(monkeypatch, "--table", table)
        assert len(found) == count
        # The text has a figure for each.
        for cell in found:
            assert tables.TABLES[table].printed(cell.row.pair, cell.row.data, cell.column)
    (pair,) = {cell.row.pair for cell in cells_of(monkeypatch, "--table", 1, "--data", "digits")}
    assert pair == "WRN-16-1/WRN-16-2"
    without = ("--student-weights", "none", "--teacher-weights", "none")
    found = cells_of(monkeypatch, "--table", 4, *without)
    assert [cell.column for cell in found] == ["student", "KD", "AT", "teacher"] * 2
    assert found[0].job.source.options == (("crop", True),)
    assert all(cell.job.fine_tunes for cell in found)


def test_networks_that_two_rows_share_are_trained_once(monkeypatch):
    found = cells_of(monkeypatch, "--table", 1, "--seeds", 3)
    first, second = plan.stages(found)
    # WRN-16-1 is a student twice, WRN-16-2 a teacher and a student.
    assert [job.network.label for job in first] == [
        "NIN-wide", "WRN-16-2", "WRN-40-1", "WRN-40-2", "NIN-thin", "WRN-16-1",
    ]  # fmt: skip
    assert len(second) == 16
    assert {job.teacher for job in second} <= set(first)
    names = [job.name for job in (*first, *second)]
    assert len(set(names)) == len(names)


def test_protocols(monkeypatch):
    job = cells_of(monkeypatch, "--table", 1)[0].job
    protocol = job.protocol
    assert (protocol.batch_size, protocol.epochs, protocol.weight_decay) == (128, 200, 5e-4)
    assert [round(share * protocol.epochs) for share in protocol.drops] == [60, 120, 160]
    assert protocol.steps_of_epoch(50_000) == 390
    optimizer = job.optimizer(2000)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
    rates = [float(optimizer._learning_rate(step)) for step in (600, 601, 1201, 1601)]
    np.testing.assert_allclose(rates, [0.1, 0.02, 0.004, 0.0008], rtol=1e-6)
    late = cells_of(monkeypatch, "--table", 5)[1].job.protocol
    assert (late.batch_size, late.epochs, late.weight_decay) == (256, 100, 1e-4)
    assert [round(share * late.epochs) for share in late.drops] == [30, 60, 90]
    student, *_, taught = cells_of(monkeypatch, "--table", 3, "--learning-rate", 0.02)
    assert student.job.protocol.weight_decay == 0
    assert (student.job.protocol.learning_rate, taught.job.teacher.protocol.learning_rate) == (
        0.02,
        0.1,
    )


def test_photographs_are_augmented_and_digits_are_not(monkeypatch):
    for given, expected in (
        (("--table", 1), "crop"),
        (("--table", 3), "flip"),
        (("--table", 3, "--data", "digits"), "none"),
        (("--table", 3, "--data", "svhn_cropped", "--augmentation", "none"), "none"),
        (("--table", 5), "none"),
    ):
        assert cells_of(monkeypatch, *given)[0].job.source.augmentation == expected


def test_columns_are_taught_as_the_paper_says(monkeypatch):
    taught = tables.TABLES[1].columns(read(monkeypatch, "--table", 1))
    assert taught["student"] == ALONE
    assert taught["AT"].attention == Strength(1e3)
    assert (taught["KD"].distillation, taught["KD"].temperature) == (0.9, 4.0)
    assert taught["AT+KD"] == Method(Strength(1e3, "linear"), distillation=0.9)
    assert taught["F-ActT"].hints.schedule == "linear"
    maps = tables.TABLES[2].columns(read(monkeypatch, "--table", 2))
    assert {name: (one.power, one.reduce) for name, one in maps.items() if one != ALONE} == {
        "F_sum": (1, "mean"),
        "F_sum^2": (2, "mean"),
        "F_sum^4": (4, "mean"),
        "F_max^1": (1, "max"),
    }
    weights = ("--gradient-weights", "symmetry=3", "min_l2=0.5")
    gradients = tables.TABLES[3].columns(read(monkeypatch, "--table", 3, *weights))
    assert gradients["symmetry norm"] == Method(gradient="symmetry", gradient_weight=3)
    assert gradients["min-l2"].gradient_weight == 0.5
    needy = [name for name, method in gradients.items() if method.needs_teacher]
    assert needy == ["grad-based AT", "KD", "activation-based AT"]


def test_weights_change_while_students_learn():
    assert Strength(1e3).of(100) == 1e3
    for schedule in ("linear", "cosine"):
        beta = Strength(1e3, schedule).of(100)
        found = [float(beta(step)) for step in (0, 50, 100)]
        np.testing.assert_allclose(found, [1e3, 500, 0], atol=1e-3)
    late = Strength(1e3, start=0.6).of(100)
    assert [float(late(step)) for step in (0, 59, 60, 99)] == [0, 0, 1e3, 1e3]


@pytest.mark.parametrize("data", ["digits", CLUTTER])
def test_a_students_images_are_some_of_its_teachers(data):
    small, whole = Source(data, 20, 50, 300), Source(data, 20, 299, 300)
    images, labels = small.chosen()
    assert np.bincount(labels).tolist() == [5] * 10
    of_teacher, teachers_labels = whole.chosen()
    known = {
        image.tobytes(): label for image, label in zip(of_teacher, teachers_labels, strict=True)
    }
    assert [known[image.tobytes()] for image in images] == labels.tolist()
    # What is for testing of either is the same, and none of it is for training.
    base, side = (data, 20) if data == "digits" else ("digits", 14)
    tests = ka.datasets.load(base, "test", size=side, train_size=300)
    assert not {image.numpy().tobytes() for image, _ in tests} & set(known)
    (small_tests,), (teachers_tests,) = (list(source.tests()) for source in (small, whole))
    first = [next(iter(batches))[0].numpy() for batches in (small_tests, teachers_tests)]
    np.testing.assert_array_equal(*first)


def test_sizes_that_do_not_divide_are_nearly_balanced():
    labels = np.random.default_rng(0).integers(0, 10, 500)
    places = sources.first_of_each(labels, 57)
    assert len(places) == len(set(places)) == 57
    assert set(np.bincount(labels[places])) == {5, 6}
    with pytest.raises(ValueError, match=r"at most the 500 images.*--train-size=501"):
        sources.first_of_each(labels, 501)


def test_equal_sizes_are_the_plain_set():
    source = Source(CLUTTER, 20, 40, 40, (("distractors", 3),))
    assert not source.is_part
    images = next(iter(source.training(5).batch(40)))[0]
    plain = ka.datasets.load(CLUTTER, "train", 40, seed=5, size=20, train_size=40, distractors=3)
    np.testing.assert_array_equal(images, next(iter(plain))[0])
    draws = [next(iter(test))[0] for test in replace(source, test_draws=2).tests()]
    assert len(draws) == 2
    assert not np.array_equal(*draws)


def test_parts_are_drawn_and_shuffled_anew():
    for source in (DIGITS, Source(CLUTTER, 20, 20, 100, (("distractors", 2),))):
        batches = source.batches(1, 20)
        assert batches.element_spec[0].shape[0] == 20
        passes = [images.numpy() for images, _ in batches.take(2)]
        again = [images.numpy() for images, _ in source.batches(1, 20).take(2)]
        np.testing.assert_array_equal(passes, again)
        assert not np.array_equal(*passes)


def test_pixels_are_standardized_by_the_training_part():
    images, _ = DIGITS.chosen()
    mean, variance = DIGITS.moments(0)
    np.testing.assert_allclose([mean, variance], [[images.mean()], [images.var()]], rtol=1e-5)
    assert replace(DIGITS, pretrained=True).moments(0)[0].shape == (3,)


def test_students_start_alike_whatever_they_are_taught_by(tmp_path):
    teacher = job_of("WRN-10-0.5")
    path = training.path_of(tmp_path, teacher)
    teacher.model().save(path)
    starts = []
    for method in (ALONE, Method(Strength(1e3)), Method(hints=Strength(1.0))):
        job = job_of(method=method, teacher=teacher, seed=4)
        keras.utils.set_random_seed(job.seed)
        student = job.model()
        trainee, steps = training.compiled(tmp_path, job, student)
        assert steps == 2
        assert trainee is not student
        starts.append(student.get_weights())
    for other in starts[1:]:
        for weight, wanted in zip(other, starts[0], strict=True):
            np.testing.assert_array_equal(weight, wanted)


def test_medians_leave_out_what_diverged():
    made = [
        Training(
            job_of(seed=seed), None, 1.0, 4, 1, 1, [], {} if error is None else {"error %": error}
        )
        for seed, error in enumerate((4.0, None, 9.0, 5.0))
    ]
    assert report.median(made, "error %") == "5.00 [1 of 4 diverged]"
    assert report.median(made[2:], "error %") == "7.00"
    assert report.median(made[1:2], "error %") == "diverged"
    assert report.line_of("x", made[1]) == "x: diverged, trained in 1 s"


def test_the_papers_errors_stand_beside_ours(monkeypatch):
    given = read(monkeypatch, "--table", 1, "--data", "digits", "--seeds", 1, 2)
    cells = plan.cells(given)
    done = {
        cell.job: Training(cell.job, None, 1.0, 4, 1, 1, [], {"error %": 2.0 + cell.job.seed})
        for cell in cells
    }
    text = report.comparison(given, cells, done)
    assert "| WRN-16-1/WRN-16-2 | digits | 3.50 (8.77) | 3.50 (7.93) |" in text
    assert text.endswith("In brackets the paper's errors, on cifar10.")


def test_ranks_of_labels():
    logits = np.array([[1.0, 3, 2], [2, 2, 1], [np.nan, 0, 0]])
    assert training._ranks(logits, np.array([2, 0, 0])).tolist() == [1, 0, 3]


def test_tables_1_and_2_share_what_is_trained(
    monkeypatch, tmp_path, capsys, in_this_process, without_graphs
):
    page = tmp_path / "page.md"
    sizes = ("--train-size", 20, "--teacher-train-size", 1000)
    shared = (*TINY_WRN, *SHORT, *sizes, "--output", tmp_path)
    given = ("--table", 1, *shared, "--columns", "student", "AT+KD", "teacher")
    assert main(monkeypatch, *given, "--markdown", page) == 0
    records = records_of(tmp_path / "results.csv")
    assert [record["column"] for record in records] == ["student", "AT+KD", "teacher"]
    assert all(0 <= float(record["error_percent"]) <= 100 for record in records)
    assert [record["train_size"] for record in records] == ["20", "20", "1000"]
    curves = records_of(tmp_path / "curves.csv")
    assert [line["epoch"] for line in curves] == ["1", "2"] * 3
    assert (tmp_path / "figure7.png").stat().st_size > 1000
    assert list(tmp_path.glob("figure6_WRN-10-0.25_WRN-10-0.5_*.png"))
    text = page.read_text(encoding="utf-8")
    assert "AT+KD: beta 1000 to 0, linear, alpha 0.9, T 4" in text
    assert "20 of 1,000 training images" in text
    (path,) = (tmp_path / "networks").glob("*_attention+distillation_*.keras")
    assert not keras.models.load_model(path).compiled
    # What is not whole is trained again, what is there serves another table.
    path = tmp_path / "networks" / records[0]["file"]
    path.with_suffix(".json").unlink()
    given = ("--table", 2, *shared, "--columns", "none", "F_max^1")
    given += ("--networks", path.parent, "--output", tmp_path / "table2")
    assert kept(monkeypatch, capsys, given) == {"teacher": True, "none": False, "F_max^1": False}
    again = records_of(tmp_path / "table2" / "results.csv")
    assert again[0]["error_percent"] == records[0]["error_percent"], "the same seed"


def kept(monkeypatch, capsys, given):
    """Which trainings of a run an earlier one left."""
    capsys.readouterr()
    assert main(monkeypatch, *given) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "seed 0: " in line]
    return {line.split(", ")[1]: line.endswith("earlier run") for line in lines}


def test_a_small_table_3(monkeypatch, tmp_path, in_this_process):
    page = tmp_path / "page.md"
    given = ("--table", 3, *TINY_NIN, *SHORT, "--output", tmp_path, "--markdown", page)
    given += ("--columns", "grad-based AT", "symmetry norm", "activation-based AT")
    assert main(monkeypatch, *given, "--steps-per-execution", 2) == 0
    records = records_of(tmp_path / "results.csv")
    assert [record["weight_decay"] for record in records] == ["0.0"] * 3 + ["0.0005"]
    assert "symmetry norm: gradient symmetry, weight 1" in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """ImageNet and rooms, in their true formats."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("pictures")
    make_archives(folder / "downloads" / "manual")
    tfds.builder("imagenet2012", data_dir=folder).download_and_prepare()
    return make_mit_scenes(folder)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_tables_5_and_4(monkeypatch, tmp_path, capsys, pictures, in_this_process, without_graphs):
    monkeypatch.setenv("TFDS_DATA_DIR", str(pictures))
    monkeypatch.setenv("MIT_SCENES_DIR", str(pictures))
    short = (*TINY_RESNET, "--epochs", 1, "--steps", 1)
    given = ("--table", 5, *short, "--columns", "AT", "teacher", "--output", tmp_path / "5")
    assert main(monkeypatch, *given) == 0
    records = records_of(tmp_path / "5" / "results.csv")
    assert [record["column"] for record in records] == ["AT", "teacher"]
    assert all("top5_error_percent" in record for record in records)
    student, teacher = (tmp_path / "5" / "networks" / record["file"] for record in records)
    files = ("--student-weights", student, "--teacher-weights", teacher)
    given = ("--table", 4, *short, "--data", "mit_scenes", "--columns", "AT")
    given += ("--learning-rate", 1e-6, "--output", tmp_path / "4")
    assert main(monkeypatch, *given, *files) == 0
    assert len(records_of(tmp_path / "4" / "results.csv")) == 2
    trained = keras.models.load_model(student)
    (path,) = (tmp_path / "4" / "networks").glob("*_attention_*.keras")
    tuned = keras.models.load_model(path)
    assert tuned.output_shape == (None, 67)
    for layer in tuned.layers:
        before = trained.get_layer(layer.name).get_weights()
        if isinstance(layer, keras.layers.BatchNormalization) or "stage1" in layer.name:
            np.testing.assert_array_equal(layer.get_weights(), before)
    name = "stage4_block1_conv1"
    changed = tuned.get_layer(name).get_weights()[0] - trained.get_layer(name).get_weights()[0]
    assert np.abs(changed).max() > 0
    capsys.readouterr()
    assert main(monkeypatch, *given, "--student-weights", teacher, *files[2:]) == 2
    assert "of a trained ResNet-18-2" in capsys.readouterr().err


def test_exports_say_probabilities(monkeypatch, tmp_path):
    served = {}
    monkeypatch.setattr(
        ka.export, "export_saved_model", lambda model, path, overwrite: served.update({path: model})
    )
    given = read(monkeypatch, "--table", 2, *TINY_WRN, *SHORT, "--output", tmp_path)
    job = job_of()
    path = training.path_of(tmp_path, job)
    job.model().save(path)
    cell = plan.Cell(plan.rows(given)[0], "none", job)
    done = {job: Training(job, path, 1.0, 4, 1, 1, [], {"error %": 1.0})}
    attention_transfer.export(given, [cell], done)
    (model,) = served.values()
    answers = model.predict_on_batch(np.zeros((2, 12, 12, 1)))
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--table", 1, "--rows", "WRN-16-1"), "STUDENT/TEACHER. Received: --rows=WRN-16-1"),
        (("--table", 1, "--rows", "WRN-16/WRN-16-2"), "NIN-thin.* Received: 'WRN-16'"),
        (("--table", 1, "--rows", "WRN-11-1/WRN-16-2", "--data", "digits"), "depth=11"),
        (("--table", 1, "--rows", "NIN-thin/WRN-16-2"), "pairs of one kind"),
        (("--table", 3, "--rows", "WRN-16-1/WRN-16-2"), "networks in networks with --table 3"),
        (("--table", 1, "--columns", "ATT"), "'AT\\+KD', 'teacher' with --table 1. .*: 'ATT'"),
        (("--table", 1, "--data", "cifar11"), "Did you mean 'cifar1"),
        (("--table", 1, "--data", "digit_sequences"), "images with classes"),
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
def test_what_cannot_be_is_one_line(monkeypatch, capsys, given, message, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert main(monkeypatch, *given, "--output", tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line), line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--table", 2, "--alpha", 0.5), "--alpha needs --table 1, 3, 4. Received: --table 2"),
        (("--table", 1, "--gradient-weights", "symmetry=1"), "--gradient-weights needs --table 3"),
        (("--table", 3, "--gradient-weights", "norm=1"), "KIND of transfer, symmetry, min_l2"),
        (("--table", 3, "--gradient-weights", "symmetry"), "a positive number. Received: ''"),
        (("--table", 4), "such as --table 5 writes, or none"),
        (("--table", 1, "--alpha", 1.5), "at most 1. Received: '1.5'"),
        (("--table", 6), "invalid choice"),
    ],
)
def test_options_that_do_not_go_together(monkeypatch, capsys, given, message):
    with pytest.raises(SystemExit):
        main(monkeypatch, *given)
    assert message in capsys.readouterr().err


def test_what_was_measured_is_read_again(tmp_path):
    job = job_of()
    one = Training(
        job, training.path_of(tmp_path, job), 2.5, 4, 7, 9, [{"epoch": 1}], {"error %": 3.0}
    )
    training.keep(one, job.model())
    assert training.train(tmp_path, job, 1) == replace(one, kept=True)
    assert json.loads(one.path.with_suffix(".json").read_text())["macs"] == 9
    assert paper.TABLE1["WRN-16-1/WRN-16-2"]["AT"] == paper.TABLE2["F_sum^2"] == 7.93
    assert methods.SCHEDULES[0] == "constant"
