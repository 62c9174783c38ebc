"""Functions compiled into one pass over memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

from keras_attention.backend.tensors import BACKEND, supports_dynamic_shapes

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax

Tensor = Any

_FUSES = ContextVar("fuses", default=True)


def fused(function: Callable[..., Any], *options: Any) -> Callable[..., Any]:
    """Compiles an elementwise function into one pass over memory, whoever calls it.

    A chain of small operations on a large map is bound by reading and writing the map; XLA makes
    one loop of it. In TensorFlow the compiled function is a part of the graph around it, in
    training and in a SavedModel, where the rest is not compiled; calls outside of graphs are not.

    Args:
        function: Takes the options, then tensors; has no state.
        *options: Hashable values that are not tensors.

    Returns:
        A function of the tensors.

    Example:
    >>> import keras
    >>> double = fused(lambda factor, x: factor * x, 2.0)
    >>> [float(value) for value in double(keras.ops.convert_to_tensor([1.0, 2.0]))]
    [2.0, 4.0]
    """
    plain, compiled = partial(function, *options), _compiled(function, options)

    def call(*tensors: Tensor) -> Any:
        return (compiled if fuses() and _in_graph() else plain)(*tensors)

    return call


def fused_alone(function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Compiles a function for batches of one, where calls cost more than what they compute.

    Larger batches go through the function as it is, whose operations run on all cores. In
    TensorFlow both are in the graph, and the batch decides; calls outside of graphs, and in what
    XLA compiles already, are plain. The sizes behind the batch have to be known, or each new one
    would be compiled.

    Args:
        function: From one tensor to a nest of tensors.

    Returns:
        A function of the tensor.

    Example:
    >>> import keras
    >>> [float(v) for v in fused_alone(keras.ops.square)(keras.ops.convert_to_tensor([3.0]))]
    [9.0]
    """
    if BACKEND != "tensorflow":
        return function
    compiled = tf.function(function, jit_compile=True, autograph=False)
    # One node of the graph: where the other branch runs, it is left out at once.
    plain = tf.function(function, autograph=False, experimental_attributes={"_noinline": True})

    def call(inputs: Tensor) -> Any:
        if not (fuses() and _in_graph() and supports_dynamic_shapes()):
            return function(inputs)
        count, *sides = inputs.shape
        if None in sides or count not in (None, 1):
            return function(inputs)
        if count == 1:
            return compiled(inputs)
        alone = tf.equal(tf.shape(inputs)[0], 1)
        one = (1, *sides)
        return tf.cond(alone, lambda: compiled(tf.reshape(inputs[:1], one)), lambda: plain(inputs))

    return call


def fuses() -> bool:
    """Whether what is fast here may be traced, or plain operations for other formats only.

    Example:
    >>> with without_fusion():
    ...     fuses()
    False
    """
    return _FUSES.get()


def _in_graph() -> bool:
    """Whether a graph is traced; step by step, compiling for each shape would take longer."""
    return BACKEND != "tensorflow" or not tf.executing_eagerly()


@contextmanager
def without_fusion() -> Iterator[None]:
    """Traces plain operations meanwhile, for formats that know no compiled functions.

    Example:
    >>> import keras
    >>> with without_fusion():
    ...     float(fused(keras.ops.square)(keras.ops.convert_to_tensor(3.0)))
    9.0
    """
    token = _FUSES.set(False)
    try:
        yield
    finally:
        _FUSES.reset(token)


@cache
def _compiled(function: Callable[..., Any], options: tuple[Any, ...]) -> Callable[..., Any]:
    plain = partial(function, *options)
    if BACKEND == "tensorflow":
        return tf.function(plain, jit_compile=True, autograph=False)
    return jax.jit(plain) if BACKEND == "jax" else plain
