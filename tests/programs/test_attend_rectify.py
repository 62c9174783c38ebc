"""Attend and rectify program: rows, protocols, published numbers, short runs."""

import csv
import sys
from argparse import Namespace

import attend_rectify
import keras
import numpy as np
import pytest
from attend_rectify_experiment import cluttered, fine_tuning, training, wide
from attend_rectify_experiment.cluttered import BASELINE, BEST, ClutteredJob
from harness import training as harness_training

import keras_attention as ka
from tests.programs.in_process import run_in_this_process

TINY = training.AttendProtocol(
    "small", batch_size=4, epochs=2, train_size=20, epoch_images=8, test_draws=1, size=20
)
needs_several_rates = pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras before 3.15, on Python 3.10"
)


def main(monkeypatch, *given):
    monkeypatch.setattr(sys, "argv", ["attend_rectify.py", *map(str, given)])
    return attend_rectify.main()


def read(*given):
    return attend_rectify.read_options([*map(str, given)])


def first_images(job):
    """Loads few images: all digits that are not for training would be for testing."""
    load = job.load
    return lambda self, split: load(self, split).take(16)


@pytest.fixture
def in_this_process(monkeypatch):
    """Trains on few images in this process."""
    for job in (wide.WideJob, fine_tuning.FineTuningJob):
        monkeypatch.setattr(job, "load", first_images(job))
    run_in_this_process(monkeypatch)


@pytest.fixture
def without_graphs(monkeypatch):
    """Trains eagerly: tracing graphs takes longer than so few steps."""
    compiled = training.compiled

    def eagerly(*given):
        model = compiled(*given)
        model.run_eagerly = True
        return model

    monkeypatch.setattr(training, "compiled", eagerly)


def cluttered_job(row, seed=0, protocol=TINY):
    return ClutteredJob(row, seed, protocol, cluttered.DATA[0], 2, (2, 4))


def records_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_panels_share_their_rows():
    rows = cluttered.rows_of(list(cluttered.PANELS))
    assert len(rows) == len({row.label for row in rows}) == 11
    assert rows.count(BEST) == 1
    assert cluttered.rows_of("e") == [BASELINE, BEST, cluttered.TRANSFORMER]
    assert [row.options["attention_depth"] for row in cluttered.rows_of("b")] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "row", cluttered.rows_of(list(cluttered.PANELS)), ids=lambda row: row.label
)
def test_networks_have_the_options_of_their_labels(row):
    model = cluttered_job(row).network(None)
    names = [layer.name for layer in model.layers]
    assert ("rectify" in names) is row.has_attention
    assert ("transformer" in names) is (row.label == "STN")
    if row.has_attention:
        head = model.get_layer("rectify")
        assert head.heads == row.options["attention_width"]
        assert (head.overlap_weight == 0) is (row.label == "unregularized")
        assert (head.mask == "sigmoid") is (row.label == "sigmoid masks")
        assert (head.gates == "mean") is (row.label == "without gates")


def test_training_images_change_in_every_epoch_and_test_images_do_not():
    job = cluttered_job(BASELINE)
    data, steps = training.training_batches(job)
    assert steps == 2
    first, second = (images.numpy() for images, _ in data.take(10).rebatch(20))
    pixels = [np.sort(images.reshape(20, -1).sum(axis=1)) for images in (first, second)]
    assert not np.array_equal(*pixels)
    tests = [cluttered_job(row, seed).load("test") for row, seed in ((BASELINE, 5), (BEST, 5))]
    first_images = [next(iter(images))[0].numpy() for images in tests]
    np.testing.assert_array_equal(*first_images)
    drawn = [next(iter(job._images("test", 2, draw)))[0].numpy() for draw in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_learning_rate_schedule_and_losses():
    model = training.compiled(cluttered_job(BASELINE), steps=50)
    schedule = model.optimizer._learning_rate
    assert [round(float(schedule(step)), 6) for step in (30, 31)] == [0.1, 0.01]
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    attention = training.compiled(cluttered_job(BEST), steps=50)
    assert isinstance(attention.loss, ka.losses.NegativeLogLikelihood)


@needs_several_rates
def test_localization_has_a_lower_learning_rate():
    optimizer = training.compiled(cluttered_job(cluttered.TRANSFORMER), steps=50).optimizer
    assert dict(optimizer.factors) == cluttered.RATE_FACTORS
    assert type(training.compiled(cluttered_job(BEST), steps=50).optimizer) is keras.optimizers.SGD


@pytest.mark.slow
def test_weights_that_are_not_finite_have_no_score():
    job = cluttered_job(BASELINE)
    model = job.model()
    assert set(training.measure(job, model)) == {"error % at 2", "error % at 4"}
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    assert training.measure(job, model) == {}


def test_protocols():
    paper = wide.protocol_of("cifar10", read("--table", 1))
    assert (paper.batch_size, paper.epochs, paper.learning_rate) == (128, 200, 0.1)
    assert [round(share * paper.epochs) for share in paper.drops] == [60, 120, 160]
    given = ("--table", 3, "--data", "cars196", "--seeds", 0)
    fine = fine_tuning.Table3().jobs(read(*given))[0].protocol
    assert (fine.batch_size, fine.learning_rate, fine.patience) == (64, 1e-3, 10)
    assert [round(share * fine.epochs) for share in fine.drops] == [30, 60, 90]
    small = wide.protocol_of("digits", read("--table", 1, "--epochs", 7))
    assert (small.epochs, small.train_size) == (7, 300)
    assert training.CLUTTERED.epoch_images * training.CLUTTERED.epochs == 200 * 200_000


def test_published_numbers():
    rows = wide.rows_of(read("--table", 1))
    assert len(rows) == 16
    published = {row.label: row.published() for row in rows if row.published()}
    assert published == {
        "WRN-40-10 on cifar10": 3.80,
        "WRN-40-10 on cifar100": 18.30,
        "WARN-28-10 on cifar10": 3.44,
        "WARN-28-10 on cifar100": 18.26,
        "WARN-40-10 on cifar10": 3.46,
        "WARN-40-10 on cifar100": 17.82,
    }
    fine = fine_tuning.rows_of(read("--table", 3))
    assert [row.published() for row in fine if row.data == "stanford_dogs"] == [89.6, 92.9]
    assert len(fine) == 12


def test_photographs_are_augmented_and_digits_are_not(monkeypatch):
    given = read("--table", 1, "--depths", 10, "--width", 0.5, "--train-size", 20)
    (row, *_) = wide.rows_of(Namespace(**{**vars(given), "data": ["digits"]}))
    job = wide.WideJob(row, 0, wide.protocol_of("digits", given), "digits")
    names = [layer.name for layer in job.model().layers]
    assert "standardized" in names
    assert "cifar_augmentation" not in names
    mean, variance = harness_training.moments(job.load("train"))
    assert mean.shape == variance.shape == (1,)
    photographs = ka.datasets.load("digits", "train", train_size=20, size=32)
    colored = photographs.map(lambda image, label: (np.ones(3, "float32") * image, label))
    monkeypatch.setattr(wide.WideJob, "load", lambda self, split: colored)
    protocol = wide.protocol_of("cifar10", given)
    color = wide.WideJob(wide.rows_of(given)[0], 0, protocol, "cifar10")
    assert "cifar_augmentation" in [layer.name for layer in color.model().layers]


@needs_several_rates
def test_new_layers_have_a_higher_learning_rate():
    tiny = ("--backbone", "MobileNet", "--weights", "none", "--size", 32, "--data", "digits")
    options = read("--table", 3, *tiny, "--attention-depth", 2, "--seeds", 0)
    plain, attention = fine_tuning.Table3().jobs(options)
    image, _ = next(iter(plain.load("train")))
    assert image.shape == (32, 32, 3)
    assert image.numpy().min() == -1.0
    assert image.numpy().max() > 0.9
    model = training.compiled(attention, steps=10)
    assert len(model.get_layer("rectify").modules) == 2
    assert model.output_shape == plain.network(None).output_shape == (None, 10)
    assert dict(model.optimizer.factors) == {"rectify": 10, "rectify_logits": 10}


def test_weights_that_cannot_be_downloaded(monkeypatch, capsys, tmp_path):
    def refuse(**options):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "ResNet50", refuse)
    monkeypatch.setattr(fine_tuning, "preprocess", lambda name, images: images)
    given = ("--table", 3, "--data", "digits", "--size", 32, "--output", tmp_path)
    assert main(monkeypatch, *given) == 2
    assert "--weights none" in capsys.readouterr().err


@pytest.mark.slow
def test_short_run_of_the_figure(monkeypatch, tmp_path, in_this_process, without_graphs):
    # The third row takes as long and checks nothing else.
    monkeypatch.setitem(cluttered.PANELS, "e", (BASELINE, BEST))
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


@pytest.mark.slow
def test_short_runs_of_tables_1_and_2(monkeypatch, tmp_path, in_this_process, without_graphs):
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
    given += ("--errors", trained, "--output", tmp_path / "times", "--markdown", page)
    assert main(monkeypatch, *given) == 0
    text = page.read_text(encoding="utf-8")
    assert "| WRN-10-0.5 " in text
    assert f"{float(records[0]['error_percent']):.2f}" in text
    assert len(records_of(tmp_path / "times" / "results.csv")) == 2


@needs_several_rates
@pytest.mark.slow
def test_short_run_of_table_3(monkeypatch, tmp_path, in_this_process, without_graphs):
    page = tmp_path / "table3.md"
    given = ("--table", 3, "--data", "digits", "--backbone", "VGG16", "--weights", "none")
    given += ("--size", 32, "--batch-size", 8, "--epochs", 1, "--seeds", 0, "--processes", 1)
    given += ("--attention-depth", 1, "--output", tmp_path, "--markdown", page)
    assert main(monkeypatch, *given) == 0
    records = records_of(tmp_path / "results.csv")
    assert [record["network"] for record in records] == ["VGG16", "VGG16, AD 1, AW 4"]
    assert "not pretrained" in page.read_text(encoding="utf-8")


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
        (("--table", 2, "--errors", "nowhere.csv"), "Received: --errors=nowhere.csv"),
        (("--table", 3, "--backbone", "ResNet51"), "Did you mean 'ResNet50'"),
        (("--table", 3, "--data", "gtsdb"), "Received: --data=gtsdb"),
        (("--table", 3, "--data", "uec_food100", "--weights", "none"), "UEC_FOOD100_DIR"),
    ],
)
def test_errors_are_one_line(monkeypatch, capsys, given, message, tmp_path):
    monkeypatch.delenv("UEC_FOOD100_DIR", raising=False)
    assert main(monkeypatch, *given, "--output", tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--table", 1, "--part", "b"), "--part needs --figure 4. Received: --table 1"),
        (("--figure", 4, "--backbone", "ResNet50"), "--backbone needs --table 3"),
        (("--table", 1, "--rounds", 3), "--rounds needs --table 2"),
        (("--figure", 4, "--distractors", -1), "0 or more. Received: '-1'"),
        (("--figure", 4, "--learning-rate", "fast"), "a positive number. Received: 'fast'"),
        (("--figure", 4, "--momentum", 1), "without 1. Received: '1'"),
        (("--table", 4), "invalid choice"),
    ],
)
def test_options_of_other_experiments_are_refused(monkeypatch, capsys, given, message):
    with pytest.raises(SystemExit):
        main(monkeypatch, *given)
    assert message in capsys.readouterr().err


def test_errors_of_another_table(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("network,seed\nWRN,0\n")
    with pytest.raises(ValueError, match="--table 1"):
        wide.read_errors(path)
