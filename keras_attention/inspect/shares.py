"""Panels of bars: how much each part of an answer counts, and what it says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_attention.inspect import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dark, and light with stripes: told apart in gray and by the color-blind.
SAME: dict[str, Any] = {"color": style.BAR}
OTHER: dict[str, Any] = {"facecolor": style.OTHER_BAR, "edgecolor": "#8a6100", "hatch": "////"}


def show_gates(axes: "Axes", gates: np.ndarray, names: Sequence[str]) -> None:
    """Draws a bar for each share.

    Args:
        axes: Where.
        gates: `(N,)`.
        names: Of the bars, the first `N` from above; what follows stays empty.
    """
    for place, gate in enumerate(gates):
        axes.barh(place, gate, height=0.7, color=SAME["color"])
        _write(axes, place, gate, f"{gate:.2f}")
    _finish(axes, names, max(float(gates.max()), 1e-6))


def show_predictions(axes: "Axes", probabilities: np.ndarray) -> None:
    """Draws a bar for the likeliest class of each hypothesis, striped where the answer is another.

    Args:
        axes: Where.
        probabilities: `(N, classes)`, the last those of the answer.
    """
    answer = probabilities[-1].argmax()
    for place, one in enumerate(probabilities):
        best = one.argmax()
        axes.barh(place, one[best], height=0.7, **(SAME if best == answer else OTHER))
        _write(axes, place, one[best], f"{best} ({one[best]:.2f})")
    _finish(axes, [""] * len(probabilities), 1.0)


def _write(axes: "Axes", place: int, value: float, text: str) -> None:
    offset: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points"}
    axes.annotate(text, (value, place), va="center", fontsize=7.5, annotation_clip=False, **offset)


def _finish(axes: "Axes", names: Sequence[str], most: float) -> None:
    axes.set(xlim=(0.0, 1.55 * most), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
