"""Files digitStruct.mat: what number each picture of SVHN shows (MATLAB 7.3, that is HDF5)."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

# What the file calls the digit 0.
ZERO = 10
# A header may say more than there is, which is filled with zeros; the largest part has 531,131.
MOST_VALUES = 2**22


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
            table = _member(file, "digitStruct")
            names, boxes = (_values(_member(table, column)) for column in ("name", "bbox"))
            return {
                _characters(file[name]): _digits(file, _member(file[box], "label"))
                for name, box in zip(names, boxes, strict=True)
            }
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"Expected digitStruct with columns name and bbox, and labels from 1 to {ZERO}, in "
            f"{str(path)!r}. Received: {error}"
        ) from error


def _member(group: Any, name: str) -> Any:
    """What a group holds itself, not what it links to: such may be any file of the machine."""
    import h5py

    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise ValueError(f"a link to elsewhere, {name!r} in {group.name!r}")
    return group[name]


def _values(dataset: Any) -> np.ndarray:
    """The first column of a dataset that the file itself holds."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"values of another file, in {dataset.name!r}")
    if dataset.size > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES} values, in {dataset.name!r}")
    return dataset[:, 0]


def _characters(codes: Any) -> str:
    return "".join(map(chr, _values(codes)))


def _digits(file: Any, labels: Any) -> tuple[int, ...]:
    values = _values(labels)
    if values.dtype == object:
        values = np.array([_values(file[reference])[0] for reference in values])
    if not np.all(np.isin(values, np.arange(1, ZERO + 1))):
        raise ValueError(f"labels {values.tolist()} in {labels.name!r}")
    return tuple(int(value) % ZERO for value in values)
