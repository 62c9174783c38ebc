"""Runs the benchmarks and writes RESULTS.md: their output and the ratios that miss their bars.

The ratios are appended to history.json. RESULTS.md ends with the reports in results/*.md.

python benchmarks/run_all.py
python benchmarks/run_all.py --only-results         # keeps the stored output of all benchmarks
python benchmarks/run_all.py --only quantization    # runs one and keeps the output of the others
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ratios

from keras_attention.utils.io import write_atomically

HERE = Path(__file__).parent
HELPERS = {"ratios.py", "run_all.py"}
# Not part of a full run: these train models and measure accuracy, not time. Run them with --only.
EXCLUDED = {"quantization"}
EXPERIMENTS = "# Experiments\n"
BARS = "## Bars"
PACKAGES = ("keras", "tensorflow", "jax", "numpy")
Run = dict[str, Any]


def main() -> None:
    """Runs the requested benchmarks and writes RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only-results",
        action="store_true",
        help="rebuild RESULTS.md from stored output without running a benchmark",
    )
    parser.add_argument("--only", nargs="+", choices=benchmarks(), help="benchmarks to run")
    options = parser.parse_args()
    old = sections(HERE / "RESULTS.md")
    default = [name for name in benchmarks() if name not in EXCLUDED]
    new = {} if options.only_results else run(options.only or default)
    head = old.pop("", "") if options.only or options.only_results else introduction(new)
    known = {name: text for name, text in {**old, **new}.items() if name in benchmarks()}
    parts = [head, bars(), *(known[name] for name in sorted(known)), experiments()]
    text = "\n".join(part.rstrip() + "\n" for part in parts if part)
    write_atomically(HERE / "RESULTS.md", lambda path: path.write_text(text, encoding="utf-8"))


def benchmarks() -> list[str]:
    """Returns the names of all benchmarks."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.name not in HELPERS)


def sections(path: Path) -> dict[str, str]:
    """Splits RESULTS.md into one section per benchmark; the introduction has the key ""."""
    if not path.is_file():
        return {}
    text, _, _ = path.read_text(encoding="utf-8").partition(EXPERIMENTS)
    head, *parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return {"": head, **{part.split()[1]: part for part in parts}}


def run(names: Sequence[str]) -> dict[str, str]:
    """Runs benchmarks, stores their ratios, and returns the section of each."""
    found, seconds, texts = {}, {}, {}
    for name in names:
        start = time.perf_counter()
        texts[name], found[name] = run_benchmark(HERE / f"{name}.py")
        seconds[name] = time.perf_counter() - start
    append_run(HERE / "history.json", found, seconds)
    print(f"{sum(seconds.values()):.0f} seconds in total", flush=True)
    return texts


def run_benchmark(path: Path) -> tuple[str, list[ratios.Ratio]]:
    """Runs one benchmark and returns its section and its ratios."""
    print(f"{path.name} ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        ratios_file = Path(folder) / "ratios.jsonl"
        result = subprocess.run(
            [sys.executable, path],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=HERE.parent,
            env={**os.environ, ratios.FILE: str(ratios_file)},
        )
        found = ratios.load(ratios_file)
    print(result.stdout, flush=True)
    docstring = path.read_text(encoding="utf-8").split('"""')[1].strip()
    command = f"`python benchmarks/{path.name}`"
    return f"## {path.stem}\n\n{command}: {docstring}\n\n{result.stdout}", found


def introduction(texts: dict[str, str]) -> str:
    """Returns the first paragraph of RESULTS.md after a full run."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    seconds = load_history(HERE / "history.json")[-1]["seconds"]
    return (
        "# Results\n\nWritten by `make bench`. Machines differ: compare ratios, not seconds. "
        f"{len(texts)} benchmarks took {sum(seconds.values()):.0f} seconds with Python "
        f"{platform.python_version()}, {versions} on {machine()}.\n"
    )


def bars() -> str:
    """Returns the section with all ratios and their bars, from the history."""
    table = bars_table(load_history(HERE / "history.json"), benchmarks())
    return (
        f'{BARS}\n\nA bar is the project\'s target for a ratio. The column "before" has the median '
        f"of earlier runs in `history.json` on the same kind of machine.\n\n{table}"
    )


def experiments() -> str:
    """Returns the reports in results/, with headings one level deeper."""
    files = sorted((HERE / "results").glob("*.md"))
    texts = [
        re.sub(r"^#", "##", path.read_text(encoding="utf-8"), flags=re.MULTILINE) for path in files
    ]
    head = f"{EXPERIMENTS}\nEach report names the command that wrote it.\n"
    return "\n".join([head, *texts]) if files else ""


def load_history(path: Path) -> list[Run]:
    """Loads all runs, oldest first."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def append_run(
    path: Path, found: Mapping[str, Sequence[ratios.Ratio]], seconds: Mapping[str, float]
) -> None:
    """Appends a run to the history.

    Args:
        path: The history file.
        found: Ratios of each benchmark.
        seconds: Duration of each benchmark.
    """
    entry = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "ratios": {name: [asdict(ratio) for ratio in values] for name, values in found.items()},
    }
    text = json.dumps([*load_history(path), entry], indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def bars_table(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Returns a table of the newest ratios, their bars and their earlier median."""
    lines = [
        "| benchmark | ratio | now | bar | before | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    missed = total = 0
    for name in names:
        own_runs = [entry for entry in runs if name in entry["ratios"]]
        for facts in own_runs[-1]["ratios"][name] if own_runs else []:
            ratio = ratios.Ratio(**facts)
            total, missed = total + bool(ratio.bar), missed + (not ratio.reached)
            before = _earlier_median(own_runs, name, ratio.name)
            mark = "" if ratio.reached else "**misses its bar**"
            lines.append(
                f"| {name} | {ratio.name} | {ratio.ratio:.2f} | {ratio.bar} | {before} | {mark} |"
            )
    return f"{total - missed} of {total} bars are reached.\n\n" + "\n".join(lines) + "\n"


def _earlier_median(runs: Sequence[Run], benchmark: str, name: str) -> str:
    *earlier, newest = runs
    values = [
        facts["ratio"]
        for entry in earlier
        if entry["machine"] == newest["machine"]
        for facts in entry["ratios"][benchmark]
        if facts["name"] == name
    ]
    return f"{statistics.median(values):.2f}" if values else ""


def commit() -> str:
    """Returns the checked-out commit, marked as dirty if files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return described.stdout.strip() or "unknown"


def machine() -> str:
    """Returns the number of cores and the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else "unknown processor"


if __name__ == "__main__":
    main()
