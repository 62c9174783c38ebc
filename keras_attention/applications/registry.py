"""Registry of builders by name."""

import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import keras

from keras_attention.applications.conventions import SHARED_DOCSTRINGS, validate_common_arguments
from keras_attention.utils.tensor_validation import wrap_function
from keras_attention.utils.validation import did_you_mean

_BUILDERS: dict[str, Callable[..., keras.Model]] = {}


def register(builder: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """Registers a builder, validates its common arguments and completes its docstring."""
    signature, name = inspect.signature(builder), builder.__name__
    validate = functools.partial(validate_common_arguments, name)

    def validated(*args: Any, **kwargs: Any) -> keras.Model:
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        validate(arguments.arguments)
        return builder(*args, **kwargs)

    shared = {**SHARED_DOCSTRINGS, **builder.__globals__.get("SHARED_DOCSTRINGS", {})}
    builder.__doc__ = complete_docstring(builder.__doc__ or "", shared)
    _BUILDERS[name] = wrap_function(builder, validated)
    return _BUILDERS[name]


def complete_docstring(text: str, shared: dict[str, str]) -> str:
    """Replaces lines such as `{common_arguments}` by shared texts, with the same indentation."""

    def indented(match: re.Match[str]) -> str:
        return textwrap.indent(complete_docstring(shared[match[2]].strip(), shared), match[1])

    return re.sub(rf"^( *)\{{({'|'.join(shared)})\}}$", indented, text, flags=re.MULTILINE)


def list_models() -> list[str]:
    """Returns the names that `build` accepts.

    Example:
    >>> "TKN6" in list_models()
    True
    """
    return sorted(_BUILDERS)


def builder(name: str) -> Callable[..., keras.Model]:
    """Returns the function that builds a model.

    Args:
        name: One of `list_models()`.

    Raises:
        ValueError: For an unknown name.

    Example:
    >>> builder("CNN6").__name__
    'CNN6'
    """
    if isinstance(name, str) and name in _BUILDERS:
        return _BUILDERS[name]
    raise ValueError(
        f"`name` must be one of {', '.join(list_models())}. Received: name={name!r}."
        + did_you_mean(name, _BUILDERS)
    )


def build(name: str, /, **kwargs: Any) -> keras.Model:
    """Builds a model by name.

    Args:
        name: One of `list_models()`.
        **kwargs: Arguments of the builder, such as `input_shape` and the `name` of the model.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: For an unknown name.

    Example:
    >>> build("DN10", input_shape=(28, 28, 1)).output_shape
    (None, 10)
    """
    return builder(name)(**kwargs)
