"""Networks of several answers: house numbers, trained on crops and read in whole pictures."""

import json

import keras
import numpy as np
import pytest

from keras_attention import datasets, ops
from keras_attention.cli import main

DATA = ["--data", "number_photographs", "--data-option", "test_size=3", "--train-size", "64"]
WIDTH = ["--set", "width=0.05"]


def facts(capsys, *arguments):
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


def test_each_answer_is_learned(parts):
    header = (parts / "coarse" / "history.csv").read_text().splitlines()[0].split(",")
    answers = ("length", *(f"digit{place}" for place in range(1, 6)))
    assert {f"val_{answer}_accuracy" for answer in answers} <= set(header)
    config = json.loads((parts / "coarse" / "config.json").read_text())
    assert (config["size"], config["learning_rate"]) == (None, 0.01)


def test_a_number_is_right_where_all_digits_are(parts, capsys):
    found = facts(capsys, "evaluate", parts / "coarse", "--batch-size", 2)
    model = keras.saving.load_model(parts / "coarse" / "model.keras")
    pictures = datasets.load("number_photographs", "test", batch_size=1, test_size=3)
    hits = [float(ops.sequence_hits(model(image), label)[0]) for image, label in pictures]
    assert found["examples"] == len(hits) == 3
    assert found["error_percent"] == pytest.approx(100 * (1 - np.mean(hits)))
    assert found["macs_at"] == [54, 110, 1], "pictures have sizes of their own"


def test_trained_parts_are_joined_drawn_and_served(parts, tmp_path, capsys, reloads_here):
    joined = ["--set", f"coarse={parts / 'coarse'}", "--set", f"fine={parts / 'fine'}"]
    more = ["--set", "patches=2", "--epochs", "0", "--output", tmp_path / "dcn"]
    found = facts(capsys, "train", "SVHNDCN", *DATA, *joined, *more)
    assert "figure" in found
    dcn = keras.saving.load_model(found["model"])
    coarse = keras.saving.load_model(parts / "coarse" / "model.keras")
    weights = coarse.get_layer("coarse").get_weights()
    for one, other in zip(weights, dcn.get_layer("refiner").coarse.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert facts(capsys, "evaluate", tmp_path / "dcn")["examples"] == 3
    served = facts(capsys, "export", tmp_path / "dcn", "--attention")
    assert served["export"] == str(tmp_path / "dcn" / "saved_model")


def test_a_network_of_one_answer_does_not_read_numbers(parts, run, capsys):
    assert main(["evaluate", str(parts / "coarse"), "--data", "digits", "--size", "60"]) == 2
    error = capsys.readouterr().err
    assert "must have one answer of 5. Received: outputs of 6 answers of 5, 11" in error
