"""Models with several outputs: house numbers, trained on crops, evaluated on photographs."""

import json

import keras
import numpy as np
import pytest

from keras_attention import datasets, ops
from keras_attention.cli import main

pytestmark = pytest.mark.slow
DATA = ["--data", "number_photographs", "--data-option", "test_size=3", "--train-size", "64"]
WIDTH = ["--model-option", "width=0.05"]


def json_result(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A trained coarse network and an untrained fine one."""
    folder = tmp_path_factory.mktemp("numbers")
    for name, model, epochs in (("coarse", "SVHNCoarse", 1), ("fine", "SVHNFine", 0)):
        options = ["--epochs", str(epochs), "--batch-size", "32", "--output", str(folder / name)]
        assert main(["train", model, *DATA, *WIDTH, *options]) == 0
    return folder


def test_each_output_is_trained(parts):
    header = (parts / "coarse" / "history.csv").read_text().splitlines()[0].split(",")
    outputs = ("length", *(f"digit{index}" for index in range(1, 6)))
    assert {f"val_{output}_accuracy" for output in outputs} <= set(header)
    config = json.loads((parts / "coarse" / "config.json").read_text())
    assert (config["size"], config["learning_rate"]) == (None, 0.01)


def test_number_is_correct_if_all_digits_are(parts, capsys):
    found = json_result(capsys, "evaluate", parts / "coarse", "--batch-size", 2)
    model = keras.saving.load_model(parts / "coarse" / "model.keras")
    photographs = datasets.load("number_photographs", "test", batch_size=1, test_size=3)
    correct = [float(ops.sequence_hits(model(image), label)[0]) for image, label in photographs]
    assert found["examples"] == len(correct) == 3
    assert found["error_percent"] == pytest.approx(100 * (1 - np.mean(correct)))
    assert found["macs_input_shape"] == [54, 110, 1], "photographs have different sizes"


def test_trained_parts_are_combined_plotted_and_exported(parts, tmp_path, capsys, reloads_here):
    joined = [
        "--model-option",
        f"coarse={parts / 'coarse'}",
        "--model-option",
        f"fine={parts / 'fine'}",
    ]
    more = ["--model-option", "patches=2", "--epochs", "0", "--output", tmp_path / "dcn"]
    found = json_result(capsys, "train", "SVHNDCN", *DATA, *joined, *more)
    assert "figure" in found
    dcn = keras.saving.load_model(found["model"])
    coarse = keras.saving.load_model(parts / "coarse" / "model.keras")
    weights = coarse.get_layer("coarse").get_weights()
    for one, other in zip(weights, dcn.get_layer("refiner").coarse.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert json_result(capsys, "evaluate", tmp_path / "dcn")["examples"] == 3
    served = json_result(capsys, "export", tmp_path / "dcn", "--attention")
    assert served["export"] == str(tmp_path / "dcn" / "saved_model")


def test_multi_digit_model_cannot_be_evaluated_on_digits(parts, run, capsys):
    assert main(["evaluate", str(parts / "coarse"), "--data", "digits", "--size", "60"]) == 2
    error = capsys.readouterr().err
    assert "must have one output of size 5. Received: 6 outputs of sizes 5, 11" in error
