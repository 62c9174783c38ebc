"""Files digitStruct.mat: what number each picture of SVHN shows (MATLAB 7.3, that is HDF5)."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

# What the file calls the digit 0.
ZERO = 10


def read_digit_struct(path: Path) -> dict[str, tuple[int, ...]]:
    """Reads the digits of every picture, in the order of the file, which is from the left.

    The group `digitStruct` has two columns of references, one line for each picture: `name`, to its
    characters, and `bbox`, to a group with the boxes of its digits. In that group `label` is a 1x1
    number where there is one digit, or a column of references to such numbers. Boxes are not read.

    Args:
        path: Of the file; what was read is remembered until the file changes.

    Returns:
        The digits by the picture's name.

    Raises:
        ValueError: For a file of another kind, or a digit that is none; names the file.
    """
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> dict[str, tuple[int, ...]]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names, boxes = (file["digitStruct"][column][:, 0] for column in ("name", "bbox"))
            return {
                _characters(file[name]): _digits(file, file[box]["label"])
                for name, box in zip(names, boxes, strict=True)
            }
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"Expected digitStruct with columns name and bbox, and labels from 1 to {ZERO}, in "
            f"{str(path)!r}. Received: {error}"
        ) from error


def _characters(codes: Any) -> str:
    return "".join(map(chr, codes[:, 0]))


def _digits(file: Any, labels: Any) -> tuple[int, ...]:
    values = labels[:, 0]
    if values.dtype == object:
        values = np.array([file[reference][0, 0] for reference in values])
    if not np.all(np.isin(values, np.arange(1, ZERO + 1))):
        raise ValueError(f"labels {values.tolist()} in {labels.name!r}")
    return tuple(int(value) % ZERO for value in values)
