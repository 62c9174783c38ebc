"""Gradients inside models and losses, and the order of operations."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_attention.backend.tensors import BACKEND

if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "jax":
    import jax

Tensor = Any


def input_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Computes the gradient of the sum of a function's values with respect to its input.

    The gradient is differentiable itself, for losses that contain gradients.

    Args:
        function: Function from one float tensor to a tensor of any shape, such as the loss of each
            example. It must not change state: call models in it with `training=False`.
        inputs: A float tensor.

    Returns:
        A tensor of the shape of `inputs`; zeros if the values do not depend on it.

    Raises:
        RuntimeError: On backends other than TensorFlow and JAX.

    Example:
    >>> x = keras.ops.convert_to_tensor([1.0, 3.0])
    >>> [float(value) for value in input_gradient(keras.ops.square, x)]
    [2.0, 6.0]
    """
    if not callable(function):
        raise ValueError(f"`function` must be a function. Received: function={function!r}")
    values, vjp_function = vjp(function, inputs)
    if not hasattr(values, "dtype"):
        raise ValueError(f"`function` must return a tensor. Received: {values!r} from {function!r}")
    return vjp_function(keras.ops.ones_like(values))


def vjp(
    function: Callable[[Tensor], Any],
    inputs: Tensor,
    variables: Sequence[Any] = (),
    add_loss: Callable[[Tensor], None] | None = None,
) -> tuple[Any, Callable[[Tensor], Tensor]]:
    """Calls a function and returns its outputs and its vector-Jacobian product.

    Args:
        function: Function from one float tensor to a nest of tensors, whose first leaf is
            differentiated.
        inputs: A float tensor.
        variables: Variables that the function may assign, such as the moving statistics of a model.
        add_loss: Receives the losses that layers add during the call. Without it JAX discards them.

    Example:
    >>> outputs, vjp_function = vjp(keras.ops.square, keras.ops.ones((1,)))
    >>> float(vjp_function(keras.ops.convert_to_tensor([10.0]))[0])
    20.0
    """
    if BACKEND == "jax":
        return _jax_vjp(function, inputs, variables, add_loss)
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

    def vjp_function(upstream: Tensor) -> Tensor:
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(first, inputs, upstream, unconnected_gradients=zero)

    return outputs, vjp_function


class _NestedScope(keras.StatelessScope):
    """Stateless scope that falls back to the values of the enclosing scope.

    Keras's own scope falls back to the variables, which are empty while a JAX step is traced.
    """

    def get_current_value(self, ref: Any) -> Any:
        value = super().get_current_value(ref)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(ref)
        return value


def _jax_vjp(
    function: Callable[[Tensor], Any],
    inputs: Tensor,
    variables: Sequence[Any],
    add_loss: Callable[[Tensor], None] | None,
) -> tuple[Any, Callable[[Tensor], Tensor]]:
    """Returns assigned values and added losses from the trace and applies them outside."""
    before = [variable.value for variable in variables]
    nest = None

    def traced(values: Tensor) -> tuple[Tensor, Any]:
        nonlocal nest
        state = list(zip(variables, before, strict=True))
        with _NestedScope(state, collect_losses=add_loss is not None) as scope:
            nest = function(values)
            after = [scope.get_current_value(variable) for variable in variables]
        flat = keras.tree.flatten(nest)
        return flat[0], (flat[1:], after, list(scope.losses or ()))

    first, pullback, (others, after, losses) = jax.vjp(traced, inputs, has_aux=True)
    for variable, old, new in zip(variables, before, after, strict=True):
        if new is not old:
            variable.assign(new)
    if add_loss is not None:
        for loss in losses:
            add_loss(loss)
    outputs = keras.tree.pack_sequence_as(nest, [first, *others])
    return outputs, lambda upstream: pullback(upstream)[0]


def after(inputs: Any, first: Any) -> Any:
    """Returns a nest of tensors that are computed after another nest, to limit memory.

    A TensorFlow graph may otherwise run both at the same time and hold the memory of both.
    Compilers of other backends schedule by memory themselves.

    Example:
    >>> float(after(keras.ops.ones(()), [keras.ops.zeros(())]))
    1.0
    """
    if BACKEND != "tensorflow":
        return inputs
    with tf.control_dependencies(keras.tree.flatten(first)):
        return keras.tree.map_structure(tf.identity, inputs)
