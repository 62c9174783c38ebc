"""Tables of documentation pages whose cells are computed by tests, a model in a row."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from keras_attention.utils.io import write_atomically

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "formats.md"
DIED = "no: ended the process"
Cells = dict[tuple[str, str], str]


@dataclass(frozen=True)
class GeneratedTable:
    """A table of the page on formats.

    Attributes:
        title: Text of the comments around the table on the page.
        columns: Headings by key.
        module: Module that computes the cells. Run with `--child` and a list of keys
            `[row, column]` as JSON, it prints a line `[row, column, value]` as JSON for each.
    """

    title: str
    columns: dict[str, str]
    module: str

    def compute(self, requested: list[tuple[str, str]]) -> Cells:
        """Computes cells in a new process; if that dies, the rest is computed in another one."""
        found: Cells = {}
        while rest := [key for key in requested if key not in found]:
            command = [sys.executable, "-m", self.module, "--child", json.dumps(rest)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout:
                    if line.startswith('["'):
                        row, column, value = json.loads(line)
                        found[row, column] = value
                        print(f"{row}, {column}: {value}", file=sys.stderr, flush=True)
            missing = [key for key in rest if key not in found]
            if missing:
                found[missing[0]] = DIED
        return found

    def as_markdown(self, cells: Cells) -> str:
        """Formats cells as a table."""
        rows = list(dict.fromkeys(row for row, _ in cells))
        lines = [["model", *self.columns.values()], ["---"] * (1 + len(self.columns))]
        lines += [[f"`{row}`", *(cells[row, column] for column in self.columns)] for row in rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def committed(self) -> Cells:
        """Reads the cells of the page."""
        text = self._parts()[1]
        lines = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
        return {
            (row.strip("`"), column): value
            for row, *values in lines
            for column, value in zip(self.columns, values, strict=True)
        }

    def write(self, cells: Cells) -> None:
        """Replaces the table of the page."""
        before, _, after = self._parts()
        page = before + self.as_markdown(cells) + after
        write_atomically(PAGE, lambda path: path.write_text(page, encoding="utf-8"))

    def _parts(self) -> tuple[str, str, str]:
        begin, end = f"<!-- {self.title} -->\n", f"<!-- end of the {self.title} -->\n"
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
        table, _, after = rest.partition(end)
        return before + begin, table, end + after
