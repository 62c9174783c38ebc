"""The usual augmentation of photographs, by Keras's own layers.

References: Rodriguez et al., Attend and Rectify (2018), sections 4.3 and 4.4; Zagoruyko and
Komodakis, Paying More Attention to Attention (2017), section 4.1.
"""

import keras

from keras_attention.utils.validation import is_integer, positive_integer, seed_number

# Shifts are rounded to whole pixels: with half a pixel more the ends are as likely as the rest.
ROUNDED = 0.5 - 1e-4


def cifar_augmentation(
    size: int = 32, padding: int = 4, channels: int = 3, seed: int | None = None
) -> keras.Model:
    """Makes layers that shift images by whole pixels, their borders reflected, and mirror half.

    An image is padded on all sides by its own reflection, without repeating its border, and a
    square of the first size is cut out at a random place. Every image of a batch has a place of
    its own, which `keras.layers.RandomCrop` does not give.

    Args:
        size: Pixels along the sides of the images.
        padding: Pixels on each side, 0 or more and less than `size`; 4 is usual for CIFAR. With 0
            images are mirrored only, as for table 3 of Attention Transfer.
        channels: Of the images, last.
        seed: Of the places and the mirror images; None for another one in every process.

    Returns:
        A model of `(B, size, size, channels)` to the same, of any range of values. With
        `training=False` images stay as they are. It is the start of a model, or, on TensorFlow,
        takes batches in a data set: `dataset.map(lambda x, y: (augment(x, training=True), y))`.

    Raises:
        ValueError: For a size or a padding that cannot be.

    Example:
    >>> augment = cifar_augmentation(seed=1)
    >>> augment(keras.ops.zeros((8, 32, 32, 3)), training=True).shape
    TensorShape([8, 32, 32, 3])

    Mirrored only, then normalized by the mean and the deviation of the training images:
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
    """Makes layers that cut squares out of images at random places and mirror half of them.

    Every image of a batch has a place of its own, which `keras.layers.RandomCrop` does not give:
    images are shifted by whole pixels, all shifts as likely, and cut out of the middle.

    Args:
        size: Pixels along the sides of the squares.
        source: Pixels along the sides of the images; `size` and an even number more, or none.
        seed: Of the places and the mirror images; None for another one in every process.

    Returns:
        A model of images `(B, source, source, channels)` of any range of values to
        `(B, size, size, channels)`; with `training=False` the middle. It is the start of a model,
        or, on TensorFlow, takes batches in a data set:
        `dataset.map(lambda x, y: (crop(x, training=True), y))`.

    Raises:
        ValueError: For sizes that cannot be.

    Example:
    >>> crop_and_flip(seed=1)(keras.ops.zeros((2, 256, 256, 3)), training=True).shape
    TensorShape([2, 224, 224, 3])
    """
    seed = None if seed is None else seed_number("seed", seed)
    margin = positive_integer("source", source) - positive_integer("size", size)
    if margin < 0 or margin % 2:
        raise ValueError(
            f"`source` must be `size` and an even number of pixels more, or none. "
            f"Received: size={size}, source={source}"
        )
    # With one seed for both all images shifted downwards would be mirrored.
    flip = keras.layers.RandomFlip("horizontal", seed=None if seed is None else seed + 1)
    layers = [keras.layers.CenterCrop(size, size), flip]
    if margin:
        share = (margin // 2 + ROUNDED) / source
        shift = keras.layers.RandomTranslation(share, share, interpolation="nearest", seed=seed)
        layers.insert(0, shift)
    return keras.Sequential(layers, name="crop_and_flip")
