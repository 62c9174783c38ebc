"""The data sets by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.arguments import nearest

# All images of a split, or what `generate` makes them from, and all labels by image.
Arrays = tuple[Any, np.ndarray | dict[str, np.ndarray]]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is loaded.

    Attributes:
        name: What `load` takes.
        description: One line.
        classes: Number of labels; 1 where the label is a number to estimate.
        size: Pixels along the sides of the square images that `load` gives by default.
        channels: Channels of an image.
        needs_network: Whether the first use downloads it.
        needs_files: Whether `load` needs a folder that the user got from the owners.
        label_dtype: Of the labels; a float's says that a number is to be estimated.
        detection: Whether an image has boxes with a label each, instead of one label.
        streamed: Whether images are read from disk in every pass: all do not fit into memory.
        options: What `load` takes for this data set alone, with the defaults.
    """

    name: str
    description: str
    classes: int
    size: int
    channels: int
    needs_network: bool = False
    needs_files: bool = False
    label_dtype: str = "int64"
    detection: bool = False
    streamed: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    read: Callable[..., Arrays] = field(repr=False, kw_only=True)
    generate: Callable[..., tf.data.Dataset] = field(repr=False, kw_only=True)
    parts_per_side: int = field(default=1, repr=False)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, channels)` of the images by default."""
        return (self.size, self.size, self.channels)

    @property
    def regression(self) -> bool:
        """Whether the label is a number to estimate, not a class."""
        return self.label_dtype.startswith("float")


_DATASETS: dict[str, DatasetInfo] = {}


def register(**facts: Any) -> None:
    """Adds a data set; the arguments are those of `DatasetInfo`.

    `read(split, size=, train_size=, **options)` returns all images and labels of a split; where the
    data set is downloaded or in a folder it also takes `data_dir`. `generate(images, labels, seed=,
    shuffle=, redraw=)` makes the pipeline, and `parts_per_side` says how many of the images that
    `read` returns lie along a side of those that `generate` makes.
    """
    info = DatasetInfo(**facts)
    _DATASETS[info.name] = info


def list_datasets() -> dict[str, DatasetInfo]:
    """Lists the data sets by name, with what is known of each, such as who needs a network once.

    Example:
    >>> list_datasets()["digits"].needs_network
    False
    >>> list_datasets()["mnist"].needs_network
    True
    >>> [name for name, info in list_datasets().items() if info.needs_files]
    ['gtsdb', 'pain_archive']
    """
    return dict(sorted(_DATASETS.items()))


def find(name: str) -> DatasetInfo:
    """Finds a data set by name.

    Raises:
        ValueError: For an unknown name; names the nearest.

    Example:
    >>> find("top_left_digits").image_shape
    (56, 56, 1)
    """
    if name in _DATASETS:
        return _DATASETS[name]
    raise ValueError(
        f"`name` must be one of {', '.join(sorted(_DATASETS))}. Received: name={name!r}."
        + nearest(name, _DATASETS)
    )
