"""Published numbers of the papers, read from the files `tables.txt` of the programs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """A part of a table, whose columns are a product of headings.

    Attributes:
        axes: Headings of each kind, such as `"data"` or `"metric"`, in the order in which the
            columns iterate over them, the last one fastest.
        rows: Numbers of each row, one per column, None for "-"; none for an empty row.
    """

    axes: Mapping[str, tuple[str, ...]]
    rows: dict[str, tuple[float | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table or a figure of a paper; most tables have one part."""

    title: str
    parts: list[Part] = field(default_factory=list)

    @property
    def rows(self) -> list[str]:
        """Names of all rows."""
        return list(dict.fromkeys(name for part in self.parts for name in part.rows))

    def headings(self, kind: str) -> list[str]:
        """Returns the headings of a kind in all parts; none if no part has this kind."""
        found = (name for part in self.parts for name in part.axes.get(kind, ()))
        return list(dict.fromkeys(found))

    def number(self, row: str, **where: str) -> float | None:
        """Returns the number of a row, given a heading of each kind; None if there is none."""
        for part in self.parts:
            names = product(*part.axes.values())
            columns = [dict(zip(part.axes, values, strict=True)) for values in names]
            if part.rows.get(row) and where in columns:
                return part.rows[row][columns.index(where)]
        return None


def read_tables(path: Path, kind: str = "table") -> dict[int, Table]:
    """Reads the tables of a file by their numbers; `kind` is `"table"` or `"figure"`.

    A table starts with a line `[table 1] TITLE`, and each of its parts with a line of headings such
    as `data=mnist; metric=top-1 %,top-5 %`. In the lines of its rows, `NAME: NUMBERS`, "-" is a
    missing number. Rows of the same name are joined. Comments start with `#`.
    """
    tables: dict[str, Table] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            name, title = line[1:].split("] ")
            tables[name] = table = Table(title)
        elif "=" in line:
            axes = dict(headings.split("=") for headings in line.split("; "))
            part = Part({name: tuple(names.split(",")) for name, names in axes.items()})
            table.parts.append(part)
        elif line and not line.startswith("#"):
            row, _, texts = line.partition(":")
            numbers = tuple(None if text == "-" else float(text) for text in texts.split())
            part.rows[row] = part.rows.get(row, ()) + numbers
    return {int(name.split()[1]): one for name, one in tables.items() if name.startswith(kind)}
