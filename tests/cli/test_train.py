"""The train command: files, reproducibility, resuming, losses and animations."""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from keras_attention import datasets, losses
from keras_attention.cli import main
from keras_attention.cli.commands.train import model_and_loss
from keras_attention.training.training_state import CheckpointCallback
from tests.cli.small_runs import SIZE, file_names, train


def test_train_fills_the_run_folder(run):
    assert file_names(run) == [
        "checkpoints/step-000000006.npz",
        "checkpoints/step-000000009.npz",
        "config.json",
        "figures/attention.png",
        "history.csv",
        "model.keras",
    ]
    config = json.loads((run / "config.json").read_text())
    assert config["model_options"] == {"beta": 4, "window": "gaussian", "roi": "mask"}
    assert (config["data"], config["size"], config["seed"]) == ("digits", SIZE, 7)
    lines = (run / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,accuracy,loss,val_accuracy,val_loss"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    model = keras.saving.load_model(run / "model.keras")
    assert model.get_layer("target1").window == "gaussian"


def test_same_seed_gives_the_same_history_also_after_an_interruption(
    cnn6_run, tmp_path, monkeypatch, capsys
):
    """CNN6 has dropout, whose random state must be restored too."""
    original = CheckpointCallback.on_epoch_end

    def interrupt_after_two(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_epoch_end", interrupt_after_two)
        assert train(tmp_path / "killed") == 130
    assert "model.keras" not in file_names(tmp_path / "killed")
    error = capsys.readouterr().err.splitlines()[-1]
    resume = f"keras-attention train --resume --output {tmp_path / 'killed'}"
    assert error.endswith(f"interrupted after 2 of 3 epochs; resume with: {resume}")
    assert main(resume.split()[1:]) == 0
    history = (tmp_path / "killed" / "history.csv").read_text()
    assert history == (cnn6_run.folder / "history.csv").read_text()


def test_resuming_a_finished_run_changes_nothing(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run, folder)
    history = (folder / "history.csv").read_text()
    (folder / "history.csv").write_text("killed before the last epoch was written")
    assert train(folder, "--resume", model="TKN6") == 0
    assert (folder / "history.csv").read_text() == history


@pytest.mark.slow
def test_nan_loss_stops_the_run(tmp_path, capsys):
    assert train(tmp_path / "run", "--learning-rate", "1e30") == 2
    assert "The loss is nan after step 2 of epoch 1" in capsys.readouterr().err
    assert file_names(tmp_path / "run") == ["config.json"]


@pytest.mark.slow
def test_attend_and_rectify_networks_are_trained_on_log_probabilities(tmp_path):
    """Training uses the loss of the paper; the saved model outputs probabilities."""
    sizes = ("depth=10", "width=0.25", "attention_depth=1", "attention_width=2")
    options = [word for size in sizes for word in ("--model-option", size)]
    assert train(tmp_path / "warn", *options, "--size", "8", model="WARN", epochs=1) == 0
    model = keras.saving.load_model(tmp_path / "warn" / "model.keras")
    data = datasets.load("digits", "test", batch_size=64, size=8, train_size=60)
    images, labels = next(iter(data))
    np.testing.assert_allclose(model(images).numpy().sum(axis=1), 1.0, rtol=1e-5)
    fitted, loss = model_and_loss(model, regression=False)
    assert isinstance(loss, losses.NegativeLogLikelihood)
    np.testing.assert_allclose(keras.ops.softmax(fitted(images)), model(images), atol=1e-6)
    validated = datasets.load("digits", "test", batch_size=90, size=8, train_size=60)
    images, labels = next(iter(validated))
    penalty = float(sum(model.losses))
    expected = float(loss(labels, fitted(images))) + penalty
    last = (tmp_path / "warn" / "history.csv").read_text().splitlines()[-1]
    assert float(last.split(",")[-1]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_animation_has_a_frame_per_epoch(tmp_path):
    options = ("--animate", "--model-option", "attention=cbam", "--size", "20")
    assert train(tmp_path / "run", *options, model="LeNet5", epochs=1) == 0
    with Image.open(tmp_path / "run" / "figures" / "attention.gif") as image:
        assert image.n_frames == 2


def test_animation_requires_attention(tmp_path, capsys):
    assert train(tmp_path / "run", "--animate") == 2
    assert "`--animate` requires a model with attention" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
