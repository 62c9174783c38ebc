"""Ctrl-C during an epoch of a process leaves a run that can be resumed."""

import csv
import signal
import subprocess
import sys

import numpy as np
import pytest

from keras_attention.cli import main
from tests.cli.small_runs import file_names

# Waits in the second epoch for the signal.
WAITING = """
import signal, sys, time
from pathlib import Path

# Background jobs of a shell ignore SIGINT by default.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = "keras-attention"
from keras_attention.training.training_state import CheckpointCallback
from tests.cli.small_runs import train, validate_on_few

MODULES = ("applications", "layers", "losses", "surgery", "training")

def wait(self, batch, logs=None):
    if len(self.rows) == 1 and batch == 1:
        modules = {f"keras_attention.{name}" for name in MODULES}
        print("waiting", *modules - set(sys.modules), file=sys.stderr, flush=True)
        time.sleep(250)

CheckpointCallback.on_train_batch_end = wait
validate_on_few(setattr)
sys.exit(train(Path(sys.argv[1]), "--json"))
"""


def rows(folder):
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [[float(value) for value in row.values()] for row in csv.DictReader(file)]


@pytest.mark.slow
def test_ctrl_c(cnn6_run, tmp_path):
    folder = tmp_path / "run"
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in child.stderr:
        lines.append(line)
        if "waiting" in line:
            child.send_signal(signal.SIGINT)
            break
    out, error = child.communicate(timeout=60)
    assert child.returncode == 130, "".join([*lines, error])
    assert out == ""
    assert lines[-1].endswith("waiting\n"), "files can contain classes of all modules"
    resume = f"keras-attention train --resume --output {folder}"
    last = error.splitlines()[-1]
    assert last == f"keras-attention: interrupted after 1 of 3 epochs; resume with: {resume}"
    assert file_names(folder) == ["checkpoints/step-000000003.npz", "config.json", "history.csv"]

    assert main(resume.split()[1:]) == 0
    np.testing.assert_allclose(rows(folder), rows(cnn6_run.folder), rtol=1e-4)
