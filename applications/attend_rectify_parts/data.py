"""Data sets of images with classes, by their names in `ka.datasets`."""

from collections.abc import Iterable

import keras_attention as ka
from attend_rectify_parts.protocols import Protocol


def check(names: Iterable[str]) -> None:
    """Refuses what are no images with classes.

    Raises:
        ValueError: For such a data set, or one that there is not.
    """
    for name in names:
        info = ka.datasets.find(name)
        if not info.single_label or info.kind != "images":
            raise ValueError(f"--data must be images with classes. Received: --data={name}")


def shape_of(name: str, protocol: Protocol) -> tuple[int, int, int]:
    """Of the images: `(H, W, channels)`."""
    info = ka.datasets.find(name)
    side = protocol.size or info.size
    return side, side, info.channels
