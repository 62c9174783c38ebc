"""Files that hold a moment of a training: whole, verified when they are read, the last few kept."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_attention.arguments import positive_integer
from keras_attention.files import remove_partial, write_whole

Arrays = dict[str, np.ndarray]
# What is not an array, as JSON, and the SHA-256 of everything else in the file.
FACTS, DIGEST = "facts", "sha256"


class Moment(NamedTuple):
    """What a training needs to go on.

    Attributes:
        arrays: By name, of types that NumPy has by itself.
        facts: What JSON can hold.
    """

    arrays: Arrays
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder.

    A file is an .npz without pickles, which holds the SHA-256 of what is in it.

    Args:
        folder: Where they are; other files in it are left alone.
        keep: How many of the last ones to keep; 2 by default, so that one may break.

    Example:
    >>> import tempfile
    >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()))
    >>> for step in (10, 20, 30):
    ...     checkpoints.write(step, Moment({"weights": np.zeros(3)}, {"step": step}))
    >>> [path.name for path in checkpoints.paths()]
    ['step-000000020.npz', 'step-000000030.npz']
    >>> checkpoints.newest().facts
    {'step': 30}
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, positive_integer("keep", keep)
        self._good: list[Path] = []

    def paths(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(self.folder.glob("step-*.npz"))

    def write(self, step: int, moment: Moment) -> None:
        """Writes a checkpoint, and removes those before the last `keep`."""
        path = self.folder / f"step-{step:09d}.npz"
        write_whole(path, lambda temporary: write_moment(temporary, moment))
        self._good = [*(good for good in self._good if good != path), path][-self.keep :]
        for other in self.paths():
            if other not in self._good:
                other.unlink()

    def newest(self, check: Callable[[Moment], None] = lambda moment: None) -> Moment | None:
        """Reads the last checkpoint that is whole and fits; None where there is no file.

        Args:
            check: Raises ValueError for a moment that does not fit.

        Raises:
            ValueError: When there are files, and none is of use.
        """
        remove_partial(self.folder)
        faults = []
        for place, path in reversed(list(enumerate(self.paths()))):
            try:
                moment = read_moment(path)
                check(moment)
            except ValueError as error:
                faults.append(str(error))
                continue
            # Those after it are not of use: the next one that is written replaces them.
            self._good = self.paths()[: place + 1]
            if faults:
                warnings.warn(
                    f"{' '.join(faults)} Going on from the one before: {path.name}.", stacklevel=2
                )
            return moment
        if faults:
            raise ValueError(
                f"No checkpoint in {str(self.folder)!r} is of use, so this training cannot go on: "
                "put back a copy of one, or train anew into another folder. "
                f"Received: {' '.join(faults)}"
            )
        return None


def write_moment(path: Path, moment: Moment) -> None:
    """Writes a moment under exactly this name."""
    arrays = {**moment.arrays, FACTS: np.array(json.dumps(moment.facts))}
    with path.open("wb") as file:
        np.savez(file, **arrays, **{DIGEST: np.array(_digest(arrays))})


def read_moment(path: Path) -> Moment:
    """Reads what `write_moment` wrote, to the bit.

    Raises:
        ValueError: When the file is anything else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        if arrays.pop(DIGEST).item() != _digest(arrays):
            raise ValueError("its checksum is of other content")
        return Moment(arrays, json.loads(arrays.pop(FACTS).item()))
    except Exception as error:  # whatever a broken zip happens to raise
        raise ValueError(f"The checkpoint {path.name} is corrupt ({error}).") from error


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
