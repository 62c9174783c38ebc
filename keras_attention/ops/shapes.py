"""Which tensors a function takes, said beside it and checked by their static shapes.

Where a graph is traced this costs nothing when it runs.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from keras_attention.arguments import (
    is_integer,
    positive_integer,
    positive_integers,
    standard_data_format,
)
from keras_attention.wrapping import in_place_of

Tensor = Any
Check = Callable[[str, Any], Any]
Function = TypeVar("Function", bound=Callable[..., Any])

# Of what a function makes for so many pixels: 1 GiB in float32.
MOST_VALUES = 2**28


def takes(**checks: str | Check) -> Callable[[Function], Function]:
    """Says what a function's arguments are; others are refused before a backend sees them.

    Args:
        **checks: By the argument's name, a shape or a function `(argument, value)` that returns
            the value. Sides of the same name are of the same size in all tensors; `_` is any size
            and `...` any number of axes. A leading `int` is for whole numbers, others become
            floats; a leading `maybe` allows None. `data_format` is checked wherever there is one.

    Returns:
        What decorates the function.

    Raises:
        ValueError: By the function, for tensors of other shapes, empty ones, and no tensors.

    Example:
    >>> @takes(values="B C", places="int B")
    ... def f(values, places):
    ...     return values
    >>> f(np.ones((2, 3)), [0, 1, 2])
    Traceback (most recent call last):
    ValueError: `places` must be (B) with B=2, whole numbers, no side of 0.
        Received: places of shape (3,)
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        if "data_format" in signature.parameters:
            checks["data_format"] = lambda _, value: standard_data_format(value)

        def checked(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            known: dict[str, int] = {}
            for name, check in checks.items():
                if name not in bound.arguments:
                    continue
                value = bound.arguments[name]
                if isinstance(check, str):
                    bound.arguments[name] = taken(name, value, check, known)
                else:
                    bound.arguments[name] = check(name, value)
            return function(*bound.args, **bound.kwargs)

        taken = _taken
        return in_place_of(function, checked)

    return decorate


def one_side(argument: str, value: Any) -> Any:
    """Returns a number of pixels, an integer above 0 or an integer scalar tensor."""
    if is_integer(value) or not hasattr(value, "dtype"):
        number = positive_integer(argument, value)
        if number > MOST_VALUES:
            raise ValueError(
                f"`{argument}` must be at most {MOST_VALUES} pixels. Received: {argument}={value!r}"
            )
        return number
    if tuple(value.shape) == () and _is_whole(_dtype(value)):
        return value
    raise ValueError(
        f"`{argument}` must be a positive integer or a scalar tensor of one. "
        f"Received: {argument} of shape {tuple(value.shape)} and dtype {_dtype(value)!r}"
    )


def some_sides(argument: str, values: Any) -> tuple[Any, ...]:
    """Returns numbers of pixels along axes."""
    if not isinstance(values, (tuple, list)) or not values:
        raise ValueError(
            f"`{argument}` must be a tuple of positive integers. Received: {argument}={values!r}"
        )
    found = tuple(one_side(argument, value) for value in values)
    if math.prod(value for value in found if isinstance(value, int)) > MOST_VALUES:
        raise ValueError(
            f"`{argument}` must have at most {MOST_VALUES} pixels. Received: {argument}={values!r}"
        )
    return found


def two_sides(argument: str, values: Any) -> tuple[Any, ...]:
    """Returns a height and a width."""
    found = some_sides(argument, values)
    if len(found) == 2:
        return found
    raise ValueError(f"`{argument}` must be a height and a width. Received: {argument}={values!r}")


def several(check: str) -> Check:
    """A list of tensors, of one shape each."""

    def checked(argument: str, values: Any) -> list[Tensor]:
        if not isinstance(values, (tuple, list)) or not values:
            raise ValueError(
                f"`{argument}` must be a list of tensors. Received: {argument}={values!r}"
            )
        known: dict[str, int] = {}
        return [_taken(argument, value, check, known) for value in values]

    return checked


def optional(check: Check) -> Check:
    """None, or what another check takes."""
    return lambda argument, value: None if value is None else check(argument, value)


def pair(argument: str, value: Any) -> tuple[int, int]:
    """Returns two positive integers, from one or from two."""
    return positive_integers(argument, value, 2)


def span(argument: str, value: Any) -> tuple[Any, Any]:
    """Returns the first of some pixels and the one after the last, integers or scalar tensors."""
    fits = isinstance(value, (tuple, list)) and len(value) == 2
    if fits and all(map(is_integer, value)):
        fits = 0 <= value[0] < value[1] <= MOST_VALUES
    elif fits:
        fits = all(is_integer(one) or tuple(getattr(one, "shape", (1,))) == () for one in value)
    if fits:
        return value[0], value[1]
    raise ValueError(
        f"`{argument}` must be the first pixel, from 0, and the one after the last. "
        f"Received: {argument}={value!r}"
    )


def a_function(argument: str, value: Any) -> Callable[..., Any]:
    """Returns what can be called."""
    if callable(value):
        return value
    raise ValueError(f"`{argument}` must be a function. Received: {argument}={value!r}")


def check_channels(argument: str, maps: Tensor, kernel: Tensor, data_format: str) -> None:
    """Refuses a map whose channels are not those that a kernel reads."""
    channels = maps.shape[-1 if data_format == "channels_last" else 1]
    if None not in (channels, kernel.shape[2]) and channels != kernel.shape[2]:
        raise ValueError(
            f"`{argument}` must have {kernel.shape[2]} channels, as many as `kernel` reads. "
            f"Received: {argument} of shape {tuple(maps.shape)}"
        )


def same_shape(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    """Whether two shapes may be the same: sides of None are not known yet.

    Example:
    >>> same_shape((None, 8, 3), (2, 8, 3)), same_shape((2, 8), (2, 8, 3))
    (True, False)
    """
    return len(one) == len(other) and all(
        None in (here, there) or here == there for here, there in zip(one, other, strict=True)
    )


def _taken(argument: str, value: Any, shape: str, known: dict[str, int]) -> Tensor:
    """A tensor of numbers, of such a shape; remembers the sizes of named sides."""
    words = shape.split()
    if "maybe" in words and value is None:
        return None
    whole, names = "int" in words, [word for word in words if word not in ("int", "maybe")]
    tensor = _tensor(argument, value)
    dtype = _dtype(tensor)
    if not (keras.backend.is_float_dtype(dtype) or _is_whole(dtype)):
        raise ValueError(f"`{argument}` must be numbers. Received: {argument} of dtype {dtype!r}")
    if not whole and _is_whole(dtype):
        tensor = ops.cast(tensor, keras.config.floatx())
    sizes = _sizes(tensor)
    if sizes is not None and not _fits(sizes, names, known):
        bound = [f"{name}={known[name]}" for name in names if name in known]
        said = f" with {', '.join(bound)}" if bound else ""
        kind = ", whole numbers" if whole else ""
        raise ValueError(
            f"`{argument}` must be ({', '.join(names)}){said}{kind}, no side of 0. "
            f"Received: {argument} of shape {sizes}"
        )
    return tensor


def _fits(sizes: Sequence[int | None], names: Sequence[str], known: dict[str, int]) -> bool:
    names = list(names)
    if "..." in names:
        place = names.index("...")
        names[place : place + 1] = ["_"] * (len(sizes) - len(names) + 1)
    if len(names) != len(sizes) or 0 in sizes:
        return False
    for name, size in zip(names, sizes, strict=True):
        wanted = int(name) if name.isdigit() else size if name == "_" else known.get(name, size)
        if None not in (size, wanted) and size != wanted:
            return False
    pairs = zip(names, sizes, strict=True)
    known.update({name: size for name, size in pairs if size is not None and name.isalpha()})
    return True


def _tensor(argument: str, value: Any) -> Tensor:
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic):
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind in "fiub":
            return ops.convert_to_tensor(value)
    elif isinstance(value, (list, tuple, int, float, np.generic)):
        try:
            return ops.convert_to_tensor(value)
        except Exception as error:  # each backend has its own
            raise ValueError(
                f"`{argument}` must be a tensor or numbers. Received: {argument}={value!r}"
            ) from error
    raise ValueError(f"`{argument}` must be a tensor. Received: {argument}={value!r}")


def _sizes(tensor: Tensor) -> tuple[int | None, ...] | None:
    """The static shape; None where not even the rank is known."""
    return None if getattr(tensor.shape, "rank", 0) is None else tuple(tensor.shape)


def _dtype(tensor: Tensor) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def _is_whole(dtype: str) -> bool:
    return keras.backend.is_int_dtype(dtype) or dtype == "bool"
