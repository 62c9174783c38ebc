"""Folders that one process at a time writes to."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of a folder, which is made where there is none.

    The system gives a lock back when its process ends, however it ends.

    Raises:
        ValueError: When another process has the folder.
        OSError: When the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _take(folder / LOCK)
    except OSError as error:
        raise OSError(
            f"The folder must be one that can be made and written to. Received: {str(folder)!r} "
            f"({error.strerror})"
        ) from error
    try:
        yield
    finally:
        # While it is ours: later another process may have made it anew.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)


def _take(path: Path) -> int:
    import fcntl  # not on Windows, where the rest of the package works

    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise ValueError(
                "Only one process at a time may train into a folder; wait for the other, or choose "
                f"another folder. Received: {str(path.parent)!r}, which is in use"
            ) from error
        if _is_at(path, handle):
            return handle
        os.close(handle)  # its owner removed it between the two calls


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
