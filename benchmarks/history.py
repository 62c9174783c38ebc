"""The history of all ratios, `history.json`: a list of runs, the newest last."""

import json
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ratios import Ratio

from keras_attention.utils.io import write_atomically

PACKAGES = ("keras", "tensorflow", "jax", "numpy")
Run = dict[str, Any]


def read(path: Path) -> list[Run]:
    """All runs so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def add(path: Path, found: Mapping[str, Sequence[Ratio]], seconds: Mapping[str, float]) -> None:
    """Writes a run behind the others.

    Args:
        path: The history.
        found: Ratios by benchmark.
        seconds: What each benchmark took.
    """
    run = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "ratios": {name: [asdict(ratio) for ratio in ratios] for name, ratios in found.items()},
    }
    text = json.dumps([*read(path), run], indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def bars(runs: Sequence[Run], names: Sequence[str]) -> str:
    """A table of every benchmark's newest ratios beside their bars and what they were before.

    Before is the median of earlier runs on the same kind of machine.
    """
    lines = [
        "| benchmark | ratio | now | bar | before | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    missed = total = 0
    for name in names:
        of_it = [run for run in runs if name in run["ratios"]]
        for facts in of_it[-1]["ratios"][name] if of_it else []:
            ratio = Ratio(**facts)
            total, missed = total + bool(ratio.bar), missed + (not ratio.reached)
            before = _before(of_it, name, ratio.name)
            mark = "" if ratio.reached else "**misses its bar**"
            lines.append(
                f"| {name} | {ratio.name} | {ratio.ratio:.2f} | {ratio.bar} | {before} | {mark} |"
            )
    return f"{total - missed} of {total} bars are reached.\n\n" + "\n".join(lines) + "\n"


def _before(runs: Sequence[Run], benchmark: str, name: str) -> str:
    *earlier, now = runs
    values = [
        facts["ratio"]
        for run in earlier
        if run["machine"] == now["machine"]
        for facts in run["ratios"][benchmark]
        if facts["name"] == name
    ]
    return f"{statistics.median(values):.2f}" if values else ""


def commit() -> str:
    """The commit that is checked out, marked where files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return described.stdout.strip() or "unknown"


def machine() -> str:
    """Cores and processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else "unknown processor"
