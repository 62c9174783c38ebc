"""Functions that XLA compiles into one pass over memory."""

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

_FUSION = ContextVar("fusion", default=True)


def jit_elementwise(function: Callable[..., Any], *options: Any) -> Callable[..., Any]:
    """Compiles a stateless function of hashable options and tensors into one loop over memory.

    A chain of small operations on a large map is bound by memory traffic. In TensorFlow the
    compiled function becomes part of the surrounding graph, in training and in a SavedModel, while
    the rest of the graph is not compiled; eager calls run the plain function.

    Example:
    >>> import keras
    >>> double = jit_elementwise(lambda factor, x: factor * x, 2.0)
    >>> [float(value) for value in double(keras.ops.convert_to_tensor([1.0, 2.0]))]
    [2.0, 4.0]
    """
    plain, compiled = partial(function, *options), _compiled(function, options)

    def call(*tensors: Tensor) -> Any:
        return (compiled if fusion_enabled() and _in_graph() else plain)(*tensors)

    return call


def jit_single_example(function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """Compiles a function of one tensor for batches of one example.

    Larger batches run the plain function, whose operations use all cores. A TensorFlow graph
    contains both, and the batch size decides at run time. Eager calls, functions that XLA compiles
    already and inputs of unknown size run the plain function; otherwise each new size would be
    compiled.

    Example:
    >>> import keras
    >>> [float(v) for v in jit_single_example(keras.ops.square)(keras.ops.convert_to_tensor([3.0]))]
    [9.0]
    """
    if BACKEND != "tensorflow":
        return function
    compiled = tf.function(function, jit_compile=True, autograph=False)
    # Not inlined, so that the branch is a single node that is skipped as a whole.
    plain = tf.function(function, autograph=False, experimental_attributes={"_noinline": True})

    def call(inputs: Tensor) -> Any:
        if not (fusion_enabled() and _in_graph() and supports_dynamic_shapes()):
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


def fusion_enabled() -> bool:
    """Returns False inside `fusion_disabled()`, where only plain operations may be traced.

    Example:
    >>> with fusion_disabled():
    ...     fusion_enabled()
    False
    """
    return _FUSION.get()


def _in_graph() -> bool:
    """Returns True while a graph is traced; eager calls would spend more time compiling."""
    return BACKEND != "tensorflow" or not tf.executing_eagerly()


@contextmanager
def fusion_disabled() -> Iterator[None]:
    """Traces plain operations in a `with` block, for formats without compiled functions.

    Example:
    >>> import keras
    >>> with fusion_disabled():
    ...     float(jit_elementwise(keras.ops.square)(keras.ops.convert_to_tensor(3.0)))
    9.0
    """
    token = _FUSION.set(False)
    try:
        yield
    finally:
        _FUSION.reset(token)


@cache
def _compiled(function: Callable[..., Any], options: tuple[Any, ...]) -> Callable[..., Any]:
    plain = partial(function, *options)
    if BACKEND == "tensorflow":
        return tf.function(plain, jit_compile=True, autograph=False)
    return jax.jit(plain) if BACKEND == "jax" else plain
