"""Atomic files, and folders that one process at a time writes to."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Part of the names of files that are still being written.
PARTIAL = ".partial-"
LOCK = ".lock"


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under a temporary name and renames it when it is complete.

    Contents are flushed to disk before the rename, and the rename before this function returns:
    after a kill or a power failure there is either the old file or the complete new one.

    Args:
        path: Path of the file.
        write: Function that writes the file to the path that it receives, which has the same
            suffix.
    """
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem}{PARTIAL}", suffix=path.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_partial_files(folder: Path) -> None:
    """Removes incomplete files that killed processes left in a folder and its sub-folders."""
    for path in folder.rglob(f".*{PARTIAL}*"):
        path.unlink()


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Locks a folder for this process, and creates it if it does not exist.

    The operating system releases the lock when the process ends, however it ends.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _acquire(folder / LOCK)
    except OSError as error:
        raise OSError(
            "The folder must be writable, and possible to create if it does not exist. "
            f"Received: {str(folder)!r} ({error.strerror})"
        ) from error
    try:
        yield
    finally:
        # Removed before it is released: afterwards another process may hold a new one.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path) -> int:
    import fcntl  # missing on Windows, where the rest of the package works

    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise ValueError(
                "Only one process at a time may train into a folder: wait for the other process or "
                f"choose another folder. Received: {str(path.parent)!r}, which is in use"
            ) from error
        if _is_same_file(path, handle):
            return handle
        os.close(handle)  # the previous owner removed the file between the two calls


def _is_same_file(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _sync_folder(path: Path) -> None:
    if os.name == "posix":  # other systems cannot open folders
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
