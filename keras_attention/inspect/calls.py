"""Records which layers a model calls, and their arguments, shapes and outputs."""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras

from keras_attention.utils.validation import is_integer, keras_model


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        layer: The layer.
        input_shape: Shape of the layer's first argument, including the batch axis; a nested
            structure of shapes for several tensors.
        output_shape: Shape of the output, or a nested structure of shapes.
        callers: The layers inside whose calls this one took place, the outermost first.
    """

    layer: keras.Layer
    input_shape: Any
    output_shape: Any
    callers: tuple[keras.Layer, ...]

    @property
    def path(self) -> str:
        """Names of the layers around this one, without the model, and its own, with slashes."""
        return _path(self.layer, self.callers)


class RecordedCall(NamedTuple):
    """Arguments and outputs of a layer."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any

    @property
    def inputs(self) -> Any:
        """The first argument."""
        return self.args[0] if self.args else next(iter(self.kwargs.values()), None)


# Called after a layer with the layer, its arguments and outputs, and the layers that called it.
OnCall = Callable[[keras.Layer, RecordedCall, list[keras.Layer]], None]


def trace_calls(model: keras.Model, input_shape: Any = None, inputs: Any = None) -> list[Call]:
    """Runs a model on one example and lists the calls of its layers.

    Calls are listed in the order in which they return: layers before those that contain them.
    Layers that a call creates without storing them in the model are not listed.

    Args:
        model: Keras model.
        input_shape: See `count_macs`.
        inputs: Inputs of the model, of which the first example is used. Default: an image of zeros.
    """
    if inputs is None:
        inputs = _zero_inputs(keras_model("model", model), input_shape)
    inputs = keras.tree.map_structure(lambda array: array[:1], inputs)
    layers = _layers_and_built(model)
    calls = _recorded_calls(model, inputs)
    # A first call may create layers, which are not observed yet, and building layers calls them
    # with symbolic tensors. In these cases, a second call gives the list.
    return calls if _layers_and_built(model) == layers else _recorded_calls(model, inputs)


def trace_layer(layer: keras.Layer, input_shape: tuple[int, ...], dtype: Any) -> list[Call]:
    """Runs a built layer on zeros and lists its call and those of the layers inside it."""
    return _recorded_calls(layer, keras.ops.zeros(input_shape, dtype=dtype))


class LayerNames:
    """Finds the layers of a model by names and paths.

    A path contains the names of the nested models and layers around a layer, such as
    `"encoder/conv"`. A part of it at the end is enough if no other layer has it.

    Args:
        calls: Calls of the layers of a model.

    Example:
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="relu")], name="inner")
    >>> names = LayerNames(trace_calls(keras.Sequential([keras.Input((4,)), inner])))
    >>> [names.shortest(layer) for layer in names.find("inner/relu")]
    ['relu']
    """

    def __init__(self, calls: Sequence[Call]):
        self._by_path: dict[str, dict[int, keras.Layer]] = {}
        self._by_end: dict[str, dict[int, keras.Layer]] = {}
        self._paths: dict[int, str] = {}
        for call in calls:
            if call.callers:
                self._add(call.layer, call.path)
        for call in calls:  # a model, which is the outermost layer, may be named like one inside it
            if not call.callers and call.path not in self._by_end:
                self._add(call.layer, call.path)

    def find(self, name: str) -> list[keras.Layer]:
        """Returns the layers with a path, or else those with this name or end of a path."""
        found = self._by_path.get(name) or self._by_end.get(name, {})
        return list(found.values())

    def shortest(self, layer: keras.Layer) -> str | None:
        """Returns the shortest name by which only this layer is found; None if there is none."""
        if id(layer) not in self._paths:
            return None
        parts = self._paths[id(layer)].split("/")
        ends = ("/".join(parts[start:]) for start in reversed(range(len(parts))))
        return next((end for end in ends if self.find(end) == [layer]), None)

    def known(self, layers: Sequence[keras.Layer]) -> list[str]:
        """Returns the shortest names of layers, without those that cannot be found by a name."""
        names = dict.fromkeys(self.shortest(layer) for layer in layers)
        return [name for name in names if name is not None]

    def paths(self, layers: Sequence[keras.Layer]) -> list[str]:
        """Returns the paths of layers."""
        return list(dict.fromkeys(self._paths[id(layer)] for layer in layers))

    def _add(self, layer: keras.Layer, path: str) -> None:
        parts = path.split("/")
        self._paths[id(layer)] = path
        self._by_path.setdefault(path, {})[id(layer)] = layer
        for start in range(len(parts)):
            self._by_end.setdefault("/".join(parts[start:]), {})[id(layer)] = layer


def _path(layer: keras.Layer, callers: Sequence[keras.Layer]) -> str:
    return "/".join([*(caller.name for caller in callers[1:]), layer.name])


def record_call(model: keras.Model, layer: keras.Layer, inputs: Any) -> RecordedCall:
    """Runs a model and returns the last call of a layer, with its first output."""
    recorded: list[RecordedCall] = []

    def record(called: keras.Layer, call: RecordedCall, callers: Any) -> None:
        if called is layer:
            recorded[:] = [call]

    with _observe_calls(model, record):
        model(inputs, training=False)
    outputs = recorded[0].outputs
    return recorded[0]._replace(outputs=outputs[0] if isinstance(outputs, tuple) else outputs)


def layer_outputs(
    model: keras.Model, names: Sequence[str], inputs: Any
) -> tuple[Any, dict[str, Any]]:
    """Runs a model and returns its predictions and the outputs of some of its layers.

    The last call of a layer counts if there are several. Names that the model does not call are
    missing from the outputs.

    Args:
        model: Keras model.
        names: Names or paths of layers, see `LayerNames`.
        inputs: Inputs of the model.

    Raises:
        ValueError: If several layers have one of the names.

    Example:
    >>> import keras_attention as ka
    >>> network = ka.applications.WideResNet(10, 1, "at")
    >>> images = keras.ops.zeros((1, 32, 32, 3))
    >>> predictions, outputs = layer_outputs(network, ["group3"], images)
    >>> tuple(predictions.shape), tuple(outputs["group3"].shape)
    ((1, 10), (1, 8, 8, 64))
    """
    calls: list[Call] = []
    outputs: dict[int, Any] = {}
    own_names = {name.rsplit("/", maxsplit=1)[-1] for name in names}

    def record(called: keras.Layer, call: RecordedCall, callers: list[keras.Layer]) -> None:
        if called.name in own_names:
            calls.append(Call(called, None, None, tuple(callers)))
            outputs[id(called)] = call.outputs

    with _observe_calls(model, record):
        predictions = model(inputs, training=False)
    index = LayerNames(calls)
    layers = {name: index.find(name) for name in names}
    for name, found in layers.items():
        if len(found) > 1:
            refuse_ambiguous_name(name, found, index)
    return predictions, {name: outputs[id(found[0])] for name, found in layers.items() if found}


def refuse_ambiguous_name(name: str, layers: Sequence[keras.Layer], index: LayerNames) -> None:
    """Raises a ValueError with the paths of the layers that have a name."""
    known = index.known(layers)
    advice = f"Use one of {', '.join(map(repr, known))}." if known else "Rename these layers."
    raise ValueError(
        f"`layer` must be the name of one layer. Received: layer={name!r}, the name of "
        f"{len(layers)} layers with the paths {', '.join(map(repr, index.paths(layers)))}. {advice}"
    )


def _recorded_calls(model: keras.Model, inputs: Any) -> list[Call]:
    calls: list[Call] = []

    def record(layer: keras.Layer, call: RecordedCall, callers: list[keras.Layer]) -> None:
        calls.append(Call(layer, _shapes(call.inputs), _shapes(call.outputs), tuple(callers)))

    with _observe_calls(model, record):
        model(inputs, training=False)
    return calls


def _layers_and_built(model: keras.Model) -> list[tuple[keras.Layer, bool]]:
    return [(layer, layer.built) for layer in model._flatten_layers()]


@dataclass
class _Observer:
    """Function that a thread runs after each call, and the layers whose calls are active."""

    on_call: OnCall
    active: list[keras.Layer]

    def records(self, layer: keras.Layer) -> bool:
        """Returns False for methods that are called without `Layer.__call__`.

        `TimeDistributed` calls `layer.call` for each step, and methods of a layer may call others
        of the same layer.
        """
        caller = self.active[-1] if self.active else None
        if isinstance(caller, keras.layers.TimeDistributed):
            return caller.layer is not layer
        return caller is not layer


# Observer of the current thread.
_OBSERVER: ContextVar[_Observer | None] = ContextVar("_OBSERVER", default=None)
# Number of threads that observe a layer, and methods that had been set on the instance before, by
# the identity of the layer.
_OBSERVED: dict[int, tuple[int, dict[str, Any]]] = {}
_LOCK = threading.Lock()
# Methods that run a layer; the second one runs quantized layers.
_METHODS = ("call", "quantized_call")


@contextmanager
def _observe_calls(model: keras.Model, on_call: OnCall) -> Iterator[None]:
    """Runs `on_call` after every call of the model's layers in this thread.

    The layers' `call` methods are replaced on the instances, not on their classes, and restored at
    the end, also after an error. Other models, and calls from other threads, are not affected.
    """
    token = _OBSERVER.set(_Observer(on_call, []))
    try:
        with ExitStack() as stack:
            for layer in model._flatten_layers():
                _start_observing(layer)
                stack.callback(_stop_observing, layer)
            yield
    finally:
        _OBSERVER.reset(token)


def _start_observing(layer: keras.Layer) -> None:
    with _LOCK:
        count, own = _OBSERVED.get(id(layer), (0, {}))
        if not count:
            # Through `__dict__`, because `Layer.__setattr__` tracks attributes.
            own = {name: layer.__dict__[name] for name in _METHODS if name in layer.__dict__}
            methods = {name: _observed_method(layer, getattr(layer, name)) for name in _METHODS}
            layer.__dict__.update(methods)
        _OBSERVED[id(layer)] = count + 1, own


def _stop_observing(layer: keras.Layer) -> None:
    with _LOCK:
        count, own = _OBSERVED.pop(id(layer))
        if count > 1:
            _OBSERVED[id(layer)] = count - 1, own
            return
        for name in _METHODS:
            del layer.__dict__[name]
        layer.__dict__.update(own)


def _observed_method(layer: keras.Layer, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def observed(*args: Any, **kwargs: Any) -> Any:
        observer = _OBSERVER.get()
        if observer is None or not observer.records(layer):
            return method(*args, **kwargs)
        observer.active.append(layer)
        try:
            outputs = method(*args, **kwargs)
        finally:
            observer.active.pop()
        observer.on_call(layer, RecordedCall(args, kwargs, outputs), observer.active)
        return outputs

    return observed


def _zero_inputs(model: keras.Model, input_shape: Any) -> Any:
    """Zeros for one example, in the structure of the model's inputs."""
    if not getattr(model, "inputs", None):
        if input_shape is None:
            raise ValueError(
                "`input_shape` must be passed for a model without fixed inputs. Received: "
                f"input_shape=None for {model.name!r}. Pass a shape such as (28, 28, 1)."
            )
        return keras.ops.zeros((1, *_validated_shape(input_shape)))
    known = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    flat = keras.tree.flatten(known)
    if input_shape is None:
        shapes = [tensor.shape[1:] for tensor in flat]
    elif keras.tree.is_nested(known):
        shapes = _flat_shapes(input_shape)
    else:
        shapes = [_validated_shape(input_shape)]
    if len(shapes) != len(flat):
        raise ValueError(
            f"`input_shape` must contain {len(flat)} shapes, one for each input of {model.name!r}. "
            f"Received: input_shape={input_shape!r}"
        )
    zeros = [_zeros_like(model, tensor, shape) for tensor, shape in zip(flat, shapes, strict=True)]
    return keras.tree.pack_sequence_as(known, zeros)


def _zeros_like(model: keras.Model, tensor: Any, shape: Sequence[Any]) -> Any:
    if len(shape) == len(tensor.shape):
        shape = shape[1:]
    allowed = tuple(tensor.shape[1:])
    fits = len(shape) == len(allowed) and all(
        size is not None and want in (None, size) for size, want in zip(shape, allowed, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`input_shape` must give all sizes and fit {allowed}, the input shape of "
            f"{model.name!r}. Received: input_shape={tuple(shape)}"
        )
    return keras.ops.zeros((1, *shape), dtype=tensor.dtype)


def _validated_shape(input_shape: Any) -> tuple[Any, ...]:
    # `tf.TensorShape` is iterable but no tuple; data sets have it in their `element_spec`.
    is_sequence = isinstance(input_shape, (list, tuple)) or hasattr(input_shape, "as_list")
    sizes = tuple(input_shape) if is_sequence else ()
    if sizes and all(size is None or (is_integer(size) and int(size) > 0) for size in sizes):
        return sizes
    raise ValueError(
        "`input_shape` must be a tuple of positive integers, such as (28, 28, 1). "
        f"Received: input_shape={input_shape!r}"
    )


def _flat_shapes(nest: Any) -> list[tuple[Any, ...]]:
    if isinstance(nest, dict):
        nest = [nest[key] for key in sorted(nest)]
    elif not isinstance(nest, (list, tuple)) or all(x is None or is_integer(x) for x in nest):
        return [_validated_shape(nest)]
    return [shape for item in nest for shape in _flat_shapes(item)]


def _shapes(nest: Any) -> Any:
    if hasattr(nest, "shape"):
        return tuple(nest.shape)
    if isinstance(nest, dict):
        return {key: _shapes(value) for key, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        return [_shapes(value) for value in nest]
    return None
