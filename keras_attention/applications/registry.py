"""The prebuilt models by name."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_attention.applications.conventions import check_common
from keras_attention.utils.validation import in_place_of, nearest

_BUILDERS: dict[str, Callable[..., keras.Model]] = {}


def register(builder: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """Makes a builder known under its own name, and has it check first what all models share."""
    signature, name = inspect.signature(builder), builder.__name__
    check = functools.partial(check_common, name)

    def checked(*args: Any, **kwargs: Any) -> keras.Model:
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        check(arguments.arguments)
        return builder(*args, **kwargs)

    _BUILDERS[name] = in_place_of(builder, checked)
    return _BUILDERS[name]


def list_models() -> list[str]:
    """Lists the names that `build` takes.

    Example:
    >>> "TKN6" in list_models()
    True
    """
    return sorted(_BUILDERS)


def builder(name: str) -> Callable[..., keras.Model]:
    """Finds the function that builds a model.

    Args:
        name: One of `list_models()`.

    Raises:
        ValueError: For an unknown name; names the nearest.

    Example:
    >>> builder("CNN6").__name__
    'CNN6'
    """
    if isinstance(name, str) and name in _BUILDERS:
        return _BUILDERS[name]
    raise ValueError(
        f"`name` must be one of {', '.join(list_models())}. Received: name={name!r}."
        + nearest(name, _BUILDERS)
    )


def build(name: str, /, **kwargs: Any) -> keras.Model:
    """Builds a model by name.

    Args:
        name: One of `list_models()`.
        **kwargs: Arguments of the model's function, its own `name` included.

    Returns:
        The `keras.Model`.

    Raises:
        ValueError: For an unknown name; names the nearest.

    Example:
    >>> build("DN10", input_shape=(28, 28, 1)).output_shape
    (None, 10)
    """
    return builder(name)(**kwargs)
