"""How every picture of attention looks: colors, sizes of text, and what is around a map."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Lightness rises with the value: legible in gray and to the color-blind.
COLORS = "cividis"
# Images as they are, 0 in black.
GRAY = "gray"
# What is drawn over images, told apart in gray and by the color-blind (Okabe and Ito, 2008).
FRAME, POINT, BAR, OTHER_BAR = "#d55e00", "#56b4e9", "#0072b2", "#f0c987"
# Points of text.
TITLE, HEADING, NAME, LABEL, TICK = 12, 10, 9, 8, 7


def show(axes: "Axes", picture: Any, **options: Any) -> Any:
    """Draws an image `(H, W)` or `(H, W, 3)` in `[0, 1]`, as it is."""
    scale: dict[str, Any] = {"cmap": GRAY, "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}
    return axes.imshow(picture, **{**scale, **options})


def without_marks(axes: "Axes") -> None:
    """Takes ticks and borders away: places of an image count by themselves."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_anchor("N")  # titles in line, where mosaics have other numbers of rows
    for spine in axes.spines.values():
        spine.set_visible(False)
