"""Which layers a model calls, and on what shapes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import keras

from keras_attention.utils.validation import is_integer, keras_model

Shape = Sequence[int]


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        layer: The layer.
        input_shape: Shape of its first argument, with the batch; a nest of shapes for many.
        output_shape: Shape of its result.
        callers: The layers inside whose calls it happened, the outermost first.
    """

    layer: keras.Layer
    input_shape: Any
    output_shape: Any
    callers: tuple[keras.Layer, ...]


def trace_calls(model: keras.Model, input_shape: Any = None) -> list[Call]:
    """Runs a model on one zero image and lists the calls of its layers, the inner before the outer.

    Args:
        model: Any Keras model, nested, with shared layers, or subclassed.
        input_shape: Shape without the batch, `(H, W, channels)` for one image; a list, tuple or
            dict of shapes for several inputs. None takes the model's own.

    Returns:
        The calls in the order in which they end.

    Raises:
        ValueError: Where a size is not known, or the shape does not fit the model.
    """
    inputs = _zeros(keras_model("model", model), input_shape)
    if not model.built:
        model(inputs, training=False)  # building calls the layers too
    calls: list[Call] = []
    with _recording(calls):
        model(inputs, training=False)
    return calls


def call_on_images(model: keras.Model, layer: keras.Layer, images: Any) -> tuple[Any, Any]:
    """Runs a model on images and keeps what one of its layers takes and returns.

    Args:
        model: Any Keras model.
        layer: A layer that the model calls; of several calls the last counts.
        images: The model's input.

    Returns:
        The layer's first argument and its result.
    """
    args, kwargs, outputs = arguments_on_images(model, layer, images)
    return args[0] if args else next(iter(kwargs.values())), outputs


def arguments_on_images(
    model: keras.Model, layer: keras.Layer, images: Any
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Runs a model on images and keeps all arguments of one of its layers, and its result.

    Args:
        model: Any Keras model.
        layer: A layer that the model calls; of several calls the last counts.
        images: The model's input.

    Returns:
        The arguments without a name, those with one, and the result, the first of several.
    """
    kept: list[Any] = []
    plain_call = keras.Layer.__call__

    def keeping_call(called: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        outputs = plain_call(called, *args, **kwargs)
        if called is layer:
            kept[:] = args, kwargs, outputs
        return outputs

    with mock.patch.object(keras.Layer, "__call__", keeping_call):
        model(images, training=False)
    args, kwargs, outputs = kept
    return args, kwargs, outputs[0] if isinstance(outputs, tuple) else outputs


def outputs_on_images(
    model: keras.Model, names: Sequence[str], images: Any
) -> tuple[Any, dict[str, Any]]:
    """Runs a model on images and keeps what it returns, and what some of its layers do.

    Args:
        model: Any Keras model.
        names: Of the layers, in models inside too; of several calls of a name the last counts.
        images: The model's input.

    Returns:
        The model's result, and those of the layers by name, without names that are not called.

    Example:
    >>> import keras_attention as ka
    >>> network = ka.applications.WideResNet(10, 1, "at")
    >>> answer, found = outputs_on_images(network, ["group3"], keras.ops.zeros((1, 32, 32, 3)))
    >>> tuple(answer.shape), tuple(found["group3"].shape)
    ((1, 10), (1, 8, 8, 64))
    """
    kept: dict[str, Any] = {}
    plain_call = keras.Layer.__call__

    def keeping_call(called: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        outputs = plain_call(called, *args, **kwargs)
        if called.name in names:
            kept[called.name] = outputs
        return outputs

    with mock.patch.object(keras.Layer, "__call__", keeping_call):
        answer = model(images, training=False)
    return answer, kept


@contextmanager
def _recording(calls: list[Call]) -> Iterator[None]:
    plain_call = keras.Layer.__call__
    callers: list[keras.Layer] = []

    def recorded_call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        callers.append(layer)
        try:
            outputs = plain_call(layer, *args, **kwargs)
        finally:
            callers.pop()
        first = args[0] if args else next(iter(kwargs.values()), None)
        calls.append(Call(layer, _shapes(first), _shapes(outputs), tuple(callers)))
        return outputs

    with mock.patch.object(keras.Layer, "__call__", recorded_call):
        yield


def _checked_shape(input_shape: Any) -> tuple[Any, ...]:
    # Also a shape of TensorFlow, as data sets say theirs.
    listed = isinstance(input_shape, (list, tuple)) or hasattr(input_shape, "as_list")
    sides = tuple(input_shape) if listed else ()
    if sides and all(side is None or (is_integer(side) and int(side) > 0) for side in sides):
        return sides
    raise ValueError(
        "`input_shape` must be a tuple of positive integers, such as (28, 28, 1). "
        f"Received: input_shape={input_shape!r}"
    )


def _zeros(model: keras.Model, input_shape: Any) -> Any:
    known = _known_inputs(model)
    if known is None:
        if input_shape is None:
            raise ValueError(
                f"{model.name!r} has no fixed inputs: pass `input_shape`, such as (28, 28, 1). "
                "Received: input_shape=None"
            )
        return keras.ops.zeros((1, *_checked_shape(input_shape)))
    single = not isinstance(known, (list, tuple, dict))
    flat = keras.tree.flatten(known)
    if input_shape is None:
        shapes = [tensor.shape[1:] for tensor in flat]
    elif single:
        shapes = [_checked_shape(input_shape)]
    else:
        shapes = _flat_shapes(input_shape)
    if len(shapes) != len(flat):
        raise ValueError(
            f"`input_shape` must be {len(flat)} shapes, one an input of {model.name!r}. "
            f"Received: input_shape={input_shape!r}"
        )
    zeros = [_zero(model, tensor, shape) for tensor, shape in zip(flat, shapes, strict=True)]
    return keras.tree.pack_sequence_as(known, zeros)


def _zero(model: keras.Model, tensor: Any, shape: Shape) -> Any:
    if len(shape) == len(tensor.shape):
        shape = shape[1:]
    allowed = tuple(tensor.shape[1:])
    fits = len(shape) == len(allowed) and all(
        size is not None and want in (None, size) for size, want in zip(shape, allowed, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`input_shape` must give all sizes and fit {allowed}, the input of {model.name!r}. "
            f"Received: input_shape={tuple(shape)}"
        )
    return keras.ops.zeros((1, *shape), dtype=tensor.dtype)


def _known_inputs(model: keras.Model) -> Any:
    """The symbolic inputs in the structure that the model takes; None where there are none."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    return inputs[0] if isinstance(model, keras.Sequential) else model.input


def _flat_shapes(nest: Any) -> list[tuple[int, ...]]:
    if isinstance(nest, dict):
        return [shape for key in sorted(nest) for shape in _flat_shapes(nest[key])]
    if not isinstance(nest, (list, tuple)):
        return [_checked_shape(nest)]
    if all(size is None or is_integer(size) for size in nest):
        return [_checked_shape(nest)]
    return [shape for item in nest for shape in _flat_shapes(item)]


def _shapes(nest: Any) -> Any:
    if hasattr(nest, "shape"):
        return tuple(nest.shape)
    if isinstance(nest, dict):
        return {key: _shapes(value) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_shapes(value) for value in nest]
    return None
