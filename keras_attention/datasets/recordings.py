"""Finds recordings and their classes: in a folder for each class, or by an index."""

from dataclasses import dataclass
from pathlib import Path

from keras_attention.datasets.folders import contents, inside
from keras_attention.datasets.tables import Row, read_rows

INDEX = "labels.csv"
COLUMNS = ("file", "class", "split")
SPLITS = ("train", "test")
SUFFIXES = (".amc", ".csv")
LAYOUT = (
    "recordings as CLASS/NAME.amc or CLASS/NAME.csv, or with labels.csv, whose columns are file, "
    "class and, if wanted, split"
)


@dataclass(frozen=True)
class Recording:
    """A file and what is known of it.

    Attributes:
        path: Of the file.
        name: Of its class.
        split: `"train"`, `"test"`, or None where nothing says.
    """

    path: Path
    name: str
    split: str | None = None


def find_recordings(folder: Path) -> list[Recording]:
    """Lists the recordings of a folder, always in the same order.

    Raises:
        ValueError: Where there is none, or an index is not as it should be.
    """
    index = folder / INDEX
    found = _indexed(folder, index) if index.is_file() else _of_folders(folder)
    if not found:
        raise ValueError(
            f"`data_dir` must be a folder with {LAYOUT}. "
            f"Received: data_dir={str(folder)!r}, {contents(folder)}"
        )
    return found


def _of_folders(folder: Path) -> list[Recording]:
    return [
        Recording(inside(folder, path), path.parent.name)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in SUFFIXES and not path.parent.name.startswith(".")
    ]


def _indexed(folder: Path, index: Path) -> list[Recording]:
    (_, header), *rows = read_rows(index)
    columns = tuple(name.strip().lower() for name in header)
    if columns not in (COLUMNS, COLUMNS[:2]):
        raise ValueError(
            f"Expected the columns file,class or file,class,split in {str(index)!r}. "
            f"Received: {','.join(header)}"
        )
    found = [_recording(folder, index, row, len(columns)) for row in rows]
    if len({one.path for one in found}) < len(found):
        raise ValueError(f"Expected every file once in {str(index)!r}. Received: one of them twice")
    parts = {one.split for one in found} - {None}
    if parts and parts != set(SPLITS):
        raise ValueError(
            f"Expected both of train and test in {str(index)!r}. Received: split={parts.pop()!r}"
        )
    return found


def _recording(folder: Path, index: Path, row: Row, columns: int) -> Recording:
    line, cells = row[0], [cell.strip() for cell in row[1]]
    allowed = len(cells) == columns and all(cells) and set(cells[2:]) <= set(SPLITS)
    if not allowed or Path(cells[0]).suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"Expected a file of {' or '.join(SUFFIXES)}, its class and, where there is such a "
            f"column, train or test in line {line} of {str(index)!r}. Received: {','.join(cells)}"
        )
    path = inside(folder, folder / cells[0])
    if not path.is_file():
        raise ValueError(
            f"Expected a file that is there in line {line} of {str(index)!r}. Received: {cells[0]}"
        )
    return Recording(path, *cells[1:])
