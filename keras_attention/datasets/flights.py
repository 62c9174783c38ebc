"""Records of flights, to forecast their fuel consumption.

Format: one flight a CSV file, as made from the Sample Flight Data of NASA's DASHlink.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_attention.datasets.folders import check_inside, describe_folder, require_folder
from keras_attention.datasets.sequences import Scaling, Table, Windows, read_table
from keras_attention.datasets.splits import SPLIT_SEED, draw_examples
from keras_attention.utils.validation import fraction, positive_integer

SOURCE = "https://c3.nasa.gov/dashlink/projects/85/"
LAYOUT = "a CSV file for each flight: names of the columns, then one line a second"
# DASHlink's name for the fuel flow of the first engine.
TARGET = "FF_1"
TEST_SHARE = 0.2


def read_flights(
    split: str,
    size: int = 60,
    train_size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    target: str = TARGET,
    columns: Sequence[str] | None = None,
    horizon: int = 1,
    test_share: float = TEST_SHARE,
) -> tuple[Windows, np.ndarray]:
    """Reads one part of a folder of flights, as windows of the past and what the target does next.

    Every .csv file in the folder and in those inside it is a flight: names of the columns, then one
    line a second. Flights too short for a window are left out with a warning.

    Args:
        split: `"train"` or `"test"`: other flights.
        size: Steps of the past, in lines of the files: seconds.
        train_size: Windows for training, drawn once at random; None for all. The test part stays as
            it is, and so does what columns are scaled by.
        data_dir: The folder; None for that of the environment variable `FLIGHTS_DIR`.
        target: Column to forecast; DASHlink's fuel flow of the first engine by default.
        columns: Columns to forecast from, in their order; None for all of them, `target` included.
        horizon: Steps to forecast, the ones right behind the window.
        test_share: Of the flights, one at least.

    Returns:
        The windows, `(N, size steps, columns)`, and float32 labels `(N, horizon)`, also for a
        horizon of 1. Both are scaled: each column has mean 0 and deviation 1 over all lines of the
        training flights. `flight_scaling` leads back to the target's unit.

    Raises:
        ValueError: Without the folder, for options that cannot be, and for files that are not as
            they should be; names the file and the line.
    """
    ahead = positive_integer("horizon", horizon)
    paths, for_test = _flights(data_dir, test_share)
    tables = _read_all(paths, target, columns)
    scaling = _fit(tables, for_test)
    part = np.flatnonzero(for_test if split == "test" else ~for_test).tolist()
    records = [scaling.apply(tables[index].values) for index in part]
    records = _long_enough(records, size + ahead, split)
    names = scaling.columns
    inputs = [names.index(name) for name in (names if columns is None else _names(columns))]
    windows = Windows.from_records([record[:, inputs] for record in records], size, ahead)
    if split == "train" and train_size is not None:
        windows = windows.subset(draw_examples(np.arange(len(windows)), train_size))
    flow = np.concatenate([record[:, names.index(target)] for record in records])
    return windows, windows.targets_after(flow, ahead)


def flight_scaling(
    data_dir: str | os.PathLike[str] | None = None,
    target: str = TARGET,
    columns: Sequence[str] | None = None,
    test_share: float = TEST_SHARE,
) -> Scaling:
    """Says what `read_flights` scaled columns by: `.mean_and_deviation(target)` is the target's mean and deviation.

    Args:
        data_dir: As for `read_flights`.
        target: As for `read_flights`.
        columns: As for `read_flights`.
        test_share: As for `read_flights`.

    Raises:
        ValueError: As `read_flights`.
    """
    paths, for_test = _flights(data_dir, test_share)
    return _fit(_read_all(paths, target, columns), for_test)


def _flights(
    data_dir: str | os.PathLike[str] | None, test_share: float
) -> tuple[list[Path], np.ndarray]:
    """The flights, always in the same order, and which of them are for testing."""
    held_out = fraction("test_share", test_share)
    folder = require_folder("flights", data_dir, LAYOUT, SOURCE)
    paths = [check_inside(folder, path) for path in sorted(folder.rglob("*.csv"))]
    if len(paths) < 2:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}; two flights at least, one for testing. "
            f"Received: data_dir={str(folder)!r}, {describe_folder(folder)}"
        )
    many = min(max(1, round(held_out * len(paths))), len(paths) - 1)
    for_test: np.ndarray = np.zeros(len(paths), bool)
    for_test[np.random.default_rng(SPLIT_SEED).permutation(len(paths))[:many]] = True
    return paths, for_test


def _names(columns: Sequence[str]) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if names and len(set(names)) == len(names) and all(isinstance(name, str) for name in names):
        return names
    raise ValueError(
        f"`columns` must be None or names of columns, each once. Received: columns={columns!r}"
    )


def _read_all(paths: Sequence[Path], target: str, columns: Sequence[str] | None) -> list[Table]:
    """Reads all columns, or those named and the target."""
    wanted = None if columns is None else list(dict.fromkeys([*_names(columns), target]))
    tables = [read_table(path, wanted) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.columns != tables[0].columns:
            raise ValueError(
                f"Expected the columns of {str(paths[0])!r} in {str(path)!r}, or name some by "
                f"`columns`. Received: {', '.join(table.columns)}"
            )
    if target not in tables[0].columns:
        raise ValueError(
            f"`target` must be one of {', '.join(tables[0].columns)}. Received: target={target!r}"
        )
    return tables


def _fit(tables: Sequence[Table], for_test: np.ndarray) -> Scaling:
    training = [tables[index].values for index in np.flatnonzero(~for_test).tolist()]
    return Scaling.fit(tables[0].columns, training)


def _long_enough(records: list[np.ndarray], steps: int, split: str) -> list[np.ndarray]:
    long = [record for record in records if len(record) >= steps]
    if not long:
        longest = max(map(len, records))
        raise ValueError(
            f"Expected flights of {steps} lines, `size` and `horizon`, for {split!r}. "
            f"Received: {longest} lines at most"
        )
    if len(long) < len(records):
        warnings.warn(
            f"{len(records) - len(long)} of {len(records)} flights have fewer than {steps} lines "
            "and are left out.",
            stacklevel=3,
        )
    return long
