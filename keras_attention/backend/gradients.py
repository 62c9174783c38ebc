"""Gradients inside of models and losses, and what waits for what."""

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
    if not callable(function):
        raise ValueError(f"`function` must be a function. Received: function={function!r}")
    values, pull = with_pullback(function, inputs)
    if not hasattr(values, "dtype"):
        raise ValueError(f"`function` must return a tensor. Received: {values!r} from {function!r}")
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


class _NestedScope(keras.StatelessScope):
    """Sees the values of the scope around it, where Keras's own looks at the variables.

    Those are empty while a step of JAX runs.
    """

    def get_current_value(self, ref: Any) -> Any:
        value = super().get_current_value(ref)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(ref)
        return value


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
        with _NestedScope(state, collect_losses=add_loss is not None) as scope:
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
