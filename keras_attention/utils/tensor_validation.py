"""Validation and conversion of tensors, by their static shapes and dtypes.

Static shapes are known while a graph is traced, so these checks cost nothing when it runs.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from keras_attention.utils.data_format import standardize_data_format
from keras_attention.utils.validation import is_integer, positive_integer, positive_integers

Tensor = Any
Check = Callable[[str, Any], Any]
Function = TypeVar("Function", bound=Callable[..., Any])

# 1 GiB in float32: the largest map that a function creates for the sizes that it receives.
LARGEST_MAP = 2**28
MAP_KINDS = {3: "sequences (3 axes)", 4: "images (4 axes)", 5: "volumes (5 axes)"}


def validate_arguments(**checks: str | Check) -> Callable[[Function], Function]:
    """Decorates a function so that its arguments are validated and converted first.

    Args:
        **checks: For each argument a shape, or a function `(argument, value)` that returns the
            value. A shape is a string such as `"B H W C"`: axes with the same name have the same
            size in all arguments, a number is an exact size, `_` is any size and `...` any number
            of axes. A leading `int` accepts integers only (other tensors are converted to float);
            a leading `maybe` accepts None. `data_format` is validated in every function that has
            it.

    Returns:
        The decorator.

    Example:
    >>> @validate_arguments(values="B C", indices="int B")
    ... def f(values, indices):
    ...     return values
    >>> f(np.ones((2, 3)), [0, 1, 2])
    Traceback (most recent call last):
    ValueError: `indices` must have the shape (B) with B=2 and integers, and no axis of size 0.
        Received: indices of shape (3,)
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        if "data_format" in signature.parameters:
            checks["data_format"] = lambda _, value: standardize_data_format(value)
        convert = _convert

        def validated(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            sizes: dict[str, int] = {}
            for name, check in checks.items():
                if name not in bound.arguments:
                    continue
                value = bound.arguments[name]
                if isinstance(check, str):
                    bound.arguments[name] = convert(name, value, check, sizes)
                else:
                    bound.arguments[name] = check(name, value)
            return function(*bound.args, **bound.kwargs)

        return wrap_function(function, validated)

    return decorate


def wrap_function(function: Function, wrapper: Any) -> Function:
    """Returns `wrapper` with the name, docstring, module and globals of `function`.

    Unlike with `functools.wraps` alone, doctest finds the example of the wrapped function, because
    it looks at the globals. `wrapper` may therefore use only its arguments, built-in names and
    variables of the enclosing function.

    Example:
    >>> def wrapper(*args, **kwargs):
    ...     return "wrapped"
    >>> wrap_function(lambda: None, wrapper)()
    'wrapped'
    """
    wrapped: Any = FunctionType(
        wrapper.__code__,
        function.__globals__,
        wrapper.__name__,
        wrapper.__defaults__,
        wrapper.__closure__,
    )
    functools.update_wrapper(wrapped, function)
    return wrapped


def side_length(argument: str, value: Any) -> Any:
    """Returns a number of pixels: a positive integer or an integer scalar tensor."""
    if is_integer(value) or not hasattr(value, "dtype"):
        number = positive_integer(argument, value)
        if number > LARGEST_MAP:
            raise ValueError(
                f"`{argument}` must be at most {LARGEST_MAP} pixels. Received: {argument}={value!r}"
            )
        return number
    if tuple(value.shape) == () and _is_integer_dtype(_dtype(value)):
        return value
    raise ValueError(
        f"`{argument}` must be a positive integer or an integer scalar tensor. "
        f"Received: {argument} of shape {tuple(value.shape)} and dtype {_dtype(value)!r}"
    )


def side_lengths(argument: str, values: Any) -> tuple[Any, ...]:
    """Returns numbers of pixels along one or more axes."""
    if not isinstance(values, (tuple, list)) or not values:
        raise ValueError(
            f"`{argument}` must be a tuple of positive integers. Received: {argument}={values!r}"
        )
    lengths = tuple(side_length(argument, value) for value in values)
    if math.prod(value for value in lengths if isinstance(value, int)) > LARGEST_MAP:
        raise ValueError(
            f"`{argument}` must have at most {LARGEST_MAP} pixels. Received: {argument}={values!r}"
        )
    return lengths


def height_and_width(argument: str, values: Any) -> tuple[Any, ...]:
    """Returns a height and a width in pixels."""
    lengths = side_lengths(argument, values)
    if len(lengths) == 2:
        return lengths
    raise ValueError(f"`{argument}` must be a height and a width. Received: {argument}={values!r}")


def list_of(shape: str) -> Check:
    """Returns a check that accepts a list of tensors with this shape."""

    def check(argument: str, values: Any) -> list[Tensor]:
        if not isinstance(values, (tuple, list)) or not values:
            raise ValueError(
                f"`{argument}` must be a list of tensors. Received: {argument}={values!r}"
            )
        sizes: dict[str, int] = {}
        return [_convert(argument, value, shape, sizes) for value in values]

    return check


def optional(check: Check) -> Check:
    """Returns a check that also accepts None."""
    return lambda argument, value: None if value is None else check(argument, value)


def integer_pair(argument: str, value: Any) -> tuple[int, int]:
    """Returns two positive integers, from one or from two."""
    return positive_integers(argument, value, 2)


def pixel_range(argument: str, value: Any) -> tuple[Any, Any]:
    """Returns a half-open range of pixels `(start, stop)`: integers or scalar tensors."""
    fits = isinstance(value, (tuple, list)) and len(value) == 2
    if fits and all(map(is_integer, value)):
        fits = 0 <= value[0] < value[1] <= LARGEST_MAP
    elif fits:
        fits = all(is_integer(one) or tuple(getattr(one, "shape", (1,))) == () for one in value)
    if fits:
        return value[0], value[1]
    raise ValueError(
        f"`{argument}` must be a half-open range of pixels, (start, stop) with 0 <= start < stop. "
        f"Received: {argument}={value!r}"
    )


def function_argument(argument: str, value: Any) -> Callable[..., Any]:
    """Returns `value` if it is callable."""
    if callable(value):
        return value
    raise ValueError(f"`{argument}` must be a function. Received: {argument}={value!r}")


def validate_channels(argument: str, maps: Tensor, kernel: Tensor, data_format: str) -> None:
    """Raises a ValueError if a map has other channels than its convolution kernel reads."""
    channels = maps.shape[-1 if data_format == "channels_last" else 1]
    if None not in (channels, kernel.shape[2]) and channels != kernel.shape[2]:
        raise ValueError(
            f"`{argument}` must have {kernel.shape[2]} channels, as many as `kernel` reads. "
            f"Received: {argument} of shape {tuple(maps.shape)}"
        )


def compatible_shapes(first: tuple[int | None, ...], second: tuple[int | None, ...]) -> bool:
    """Returns True if two static shapes can be equal at run time: None matches any size.

    Example:
    >>> compatible_shapes((None, 8, 3), (2, 8, 3)), compatible_shapes((2, 8), (2, 8, 3))
    (True, False)
    """
    return len(first) == len(second) and all(
        None in sizes or sizes[0] == sizes[1] for sizes in zip(first, second, strict=True)
    )


def validate_input_shape(
    layer: keras.Layer, shape: Sequence[int | None], axis: int = -1, ranks: Sequence[int] = (4,)
) -> tuple[Any, ...]:
    """Returns the input shape that a layer is built with.

    Args:
        layer: The layer, for the error message.
        shape: Shape of the map with the batch; None for unknown sizes.
        axis: Channel axis.
        ranks: Numbers of axes that the layer accepts.
    """
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    label = f"The input of {type(layer).__name__} {layer.name!r}"
    if len(sizes) not in ranks:
        kinds = " or ".join(MAP_KINDS[rank] for rank in ranks)
        raise ValueError(f"{label} must be {kinds}. Received: input_shape={shape!r}")
    validate_not_empty(layer, sizes)
    if sizes[axis] is None:
        raise ValueError(
            f"{label} must have a known number of channels. Received: input_shape={sizes}"
        )
    return sizes


def validate_not_empty(layer: keras.Layer, shape: Sequence[Any]) -> None:
    """Raises a ValueError for an axis of size 0: backends would crash or return NaN."""
    if any(isinstance(side, int) and side == 0 for side in shape):
        raise ValueError(
            f"The input of {type(layer).__name__} {layer.name!r} must not be empty. "
            f"Received: input_shape={tuple(shape)}"
        )


def convert_input(layer: keras.Layer, inputs: Tensor) -> Tensor:
    """Returns the input of a layer as floats: integers and booleans in its compute dtype.

    Example:
    >>> layer = keras.layers.Identity()
    >>> keras.backend.standardize_dtype(convert_input(layer, ops.ones((1, 2), "uint8")).dtype)
    'float32'
    """
    validate_not_empty(layer, inputs.shape)
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if keras.backend.is_float_dtype(dtype):
        return inputs
    if _is_integer_dtype(dtype):
        return ops.cast(inputs, layer.compute_dtype)
    raise ValueError(
        f"The input of {type(layer).__name__} {layer.name!r} must be numeric. "
        f"Received: inputs of dtype={dtype!r}"
    )


def map_input_spec(shape: Sequence[int | None], axis: int = -1) -> keras.layers.InputSpec:
    """Returns the input spec of a built layer: the number of axes and of channels."""
    return keras.layers.InputSpec(ndim=len(shape), axes={axis: shape[axis]})


def reduced_units(layer: keras.Layer, channels: int, reduction: int) -> int:
    """Returns the number of hidden units of a layer, one per `reduction` channels of its input."""
    if channels < reduction:
        raise ValueError(
            f"`reduction` of {type(layer).__name__} must be at most {channels}, the channels of "
            f"its input. Received: reduction={reduction}"
        )
    return channels // reduction


def _convert(argument: str, value: Any, shape: str, known: dict[str, int]) -> Tensor:
    """Returns a numeric tensor of this shape and stores the sizes of named axes in `known`."""
    words = shape.split()
    if "maybe" in words and value is None:
        return None
    integers, names = "int" in words, [word for word in words if word not in ("int", "maybe")]
    tensor = _to_tensor(argument, value)
    dtype = _dtype(tensor)
    if not (keras.backend.is_float_dtype(dtype) or _is_integer_dtype(dtype)):
        raise ValueError(f"`{argument}` must be numeric. Received: {argument} of dtype {dtype!r}")
    if not integers and _is_integer_dtype(dtype):
        tensor = ops.cast(tensor, keras.config.floatx())
    sizes = _static_shape(tensor)
    if sizes is not None and not _matches(sizes, names, known):
        bound = ", ".join(f"{name}={known[name]}" for name in names if name in known)
        conditions = (f" with {bound}" if bound else "") + (" and integers" if integers else "")
        raise ValueError(
            f"`{argument}` must have the shape ({', '.join(names)}){conditions}, and no axis of "
            f"size 0. Received: {argument} of shape {sizes}"
        )
    return tensor


def _matches(sizes: Sequence[int | None], names: Sequence[str], known: dict[str, int]) -> bool:
    names = list(names)
    if "..." in names:
        index = names.index("...")
        names[index : index + 1] = ["_"] * (len(sizes) - len(names) + 1)
    if len(names) != len(sizes) or 0 in sizes:
        return False
    for name, size in zip(names, sizes, strict=True):
        expected = int(name) if name.isdigit() else size if name == "_" else known.get(name, size)
        if None not in (size, expected) and size != expected:
            return False
    pairs = zip(names, sizes, strict=True)
    known.update({name: size for name, size in pairs if size is not None and name.isalpha()})
    return True


def _to_tensor(argument: str, value: Any) -> Tensor:
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic):
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind in "fiub":
            return ops.convert_to_tensor(value)
    elif isinstance(value, (list, tuple, int, float, np.generic)):
        try:
            return ops.convert_to_tensor(value)
        except Exception as error:  # each backend raises an exception of its own
            raise ValueError(
                f"`{argument}` must be a tensor or numbers. Received: {argument}={value!r}"
            ) from error
    raise ValueError(f"`{argument}` must be a tensor. Received: {argument}={value!r}")


def _static_shape(tensor: Tensor) -> tuple[int | None, ...] | None:
    """Returns the static shape, or None if even the rank is unknown."""
    return None if getattr(tensor.shape, "rank", 0) is None else tuple(tensor.shape)


def _dtype(tensor: Tensor) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def _is_integer_dtype(dtype: str) -> bool:
    return keras.backend.is_int_dtype(dtype) or dtype == "bool"
