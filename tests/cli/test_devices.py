"""Runs on several devices and on another backend: configuration, resuming and errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_attention import backend
from keras_attention.cli import main
from keras_attention.cli.main import _backend_in_file
from keras_attention.training.training_state import CheckpointCallback
from tests.cli.small_runs import train

COMMAND = """
import sys

sys.argv[0] = "keras-attention"
from keras_attention.cli import main

sys.exit(main(sys.argv[1:]))
"""
OPTIONS = ["--data", "digits", "--size", "4", "--train-size", "61", "--batch-size", "20"]


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(backend, "device_count", lambda: 2)


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def history_of(folder):
    return np.genfromtxt(folder / "history.csv", delimiter=",", skip_header=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("LeNet5", ["--size", "20"]),
        # With batch normalization, which is synchronized.
        ("NINThin", ["--model-option", "width=0.1"]),
    ],
)
def test_two_devices_train_and_resume(tmp_path, monkeypatch, model, options):
    options = ["--devices", "all", "--train-size", "61", *options]
    assert train(tmp_path / "whole", *options, model=model, epochs=2) == 0
    config = config_of(tmp_path / "whole")
    assert (config["devices"], config["backend"]) == (2, "tensorflow")

    original = CheckpointCallback.on_epoch_end

    def killed(self, epoch, logs=None):
        original(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_epoch_end", killed)
        assert train(tmp_path / "killed", *options, model=model, epochs=2) == 130
    assert main(["train", "--resume", "--output", str(tmp_path / "killed")]) == 0
    whole, killed_run = ((tmp_path / name / "history.csv") for name in ("whole", "killed"))
    assert killed_run.read_text() == whole.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", "0"), "from 1 to 2, the number of CPU cores"),
        (("--devices", "3"), "Received: --devices=3"),
        (("--devices", "2", "--batch-size", "15"), "--batch-size=15, --devices=2"),
        (("--backend", "jax"), "must be tensorflow, because Keras is already imported"),
    ],
)
def test_invalid_devices(options, message, tmp_path, capsys):
    assert train(tmp_path / "run", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_resume_requires_the_same_devices(run, capsys):
    assert main(["train", "--resume", "--output", str(run), "--devices", "2"]) == 2
    assert "has devices = 1" in capsys.readouterr().err


def test_run_of_another_backend_requires_a_new_process(run, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({**config_of(run), "backend": "jax"}))
    assert main(["train", "--resume", "--output", str(tmp_path)]) == 2
    assert "Received: --backend=jax" in capsys.readouterr().err
    assert main(["train", "--config", str(tmp_path), "--output", str(tmp_path / "new")]) == 2
    assert "Received: --backend=jax" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"backend": "jax"}', "not JSON", "[]"])
def test_backend_in_a_file(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    assert _backend_in_file(tmp_path) == ("jax" if "jax" in text else None)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jax_run_can_be_evaluated_on_every_backend(tmp_path, capsys):
    folder = tmp_path / "run"
    words = ["train", "TKN6", *OPTIONS, "--epochs", "2", "--learning-rate", "0.01"]
    both = ["--backend", "jax", "--devices", "2"]
    in_new_process([*words, *both, "--output", str(folder)])
    assert (config_of(folder)["backend"], config_of(folder)["devices"]) == ("jax", 2)
    in_new_process([*words, "--backend", "jax", "--output", str(tmp_path / "one")])
    np.testing.assert_allclose(history_of(folder), history_of(tmp_path / "one"), rtol=1e-4)
    assert main(["evaluate", str(folder), "--json"]) == 0
    here = json.loads(capsys.readouterr().out)
    there = json.loads(in_new_process(["evaluate", str(folder), "--json"], KERAS_BACKEND="jax"))
    assert here["error_percent"] == pytest.approx(there["error_percent"], abs=0.2)
    assert main(["plot", str(folder)]) == 0
    assert main(["export", str(folder)]) == 0
    in_new_process(["train", "--resume", "--output", str(folder)])


def in_new_process(words, **environment):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
