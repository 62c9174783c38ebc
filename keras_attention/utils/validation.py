"""Checks of user-given arguments, with errors that say what was allowed and what came."""

import difflib
import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

# Backends count in 32 bits.
LARGEST_INTEGER = 2**31 - 1
Function = TypeVar("Function", bound=Callable[..., Any])
Tensor = Any
Check = Callable[[str, Any], Any]
# Of what a function makes for so many pixels: 1 GiB in float32.
MOST_VALUES = 2**28
KINDS = {3: "sequences (3 axes)", 4: "images (4)", 5: "volumes (5)"}


def nearest(name: str, allowed: Iterable[str | None], count: int = 1) -> str:
    """Returns `" Did you mean 'x' or 'y'?"` for up to `count` close allowed names, or nothing."""
    by_lower = {item.lower(): item for item in allowed if item is not None}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(by_lower[item]) for item in close)}?" if close else ""


def one_of(argument: str, value: Any, allowed: Sequence[Any]) -> Any:
    """Returns `value` if it is one of `allowed`, else raises ValueError."""
    if isinstance(value, str | None) and value in allowed:
        return value
    names = ", ".join(repr(item) for item in allowed)
    raise ValueError(
        f"`{argument}` must be one of {names}. Received: {argument}={value!r}."
        + (nearest(value, filter(None, allowed)) if isinstance(value, str) else "")
    )


def is_integer(value: Any) -> bool:
    """True for Python and NumPy integers, False for booleans and the rest."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool | np.bool_)


def positive_integer(argument: str, value: Any) -> int:
    """Returns `value` as an int if it is a positive integer, else raises ValueError."""
    if is_integer(value) and 0 < int(value) <= LARGEST_INTEGER:
        return int(value)
    much = f", {LARGEST_INTEGER} at most" if is_integer(value) and int(value) > 0 else ""
    raise ValueError(
        f"`{argument}` must be a positive integer{much}. Received: {argument}={value!r}"
    )


def seed_number(argument: str, value: Any) -> int:
    """Returns `value` as an int if every random generator takes it, else raises ValueError."""
    if is_integer(value) and 0 <= int(value) < 2**31:
        return int(value)
    raise ValueError(
        f"`{argument}` must be an integer from 0 to 2**31 - 1. Received: {argument}={value!r}"
    )


def non_negative_number(argument: str, value: Any) -> float:
    """Returns `value` as a float if it is a finite number >= 0, else raises ValueError."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, (str, bool)) or not 0.0 <= number < float("inf"):
        raise ValueError(
            f"`{argument}` must be a finite number, 0 or more. Received: {argument}={value!r}"
        )
    return number


def positive_number(argument: str, value: Any) -> float:
    """Returns `value` as a float if it is a finite number > 0, else raises ValueError."""
    try:
        number = non_negative_number(argument, value)
    except ValueError:
        number = 0.0
    if number > 0.0:
        return number
    raise ValueError(
        f"`{argument}` must be a finite number above 0. Received: {argument}={value!r}"
    )


def at_least_one(argument: str, value: Any) -> float:
    """Returns `value` as a number if it is finite and 1 or more; integers stay integers."""
    number = positive_number(argument, value)
    if number < 1.0:
        raise ValueError(f"`{argument}` must be 1 or more. Received: {argument}={value!r}")
    return int(value) if is_integer(value) else number


def share(argument: str, value: Any) -> float:
    """Returns `value` as a float if it is a number from 0 up to, not including, 1."""
    number = non_negative_number(argument, value)
    if number < 1.0:
        return number
    raise ValueError(
        f"`{argument}` must be from 0 up to 1, 1 excluded. Received: {argument}={value!r}"
    )


def flag(argument: str, value: Any) -> bool:
    """Returns `value` as a bool if it is one, else raises ValueError."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"`{argument}` must be True or False. Received: {argument}={value!r}")


def positive_integers(argument: str, value: Any, rank: int | Sequence[int]) -> Any:
    """Checks a positive integer or a sequence of them.

    Args:
        argument: Its name.
        value: What the user gave.
        rank: How many there are, and a tuple of so many is returned; or the allowed numbers, and
            a single integer stays one.
    """
    ranks = (rank,) if isinstance(rank, int) else tuple(rank)
    if is_integer(value):
        number = positive_integer(argument, value)
        return (number,) * rank if isinstance(rank, int) else number
    values = value.tolist() if hasattr(value, "tolist") else value
    fits = isinstance(values, (tuple, list)) and len(values) in ranks
    if fits and all(is_integer(item) and 0 < int(item) <= LARGEST_INTEGER for item in values):
        return tuple(int(item) for item in values)
    raise ValueError(
        f"`{argument}` must be a positive integer or {' or '.join(map(str, ranks))} of them. "
        f"Received: {argument}={value!r}"
    )


def odd_integers(argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """Returns `rank` odd positive integers, from one or as many of them."""
    sizes = positive_integers(argument, value, rank)
    if all(size % 2 for size in sizes):
        return sizes
    raise ValueError(f"`{argument}` must be odd, to have a middle. Received: {argument}={value!r}")


def keras_model(argument: str, value: Any) -> Any:
    """Returns `value` if it is a Keras model, else raises ValueError."""
    import keras

    if isinstance(value, keras.Model):
        return value
    raise ValueError(f"`{argument}` must be a Keras model. Received: {argument}={value!r}")


def table_of(argument: str, value: Any) -> dict[Any, Any]:
    """Returns `value` as a dictionary if it is a mapping, else raises ValueError."""
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(f"`{argument}` must be a dictionary. Received: {argument}={value!r}")


def names_of_layers(argument: str, value: Any) -> list[str]:
    """Returns names as a list, from a list or tuple of texts, else raises ValueError."""
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return list(value)
    raise ValueError(
        f"`{argument}` must be a list of names of layers. Received: {argument}={value!r}"
    )


def standard_data_format(value: str | None) -> str:
    """Returns the data format, Keras's own setting where None is given."""
    import keras

    if value is None:
        return keras.config.image_data_format()
    return one_of("data_format", value, ("channels_last", "channels_first"))


def in_place_of(function: Function, front: Any) -> Function:
    """Returns `front` with the name, the docstring and the module of a function.

    Its globals are those of the function's module, where doctest looks for the example, so that
    `front` may use nothing but its arguments, built-in names and what surrounds it.

    Example:
    >>> def front(*args, **kwargs):
    ...     return "first"
    >>> in_place_of(nothing := lambda: None, front)()
    'first'
    """
    there: Any = FunctionType(
        front.__code__, function.__globals__, front.__name__, front.__defaults__, front.__closure__
    )
    functools.update_wrapper(there, function)
    return there


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


def checked_shape(
    layer: keras.Layer, shape: Sequence[int | None], axis: int = -1, ranks: Sequence[int] = (4,)
) -> tuple[Any, ...]:
    """Returns the shape of a map that a layer is built on.

    Args:
        layer: Whose name the error says.
        shape: The map's; None for what is not known yet.
        axis: Of the channels.
        ranks: Numbers of axes that the layer takes.

    Raises:
        ValueError: For another number of axes, a side of 0, or channels that are not known.
    """
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else ()
    who = f"{type(layer).__name__} {layer.name!r}"
    if len(sizes) not in ranks:
        kinds = " or ".join(KINDS[rank] for rank in ranks)
        raise ValueError(f"{who} takes {kinds}. Received: input_shape={shape!r}")
    check_not_empty(layer, sizes)
    if sizes[axis] is None:
        raise ValueError(f"{who} needs a known number of channels. Received: input_shape={sizes}")
    return sizes


def check_not_empty(layer: keras.Layer, shape: Sequence[Any]) -> None:
    """Refuses data without an example, a pixel or a channel."""
    if any(isinstance(side, int) and side == 0 for side in shape):
        raise ValueError(
            f"{type(layer).__name__} {layer.name!r} takes one example, pixel and channel at least. "
            f"Received: input_shape={tuple(shape)}"
        )


def taken_map(layer: keras.Layer, inputs: Tensor) -> Tensor:
    """Returns a map that is not empty, whole numbers in the layer's precision.

    Raises:
        ValueError: For an empty map, or one that does not hold numbers.

    Example:
    >>> layer = keras.layers.Identity()
    >>> keras.backend.standardize_dtype(taken_map(layer, ops.ones((1, 2), "uint8")).dtype)
    'float32'
    """
    check_not_empty(layer, inputs.shape)
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if keras.backend.is_float_dtype(dtype):
        return inputs
    if keras.backend.is_int_dtype(dtype) or dtype == "bool":
        return ops.cast(inputs, layer.compute_dtype)
    raise ValueError(
        f"{type(layer).__name__} {layer.name!r} takes numbers. Received: inputs of dtype={dtype!r}"
    )


def map_spec(shape: Sequence[int | None], axis: int = -1) -> keras.layers.InputSpec:
    """What a layer takes once it is built on such a map: as many axes and channels."""
    return keras.layers.InputSpec(ndim=len(shape), axes={axis: shape[axis]})


def channels_and_units(layer: keras.Layer, channels: int, reduction: int) -> tuple[int, int]:
    """The channels of a map, and how many hidden units are left of them.

    Args:
        layer: Who asks, for the error.
        channels: Of its input.
        reduction: Channels for one unit.

    Raises:
        ValueError: For fewer channels than `reduction`.
    """
    if channels < reduction:
        raise ValueError(
            f"`reduction` of {type(layer).__name__} must be at most {channels}, the channels of "
            f"its input. Received: reduction={reduction}"
        )
    return channels, channels // reduction
