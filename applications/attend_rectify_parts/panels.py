"""The panels of figure 4: errors while networks learn, and among more distractors.

Reference: Rodriguez et al., Attend and Rectify (2018), figure 4.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from program_parts.markdown import deviation

from attend_rectify_parts import clutter, report
from attend_rectify_parts.training import Training
from keras_attention.utils.io import write_whole

TITLES = {
    "b": "(b) attention depth, AW 1",
    "c": "(c) attention width, AD 4",
    "d": "(d) what the best is made of",
    "e": "(e) more distractors",
}


def draw(parts: Sequence[str], done: Sequence[Training], title: str, path: Path) -> None:
    """Draws a panel for each part."""
    figure = Figure(figsize=(5 * len(parts), 4), layout="constrained")
    figure.suptitle(title)
    all_axes = figure.subplots(1, len(parts), squeeze=False)[0]
    for part, axes in zip(parts, all_axes, strict=True):
        axes.set_title(TITLES[part])
        panel = _among_distractors if part == "e" else _while_learning
        for row in clutter.PARTS[part]:
            found = [one for one in report.of_row(row, done) if not one.diverged]
            if found:
                panel(axes, row.label, found)
        axes.set_ylabel("test error %")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))


def _while_learning(axes: Axes, label: str, found: Sequence[Training]) -> None:
    """The mean over the seeds after each epoch."""
    curves = np.array([[epoch["test_error"] for epoch in one.curve] for one in found])
    axes.plot(np.arange(1, curves.shape[1] + 1), curves.mean(axis=0), label=label)
    axes.set_xlabel("epoch")


def _among_distractors(axes: Axes, label: str, found: Sequence[Training]) -> None:
    """Mean and deviation over the seeds for each number of distractors."""
    numbers = found[0].job.tested
    values = [report.values_of(found, clutter.error_at(number)) for number in numbers]
    means, bars = [np.mean(one) for one in values], [deviation(one) for one in values]
    axes.errorbar(range(len(numbers)), means, bars, marker="o", capsize=3, label=label)
    axes.set_xticks(range(len(numbers)), numbers)
    axes.set_xlabel("distractors in the test")
