"""Data of all dtypes and magnitudes, with valid shapes and similar invalid ones."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

DTYPES = ("float32", "float16", "float64", "int32", "int64", "uint8", "bool")
SIZES = (1.0, 1e30, -1e30, 1e-30, 0.0, 6e4)


def shapes(shape: tuple[int, ...]) -> st.SearchStrategy:
    """A shape, or a similar one: another rank, an empty axis, one pixel, other channels."""

    def at(axis: int, side: int) -> tuple[int, ...]:
        return (*shape[:axis], side, *shape[axis + 1 :])

    one_changed = [at(axis, side) for axis in range(len(shape)) for side in (0, 1, 2, 7)]
    pixel = (shape[0], *[1] * (len(shape) - 2), shape[-1])
    empty = (0, *[0] * (len(shape) - 2), shape[-1])
    ranks = [shape[:-1], (*shape, 2), shape[:1], ()]
    return st.one_of(st.just(shape), st.sampled_from([*one_changed, pixel, empty, *ranks]))


def arrays(shape: tuple[int, ...]) -> st.SearchStrategy:
    """An array of such a shape, of any dtype; all values are finite."""
    return st.builds(array, shapes(shape), st.sampled_from(DTYPES), st.sampled_from(SIZES))


def array(shape: tuple[int, ...], dtype: str = "float32", size: float = 1.0) -> Any:
    """Normally distributed values times a size, clipped to the range of the dtype."""
    normal = np.random.default_rng(0).normal(size=shape)
    if dtype == "bool":
        return normal > 0
    if dtype[0] != "f":
        return np.abs(normal * 9).astype(dtype)
    most = float(np.finfo(dtype).max) / 2
    return np.clip(normal * size, -most, most).astype(dtype)


def is_finite(value: Any) -> bool:
    """Returns True for an array without NaN and infinity."""
    values = np.asarray(value)
    return not np.issubdtype(values.dtype, np.inexact) or bool(np.isfinite(values).all())
