"""Ratios that a benchmark finds, with the bars that they have to reach, for `run_all.py`."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

# The file that `run_all.py` reads; a benchmark that runs alone keeps nothing.
FILE = "BENCHMARK_RATIOS"


@dataclass(frozen=True)
class Ratio:
    """One ratio of a benchmark; without a bar it is only watched."""

    name: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the ratio is at its bar or better."""
        high = self.at_least is None or self.ratio >= self.at_least
        return high and (self.at_most is None or self.ratio <= self.at_most)

    @property
    def bar(self) -> str:
        """The bar in a table's cell."""
        signs = (("≥", self.at_least), ("≤", self.at_most))
        return ", ".join(f"{sign} {bar:g}" for sign, bar in signs if bar is not None)


def keep(
    name: str, ratio: float, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """Adds a ratio to the file that the environment names."""
    path = os.environ.get(FILE)
    if path is None:
        return
    found = Ratio(name, float(ratio), at_least, at_most)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(found)) + "\n")


def read(path: Path) -> list[Ratio]:
    """The ratios in a file, none where nothing was kept."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Ratio(**json.loads(line)) for line in lines]
