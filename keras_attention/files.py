"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# In the names of files that are not whole yet.
PARTIAL = ".partial-"


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
