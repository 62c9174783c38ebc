"""The commands on a regression data set."""

import re

import keras
import numpy as np
import pytest

from keras_attention import datasets
from keras_attention.cli import main
from tests.datasets.image_dataset_files import make_pain_archive


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("PAIN_ARCHIVE_DIR", str(make_pain_archive(tmp_path / "archive")))


@pytest.mark.slow
def test_train_and_evaluate(archive, tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--data", "pain_archive", "--size", "8", "--batch-size", "3"]
    options += ["--epochs", "2", "--learning-rate", "0.001", "--output", str(run)]
    assert main(["train", "CNN6", *options]) == 0
    header = (run / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,loss,mean_absolute_error,val_loss,val_mean_absolute_error"
    model = keras.saving.load_model(run / "model.keras")
    assert model.output_shape == (None, 1)
    assert model.layers[-1].activation is keras.activations.linear

    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    printed = capsys.readouterr().out
    images, labels = next(iter(datasets.load("pain_archive", "test", 9, size=8)))
    difference = model.predict(images, verbose=0)[:, 0] - labels.numpy()
    numbers = [float(text) for text in re.findall(r"\d+\.\d+", printed)]
    for error in (np.mean(difference**2), np.mean(np.abs(difference))):
        assert any(number == pytest.approx(error, abs=0.006) for number in numbers), printed


def test_classifier_cannot_be_evaluated_on_regression(archive, tmp_path, capsys):
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    options = ["--data", "pain_archive", "--size", "8"]
    assert main(["evaluate", str(tmp_path / "model.keras"), *options]) == 2
    error = capsys.readouterr().err
    assert "must have one output of size 1. Received: one output of size 10" in error


def test_missing_archive_is_a_one_line_error(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("PAIN_ARCHIVE_DIR", raising=False)
    output = str(tmp_path / "run")
    assert main(["train", "TDN10", "--data", "pain_archive", "--output", output]) == 2
    assert "PAIN_ARCHIVE_DIR, must name a folder with" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
