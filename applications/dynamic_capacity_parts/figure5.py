"""Figure 5: multiplications by the size of the image.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), figure 5.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from program_parts import files, markdown

import keras_attention as ka
from dynamic_capacity_parts.training import Job, Training
from keras_attention.utils.io import write_atomically

TITLE = "figure 5"
# Rows and columns, from the patch that training sees to the largest pictures of SVHN's test part.
NUMBERS = tuple(
    tuple(map(int, side)) for side in np.round(np.linspace((54, 110), (442, 1083), 8)).astype(int)
)
CLUTTERED = tuple((side, side) for side in (50, 75, 100, 150, 200, 300, 400))
PANELS = {
    "numbers": (NUMBERS, {"coarse": "SVHNCoarse", "fine": "SVHNFine", "DCN": "SVHNDCN"}),
    "digits in clutter": (CLUTTERED, {"coarse": "DCNCoarse", "fine": "DCNFine", "DCN": "DCN"}),
}


def jobs(given: Namespace) -> list[Job]:
    """Nothing is trained."""
    return []


def finish(given: Namespace, planned: Sequence[Job], done: Sequence[Training]) -> str:
    """Counts and draws; returns the counts."""
    records = points(given.width or 1.0)
    files.write_csv(given.output / "figure5.csv", records)
    path = given.output / "figure5.png"
    draw(records, path)
    print(f"wrote {path}")
    return "\n\n".join(f"{panel}:\n\n{_table(records, panel)}" for panel in PANELS)


def points(width: float) -> list[dict[str, Any]]:
    """Multiply-accumulates of each network at each size."""
    records = []
    for panel, (sizes, builders) in PANELS.items():
        options = {"width": width} if panel == "numbers" else {}
        models = {
            name: ka.applications.build(builder, input_shape=(None, None, 1), **options)
            for name, builder in builders.items()
        }
        for height, across in sizes:
            record = {"networks": panel, "height": height, "width": across}
            for name, model in models.items():
                record[name] = ka.inspect.count_macs(model, (height, across, 1))
            records.append(record)
    return records


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Multiply-accumulates over pixels, a panel for each kind of images."""
    figure = Figure(figsize=(6 * len(PANELS), 4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        _panel(axes, panel, [record for record in records if record["networks"] == panel])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))


def notes(given: Namespace, planned: Sequence[Job]) -> list[str]:
    """What a reader of the figure has to know."""
    return [
        "Multiply-accumulates of an image. DCN looks at 6 patches of numbers, at 8 of digits in "
        "clutter; those of numbers are 54x110 pixels, as large as the smallest image here.",
        f"Width of the networks for numbers: {given.width or 1.0:g}.",
    ]


def _panel(axes: Axes, panel: str, records: Sequence[dict[str, Any]]) -> None:
    pixels = [record["height"] * record["width"] for record in records]
    for name in PANELS[panel][1]:
        axes.plot(pixels, [record[name] for record in records], marker="o", label=name)
    axes.set(title=panel, xlabel="pixels", ylabel="multiply-accumulates", yscale="log")
    axes.legend()


def _table(records: Sequence[dict[str, Any]], panel: str) -> str:
    names = list(PANELS[panel][1])
    lines = []
    for record in records:
        if record["networks"] == panel:
            counts = [ka.inspect.short_number(record[name]) for name in names]
            ratio = f"{record['fine'] / record['DCN']:.2f}"
            lines.append([f"{record['height']}x{record['width']}", *counts, ratio])
    return markdown.table(["size", *names, "fine / DCN"], lines)
