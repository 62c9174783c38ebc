"""`load`: any data set by name, as a tf.data pipeline."""

from functools import partial

import tensorflow as tf

from keras_attention.arguments import one_of, positive_integer, seed_number
from keras_attention.datasets.digits import read_digits
from keras_attention.datasets.in_memory import plain
from keras_attention.datasets.registry import find, register
from keras_attention.datasets.tensorflow_sets import read_tensorflow_set
from keras_attention.datasets.top_left import top_left

SPLITS = ("train", "test")

# Each set of images is served as it is and by every generator of scenes.
for _name, _about, _needs_network, _read in (
    ("digits", "1,797 handwritten digits bundled with scikit-learn", False, read_digits),
    ("mnist", "70,000 handwritten digits", True, partial(read_tensorflow_set, "mnist")),
):
    _facts = {"classes": 10, "channels": 1, "needs_network": _needs_network, "read": _read}
    register(name=_name, description=_about, size=28, generate=plain, **_facts)
    register(
        name=f"top_left_{_name}",
        description=f"{_about}: one in the top-left quadrant, three distractors",
        size=56,
        generate=top_left,
        parts_per_side=2,
        **_facts,
    )


def load(
    name: str,
    split: str,
    batch_size: int | None = None,
    seed: int = 0,
    size: int | None = None,
    train_size: int | None = None,
    *,
    shuffle: bool | None = None,
    redraw: bool | None = None,
) -> tf.data.Dataset:
    """Loads a data set as a pipeline that is held in memory, prefetched and seeded.

    Args:
        name: One of `list_datasets()`.
        split: `"train"` or `"test"`; the same images for every seed.
        batch_size: Images of a batch; None for single images.
        seed: Of the order and of what is generated: the same seed gives the same passes.
        size: Pixels along the sides of the images; None for the data set's own.
        train_size: Images for training, chosen by class in equal shares; None for all. For the
            bundled digits all others are for testing.
        shuffle: Whether every pass has an order of its own; by default only in training.
        redraw: Whether every pass generates new images, where the data set generates; by default
            only in training.

    Returns:
        A `tf.data.Dataset` of `(image, label)`: float32 in `[0, 1]`, `(H, W, channels)`, and int64.

    Raises:
        ValueError: For an unknown name (names the nearest) or split, or sizes that cannot be.
        ConnectionError: When the data set is not here and cannot be downloaded.

    Example:
    >>> images, labels = next(iter(load("top_left_digits", "train", batch_size=32, size=28)))
    >>> tuple(images.shape), tuple(labels.shape)
    ((32, 28, 28, 1), (32,))
    """
    info = find(name)
    one_of("split", split, SPLITS)
    size = info.size if size is None else positive_integer("size", size)
    if size % info.parts_per_side:
        raise ValueError(
            f"`size` must be a multiple of {info.parts_per_side} for {name!r}. "
            f"Received: size={size}"
        )
    seed = seed_number("seed", seed)
    if batch_size is not None:
        positive_integer("batch_size", batch_size)
    images, labels = info.read(split, size=size // info.parts_per_side, train_size=train_size)
    training = split == "train"
    shuffle = training if shuffle is None else bool(shuffle)
    redraw = training if redraw is None else bool(redraw)
    dataset = info.generate(images, labels, seed=seed, shuffle=shuffle, redraw=redraw)
    if not (shuffle or redraw):
        dataset = dataset.cache()
    if batch_size is not None:
        dataset = dataset.batch(batch_size)
    return dataset.prefetch(tf.data.AUTOTUNE)
