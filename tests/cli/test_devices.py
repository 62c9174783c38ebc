"""Runs on several devices, and on another backend: what they record, that they go on, errors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_attention import backend
from keras_attention.cli import backends, main
from keras_attention.training.training_state import CheckpointCallback
from tests.cli.small import train

COMMAND = """
import sys

sys.argv[0] = "keras-attention"
from keras_attention.cli import main

sys.exit(main(sys.argv[1:]))
"""
OPTIONS = ["--data", "digits", "--size", "8", "--train-size", "61", "--batch-size", "20"]


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(backend, "devices_here", lambda: 2)


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def history_of(folder):
    return np.genfromtxt(folder / "history.csv", delimiter=",", skip_header=1)


def test_two_devices_learn_and_go_on_as_one_run(tmp_path, monkeypatch):
    options = ("--devices", "all", "--train-size", "61", "--set", "width=0.1")
    assert train(tmp_path / "whole", *options, model="NINThin", epochs=2) == 0
    assert (config_of(tmp_path / "whole")["devices"], config_of(tmp_path / "whole")["backend"]) == (
        2,
        "tensorflow",
    )

    plain = CheckpointCallback.on_epoch_end

    def killed(self, epoch, logs=None):
        plain(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "on_epoch_end", killed)
        assert train(tmp_path / "killed", *options, model="NINThin", epochs=2) == 130
    assert main(["train", "--resume", "--output", str(tmp_path / "killed")]) == 0
    whole, killed_run = ((tmp_path / name / "history.csv") for name in ("whole", "killed"))
    assert killed_run.read_text() == whole.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", "0"), "must be from 1 to 2, the cores of the CPU"),
        (("--devices", "3"), "Received: --devices=3"),
        (("--devices", "2", "--batch-size", "15"), "--batch-size=15, --devices=2"),
        (("--backend", "jax"), "which is imported and runs on tensorflow"),
    ],
)
def test_what_cannot_be(options, message, tmp_path, capsys):
    assert train(tmp_path / "run", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_other_devices_do_not_continue_a_run(run, capsys):
    assert main(["train", "--resume", "--output", str(run), "--devices", "2"]) == 2
    assert "has devices = 1" in capsys.readouterr().err


def test_a_run_of_another_backend_needs_a_process_of_its_own(run, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({**config_of(run), "backend": "jax"}))
    assert main(["train", "--resume", "--output", str(tmp_path)]) == 2
    assert "Received: --backend=jax" in capsys.readouterr().err
    assert main(["train", "--config", str(tmp_path), "--output", str(tmp_path / "new")]) == 2
    assert "Received: --backend=jax" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"backend": "jax"}', "not JSON", "[]"])
def test_a_file_may_say_the_backend(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    assert backends._said(tmp_path) == ("jax" if "jax" in text else None)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jax_trains_what_every_backend_measures(tmp_path, capsys):
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
