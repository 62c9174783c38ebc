"""Reads tables of numbers from CSV files, with errors that name the file and the line."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# A line's number in its file, and its cells.
Row = tuple[int, list[str]]


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
    return finite_numbers(path, line, [cells[place] for place in places])


def finite_numbers(path: Path, line: int, words: Sequence[str]) -> list[float]:
    """Reads numbers from the words of a line.

    Raises:
        ValueError: For a word that is not a finite number; names the file and the line.

    Example:
    >>> finite_numbers(Path("walk.amc"), 4, ["2", "-1e3"])
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
