"""Networks of keras.applications by name, and the images that they take."""

import sys
from collections.abc import Callable
from typing import Any

import keras

from keras_attention.utils.validation import nearest

# What Keras says where weights cannot be downloaded.
FAILED = "URL fetch failure"


def find(name: str) -> Callable[..., keras.Model]:
    """A builder of keras.applications.

    Raises:
        ValueError: For a name that there is not.
    """
    names = [known for known in dir(keras.applications) if known[0].isupper()]
    if name in names:
        return getattr(keras.applications, name)
    raise ValueError(
        "--backbone must be a network of keras.applications. "
        f"Received: --backbone={name}.{nearest(name, names)}"
    )


def build(name: str, weights: str | None, shape: tuple[int, int, int]) -> keras.Model:
    """A network without its classifier; it returns the mean of its last map.

    Raises:
        ConnectionError: Where the weights are neither here nor to be downloaded.
        ValueError: For images that it cannot take.
    """
    try:
        return find(name)(include_top=False, weights=weights, input_shape=shape, pooling="avg")
    except Exception as error:
        # Keras raises the plainest of exceptions.
        if FAILED not in str(error):
            raise
        raise ConnectionError(
            f"The weights of {name} are not on this machine and could not be downloaded; they "
            f"need a network once. Without them: --weights none. ({error})"
        ) from error


def prepare(name: str, images: Any) -> Any:
    """Colored images in `[0, 1]` as the network had them when it was trained."""
    return sys.modules[find(name).__module__].preprocess_input(255 * images)
