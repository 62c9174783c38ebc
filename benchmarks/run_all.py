"""Runs every benchmark: RESULTS.md says what they print and which ratios miss their bars.

Ratios go behind those of earlier runs in history.json. RESULTS.md ends with results/*.md.

python benchmarks/run_all.py
python benchmarks/run_all.py --only-results         # keeps the benchmarks' part as it is
python benchmarks/run_all.py --only quantization    # runs this one and keeps the others' parts
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import history
import ratios

from keras_attention.utils.io import write_atomically

HERE = Path(__file__).parent
HELPERS = {"history.py", "ratios.py", "regions.py", "roofline.py", "run_all.py"}
# By no clock, and of trainings: these run when they are asked for.
APART = {"quantization"}
EXPERIMENTS = "# Experiments\n"
BARS = "## Bars"


def main() -> None:
    """Writes RESULTS.md when all benchmarks have run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only-results", action="store_true", help="run no benchmark")
    parser.add_argument("--only", nargs="+", choices=benchmarks(), help="run these")
    options = parser.parse_args()
    old = sections(HERE / "RESULTS.md")
    timed = [name for name in benchmarks() if name not in APART]
    new = {} if options.only_results else run(options.only or timed)
    head = old.pop("", "") if options.only or options.only_results else about(new)
    known = {name: text for name, text in {**old, **new}.items() if name in benchmarks()}
    parts = [head, bars(), *(known[name] for name in sorted(known)), experiments()]
    text = "\n".join(part.rstrip() + "\n" for part in parts if part)
    write_atomically(HERE / "RESULTS.md", lambda path: path.write_text(text, encoding="utf-8"))


def benchmarks() -> list[str]:
    """The names of all benchmarks."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.name not in HELPERS)


def sections(path: Path) -> dict[str, str]:
    """What RESULTS.md says of each benchmark, and under no name what it begins with."""
    if not path.is_file():
        return {}
    text, _, _ = path.read_text(encoding="utf-8").partition(EXPERIMENTS)
    head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return {"": head, **{part.split()[1]: part for part in parts}}


def run(names: Sequence[str]) -> dict[str, str]:
    """Runs benchmarks, keeps their ratios, and returns the section of each."""
    found, seconds, texts = {}, {}, {}
    for name in names:
        start = time.perf_counter()
        texts[name], found[name] = section(HERE / f"{name}.py")
        seconds[name] = time.perf_counter() - start
    history.add(HERE / "history.json", found, seconds)
    print(f"{sum(seconds.values()):.0f} seconds in all", flush=True)
    return texts


def section(path: Path) -> tuple[str, list[ratios.Ratio]]:
    """What one benchmark prints, and its ratios."""
    print(f"{path.name} ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "ratios.jsonl"
        result = subprocess.run(
            [sys.executable, path],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=HERE.parent,
            env={**os.environ, ratios.FILE: str(kept)},
        )
        found = ratios.read(kept)
    print(result.stdout, flush=True)
    docstring = path.read_text(encoding="utf-8").split('"""')[1].strip()
    command = f"`python benchmarks/{path.name}`"
    return f"## {path.stem}\n\n{command}: {docstring}\n\n{result.stdout}", found


def about(texts: dict[str, str]) -> str:
    """How RESULTS.md begins after a run of all benchmarks."""
    versions = ", ".join(f"{name} {version(name)}" for name in history.PACKAGES)
    seconds = history.read(HERE / "history.json")[-1]["seconds"]
    return (
        "# Results\n\nWritten by `make bench`. Machines differ: compare ratios, not seconds. "
        f"{len(texts)} benchmarks took {sum(seconds.values()):.0f} seconds with Python "
        f"{platform.python_version()}, {versions} on {history.machine()}.\n"
    )


def bars() -> str:
    """The section of all ratios and their bars, from the history."""
    table = history.bars(history.read(HERE / "history.json"), benchmarks())
    return (
        f"{BARS}\n\nBars are what the project set out to reach. Before: the median of earlier "
        f"runs in `history.json` on such a machine.\n\n{table}"
    )


def experiments() -> str:
    """The files of results/, their headings one level deeper."""
    files = sorted((HERE / "results").glob("*.md"))
    texts = [
        re.sub(r"^#", "##", path.read_text(encoding="utf-8"), flags=re.MULTILINE) for path in files
    ]
    head = f"{EXPERIMENTS}\nEach with the command that wrote it.\n"
    return "\n".join([head, *texts]) if files else ""


if __name__ == "__main__":
    main()
