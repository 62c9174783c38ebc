"""Values that an argument receives by mistake, and values at the limits of what is valid."""

import math

import numpy as np
from hypothesis import strategies as st

NAMES = (
    *("", "x", "softmax", "sigmoid", "mean", "sum", "max", "avg", "lp", "lse", "l1", "l2", "norm"),
    *("gaussian", "cauchy", "slice", "mask", "full", "log", "probability", "swap", "fine_only"),
    *("dense", "depthwise", "average", "bilinear", "derived", "autodiff", "auto", "relu", "zeros"),
    *("channels_last", "channels_first", "float16", "bfloat16", "float64", "mixed_float16"),
    *("cbam", "bam", "san-c", "san-d", "bottleneck", "cosine", "transfer", "None", "1", "é/\n"),
)
# Integers from 2**31 on are too large for any size, and are refused.
EDGES = (-1, 0, 1, 2, 3, 7, 255, 2**31, 2**63, 10**30, -(10**30))
# Valid sizes and factors, with which TensorFlow cannot allocate the weights of a layer.
LARGE = (65536, 10**9, 2**31 - 1, 1e30)


class UnrelatedObject:
    """An object that no argument accepts."""


def scalars(large: bool = False) -> st.SearchStrategy:
    """One value: of a wrong type, out of range, or of an equivalent type.

    Args:
        large: If True, sizes that do not fit into memory are drawn too.
    """
    numbers = st.one_of(
        st.sampled_from((*EDGES, *LARGE) if large else EDGES),
        st.integers(-3, 9),
        st.sampled_from((0.0, -0.0, 0.5, 1.0, 2.0, -1.5, 1e-30, math.nan, math.inf)),
    )
    types = (np.int64, np.int8, np.uint16, np.float32, np.float64, np.bool_)
    of_numpy = st.builds(lambda kind, value: kind(value), st.sampled_from(types), st.integers(0, 5))
    others = st.sampled_from((None, True, False, b"x", 1j, UnrelatedObject(), UnrelatedObject, len))
    return st.one_of(numbers, of_numpy, others, st.sampled_from(NAMES))


def values(large: bool = False) -> st.SearchStrategy:
    """One value, or a collection of values: empty, too long, of mixed types."""
    few = st.lists(scalars(large), max_size=4)
    sizes = st.lists(st.integers(0, 6), max_size=4)
    arrays = sizes.map(lambda sides: np.ones(sides, "float32"))
    return st.one_of(
        scalars(large),
        scalars(large),
        few,
        few.map(tuple),
        sizes.map(tuple),
        arrays,
        st.dictionaries(st.sampled_from(NAMES), scalars(large), max_size=2),
    )
