"""Faults of disks and machines: training stops with the command that resumes it."""

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
from keras_attention.utils.io import LOCK, PARTIAL, folder_lock
from tests.cli.fork_server import ForkServer, file_contents
from tests.cli.small_runs import SIZE, file_names, train

OPTIONS = (
    "--model-option",
    "beta=4",
    "--model-option",
    "window=gaussian",
    "--model-option",
    "roi=mask",
)


@pytest.fixture
def copy(run, tmp_path):
    """A copy of a finished run."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def file_size():
    """Limits the size of files, beyond which writing fails as on a full disk."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size or before, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def at_step(monkeypatch, number, action):
    """Calls a function when a training step begins."""

    def begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == number:
            action()

    monkeypatch.setattr(CheckpointCallback, "on_train_batch_begin", begin)


def contents_without_model(folder):
    """All files except the model, whose layer names depend on previous models of the process."""
    return {name: data for name, data in file_contents(folder).items() if "model.keras" not in name}


def resume(folder):
    return main(["train", "--resume", "--output", str(folder)])


@pytest.mark.slow
def test_resumes_after_sigterm_full_disk_and_flipped_bit(
    run, tmp_path, monkeypatch, capsys, file_size
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(folder, *OPTIONS, model="TKN6") == 143
    command = f"resume with: keras-attention train --resume --output {folder}"
    assert capsys.readouterr().err.endswith(f"interrupted after 1 of 3 epochs; {command}\n")
    before = file_names(folder)
    assert [name for name in before if "checkpoints" in name] == [
        "checkpoints/step-000000003.npz",
        "checkpoints/step-000000005.npz",
    ]
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: file_size(10_000))
        assert resume(folder) == 2
    file_size(None)
    error = capsys.readouterr().err
    assert f"File too large; stopped after 1 of 3 epochs; {command}" in error.splitlines()[-1]
    assert file_names(folder) == before, "no partial files"
    last = folder / "checkpoints" / "step-000000005.npz"
    flipped = bytearray(last.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    last.write_bytes(flipped)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert resume(folder) == 0
    message = "".join(str(each.message) for each in caught)
    assert "step-000000005.npz is corrupt" in message
    assert "Resuming from the previous checkpoint: step-000000003.npz" in message
    assert contents_without_model(folder) == contents_without_model(run)


def test_no_valid_checkpoint(copy, capsys):
    for path in (copy / "checkpoints").iterdir():
        path.write_bytes(b"")
    assert resume(copy) == 2
    assert "restore a copy of one, or train from the start" in capsys.readouterr().err
    shutil.rmtree(copy / "checkpoints")
    assert resume(copy) == 2
    assert "`--resume` needs the checkpoints of the run" in capsys.readouterr().err


def test_one_process_per_folder(copy, capsys):
    before = file_names(copy)
    with folder_lock(copy):
        assert resume(copy) == 2
    assert "Only one process at a time may train into a folder" in capsys.readouterr().err
    assert file_names(copy) == before


def test_folder_that_cannot_be_created(capsys):
    """The system does not allow folders in /proc."""
    assert train(Path("/proc/run"), epochs=1) == 2
    error = capsys.readouterr().err
    assert "must be writable" in error
    assert "Received: '/proc/run'" in error
    assert "Epoch" not in error


def test_start_after_a_killed_start(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / f".config{PARTIAL}abcd.json").write_text("{")
    assert train(tmp_path, epochs=0) == 0
    assert file_names(tmp_path) == ["config.json", "model.keras"]


def test_checkpoint_steps_must_be_positive(tmp_path, capsys):
    assert train(tmp_path / "run", "--checkpoint-steps", "0") == 2
    assert "Received: --checkpoint-steps=0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def can_mount():
    """Returns True if the user may mount file systems, which few containers allow."""
    result = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
    )
    return result.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_full_disk_and_read_only_disk(tmp_path):
    if not can_mount():
        pytest.skip("requires permission to mount a file system: unshare -rm")
    disk, words = tmp_path / "disk", ("--data", "digits", "--size", SIZE, "--train-size", 60)
    disk.mkdir()
    words = ("CNN6", *words, "--batch-size", 20, "--epochs", 3)
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(disk)]
    with ForkServer(tmp_path / "log", before=mount) as server:
        inside = Path(f"/proc/{server.process.pid}/root{disk}")
        resume_command = ("train", "--resume", "--output", disk / "run")
        assert server.call("train", "--output", disk / "whole", *words)[0] == 0
        complete = file_contents(inside / "whole")
        size = (inside / "whole" / "checkpoints" / "step-000000009.npz").stat().st_size
        shutil.rmtree(inside / "whole")

        def remount(options):
            namespace = ["-t", str(server.process.pid), "-U", "-m", "--preserve-credentials"]
            change = ["mount", "-o", f"remount,{options}", str(disk)]
            subprocess.run(["nsenter", *namespace, *change], check=True)

        remount(f"size={round(1.7 * size / 4096) * 4}k")  # space for one checkpoint and a part
        assert server.call("train", "--output", disk / "run", *words)[0] == 2
        error = (tmp_path / "log").read_text().splitlines()[-1]
        assert "No space left on device; stopped after 1 of 3 epochs" in error
        assert file_names(inside / "run") == [
            "checkpoints/step-000000003.npz",
            "config.json",
            "history.csv",
        ]
        remount("size=90%,ro")
        assert server.call(*resume_command)[0] == 2
        assert "Read-only file system" in (tmp_path / "log").read_text().splitlines()[-1]
        remount("size=90%,rw")
        assert server.call(*resume_command)[0] == 0
        assert file_contents(inside / "run") == complete
