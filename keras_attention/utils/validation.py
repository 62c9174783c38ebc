"""Validation of arguments: each function returns the value or raises a ValueError.

This module does not import Keras, so that the command line can print its help quickly.
"""

import difflib
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# Backends use 32-bit integers for sizes.
LARGEST_INTEGER = 2**31 - 1
# Dilation that is accepted on maps of any size.
LARGEST_DILATION = 64


def did_you_mean(name: str, allowed: Iterable[str | None], count: int = 1) -> str:
    """Returns `" Did you mean 'x' or 'y'?"` for up to `count` similar names, or an empty string."""
    by_lower = {item.lower(): item for item in allowed if item is not None}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=count, cutoff=0.5)
    return f" Did you mean {' or '.join(repr(by_lower[item]) for item in close)}?" if close else ""


def one_of(argument: str, value: Any, allowed: Sequence[Any]) -> Any:
    """Returns `value` if it is one of `allowed`."""
    if isinstance(value, str | None) and value in allowed:
        return value
    names = ", ".join(repr(item) for item in allowed)
    raise ValueError(
        f"`{argument}` must be one of {names}. Received: {argument}={value!r}."
        + (did_you_mean(value, filter(None, allowed)) if isinstance(value, str) else "")
    )


def is_integer(value: Any) -> bool:
    """Returns True for Python and NumPy integers, False for booleans and everything else."""
    try:
        operator.index(value)
    except TypeError:
        return False
    return not isinstance(value, bool | np.bool_)


def positive_integer(argument: str, value: Any) -> int:
    """Returns `value` as an int if it is a positive integer."""
    if is_integer(value) and 0 < int(value) <= LARGEST_INTEGER:
        return int(value)
    limit = f" of at most {LARGEST_INTEGER}" if is_integer(value) and int(value) > 0 else ""
    raise ValueError(
        f"`{argument}` must be a positive integer{limit}. Received: {argument}={value!r}"
    )


def non_negative_integer(argument: str, value: Any) -> int:
    """Returns `value` as an int if it is an integer and not negative."""
    if is_integer(value) and int(value) >= 0:
        return int(value)
    raise ValueError(f"`{argument}` must be an integer, 0 or more. Received: {argument}={value!r}")


def seed_number(argument: str, value: Any) -> int:
    """Returns `value` as an int if it is a seed that every random generator accepts."""
    if is_integer(value) and 0 <= int(value) < 2**31:
        return int(value)
    raise ValueError(
        f"`{argument}` must be an integer from 0 to 2**31 - 1. Received: {argument}={value!r}"
    )


def non_negative_number(argument: str, value: Any) -> float:
    """Returns `value` as a float if it is finite and not negative."""
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
    """Returns `value` as a float if it is finite and positive."""
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
    """Returns `value` if it is a finite number of 1 or more; integers stay integers."""
    number = positive_number(argument, value)
    if number < 1.0:
        raise ValueError(f"`{argument}` must be 1 or more. Received: {argument}={value!r}")
    return int(value) if is_integer(value) else number


def fraction(argument: str, value: Any) -> float:
    """Returns `value` as a float if it is in `[0, 1)`."""
    number = non_negative_number(argument, value)
    if number < 1.0:
        return number
    raise ValueError(
        f"`{argument}` must be from 0 up to 1, with 1 excluded. Received: {argument}={value!r}"
    )


def boolean(argument: str, value: Any) -> bool:
    """Returns `value` if it is True or False."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"`{argument}` must be True or False. Received: {argument}={value!r}")


def positive_integers(argument: str, value: Any, rank: int | Sequence[int]) -> Any:
    """Returns a tuple of positive integers, from one integer or a sequence of them.

    Args:
        argument: Name of the argument.
        value: Value of the argument.
        rank: Number of integers; a single integer is then repeated. With several allowed numbers,
            `(2, 3)`, a single integer is returned as it is.
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
    """Returns a tuple of `rank` odd positive integers, from one integer or a sequence of them."""
    sizes = positive_integers(argument, value, rank)
    if all(size % 2 for size in sizes):
        return sizes
    raise ValueError(
        f"`{argument}` must be odd, so that it has a center. Received: {argument}={value!r}"
    )


def keras_model(argument: str, value: Any) -> Any:
    """Returns `value` if it is a Keras model."""
    import keras

    if isinstance(value, keras.Model):
        return value
    raise ValueError(f"`{argument}` must be a Keras model. Received: {argument}={value!r}")


def dictionary(argument: str, value: Any) -> dict[Any, Any]:
    """Returns a mapping as a dictionary."""
    if isinstance(value, Mapping):
        return dict(value)
    raise ValueError(f"`{argument}` must be a dictionary. Received: {argument}={value!r}")


def layer_names(argument: str, value: Any) -> list[str]:
    """Returns a list of strings, from a list or a tuple of them."""
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return list(value)
    raise ValueError(f"`{argument}` must be a list of layer names. Received: {argument}={value!r}")


def validate_dilation_rate(dilation_rate: Sequence[int], sides: Sequence[int | None]) -> None:
    """Raises a ValueError if a convolution is dilated far beyond its map.

    TensorFlow pads the map by the dilation. For extreme rates this ends the process instead of
    raising an error (`tests/utils/test_validation.py`).

    Args:
        dilation_rate: Dilation per axis.
        sides: Spatial sizes of the map, None for unknown ones.

    Example:
    >>> validate_dilation_rate((4, 4), (2, 2))
    """
    for rate, side in zip(dilation_rate, sides, strict=True):
        if side is not None and rate > max(2 * side, LARGEST_DILATION):
            raise ValueError(
                "`dilation_rate` must be at most twice the side of the map, or "
                f"{LARGEST_DILATION}. Received: dilation_rate={tuple(dilation_rate)} for a map "
                f"of {tuple(sides)}"
            )
