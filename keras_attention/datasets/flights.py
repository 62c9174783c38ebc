"""Recorded flights, to forecast their fuel flow.

Format: one CSV file per flight, converted from the Sample Flight Data of NASA's DASHlink.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_attention.datasets.folders import check_inside, describe_folder, require_folder
from keras_attention.datasets.sequences import Scaling, Table, Windows, read_table
from keras_attention.datasets.splits import SPLIT_SEED, draw_examples, held_out_count
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
    """Reads one split of a folder of flights as windows, with the next target values as labels.

    Every .csv file in the folder and its sub-folders is a flight: a header, then a line per second.
    Flights that are too short for a window are skipped with a warning.

    Args:
        split: `"train"` or `"test"`, which have no flight in common.
        size: Number of past time steps (lines of the files, seconds).
        train_size: Number of training windows, drawn deterministically; None uses all. It changes
            neither the test split nor the scaling of the columns.
        data_dir: The folder; None uses the environment variable `FLIGHTS_DIR`.
        target: Column to forecast. Defaults to DASHlink's fuel flow of the first engine.
        columns: Input columns in this order; None uses all, including `target`.
        horizon: Number of time steps to forecast, directly after the window.
        test_share: Fraction of the flights for testing, at least one.

    Returns:
        The windows, `(N, size, columns)`, and float32 labels `(N, horizon)`, also for a horizon of
        1. Both are standardized: each column has mean 0 and deviation 1 over all lines of the
        training flights. `flight_scaling` converts the target back to its unit.

    Raises:
        ValueError: If the folder is not set, an option is invalid, or a file is malformed; names
            the file and the line.
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
    """Returns the scaling of `read_flights`; `.mean_and_deviation(target)` is that of the target.

    Args:
        data_dir: See `read_flights`.
        target: See `read_flights`.
        columns: See `read_flights`.
        test_share: See `read_flights`.

    Raises:
        ValueError: See `read_flights`.
    """
    paths, for_test = _flights(data_dir, test_share)
    return _fit(_read_all(paths, target, columns), for_test)


def _flights(
    data_dir: str | os.PathLike[str] | None, test_share: float
) -> tuple[list[Path], np.ndarray]:
    """Lists the flights in a fixed order, with a boolean mask of the test flights."""
    held_out = fraction("test_share", test_share)
    folder = require_folder("flights", data_dir, LAYOUT, SOURCE)
    paths = [check_inside(folder, path) for path in sorted(folder.rglob("*.csv"))]
    if len(paths) < 2:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}; at least two flights, one of them for "
            "testing. "
            f"Received: data_dir={str(folder)!r}, {describe_folder(folder)}"
        )
    many = held_out_count(held_out, len(paths))
    for_test: np.ndarray = np.zeros(len(paths), bool)
    for_test[np.random.default_rng(SPLIT_SEED).permutation(len(paths))[:many]] = True
    return paths, for_test


def _names(columns: Sequence[str]) -> list[str]:
    names = [columns] if isinstance(columns, str) else list(columns)
    if names and len(set(names)) == len(names) and all(isinstance(name, str) for name in names):
        return names
    raise ValueError(
        f"`columns` must be None or unique column names. Received: columns={columns!r}"
    )


def _read_all(paths: Sequence[Path], target: str, columns: Sequence[str] | None) -> list[Table]:
    """Reads all columns, or the given ones and the target."""
    wanted = None if columns is None else list(dict.fromkeys([*_names(columns), target]))
    tables = [read_table(path, wanted) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.columns != tables[0].columns:
            raise ValueError(
                f"All flights must have the columns of {str(paths[0])!r}, or `columns` "
                f"must select common ones. Received in {str(path)!r}: {', '.join(table.columns)}"
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
            f"Expected flights of at least `size + horizon` = {steps} lines for {split!r}. "
            f"Received: at most {longest} lines"
        )
    if len(long) < len(records):
        warnings.warn(
            f"{len(records) - len(long)} of {len(records)} flights have fewer than {steps} lines "
            "and are skipped.",
            stacklevel=3,
        )
    return long
