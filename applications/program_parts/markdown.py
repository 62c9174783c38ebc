"""Tables and pages in markdown."""

import os
import platform
import shlex
import statistics
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version

NONE = "-"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in markdown whose columns also line up as plain text."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |"
        for line in lines
    )


def page(title: str, command: str, notes: Sequence[str], text: str, details: str = "") -> str:
    """A file for benchmarks/results: what was run, how, what came out, and every training."""
    parts = [f"# {title}", f"    {command}", *notes, machine(), text]
    parts += ["## Every training", details] if details else []
    return "\n\n".join(parts) + "\n"


def command(program: str) -> str:
    """What was typed to run a program of this folder."""
    return shlex.join(["python", f"applications/{program}", *sys.argv[1:]])


def machine() -> str:
    """The versions and the processors that figures came from."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow"))
    return f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores."


def deviation(values: Sequence[float]) -> float:
    """The standard deviation over the seeds."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def over_seeds(values: Sequence[float], trainings: int, digits: int = 2) -> str:
    """Mean and deviation of those that did not diverge, and how many seeds they leave out.

    One seed alone has no deviation.
    """
    if not values:
        return "diverged"
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" +- {deviation(values):.{digits}f}"
    lost = trainings - len(values)
    return f"{text} ({lost} of {trainings} diverged)" if lost else text
