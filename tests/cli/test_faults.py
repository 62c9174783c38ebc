"""Faults of disks and machines: trainings stop with a line that says how to go on, and do."""

import os
import resource
import shutil
import signal
import subprocess
import warnings
from pathlib import Path

import pytest

from keras_attention.cli import main
from keras_attention.training.training_state import CheckpointCallback
from keras_attention.utils.io import LOCK, PARTIAL, locked
from tests.cli.killing import Server, contents
from tests.cli.small import names, train

OPTIONS = ("--set", "beta=4", "--set", "window=gaussian", "--set", "roi=mask")


@pytest.fixture
def copy(run, tmp_path):
    """A finished run."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def file_size():
    """Sets the size from which on the system refuses to write to a file, as to a full disk."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size or before, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def at_step(monkeypatch, number, what):
    """Does something when a step begins."""

    def begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == number:
            what()

    monkeypatch.setattr(CheckpointCallback, "on_train_batch_begin", begin)


def kept(folder):
    """All but the model, whose layers are named by what this process made before."""
    return {name: data for name, data in contents(folder).items() if "model.keras" not in name}


def resumed(folder):
    return main(["train", "--resume", "--output", str(folder)])


def test_goes_on_after_sigterm_a_full_disk_and_a_flipped_bit(
    run, tmp_path, monkeypatch, capsys, file_size
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(folder, *OPTIONS, model="TKN6") == 143
    go_on = f"continue with: keras-attention train --resume --output {folder}"
    assert capsys.readouterr().err.endswith(f"interrupted after 1 of 3 epochs; {go_on}\n")
    before = names(folder)
    assert [name for name in before if "checkpoints" in name] == [
        "checkpoints/step-000000003.npz",
        "checkpoints/step-000000005.npz",
    ]
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: file_size(10_000))
        assert resumed(folder) == 2
    file_size(None)
    error = capsys.readouterr().err
    assert f"File too large; stopped after 1 of 3 epochs; {go_on}" in error.splitlines()[-1]
    assert names(folder) == before, "nothing half written"
    last = folder / "checkpoints" / "step-000000005.npz"
    flipped = bytearray(last.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    last.write_bytes(flipped)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert resumed(folder) == 0
    said = "".join(str(one.message) for one in caught)
    assert "step-000000005.npz is corrupt" in said
    assert "Going on from the one before: step-000000003.npz" in said
    assert kept(folder) == kept(run)


def test_no_checkpoint_of_use(copy, capsys):
    for path in (copy / "checkpoints").iterdir():
        path.write_bytes(b"")
    assert resumed(copy) == 2
    assert "put back a copy of one, or train anew" in capsys.readouterr().err
    shutil.rmtree(copy / "checkpoints")
    assert resumed(copy) == 2
    assert "`--resume` needs the checkpoints of the run" in capsys.readouterr().err


def test_one_process_a_folder(copy, capsys):
    before = names(copy)
    with locked(copy):
        assert resumed(copy) == 2
    assert "Only one process at a time may train into a folder" in capsys.readouterr().err
    assert names(copy) == before


def test_a_folder_that_cannot_be_written_to(capsys):
    """The system lets nobody make a folder there."""
    assert train(Path("/proc/run"), epochs=1) == 2
    error = capsys.readouterr().err
    assert "must be one that can be made and written to. Received: '/proc/run'" in error
    assert "Epoch" not in error


def test_a_start_that_was_killed(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / f".config{PARTIAL}abcd.json").write_text("{")
    assert train(tmp_path, epochs=0) == 0
    assert names(tmp_path) == ["config.json", "model.keras"]


def test_checkpoint_steps_are_positive(tmp_path, capsys):
    assert train(tmp_path / "run", "--checkpoint-steps", "0") == 2
    assert "Received: --checkpoint-steps=0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def can_mount():
    """Whether this user may have a file system of their own; few containers let them."""
    made = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
    )
    return made.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_disk_that_is_full_and_one_that_is_only_read(tmp_path):
    if not can_mount():
        pytest.skip("needs a file system of its own: unshare -rm")
    disk, words = tmp_path / "disk", ("--data", "digits", "--size", 8, "--train-size", 60)
    disk.mkdir()
    words = ("CNN6", *words, "--batch-size", 20, "--epochs", 3)
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(disk)]
    with Server(tmp_path / "log", before=mount) as server:
        inside = Path(f"/proc/{server.process.pid}/root{disk}")
        resume = ("train", "--resume", "--output", disk / "run")
        assert server.call("train", "--output", disk / "whole", *words)[0] == 0
        whole = contents(inside / "whole")
        size = (inside / "whole" / "checkpoints" / "step-000000009.npz").stat().st_size
        shutil.rmtree(inside / "whole")

        def remount(options):
            inside_too = ["-t", str(server.process.pid), "-U", "-m", "--preserve-credentials"]
            change = ["mount", "-o", f"remount,{options}", str(disk)]
            subprocess.run(["nsenter", *inside_too, *change], check=True)

        remount(f"size={round(1.7 * size / 4096) * 4}k")  # room for one checkpoint and a part
        assert server.call("train", "--output", disk / "run", *words)[0] == 2
        said = (tmp_path / "log").read_text().splitlines()[-1]
        assert "No space left on device; stopped after 1 of 3 epochs" in said
        assert names(inside / "run") == [
            "checkpoints/step-000000003.npz",
            "config.json",
            "history.csv",
        ]
        remount("size=90%,ro")
        assert server.call(*resume)[0] == 2
        assert "Read-only file system" in (tmp_path / "log").read_text().splitlines()[-1]
        remount("size=90%,rw")
        assert server.call(*resume)[0] == 0
        assert contents(inside / "run") == whole
