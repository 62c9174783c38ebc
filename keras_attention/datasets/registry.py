"""The data sets by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from keras_attention.utils.validation import nearest

# What `read` returns and `generate` takes: all images of a split, or what they are made from, and
# all labels; or one object that reads both from disk.
Parts = tuple[Any, ...]

# How many axes of an example have the length `size`.
AXES = {"images": 2, "sequences": 1}


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is loaded.

    Attributes:
        name: What `load` takes.
        description: One line.
        classes: Number of labels; where numbers are to be estimated, how many of an example.
        size: Pixels along the sides of the square images that `load` gives by default, or steps of
            the sequences; None where images are not square, as `sides` says.
        channels: Channels of an image or units of a sequence by default; None where only the files
            say.
        kind: `"images"`, or `"sequences"` of shape `(steps, units)`.
        needs_network: Whether the first use downloads it.
        needs_files: Whether `load` needs a folder that the user got from the owners.
        label_dtype: Of the labels; a float's says that a number is to be estimated.
        detection: Whether an image has boxes with a label each, instead of one label.
        label_classes: Where an example has several classes, as the digits of a number: of how many
            each is one.
        sides: Where `size` is None: rows and columns of an image of each split by default, None
            where images have sides of their own.
        source: Its name at tensorflow-datasets, where that prepares it.
        folder: Of its own files: what the environment variable that names it is called after.
        options: What `load` takes for this data set alone, with the defaults.
    """

    name: str
    description: str
    classes: int
    size: int | None
    channels: int | None
    kind: str = "images"
    needs_network: bool = False
    needs_files: bool = False
    label_dtype: str = "int64"
    detection: bool = False
    label_classes: tuple[int, ...] = ()
    sides: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict, hash=False)
    source: str = ""
    folder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    read: Callable[..., Parts] = field(repr=False, kw_only=True)
    generate: Callable[..., tf.data.Dataset] = field(repr=False, kw_only=True)
    generate_batches: Callable[..., tf.data.Dataset] | None = field(default=None, repr=False)
    parts_per_side: int = field(default=1, repr=False)
    keeps: bool = field(default=True, repr=False)

    @property
    def example_shape(self) -> tuple[int | None, ...]:
        """`(H, W, channels)` of the images or `(steps, units)` of the sequences by default.

        Where the splits differ it is that of training, and `shape_of` says both.
        """
        return self.shape_of("train")

    def shape_of(self, split: str) -> tuple[int | None, ...]:
        """The `example_shape` of a split, None for what each image has of its own."""
        if self.size is None:
            return (*self.sides[split], self.channels)
        return (self.size,) * AXES[self.kind] + (self.channels,)

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """`(H, W, channels)` of the images by default.

        Raises:
            ValueError: For sequences, which have an `example_shape`.
        """
        if self.kind == "images":
            return self.example_shape
        raise ValueError(
            f"`image_shape` is for images; use `example_shape`. Received: kind={self.kind!r}"
        )

    @property
    def regression(self) -> bool:
        """Whether the label is a number to estimate, or several, not a class."""
        return self.label_dtype.startswith("float")

    @property
    def one_class(self) -> bool:
        """Whether the label is one class: no number to estimate, no boxes, no several classes."""
        return not (self.regression or self.detection or self.label_classes)


_DATASETS: dict[str, DatasetInfo] = {}


def register(**facts: Any) -> None:
    """Adds a data set; the arguments are those of `DatasetInfo`.

    `read(split, size=, train_size=, **options)` returns what it has of a split, such as all images
    and all labels; where the data set is downloaded or in a folder it also takes `data_dir`.
    `generate(*what, seed=, shuffle=, redraw=)` makes the pipeline, and `generate_batches`, which
    takes `batch_size` too, that of batches, where images of any sizes cannot just be put together.
    Where `size` is None `read` takes none. `parts_per_side` says how many of the images that `read`
    returns lie along a side of those that `generate` makes, and `keeps` whether `load` keeps in
    memory what comes out, where it is the same in every pass.
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
    ['adience_age', 'adience_gender', 'flights', 'gtsdb', 'imagenet2012', 'mit_scenes', 'mocap',
     'pain_archive', 'svhn_numbers', 'uec_food100']
    """
    return dict(sorted(_DATASETS.items()))


def find(name: str) -> DatasetInfo:
    """Finds a data set by name.

    Raises:
        ValueError: For an unknown name; names the nearest.

    Example:
    >>> find("top_left_digits").image_shape
    (56, 56, 1)
    >>> find("mocap").example_shape
    (128, 62)
    """
    if isinstance(name, str) and name in _DATASETS:
        return _DATASETS[name]
    raise ValueError(
        f"`name` must be one of {', '.join(sorted(_DATASETS))}. Received: name={name!r}."
        + nearest(name, _DATASETS)
    )
