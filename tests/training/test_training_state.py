"""Checkpoint files are complete or refused, also after disk errors."""

import contextlib
import os
import resource
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attention.training.training_state import (
    Checkpoints,
    TrainingState,
    read_state,
    write_state,
)
from keras_attention.utils.io import LOCK, PARTIAL, folder_lock, write_atomically

STATE = TrainingState(
    {"weights": np.arange(6.0).reshape(2, 3), "half": np.ones(3, "float16"), "empty": np.ones(0)},
    {"rows": [{"loss": 0.1}], "best": float("inf"), "name": "Grüße"},
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "step-000000001.npz"
    write_state(path, STATE)
    return path


def assert_same_state(state):
    assert state.metadata == STATE.metadata
    for name, array in STATE.arrays.items():
        np.testing.assert_array_equal(state.arrays[name], array, strict=True)
    assert set(state.arrays) == set(STATE.arrays)


def test_round_trip(whole):
    assert_same_state(read_state(whole))


def test_files_are_deterministic(whole, tmp_path):
    write_state(tmp_path / "again.npz", STATE)
    assert (tmp_path / "again.npz").read_bytes() == whole.read_bytes()


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_flipped_bits_are_detected_or_harmless(whole, tmp_path_factory, data):
    broken = bytearray(whole.read_bytes())
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(broken)
    with contextlib.suppress(ValueError):
        assert_same_state(read_state(path))


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_truncated_files_are_refused(whole, tmp_path_factory, data):
    content = whole.read_bytes()
    path = tmp_path_factory.getbasetemp() / "part.npz"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"part\.npz is corrupt"):
        read_state(path)


def test_modified_content_is_refused(whole, tmp_path):
    """The checksums of the zip file itself are valid here."""
    with np.load(whole) as data:
        arrays = dict(data)
    arrays["weights"] = arrays["weights"] + 1
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match="the checksum does not match"):
        read_state(tmp_path / "other.npz")


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "pickle.npz", weights=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="is corrupt"):
        read_state(tmp_path / "pickle.npz")


@settings(deadline=None, max_examples=20)
@given(
    steps=st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True), keep=st.integers(1, 3)
)
def test_last_checkpoints_are_kept(tmp_path_factory, steps, keep):
    """The files written last are kept; invalid ones may have higher step numbers."""
    folder = tmp_path_factory.mktemp("kept")
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.write(step, TrainingState({}, {"step": step}))
    kept = [read_state(path).metadata["step"] for path in checkpoints.paths()]
    assert kept == sorted(steps[-keep:])
    assert len(list(folder.iterdir())) == len(kept)


def refuse_2(state):
    if state.metadata["step"] == 2:
        raise ValueError("It is of another model.")


@pytest.mark.parametrize("fault", ["empty", "torn", "other", "folder"])
def test_previous_checkpoint_is_used_with_a_warning(tmp_path, fault):
    checkpoints = Checkpoints(tmp_path, 3)
    for step in range(3):
        checkpoints.write(step, TrainingState({}, {"step": step}))
    last = checkpoints.paths()[-1]
    if fault == "folder":
        last.unlink()
        last.mkdir()
    elif fault != "other":
        last.write_bytes(last.read_bytes()[: 0 if fault == "empty" else 200])
    again = Checkpoints(tmp_path)
    with pytest.warns(UserWarning, match="Resuming from the previous checkpoint: step-000000001"):
        assert again.newest(refuse_2).metadata == {"step": 1}
    if fault != "folder":
        again.write(5, TrainingState({}, {"step": 5}))
        assert [read_state(path).metadata["step"] for path in again.paths()] == [1, 5]


def test_no_valid_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() is None
    for step in range(2):
        checkpoints.write(step, STATE)
    for path in checkpoints.paths():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="restore a copy of one, or train from the start"):
        checkpoints.newest()


def test_partial_files_are_removed(tmp_path):
    (tmp_path / f".step-000000001{PARTIAL}abc.npz").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    assert Checkpoints(tmp_path).newest() is None
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_full_disk_keeps_earlier_checkpoints(tmp_path):
    """A limit of the file size acts like a full disk."""
    checkpoints = Checkpoints(tmp_path)
    for step in range(2):
        checkpoints.write(step, STATE)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    large = TrainingState({"weights": np.ones(10**5)}, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoints.write(2, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    checkpoints.write(2, large)
    assert checkpoints.newest().metadata == {}


def test_contents_are_flushed_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, type(tmp_path).replace

    def noted_fsync(handle):
        calls.append("folder" if stat_is_folder(handle) else "file")
        fsync(handle)

    def noted_replace(self, target):
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr("os.fsync", noted_fsync)
    monkeypatch.setattr(type(tmp_path), "replace", noted_replace)
    write_atomically(tmp_path / "a.json", lambda path: path.write_text("{}"))
    assert calls == ["file", "rename", "folder"]


def stat_is_folder(handle):
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def test_lock_excludes_other_processes(tmp_path):
    folder = tmp_path / "new" / "run"
    with (
        folder_lock(folder),
        pytest.raises(ValueError, match="Only one process at a time"),
        folder_lock(folder),
    ):
        pass
    with folder_lock(folder):
        assert (folder / LOCK).exists()
    assert not list(folder.iterdir())


def test_stale_locks_are_released(tmp_path):
    (tmp_path / LOCK).touch()
    with folder_lock(tmp_path):
        pass


def test_read_only_folder():
    with pytest.raises(OSError, match="must be writable"), folder_lock(Path("/proc/run")):
        pass
