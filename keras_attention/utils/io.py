"""Files that are written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# In the names of files that are not whole yet.
PARTIAL = ".partial-"
LOCK = ".lock"


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Lets `write` make a file under a temporary name with the same suffix, then renames it.

    What the file holds is on the disk before the name is, and the name before this returns: when a
    process is killed, or a machine stops, there is the old file or the new one.
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


def remove_partial(folder: Path) -> None:
    """Removes what killed processes had not written to the end, in all folders inside too."""
    for path in folder.rglob(f".*{PARTIAL}*"):
        path.unlink()


def _sync_folder(path: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened
        _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
