"""Ratios measured by a benchmark and their bars, passed to `run_all.py` in a file."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

# Environment variable with the path of the file; a benchmark that runs alone records nothing.
FILE = "BENCHMARK_RATIOS"


@dataclass(frozen=True)
class Ratio:
    """One ratio of a benchmark; a ratio without a bar is only tracked."""

    name: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        """True if the ratio reaches its bar."""
        high = self.at_least is None or self.ratio >= self.at_least
        return high and (self.at_most is None or self.ratio <= self.at_most)

    @property
    def bar(self) -> str:
        """The bar as text for a table."""
        signs = (("≥", self.at_least), ("≤", self.at_most))
        return ", ".join(f"{sign} {bar:g}" for sign, bar in signs if bar is not None)


def record(
    name: str, ratio: float, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """Appends a ratio to the file that the environment variable names."""
    path = os.environ.get(FILE)
    if path is None:
        return
    found = Ratio(name, float(ratio), at_least, at_most)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(found)) + "\n")


def load(path: Path) -> list[Ratio]:
    """Loads the ratios from a file; returns an empty list if the file does not exist."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Ratio(**json.loads(line)) for line in lines]
