"""The commands on sequences, and errors of models for images."""

import re

import keras
import numpy as np
import pytest

from keras_attention import applications, datasets
from keras_attention.cli import main


@pytest.mark.parametrize("data", ["digit_sequences", "digit_forecast"])
def test_image_models_reject_sequences(tmp_path, capsys, data):
    output = str(tmp_path / "run")
    assert main(["train", "TDN10", "--data", data, "--output", output]) == 2
    shape = datasets.find(data).example_shape
    error = capsys.readouterr().err
    assert re.search(rf"must be \(H, W, channels\).*Received: .*{re.escape(str(shape))}", error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("data", ["mocap", "flights", "imagenet2012"])
def test_missing_files_are_a_one_line_error(tmp_path, monkeypatch, capsys, data):
    for name in ("MOCAP_DIR", "FLIGHTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert main(["train", "TDN10", "--data", data, "--output", str(tmp_path / "run")]) == 2
    assert "must name a folder" in capsys.readouterr().err


def saved(path, *layers):
    keras.Sequential([*layers]).save(path)
    return str(path)


def test_evaluate_classes(tmp_path, capsys):
    layers = [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10)]
    model = saved(tmp_path / "model.keras", *layers)
    assert main(["evaluate", model, "--data", "digit_sequences", "--size", "8"]) == 0
    printed = capsys.readouterr().out
    assert "digit_sequences, 8 steps" in printed
    assert "test sequences" in printed
    assert main(["evaluate", model, "--data", "digit_sequences"]) == 2
    assert "Received: (28, 28)" in capsys.readouterr().err


def test_evaluate_multivariate_regression(tmp_path, capsys):
    """The model repeats the last row, so that its errors are known."""
    layers = [keras.Input((4, 8)), keras.layers.Cropping1D((3, 0)), keras.layers.Flatten()]
    model = saved(tmp_path / "model.keras", *layers)
    assert main(["evaluate", model, "--data", "digit_forecast"]) == 0
    printed = capsys.readouterr().out
    rows, labels = next(iter(datasets.load("digit_forecast", "test", 10_000)))
    difference = rows.numpy()[:, -1] - labels.numpy()
    numbers = [float(text) for text in re.findall(r"\d+\.\d+", printed)]
    for error in (np.mean(difference**2), np.mean(np.abs(difference))):
        assert any(number == pytest.approx(error, abs=0.006) for number in numbers), printed
    few = [keras.Input((4, 8)), keras.layers.Flatten(), keras.layers.Dense(1)]
    assert main(["evaluate", saved(tmp_path / "few.keras", *few), "--data", "digit_forecast"]) == 2
    assert (
        "must have one output of size 8. Received: one output of size 1" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_plot_a_layer_of_a_sequence_model(tmp_path, capsys):
    model = str(tmp_path / "model.keras")
    applications.LSTM4((8, 8), 10, attention="ran").save(model)
    options = ["plot", model, "--data", "digit_sequences", "--size", "8"]
    figure = tmp_path / "lstm4.png"
    assert main([*options, "--layer", "lstm4", "--output", str(figure)]) == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert main([*options, "--layer", "lstm5"]) == 2
    assert "Did you mean 'lstm" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()
