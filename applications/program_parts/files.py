"""Files that a run leaves behind: text, records and what it printed."""

import contextlib
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from keras_attention.utils.io import write_whole


def write_text(path: Path, text: str) -> None:
    """Writes a file whole: under a temporary name, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes records of the same columns whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_text(path, text.getvalue())


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Also writes to a file what is printed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(_Both(file)):
        yield


class _Both(io.TextIOBase):
    """The standard output and a file in one."""

    def __init__(self, file: TextIO):
        self.files = (sys.stdout, file)

    def write(self, text: str) -> int:
        for file in self.files:
            file.write(text)
            file.flush()
        return len(text)
