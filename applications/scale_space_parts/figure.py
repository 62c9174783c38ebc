"""Figures 9 and 10: seconds of training, a bar for each attention.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), figures 9 and 10.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from keras_attention.utils.io import write_whole
from scale_space_parts.clock import Timing


def draw(timings: Sequence[Timing], title: str, path: Path) -> None:
    """Draws a panel for each network and data set."""
    panels = list(dict.fromkeys((one.job.row.network, one.job.row.data) for one in timings))
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    figure.suptitle(title)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        shown = [one for one in timings if (one.job.row.network, one.job.row.data) == panel]
        names = [f"{one.job.row.attention}\n{one.job.row.where}" for one in shown]
        axes.barh(names, [one.seconds for one in shown])
        axes.invert_yaxis()
        axes.set_title(" on ".join(panel))
        axes.set_xlabel("seconds of training")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=120))
