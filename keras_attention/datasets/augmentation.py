"""Standard augmentation of photographs, built from Keras layers.

References: Rodriguez et al., Attend and Rectify (2018), sections 4.3 and 4.4; Zagoruyko and
Komodakis, Paying More Attention to Attention (2017), section 4.1.
"""

import keras

from keras_attention.utils.validation import is_integer, positive_integer, seed_number

# Shifts are rounded to whole pixels. Half a pixel more makes the extreme shifts equally likely.
ROUNDED = 0.5 - 1e-4


def cifar_augmentation(
    size: int = 32, padding: int = 4, channels: int = 3, seed: int | None = None
) -> keras.Model:
    """Random crops with reflection padding, and random horizontal flips.

    An image is padded on all sides by its reflection, without repeating its border, and cropped to
    its original size at a random position. Every image of a batch is cropped at a position of its
    own, unlike in `keras.layers.RandomCrop`.

    Args:
        size: Side of the images in pixels.
        padding: Pixels on each side, at least 0 and less than `size`; 4 is usual for CIFAR. With 0
            images are only flipped, as for table 3 of Attention Transfer.
        channels: Number of channels of the images, on the last axis.
        seed: Seed of the crops and flips; None draws a new one in every process.

    Returns:
        A model from images `(B, size, size, channels)` to the same shape, for any value range. With
        `training=False` images are unchanged. Use it as the first layers of a model or, on
        TensorFlow, on batches of a data set:
        `dataset.map(lambda x, y: (augment(x, training=True), y))`.

    Raises:
        ValueError: If `size` or `padding` is invalid.

    Example:
    >>> augment = cifar_augmentation(seed=1)
    >>> augment(keras.ops.zeros((8, 32, 32, 3)), training=True).shape
    TensorShape([8, 32, 32, 3])

    Flips only, followed by normalization with mean and deviation of the training images:
    >>> images = keras.random.uniform((50, 32, 32, 3), seed=1)
    >>> normalize = keras.layers.Normalization()
    >>> normalize.adapt(images)
    >>> layers = keras.Sequential([cifar_augmentation(padding=0), normalize])
    >>> layers(images, training=True).shape
    TensorShape([50, 32, 32, 3])
    """
    positive_integer("size", size)
    if not is_integer(padding) or not 0 <= padding < size:
        raise ValueError(
            f"`padding` must be an integer from 0 to {size - 1}. Received: padding={padding!r}"
        )
    inputs = keras.Input((size, size, positive_integer("channels", channels)), name="images")
    sides = (padding, padding)
    padded = keras.ops.pad(inputs, ((0, 0), sides, sides, (0, 0)), mode="reflect")
    outputs = crop_and_flip(size, size + 2 * padding, seed)(padded)
    return keras.Model(inputs, outputs, name="cifar_augmentation")


def crop_and_flip(size: int = 224, source: int = 256, seed: int | None = None) -> keras.Sequential:
    """Random square crops and random horizontal flips.

    Every image of a batch is cropped at a position of its own, unlike in `keras.layers.RandomCrop`.
    All positions (in whole pixels) are equally likely.

    Args:
        size: Side of the crops in pixels.
        source: Side of the images in pixels; `source - size` must be even and at least 0.
        seed: Seed of the crops and flips; None draws a new one in every process.

    Returns:
        A model from images `(B, source, source, channels)` of any value range to
        `(B, size, size, channels)`; with `training=False` center crops. Use it as the first layers
        of a model or, on TensorFlow, on batches of a data set:
        `dataset.map(lambda x, y: (crop(x, training=True), y))`.

    Raises:
        ValueError: If `size` and `source` do not fit.

    Example:
    >>> crop_and_flip(seed=1)(keras.ops.zeros((2, 256, 256, 3)), training=True).shape
    TensorShape([2, 224, 224, 3])
    """
    seed = None if seed is None else seed_number("seed", seed)
    margin = positive_integer("source", source) - positive_integer("size", size)
    if margin < 0 or margin % 2:
        raise ValueError(
            f"`source` must be `size` or larger by an even number of pixels. "
            f"Received: size={size}, source={source}"
        )
    # A shared seed would correlate shifts and flips.
    flip = keras.layers.RandomFlip("horizontal", seed=None if seed is None else seed + 1)
    layers = [keras.layers.CenterCrop(size, size), flip]
    if margin:
        share = (margin // 2 + ROUNDED) / source
        shift = keras.layers.RandomTranslation(share, share, interpolation="nearest", seed=seed)
        layers.insert(0, shift)
    return keras.Sequential(layers, name="crop_and_flip")
