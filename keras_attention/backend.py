"""What keras.ops cannot say, per backend. No other file asks which backend runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

import keras

BACKEND = keras.backend.backend()

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax

Tensor = Any

_FUSES = ContextVar("fuses", default=True)


def supports_dynamic_shapes() -> bool:
    """Whether sizes may depend on the values of weights, as a learned rectangle's do.

    TensorFlow allows it, but for what XLA compiles (`jit_compile=True`): there, as in JAX, every
    shape is fixed in tracing.
    """
    return BACKEND == "tensorflow" and tf.__internal__.get_enclosing_xla_context() is None


def crop(inputs: Tensor, ranges: Mapping[int, tuple[Tensor, Tensor]]) -> Tensor:
    """Keeps `[start, stop)` along the given axes.

    Args:
        inputs: Tensor of any rank.
        ranges: For each axis to crop, its start and stop: integers, or scalar int32 tensors
            where `supports_dynamic_shapes()`.

    Returns:
        The cropped tensor.

    Example:
    >>> tuple(crop(keras.ops.zeros((1, 6, 6, 2)), {1: (2, 5)}).shape)
    (1, 3, 6, 2)
    """
    if _all_integers(ranges):
        index = [slice(None)] * len(inputs.shape)
        for axis, (start, stop) in ranges.items():
            index[axis] = slice(int(start), int(stop))
        return inputs[tuple(index)]
    _require_dynamic_shapes()
    starts, sizes = [0] * len(inputs.shape), [-1] * len(inputs.shape)
    for axis, (start, stop) in ranges.items():
        starts[axis], sizes[axis] = start, stop - start
    cropped = tf.slice(inputs, tf.stack(starts), tf.stack(sizes))
    return _with_known_sides(cropped, inputs, ranges)


def pad(
    inputs: Tensor,
    amounts: Mapping[int, tuple[Tensor, Tensor]],
    shape: Sequence[int | None] | None = None,
) -> Tensor:
    """Adds zeros before and after along the given axes.

    Args:
        inputs: Tensor of any rank.
        amounts: For each axis to pad, the zeros before and after: integers, or scalar int32
            tensors where `supports_dynamic_shapes()`.
        shape: Static shape of the result, where the caller knows more than the sizes tell.

    Returns:
        The padded tensor.

    Example:
    >>> tuple(pad(keras.ops.zeros((1, 3, 6, 2)), {1: (2, 1)}).shape)
    (1, 6, 6, 2)
    """
    paddings = [[0, 0] for _ in inputs.shape]
    for axis, (before, after) in amounts.items():
        paddings[axis] = [before, after]
    if _all_integers(amounts):
        return keras.ops.pad(inputs, paddings)
    _require_dynamic_shapes()
    padded = tf.pad(inputs, tf.stack([tf.stack(pair) for pair in paddings]))
    if shape is not None:
        padded.set_shape(shape)
    return _with_known_sides(padded, inputs, amounts)


def permute(inputs: Tensor, order: Sequence[int], axis: int = -1) -> Tensor:
    """Reorders along one axis; the gradient is reordered back, not summed.

    Args:
        inputs: Tensor of any rank.
        order: A permutation of the positions along the axis.
        axis: The axis.

    Returns:
        A tensor of the same shape.

    Example:
    >>> [int(v) for v in permute(keras.ops.convert_to_tensor([5, 6, 7]), [2, 0, 1])]
    [7, 5, 6]
    """
    order = [int(position) for position in order]
    if order == list(range(len(order))):
        return inputs
    if BACKEND != "tensorflow":
        return keras.ops.take(inputs, keras.ops.convert_to_tensor(order, "int32"), axis=axis)
    inverse = sorted(range(len(order)), key=order.__getitem__)

    @tf.custom_gradient
    def permuted(values: Tensor) -> tuple[Tensor, Any]:
        return _gather(values, order, axis), lambda upstream: _gather(upstream, inverse, axis)

    # Not a variable: custom gradients take none.
    return permuted(tf.convert_to_tensor(keras.ops.convert_to_tensor(inputs)))


def _gather(values: Tensor, order: Sequence[int], axis: int) -> Tensor:
    """Gathers along an axis; along the last one between transposes, at twice the speed."""
    if len(values.shape) < 2 or axis not in (-1, len(values.shape) - 1):
        return tf.gather(values, order, axis=axis)
    rows = tf.transpose(tf.reshape(values, (-1, len(order))))
    return tf.reshape(tf.transpose(tf.gather(rows, order)), tf.shape(values))


def padded_convolution(
    inputs: Tensor,
    kernel: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation_rate: Sequence[int] = (1, 1),
) -> Tensor:
    """Convolves with stride 1 after adding zeros, which are never written to memory.

    Args:
        inputs: Shape `(B, H, W, Cin)`.
        kernel: Shape `(kh, kw, Cin, C)`.
        padding: Zeros before and after, along the rows and the columns.
        dilation_rate: Steps between the kernel's taps, per axis.

    Returns:
        `(B, H', W', C)`, the "valid" convolution of the padded inputs.

    Example:
    >>> x, kernel = keras.ops.ones((1, 4, 4, 2)), keras.ops.ones((3, 3, 2, 5))
    >>> tuple(padded_convolution(x, kernel, ((1, 0), (0, 0))).shape)
    (1, 3, 2, 5)
    """
    if BACKEND == "tensorflow":
        explicit = [[0, 0], *(list(pair) for pair in padding), [0, 0]]
        return tf.nn.conv2d(inputs, kernel, 1, explicit, dilations=list(dilation_rate))
    if any(amount for pair in padding for amount in pair):
        inputs = keras.ops.pad(inputs, ((0, 0), *padding, (0, 0)))
    return keras.ops.conv(inputs, kernel, padding="valid", dilation_rate=tuple(dilation_rate))


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Multiplies matrices, those along the last two axes, of which either may be turned first.

    TensorFlow's oneDNN operations would write a transposed copy of what `keras.ops` turns.

    Args:
        x: `(..., n, k)`, or `(..., k, n)` where it is to be turned.
        y: `(..., k, m)`, or `(..., m, k)` where it is to be turned.
        transpose_x: Whether to turn `x`.
        transpose_y: Whether to turn `y`.

    Returns:
        `(..., n, m)`.

    Example:
    >>> x, y = keras.ops.ones((2, 5, 3)), keras.ops.ones((2, 5, 4))
    >>> tuple(matmul(x, y, transpose_x=True).shape)
    (2, 3, 4)
    """
    if BACKEND == "tensorflow":
        return tf.matmul(x, y, transpose_a=transpose_x, transpose_b=transpose_y)
    x = keras.ops.swapaxes(x, -1, -2) if transpose_x else x
    y = keras.ops.swapaxes(y, -1, -2) if transpose_y else y
    return keras.ops.matmul(x, y)


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
    >>> double = fused(lambda factor, x: factor * x, 2.0)
    >>> [float(value) for value in double(keras.ops.convert_to_tensor([1.0, 2.0]))]
    [2.0, 4.0]
    """
    plain, compiled = partial(function, *options), _compiled(function, options)

    def call(*tensors: Tensor) -> Any:
        return (compiled if _FUSES.get() and _in_graph() else plain)(*tensors)

    return call


def _in_graph() -> bool:
    """Whether a graph is traced; step by step, compiling for each shape would take longer."""
    return BACKEND != "tensorflow" or not tf.executing_eagerly()


@contextmanager
def without_fusion() -> Iterator[None]:
    """Traces plain operations meanwhile, for formats that know no compiled functions.

    Example:
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


def resize_bilinear(images: Tensor, size: Sequence[Tensor], data_format: str) -> Tensor:
    """Resizes images between their pixels, as `keras.ops.image.resize` does.

    Args:
        images: `(B, H, W, C)`, channels second with channels first.
        size: Height and width: integers, or scalar int32 tensors where
            `supports_dynamic_shapes()`.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        The resized images, in their type.

    Example:
    >>> tuple(resize_bilinear(keras.ops.ones((1, 5, 4, 2)), (3, 7), "channels_last").shape)
    (1, 3, 7, 2)
    """
    dtype = images.dtype
    if BACKEND != "tensorflow":
        options = {"interpolation": "bilinear", "data_format": data_format}
        return keras.ops.cast(keras.ops.image.resize(images, tuple(size), **options), dtype)
    first = data_format == "channels_first"
    images = tf.transpose(images, (0, 2, 3, 1)) if first else images
    resized = tf.cast(tf.image.resize(images, tf.stack(size)), dtype)
    return tf.transpose(resized, (0, 3, 1, 2)) if first else resized


def input_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """How a function's values, summed, change with its input.

    It can be derived again, for losses that are made of gradients.

    Args:
        function: From one tensor of floats to a tensor of any shape, such as a loss of each
            example. It changes no state: a model in it is called with `training=False`.
        inputs: A tensor of floats.

    Returns:
        A tensor of the shape of `inputs`; zeros where the values do not depend on it.

    Raises:
        RuntimeError: On a backend that is neither TensorFlow nor JAX.

    Example:
    >>> x = keras.ops.convert_to_tensor([1.0, 3.0])
    >>> [float(value) for value in input_gradient(keras.ops.square, x)]
    [2.0, 6.0]
    """
    values, pull = with_pullback(function, inputs)
    return pull(keras.ops.ones_like(values))


def with_pullback(
    function: Callable[[Tensor], Any],
    inputs: Tensor,
    variables: Sequence[Any] = (),
    add_loss: Callable[[Tensor], None] | None = None,
) -> tuple[Any, Callable[[Tensor], Tensor]]:
    """Calls a function once, and says how what is made of its result changes with its input.

    Args:
        function: From one tensor of floats to a tensor, or a nest of them whose first leaf is the
            one to ask about.
        inputs: A tensor of floats.
        variables: What the function may change, such as the statistics of a model in training.
        add_loss: Where losses go that layers add meanwhile; only JAX's are lost without it.

    Returns:
        What the function returns, and a function from the gradient of a value by the first leaf to
        its gradient by `inputs`. It may be called once.

    Example:
    >>> outputs, pull = with_pullback(keras.ops.square, keras.ops.ones((1,)))
    >>> float(pull(keras.ops.convert_to_tensor([10.0]))[0])
    20.0
    """
    if BACKEND == "jax":
        return _jax_pullback(function, inputs, variables, add_loss)
    if BACKEND != "tensorflow":
        raise RuntimeError(
            "Gradients inside a model need the TensorFlow or the JAX backend. "
            f"Received: backend={BACKEND!r}"
        )
    inputs = tf.convert_to_tensor(inputs)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = function(inputs)
    first = keras.tree.flatten(outputs)[0]

    def pull(upstream: Tensor) -> Tensor:
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(first, inputs, upstream, unconnected_gradients=zero)

    return outputs, pull


def _jax_pullback(
    function: Callable[[Tensor], Any],
    inputs: Tensor,
    variables: Sequence[Any],
    add_loss: Callable[[Tensor], None] | None,
) -> tuple[Any, Callable[[Tensor], Tensor]]:
    """What the function changes and adds leaves its trace as results, then takes effect outside."""
    before = [variable.value for variable in variables]
    nest = None

    def traced(values: Tensor) -> tuple[Tensor, Any]:
        nonlocal nest
        state = list(zip(variables, before, strict=True))
        with keras.StatelessScope(state, collect_losses=add_loss is not None) as scope:
            nest = function(values)
            after = [scope.get_current_value(variable) for variable in variables]
        flat = keras.tree.flatten(nest)
        return flat[0], (flat[1:], after, list(scope.losses or ()))

    first, pull, (others, after, losses) = jax.vjp(traced, inputs, has_aux=True)
    for variable, old, new in zip(variables, before, after, strict=True):
        if new is not old:
            variable.assign(new)
    if add_loss is not None:
        for loss in losses:
            add_loss(loss)
    outputs = keras.tree.pack_sequence_as(nest, [first, *others])
    return outputs, lambda upstream: pull(upstream)[0]


def after(inputs: Any, first: Any) -> Any:
    """Passes tensors on when others are there: what reads them waits.

    Without it a graph of TensorFlow runs both together and holds what both need at once.

    Args:
        inputs: A nest of tensors.
        first: A nest of tensors, which are computed before.

    Returns:
        The inputs. As they are on other backends, whose compilers order by memory themselves.

    Example:
    >>> float(after(keras.ops.ones(()), [keras.ops.zeros(())]))
    1.0
    """
    if BACKEND != "tensorflow":
        return inputs
    with tf.control_dependencies(keras.tree.flatten(first)):
        return keras.tree.map_structure(tf.identity, inputs)


def replicas() -> int:
    """How many copies of a model learn together: losses are shares of one over them.

    Example:
    >>> replicas()
    1
    """
    if BACKEND != "tensorflow":
        return 1
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def make_deterministic(seed: int) -> None:
    """Seeds Python, NumPy and the backend, and asks for operations that repeat bit for bit.

    Args:
        seed: Any integer of 32 bits.
    """
    keras.utils.set_random_seed(seed)
    if BACKEND == "tensorflow":
        tf.config.experimental.enable_op_determinism()


def _with_known_sides(outputs: Tensor, inputs: Tensor, changed: Mapping[int, Any]) -> Tensor:
    """Keeps the static size of the other axes; without it Keras compiles convolutions by XLA."""
    shape = [None if axis in changed else side for axis, side in enumerate(inputs.shape)]
    outputs.set_shape(tf.TensorShape(shape).merge_with(outputs.shape))
    return outputs


def _all_integers(pairs: Mapping[int, tuple[Tensor, Tensor]]) -> bool:
    return all(isinstance(value, int) for pair in pairs.values() for value in pair)


def _require_dynamic_shapes() -> None:
    if not supports_dynamic_shapes():
        raise RuntimeError(
            "Sizes that depend on tensors need the TensorFlow backend; "
            f"pass Python integers. Received: backend={BACKEND!r}"
        )
