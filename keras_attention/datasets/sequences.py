"""Brings sequences of measurements to one scale and one length."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_attention.datasets.pipelines import index_order

# A line's number in its file, and its cells.
Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Scaling:
    """How columns of numbers are brought to mean 0 and deviation 1.

    Attributes:
        columns: Their names.
        mean: Float64 `(columns,)`.
        deviation: Float64 `(columns,)`, 1 where all numbers are the same.

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
        """Measures the mean and deviation over all rows of `(rows, columns)` sequences."""
        rows = np.concatenate(list(sequences))
        # The mean of equal numbers need not come out as that number, nor their deviation as 0.
        constant = np.ptp(rows, axis=0) == 0
        mean = np.where(constant, rows[0], rows.mean(axis=0))
        return cls(columns, mean, np.where(constant, 1.0, rows.std(axis=0)))

    def apply(self, sequence: np.ndarray) -> np.ndarray:
        """Scales `(rows, columns)`; returns float32."""
        return ((sequence - self.mean) / self.deviation).astype("float32")

    def mean_and_deviation(self, column: str) -> tuple[float, float]:
        """A column's mean and deviation, which lead back to its own unit."""
        place = self.columns.index(column)
        return float(self.mean[place]), float(self.deviation[place])


def resample(sequence: np.ndarray, steps: int) -> np.ndarray:
    """Reads a sequence at `steps` times from its first row to its last, interpolating linearly.

    Example:
    >>> resample(np.array([[0.0], [1.0], [2.0]]), 5)[:, 0].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    times, wanted = np.arange(len(sequence)), np.linspace(0, len(sequence) - 1, steps)
    columns = [np.interp(wanted, times, column) for column in sequence.T]
    return np.stack(columns, axis=1).astype(sequence.dtype)


def pad(sequence: np.ndarray, steps: int) -> np.ndarray:
    """Cuts a sequence after `steps` rows, or adds rows of zeros behind it.

    Example:
    >>> pad(np.array([[1.0], [2.0]]), 3)[:, 0].tolist()
    [1.0, 2.0, 0.0]
    """
    sequence = sequence[:steps]
    return np.pad(sequence, ((0, steps - len(sequence)), (0, 0)))


@dataclass(frozen=True)
class Windows:
    """Windows into records, which overlap, so that they are cut out when they are asked for.

    Attributes:
        rows: Float32 `(rows, units)`, of one record after the other.
        starts: Int64 `(N,)`, the first row of each window.
        size: Rows of a window.
    """

    rows: np.ndarray
    starts: np.ndarray
    size: int

    @classmethod
    def from_records(cls, records: Sequence[np.ndarray], size: int, ahead: int) -> "Windows":
        """Cuts every window of `size` rows that has `ahead` rows of its own record behind it.

        Example:
        >>> Windows.from_records([np.zeros((5, 2)), np.zeros((4, 2))], size=2, ahead=1).starts.tolist()
        [0, 1, 2, 5, 6]
        """
        counts = [len(record) - size - ahead + 1 for record in records]
        firsts = np.cumsum([0, *map(len, records)])
        starts = [first + np.arange(count) for first, count in zip(firsts, counts, strict=False)]
        return cls(np.concatenate(records), np.concatenate(starts).astype("int64"), size)

    def __len__(self) -> int:
        return len(self.starts)

    def targets_after(self, column: np.ndarray, ahead: int) -> np.ndarray:
        """The `ahead` entries behind each window of a `(rows,)` column: `(N, ahead)`."""
        return column[self.starts[:, None] + self.size + np.arange(ahead)]

    def subset(self, chosen: np.ndarray) -> "Windows":
        """Some of the windows."""
        return Windows(self.rows, self.starts[chosen], self.size)


def serve_windows(
    windows: Windows,
    labels: np.ndarray,
    *,
    seed: int = 0,
    shuffle: bool = False,
    augment: bool = False,
) -> tf.data.Dataset:
    """Serves windows as they are.

    Args:
        windows: Where they are.
        labels: `(N, ...)`.
        seed: Of the order.
        shuffle: Whether every pass has an order of its own.
        augment: Of no effect: nothing is drawn here.

    Returns:
        A data set of `(window, label)` with float32 windows `(size, units)`.
    """
    size, units = windows.size, windows.rows.shape[1]
    rows, starts, targets = map(tf.constant, (windows.rows, windows.starts, labels))

    def cut(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.slice(rows, [starts[index], 0], [size, units]), targets[index]

    order = index_order(len(windows), seed, shuffle)
    return order.map(cut, num_parallel_calls=tf.data.AUTOTUNE)


@dataclass(frozen=True)
class Table:
    """Numbers in columns.

    Attributes:
        columns: Their names, all different; `"1"`, `"2"` and so on where the file has no header.
        values: Float64 `(rows, columns)`, all finite.
    """

    columns: tuple[str, ...]
    values: np.ndarray


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    r"""Reads a CSV file of numbers whose first line may name the columns.

    Args:
        path: Of the file, in UTF-8. Empty lines are passed over. The first line has names if none
            of its cells is a number.
        columns: Names of those to read, in their order; None for all. Others may hold anything.

    Raises:
        ValueError: For an empty file, lines of different lengths, names that are missing or come
            twice, and cells that are not finite numbers.

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
        raise ValueError(f"Expected rows of numbers in {str(path)!r}. Received: names alone")
    wanted = tuple(names if columns is None else columns)
    places = _places(path, names, wanted)
    return Table(wanted, np.array([_numbers(path, row, width, places) for row in rows]))


def read_rows(path: Path) -> list[Row]:
    """Reads the lines of a CSV file as text, without the empty ones.

    Raises:
        ValueError: For a file that is no text, or has no line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Expected text in {str(path)!r}. Received: {error}") from error
    if not rows:
        raise ValueError(f"Expected rows of numbers in {str(path)!r}. Received: an empty file")
    return rows


def _places(path: Path, names: list[str], wanted: Sequence[str]) -> list[int]:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(
            f"Expected the columns {', '.join(wanted)} in {str(path)!r}, which has "
            f"{', '.join(names)}. Received: no column {', '.join(missing)}"
        )
    return [names.index(name) for name in wanted]


def _numbers(path: Path, row: Row, width: int, places: list[int]) -> list[float]:
    line, cells = row
    if len(cells) != width:
        raise ValueError(
            f"Expected {width} cells in line {line} of {str(path)!r}. Received: {len(cells)} cells"
        )
    return parse_finite(path, line, [cells[place] for place in places])


def parse_finite(path: Path, line: int, words: Sequence[str]) -> list[float]:
    """Reads numbers from the words of a line.

    Raises:
        ValueError: For a word that is not a finite number; names the file and the line.

    Example:
    >>> parse_finite(Path("walk.amc"), 4, ["2", "-1e3"])
    [2.0, -1000.0]
    """
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = [math.nan]
    # Python's own numbers may have underscores.
    if all(map(math.isfinite, numbers)) and not any("_" in word for word in words):
        return numbers
    raise ValueError(
        f"Expected finite numbers in line {line} of {str(path)!r}. Received: {', '.join(words)}"
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
