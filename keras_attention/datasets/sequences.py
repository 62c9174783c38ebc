"""Sequences of measurements: CSV tables, scaling, resampling, and windows of long records."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_attention.datasets.folders import line_error
from keras_attention.datasets.pipelines import index_order

# Line number in the file, and the cells.
Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Scaling:
    """Standardization of columns to mean 0 and standard deviation 1.

    Attributes:
        columns: Names of the columns.
        mean: Float64 `(columns,)`.
        deviation: Standard deviation, float64 `(columns,)`; 1 for constant columns.

    Example:
    >>> scaling = Scaling.fit(("ALT", "FF_1"), [np.array([[1.0, 5.0], [3.0, 5.0]])])
    >>> scaling.apply(np.array([[3.0, 6.0]])).tolist()
    [[1.0, 1.0]]
    >>> scaling.mean_and_deviation("ALT")
    (2.0, 1.0)
    """

    columns: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def fit(cls, columns: tuple[str, ...], sequences: Iterable[np.ndarray]) -> "Scaling":
        """Computes mean and deviation over all rows of `(rows, columns)` sequences."""
        rows = np.concatenate(list(sequences))
        # Rounding: the computed mean of a constant may differ from it, and its deviation from 0.
        constant = np.ptp(rows, axis=0) == 0
        mean = np.where(constant, rows[0], rows.mean(axis=0))
        return cls(columns, mean, np.where(constant, 1.0, rows.std(axis=0)))

    def apply(self, sequence: np.ndarray) -> np.ndarray:
        """Scales `(rows, columns)`; returns float32."""
        return ((sequence - self.mean) / self.deviation).astype("float32")

    def mean_and_deviation(self, column: str) -> tuple[float, float]:
        """Returns mean and deviation of a column, to convert values back to its unit."""
        index = self.columns.index(column)
        return float(self.mean[index]), float(self.deviation[index])


def resample(sequence: np.ndarray, steps: int) -> np.ndarray:
    """Resamples a sequence to `steps` rows by linear interpolation.

    Example:
    >>> resample(np.array([[0.0], [1.0], [2.0]]), 5)[:, 0].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    times, wanted = np.arange(len(sequence)), np.linspace(0, len(sequence) - 1, steps)
    columns = [np.interp(wanted, times, column) for column in sequence.T]
    return np.stack(columns, axis=1).astype(sequence.dtype)


def pad(sequence: np.ndarray, steps: int) -> np.ndarray:
    """Truncates a sequence to `steps` rows, or appends rows of zeros.

    Example:
    >>> pad(np.array([[1.0], [2.0]]), 3)[:, 0].tolist()
    [1.0, 2.0, 0.0]
    """
    sequence = sequence[:steps]
    return np.pad(sequence, ((0, steps - len(sequence)), (0, 0)))


@dataclass(frozen=True)
class Windows:
    """Overlapping windows of `size` rows, which are sliced on access to save memory.

    `rows` `(rows, features)` are the concatenated records, `starts` the first rows of the windows.
    """

    rows: np.ndarray
    starts: np.ndarray
    size: int

    @classmethod
    def from_records(cls, records: Sequence[np.ndarray], size: int, ahead: int) -> "Windows":
        """Finds all windows of `size` rows that are followed by `ahead` rows of the same record.

        Example:
        >>> records = [np.zeros((5, 2)), np.zeros((4, 2))]
        >>> Windows.from_records(records, size=2, ahead=1).starts.tolist()
        [0, 1, 2, 5, 6]
        """
        counts = [len(record) - size - ahead + 1 for record in records]
        firsts = np.cumsum([0, *map(len, records)])
        starts = [first + np.arange(count) for first, count in zip(firsts, counts, strict=False)]
        return cls(np.concatenate(records), np.concatenate(starts).astype("int64"), size)

    def __len__(self) -> int:
        return len(self.starts)

    def targets_after(self, column: np.ndarray, ahead: int) -> np.ndarray:
        """Returns the `ahead` values of a `(rows,)` column after each window: `(N, ahead)`."""
        return column[self.starts[:, None] + self.size + np.arange(ahead)]

    def subset(self, chosen: np.ndarray) -> "Windows":
        """Returns the windows at the given indices."""
        return Windows(self.rows, self.starts[chosen], self.size)


def serve_windows(
    windows: Windows,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Builds a pipeline over windows; `augment` is ignored, as nothing is drawn at random."""
    size, units = windows.size, windows.rows.shape[1]
    rows, starts, targets = map(tf.constant, (windows.rows, windows.starts, labels))

    def cut(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.slice(rows, [starts[index], 0], [size, units]), targets[index]

    order = index_order(len(windows), seed, shuffle)
    return order.map(cut, num_parallel_calls=tf.data.AUTOTUNE)


@dataclass(frozen=True)
class Table:
    """Finite numbers `(rows, columns)`; without a header, columns are named `"1"`, `"2"`, ..."""

    columns: tuple[str, ...]
    values: np.ndarray


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    r"""Reads a CSV file of numbers with an optional header.

    The file is in UTF-8. Empty lines are skipped. The first line is a header if none of its cells
    is a number. Only `columns` are parsed, in this order; None parses all.

    Example:
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "flight.csv"
    >>> _ = path.write_text("ALT,FF_1\n10,2.5\n20,3\n")
    >>> read_table(path, ["FF_1"]).values.tolist()
    [[2.5], [3.0]]
    """
    rows = read_rows(path)
    header = None if any(map(_is_number, rows[0][1])) else rows.pop(0)
    width = len((header or rows[0])[1])
    names = header[1] if header else [str(number + 1) for number in range(width)]
    names = [name.strip() for name in names]
    if len(set(names)) < width:
        raise ValueError(f"Expected a name for every column of {str(path)!r}. Received: {names}")
    if not rows:
        raise ValueError(f"Expected rows of numbers in {str(path)!r}. Received: a header only")
    wanted = tuple(names if columns is None else columns)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"Expected the columns {', '.join(wanted)} in {str(path)!r}, which has "
            f"{', '.join(names)}. Received: no column {', '.join(missing)}"
        )
    indices = [names.index(name) for name in wanted]
    return Table(wanted, np.array([_numbers(path, row, width, indices) for row in rows]))


def read_rows(path: Path) -> list[Row]:
    """Reads the non-empty lines of a CSV file as text."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Expected text in {str(path)!r}. Received: {error}") from error
    if not rows:
        raise ValueError(f"Expected rows of numbers in {str(path)!r}. Received: an empty file")
    return rows


def _numbers(path: Path, row: Row, width: int, indices: list[int]) -> list[float]:
    line, cells = row
    if len(cells) != width:
        raise line_error(path, line, f"{width} cells", f"{len(cells)} cells")
    return parse_finite(path, line, [cells[index] for index in indices])


def parse_finite(path: Path, line: int, words: Sequence[str]) -> list[float]:
    """Parses the words of a line as numbers.

    Example:
    >>> parse_finite(Path("walk.amc"), 4, ["2", "-1e3"])
    [2.0, -1000.0]
    """
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = [math.nan]
    # Python accepts underscores in numbers; the file format does not.
    if all(map(math.isfinite, numbers)) and not any("_" in word for word in words):
        return numbers
    raise line_error(path, line, "finite numbers", ", ".join(words))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
