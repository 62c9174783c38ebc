"""Data of every shape, kind and size, close to a shape that is right."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

KINDS = ("float32", "float16", "float64", "int32", "int64", "uint8", "bool")
SIZES = (1.0, 1e30, -1e30, 1e-30, 0.0, 6e4)


def shapes(shape: tuple[int, ...]) -> st.SearchStrategy:
    """A shape, or one near it: another rank, no example, no pixel, one pixel, other channels."""

    def at(axis: int, side: int) -> tuple[int, ...]:
        return (*shape[:axis], side, *shape[axis + 1 :])

    one_other = [at(axis, side) for axis in range(len(shape)) for side in (0, 1, 2, 7)]
    pixel = (shape[0], *[1] * (len(shape) - 2), shape[-1])
    nothing = (0, *[0] * (len(shape) - 2), shape[-1])
    ranks = [shape[:-1], (*shape, 2), shape[:1], ()]
    return st.one_of(st.just(shape), st.sampled_from([*one_other, pixel, nothing, *ranks]))


def arrays(shape: tuple[int, ...]) -> st.SearchStrategy:
    """An array of such a shape, of any kind; all its values are finite."""
    return st.builds(array, shapes(shape), st.sampled_from(KINDS), st.sampled_from(SIZES))


def array(shape: tuple[int, ...], kind: str = "float32", size: float = 1.0) -> Any:
    """Values around 0 of a size, or all the same where it is extreme for the kind."""
    drawn = np.random.default_rng(0).normal(size=shape)
    if kind == "bool":
        return drawn > 0
    if kind[0] != "f":
        return np.abs(drawn * 9).astype(kind)
    most = float(np.finfo(kind).max) / 2
    return np.clip(drawn * size, -most, most).astype(kind)


def is_finite(value: Any) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    found = np.asarray(value)
    return not np.issubdtype(found.dtype, np.inexact) or bool(np.isfinite(found).all())
