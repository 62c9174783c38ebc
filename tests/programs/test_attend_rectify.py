"""The program of figure 4 and tables 1 to 3: rows, protocols, the paper's figures, small runs."""

import csv
import sys
from argparse import Namespace

import attend_rectify
import keras
import numpy as np
import pytest
from attend_rectify_parts import (
    backbones,
    clutter,
    fine_tuning,
    options,
    protocols,
    table1,
    table2,
    table3,
    training,
)
from attend_rectify_parts.clutter import BASELINE, BEST, ClutterJob

import keras_attention as ka
from tests.programs.here import train_in_this_process

TINY = protocols.Protocol(
    "small", batch_size=4, epochs=2, train_size=20, epoch_images=8, test_draws=1, size=20
)
needs_several_rates = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras before 3.15, on Python 3.10"
)


def arguments(monkeypatch, *given):
    monkeypatch.setattr(sys, "argv", ["attend_rectify.py", *map(str, given)])


def main(monkeypatch, *given):
    arguments(monkeypatch, *given)
    return attend_rectify.main()


def read(monkeypatch, *given):
    arguments(monkeypatch, *given)
    return options.read("")


def first_images(job):
    """Leaves all but a few out: the bundled digits that are not for training are for testing."""
    load = job.load
    return lambda self, split: load(self, split).take(16)


@pytest.fixture
def in_this_process(monkeypatch):
    """Trains on a few images without a process of its own."""
    for job in (table1.WideJob, table3.FineJob):
        monkeypatch.setattr(job, "load", first_images(job))
    train_in_this_process(monkeypatch, attend_rectify)


@pytest.fixture
def without_graphs(monkeypatch):
    """Runs operation by operation: graphs take longer to make than so few steps."""
    compiled = training.compiled

    def eagerly(*given):
        model = compiled(*given)
        model.run_eagerly = True
        return model

    monkeypatch.setattr(training, "compiled", eagerly)


def clutter_job(row, seed=0, protocol=TINY):
    return ClutterJob(row, seed, protocol, clutter.DATA[0], 2, (2, 4))


def records_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_panels_share_their_rows():
    rows = clutter.rows_of(list(clutter.PARTS))
    assert len(rows) == len({row.label for row in rows}) == 11
    assert rows.count(BEST) == 1
    assert clutter.rows_of("e") == [BASELINE, BEST, clutter.TRANSFORMER]
    assert [row.options["attention_depth"] for row in clutter.rows_of("b")] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("row", clutter.rows_of(list(clutter.PARTS)), ids=lambda row: row.label)
def test_rows_are_what_they_are_called(row):
    model = clutter_job(row).network(None)
    names = [layer.name for layer in model.layers]
    assert ("rectify" in names) is row.attends
    assert ("transformer" in names) is (row.label == "STN")
    if row.attends:
        head = model.get_layer("rectify")
        assert head.heads == row.options["attention_width"]
        assert (head.overlap_weight == 0) is (row.label == "unregularized")
        assert (head.mask == "sigmoid") is (row.label == "sigmoid masks")
        assert (head.gates == "mean") is (row.label == "without gates")


def test_every_pass_draws_anew_and_every_test_the_same():
    job = clutter_job(BASELINE)
    data, steps = training.endless(job)
    assert steps == 2
    first, second = (images.numpy() for images, _ in data.take(10).rebatch(20))
    pixels = [np.sort(images.reshape(20, -1).sum(axis=1)) for images in (first, second)]
    assert not np.array_equal(*pixels)
    tests = [clutter_job(row, seed).load("test") for row, seed in ((BASELINE, 5), (BEST, 5))]
    shown = [next(iter(images))[0].numpy() for images in tests]
    np.testing.assert_array_equal(*shown)
    drawn = [next(iter(job._images("test", 2, draw)))[0].numpy() for draw in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_the_rate_falls_where_the_protocol_says():
    model = training.compiled(clutter_job(BASELINE), steps=50)
    schedule = model.optimizer._learning_rate
    assert [round(float(schedule(step)), 6) for step in (30, 31)] == [0.1, 0.01]
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    attends = training.compiled(clutter_job(BEST), steps=50)
    assert isinstance(attends.loss, ka.losses.NegativeLogLikelihood)


@needs_several_rates
def test_the_localization_learns_slower():
    slower = training.compiled(clutter_job(clutter.TRANSFORMER), steps=50).optimizer
    assert dict(slower.factors) == clutter.SLOWER
    assert type(training.compiled(clutter_job(BEST), steps=50).optimizer) is keras.optimizers.SGD


def test_numbers_that_are_none_are_no_score():
    job = clutter_job(BASELINE)
    model = job.model()
    assert set(training.measured(job, model)) == {"error % at 2", "error % at 4"}
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    assert training.measured(job, model) == {}


def test_protocols(monkeypatch):
    given = read(monkeypatch, "--table", 1)
    paper = table1.protocol_of("cifar10", given)
    assert (paper.batch_size, paper.epochs, paper.learning_rate) == (128, 200, 0.1)
    assert [round(share * paper.epochs) for share in paper.drops] == [60, 120, 160]
    fine = table3.protocol_of("cars196", given)
    assert (fine.batch_size, fine.learning_rate, fine.patience) == (64, 1e-3, 10)
    assert [round(share * fine.epochs) for share in fine.drops] == [30, 60, 90]
    small = table1.protocol_of("digits", read(monkeypatch, "--table", 1, "--epochs", 7))
    assert (small.epochs, small.train_size) == (7, 300)
    cluttered = protocols.CLUTTERED
    assert cluttered.epoch_images * cluttered.epochs == 200 * 200_000


def test_the_papers_figures(monkeypatch):
    rows = table1.rows(read(monkeypatch, "--table", 1))
    assert len(rows) == 16
    printed = {row.label: row.printed() for row in rows if row.printed()}
    assert printed == {
        "WRN-40-10 on cifar10": 3.80,
        "WRN-40-10 on cifar100": 18.30,
        "WARN-28-10 on cifar10": 3.44,
        "WARN-28-10 on cifar100": 18.26,
        "WARN-40-10 on cifar10": 3.46,
        "WARN-40-10 on cifar100": 17.82,
    }
    fine = fine_tuning.rows_of(read(monkeypatch, "--table", 3))
    assert [row.printed() for row in fine if row.data == "stanford_dogs"] == [89.6, 92.9]
    assert len(fine) == 12


def test_photographs_are_augmented_and_digits_are_not(monkeypatch):
    given = read(monkeypatch, "--table", 1, "--depths", 10, "--width", 0.5, "--train-size", 20)
    (row, *_) = table1.rows(Namespace(**{**vars(given), "data": ["digits"]}))
    job = table1.WideJob(row, 0, table1.protocol_of("digits", given))
    names = [layer.name for layer in job.model().layers]
    assert "standardized" in names
    assert "cifar_augmentation" not in names
    mean, variance = job._moments()
    assert mean.shape == variance.shape == (1,)
    photographs = ka.datasets.load("digits", "train", train_size=20, size=32)
    colored = photographs.map(lambda image, label: (np.ones(3, "float32") * image, label))
    monkeypatch.setattr(table1.WideJob, "load", lambda self, split: colored)
    color = table1.WideJob(table1.rows(given)[0], 0, table1.protocol_of("cifar10", given))
    assert "cifar_augmentation" in [layer.name for layer in color.model().layers]


@needs_several_rates
def test_what_is_new_learns_faster(monkeypatch):
    tiny = ("--backbone", "MobileNet", "--weights", "none", "--size", 32, "--data", "digits")
    given = read(monkeypatch, "--table", 3, *tiny, "--attention-depth", 2)
    plain, attended = (
        fine_tuning.FineJob(row, 0, table3.protocol_of("digits", given))
        for row in fine_tuning.rows_of(given)
    )
    image, _ = next(iter(plain.load("train")))
    assert image.shape == (32, 32, 3)
    assert image.numpy().min() == -1.0
    assert image.numpy().max() > 0.9
    model = training.compiled(attended, steps=10)
    assert len(model.get_layer("rectify").modules) == 2
    assert model.output_shape == plain.network(None).output_shape == (None, 10)
    assert dict(model.optimizer.factors) == {"rectify": 10, "rectify_logits": 10}


def test_weights_that_are_not_to_be_had(monkeypatch, capsys, tmp_path):
    def refuse(**options):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "ResNet50", refuse)
    monkeypatch.setattr(backbones, "prepare", lambda name, images: images)
    given = ("--table", 3, "--data", "digits", "--size", 32, "--output", tmp_path)
    assert main(monkeypatch, *given) == 2
    assert "--weights none" in capsys.readouterr().err


def test_a_small_figure(monkeypatch, tmp_path, in_this_process):
    # The third takes as long and shows no more.
    monkeypatch.setitem(clutter.PARTS, "e", (BASELINE, BEST))
    page = tmp_path / "figure4.md"
    given = ("--figure", 4, "--part", "e", "--seeds", 0, "--processes", 1, "--size", 12)
    given += ("--train-size", 1700, "--epochs", 2, "--epoch-images", 32, "--test-draws", 1)
    given += ("--test-distractors", 4, 16, "--output", tmp_path, "--markdown", page)
    assert main(monkeypatch, *given) == 0
    records = records_of(tmp_path / "results.csv")
    assert [record["network"] for record in records] == ["baseline", "AD 4, AW 4"]
    assert all(
        0 <= float(record[f"error_percent_at_{number}"]) <= 100
        for record in records
        for number in (4, 16)
    )
    curves = records_of(tmp_path / "curves.csv")
    assert [line["epoch"] for line in curves] == ["1", "2"] * 2
    assert all(0 <= float(line["test_error"]) <= 100 for line in curves)
    assert (tmp_path / "figure4.png").stat().st_size > 1000
    text = page.read_text(encoding="utf-8")
    assert "8 distractors: attention (AD 4, AW 4)" in text
    assert "--figure 4 --part e" in text
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert log.count("seed 0: error % at 4 ") == 2
    assert log.rstrip().endswith(f"wrote {page}")


def test_small_tables(monkeypatch, tmp_path, in_this_process, without_graphs):
    wide = ("--data", "digits", "--depths", 10, "--width", 0.5)
    given = ("--table", 1, *wide, "--seeds", 0, "--dropouts", 0.3, "--batch-size", 8)
    given += ("--epochs", 1, "--size", 16, "--processes", 1, "--output", tmp_path)
    assert main(monkeypatch, *given) == 0
    records = records_of(tmp_path / "results.csv")
    names = ["WRN-10-0.5, dropout 0.3", "WARN-10-0.5, dropout 0.3"]
    assert [record["network"] for record in records] == names
    page, trained = tmp_path / "table2.md", tmp_path / "results.csv"
    trained.write_text(trained.read_text(encoding="utf-8").replace(", dropout 0.3", ""))
    given = ("--table", 2, *wide, "--size", 16, "--rounds", 2, "--forward-batch", 2)
    given += ("--trained", trained, "--output", tmp_path / "times", "--markdown", page)
    assert main(monkeypatch, *given) == 0
    text = page.read_text(encoding="utf-8")
    assert "| WRN-10-0.5 " in text
    assert f"{float(records[0]['error_percent']):.2f}" in text
    assert len(records_of(tmp_path / "times" / "results.csv")) == 2


@needs_several_rates
@pytest.mark.slow
def test_a_small_fine_tuning(monkeypatch, tmp_path, in_this_process, without_graphs):
    page = tmp_path / "table3.md"
    given = ("--table", 3, "--data", "digits", "--backbone", "VGG16", "--weights", "none")
    given += ("--size", 32, "--batch-size", 8, "--epochs", 1, "--seeds", 0, "--processes", 1)
    given += ("--attention-depth", 1, "--output", tmp_path, "--markdown", page)
    assert main(monkeypatch, *given) == 0
    records = records_of(tmp_path / "results.csv")
    assert [record["network"] for record in records] == ["VGG16", "VGG16, AD 1, AW 4"]
    assert "not pre-trained" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--figure", 4, "--data", "digits"), "must be one of cluttered_translated_digits"),
        (("--figure", 4, "--train-size", 3), "train_size"),
        (("--table", 1, "--data", "cifar11"), "Did you mean 'cifar1"),
        (("--table", 1, "--data", "digit_sequences"), "Received: --data=digit_sequences"),
        (("--table", 1, "--data", "digits", "--depths", 11), "Received: depth=11"),
        (("--table", 1, "--data", "digits", "--width", 0.01), "Received: width=0.01"),
        (("--table", 2, "--data", "digits", "--dropouts", 0.3), "--dropouts must have 0"),
        (("--table", 2, "--trained", "nowhere.csv"), "Received: --trained=nowhere.csv"),
        (("--table", 3, "--backbone", "ResNet51"), "Did you mean 'ResNet50'"),
        (("--table", 3, "--data", "gtsdb"), "Received: --data=gtsdb"),
        (("--table", 3, "--data", "uec_food100", "--weights", "none"), "UEC_FOOD100_DIR"),
    ],
)
def test_what_cannot_be_is_one_line(monkeypatch, capsys, given, message, tmp_path):
    monkeypatch.delenv("UEC_FOOD100_DIR", raising=False)
    assert main(monkeypatch, *given, "--output", tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--table", 1, "--part", "b"), "--part needs --figure 4. Received: --part=b"),
        (("--figure", 4, "--backbone", "ResNet50"), "--backbone needs --table 3"),
        (("--table", 1, "--rounds", 3), "--rounds needs --table 2"),
        (("--figure", 4, "--distractors", -1), "0 or more. Received: '-1'"),
        (("--figure", 4, "--learning-rate", "fast"), "a positive number. Received: 'fast'"),
        (("--figure", 4, "--momentum", 1), "from 0 to 1. Received: '1'"),
        (("--table", 4), "invalid choice"),
    ],
)
def test_options_that_do_not_go_together(monkeypatch, capsys, given, message):
    with pytest.raises(SystemExit):
        main(monkeypatch, *given)
    assert message in capsys.readouterr().err


def test_results_of_another_table(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("network,seed\nWRN,0\n")
    with pytest.raises(ValueError, match="--table 1"):
        table2.read_errors(path)
