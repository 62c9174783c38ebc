"""Grad-CAM heat maps of any Keras model.

Reference: Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization (2017).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.distillation.features import logits_of
from keras_attention.graph.classifier import LOGITS, SIGMOID, SOFTMAX, require_output_kind
from keras_attention.graph.features import layer_path
from keras_attention.graph.functional import (
    Node,
    functional_graph,
    is_functional,
    nodes,
    replay,
    to_functional,
)
from keras_attention.inspect.examples import make_inputs
from keras_attention.utils.data_format import channel_axis, spatial_shape
from keras_attention.utils.validation import boolean, is_integer

Tensor = Any
Path = tuple[str, ...]
# Operations between the softmax or sigmoid and the output that do not change values.
_KEEPS_VALUES = ("Activation", "Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze")


def grad_cam(
    model: keras.Model,
    images: Any,
    layer: str | None = None,
    class_index: Any = None,
    *,
    output: int | None = None,
    from_logits: bool | None = None,
) -> np.ndarray:
    """Computes Grad-CAM heat maps: the positions of a feature map that raise the score of a class.

    The heat map is `ReLU(sum_k a_k A_k)`, where `A_k` is channel k of the feature map, and the
    weight `a_k` is the mean over the positions of the gradient of the class score with respect to
    `A_k` (equations 1 and 2). The score is the logit: a softmax or sigmoid at the end of the model
    is left out. Where it cannot be left out, as in a mean of probabilities or an
    `AttendRectifyHead`, the score is the log-probability of a softmax, and the logit of a sigmoid
    is computed from the probability. For maps of logits, as in segmentation, the score is the sum
    over the positions.

    Args:
        model: Keras model with at least one feature map `(B, h, w, channels)`. A subclassed model
            must consist of layers and `keras.ops` and have been called once.
        images: Input of the model, `(B, H, W, channels)`, in its value range; or a list, tuple or
            dictionary for several inputs.
        layer: Name of a layer that returns a feature map, or its path in nested models, such as
            `"encoder/conv"`. The last call of a shared layer counts. Default: the last feature map
            of more than one pixel.
        class_index: Index of the class, for all images or one for each. Default: the class that the
            model predicts. An output of one unit has the classes 0 and 1, and the score of class 0
            is the negative logit. Of independent labels, the default is the most probable one.
        output: Index of the output, which must be given for a model with several.
        from_logits: True if the model returns logits, False for probabilities. Default: the graph
            of the model shows it.

    Returns:
        Array of shape `(B, h, w)` in float32, with the size of the feature map.

    Raises:
        ValueError: If the output of `layer` is no feature map, if `class_index` does not fit the
            model, or if the graph does not show if the output are logits.
        RuntimeError: On backends other than TensorFlow and JAX.

    Example:
    >>> import numpy as np, keras_attention as ka
    >>> network, images = ka.applications.LeNet5((16, 16, 1)), np.zeros((2, 16, 16, 1))
    >>> ka.inspect.grad_cam(network, images, layer="conv1", class_index=3).shape
    (2, 16, 16)

    Reference:
        Selvaraju et al., Grad-CAM (2017).
    """
    inputs = make_inputs(model, images)
    graph = to_functional(model)
    index = _output_index(graph, output)
    if len(graph.outputs) > 1:  # without the layers that this output does not depend on
        graph = keras.Model(graph.input, graph.outputs[index], name=graph.name)
    if from_logits is not None:
        boolean("from_logits", from_logits)
    score = _score_function(graph, from_logits)
    target = None if layer is None else _layer_path(graph, layer)
    tensors = keras.tree.map_structure(ops.convert_to_tensor, inputs)
    visit = _Visit(score.ends)
    outputs = visit.run(graph, tensors)
    target = target or _last_map(visit, keras.tree.flatten(outputs)[0])
    features = visit.features(target, layer)
    values = score(keras.tree.flatten(outputs)[0])
    classes = _classes(class_index, values)

    def selected_score(features: Tensor) -> Tensor:
        replaced = _Visit(score.ends, target, visit.calls[target], features)
        logits = score(keras.tree.flatten(replaced.run(graph, tensors))[0])
        return _select(logits, classes)

    gradient = backend.input_gradient(selected_score, ops.cast(features, "float32"))
    axis = channel_axis(visit.data_formats.get(target))
    gradient, maps = (
        np.moveaxis(ops.convert_to_numpy(ops.cast(array, "float32")), axis, -1)
        for array in (gradient, features)
    )
    weights = gradient.mean(axis=(1, 2))
    return np.maximum(np.einsum("bhwc,bc->bhw", maps, weights), 0.0)


@dataclass(frozen=True)
class _Score:
    """Function from an output to logits; `ends` are the nodes whose activation is left out."""

    ends: frozenset[int]
    kind: str

    def __call__(self, output: Tensor) -> Tensor:
        return logits_of(output, self.kind)


def _output_index(graph: keras.Model, output: Any) -> int:
    count = len(graph.outputs)
    if output is None and count == 1:
        return 0
    if is_integer(output) and 0 <= int(output) < count:
        return int(output)
    raise ValueError(
        f"`output` must be the index of one of the {count} outputs of {graph.name!r}. Received: "
        f"output={output!r}"
    )


def _score_function(graph: keras.Model, from_logits: bool | None) -> _Score:
    ends = [_activation_node(graph, 0, kind) for kind in (SOFTMAX, SIGMOID)]
    end = next((node for node in ends if node is not None), None)
    if end is not None and from_logits is not True:
        return _Score(frozenset([id(end)]), LOGITS)
    return _Score(frozenset(), require_output_kind("model", graph, from_logits))


def _activation_node(graph: keras.Model, index: int, kind: str) -> Node | None:
    """Returns the node of the softmax or sigmoid before an output; None if there are others."""
    producers = {id(one): node for node in nodes(graph) for one in node.outputs}
    tensor = functional_graph(graph).outputs[index]
    node = producers.get(id(tensor))
    while node is not None:
        operation = node.operation
        if is_functional(operation):
            position = [id(one) for one in node.outputs].index(id(tensor))
            return _activation_node(functional_graph(operation), position, kind)
        if _is_activation(operation, kind):
            return node
        if type(operation).__name__ not in _KEEPS_VALUES or len(node.input_tensors) != 1:
            return None
        if getattr(operation, "activation", keras.activations.linear) != keras.activations.linear:
            return None
        tensor = node.input_tensors[0]
        node = producers.get(id(tensor))
    return None


def _is_activation(operation: Any, kind: str) -> bool:
    """Returns True for a softmax or sigmoid over logits, alone or as activation of a layer."""
    function = getattr(keras.activations, kind)
    if isinstance(operation, keras.layers.Layer) and operation.weights:
        known = isinstance(operation, (keras.layers.Dense, keras.layers.Conv2D))
        return known and operation.activation == function
    if isinstance(operation, keras.layers.Activation):
        return operation.activation == function
    return type(operation).__name__.lower() == kind  # a layer or an operation


def _without_activation(operation: Any) -> Callable[..., Tensor]:
    if not (isinstance(operation, keras.layers.Layer) and operation.weights):
        return lambda inputs, *args, **kwargs: inputs
    # A copy that shares the variables. The layer itself may be in use in another thread.
    copy = object.__new__(type(operation))
    copy.__dict__.update(operation.__dict__, activation=keras.activations.linear)
    return copy


class _Visit:
    """Runs a functional model and keeps its feature maps by their paths.

    Args:
        ends: Identities of the nodes whose activation is left out.
        target: Path of a layer whose output is replaced.
        call: Number of the call of this layer.
        features: Value that replaces the output.
    """

    def __init__(
        self,
        ends: frozenset[int],
        target: Path | None = None,
        call: int = 0,
        features: Tensor = None,
    ):
        self._ends, self._replaced = ends, (target, call, features)
        self.calls: Counter[Path] = Counter()
        self.data_formats: dict[Path, str] = {}
        self.outputs: dict[Path, Any] = {}
        self._data_format = keras.config.image_data_format()
        self.last_with_weights: Path = ()

    def run(self, graph: keras.Model, inputs: Any, around: Path = ()) -> Any:
        """Returns the outputs of the graph."""

        def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
            outputs = self._call(node, around, args, kwargs)
            path = (*around, node.operation.name)
            self.calls[path] += 1
            target, number, features = self._replaced
            if path == target and self.calls[path] == number:
                return ops.cast(features, outputs.dtype)
            self.outputs.pop(path, None)  # the last call of a layer counts, also for the order
            self.outputs[path] = outputs
            return outputs

        return replay(graph, inputs, call)

    def features(self, path: Path, name: Any) -> Tensor:
        """Returns the feature map of a layer, or raises a ValueError if it is none."""
        found = self.outputs[path]
        if len(getattr(found, "shape", ())) == 4:
            return found
        maps = ["/".join(one) for one in self.maps()]
        example = f", such as {maps[-1]!r}" if maps else ""
        shape = tuple(found.shape) if hasattr(found, "shape") else "several tensors"
        raise ValueError(
            f"`layer` must be the name of a layer with an output of shape (B, H, W, channels)"
            f"{example}. Received: layer={name!r}, with the output shape {shape}"
        )

    def maps(self) -> list[Path]:
        """Returns the paths of all feature maps of more than one pixel."""
        return [
            path
            for path, outputs in self.outputs.items()
            if len(getattr(outputs, "shape", ())) == 4
            and max(spatial_shape(outputs.shape, self.data_formats[path])) > 1
        ]

    def _call(self, node: Node, around: Path, args: Any, kwargs: Any) -> Any:
        operation = node.operation
        path = (*around, operation.name)
        self._data_format = getattr(operation, "data_format", None) or self._data_format
        self.data_formats[path] = self._data_format
        if is_functional(operation):
            inputs = args[0] if args else kwargs["inputs"]
            outputs = self.run(functional_graph(operation), inputs, path)
            self.data_formats[path] = self._data_format
            return outputs
        if isinstance(operation, keras.layers.Layer):
            kwargs = {**kwargs, "training": False}
            self.last_with_weights = path if operation.weights else self.last_with_weights
        if id(node) in self._ends:
            operation = _without_activation(operation)
        return operation(*args, **kwargs)


def _layer_path(graph: keras.Model, name: Any) -> Path:
    if not isinstance(name, str):
        raise ValueError(f"`layer` must be the name of a layer or None. Received: layer={name!r}")
    try:
        return layer_path(graph, name, calls=None)
    except ValueError as error:
        raise ValueError(f"`layer` must be the name of a layer. {error}") from error


def _last_map(visit: _Visit, output: Tensor) -> Path:
    """Returns the last feature map; of maps of logits, the last one before the classifier."""
    paths = list(visit.outputs)
    if len(output.shape) == 4:
        paths = paths[: paths.index(visit.last_with_weights)]
    maps = [path for path in visit.maps() if path in paths]
    if maps:
        return maps[-1]
    raise ValueError(
        "`model` must have a feature map (B, H, W, channels) of more than one pixel. Received: a "
        "model without one"
    )


def _classes(class_index: Any, logits: Tensor) -> np.ndarray:
    """Returns a class for each image."""
    scores = ops.convert_to_numpy(ops.cast(logits, "float32"))
    count, units = len(scores), scores.shape[-1]
    if class_index is None:
        totals = scores.reshape(count, -1, units).sum(axis=1)
        return (totals[:, 0] > 0).astype("int32") if units == 1 else totals.argmax(axis=-1)
    limit = 2 if units == 1 else units
    found = np.asarray(class_index)
    fits = found.dtype.kind in "iu" and (found.ndim == 0 or found.shape == (count,))
    if not fits or found.min(initial=0) < 0 or found.max(initial=0) >= limit:
        raise ValueError(
            f"`class_index` must be an integer from 0 to {limit - 1}, or one for each of the "
            f"{count} images. Received: class_index={class_index!r}"
        )
    return np.broadcast_to(found, (count,)).astype("int32")


def _select(logits: Tensor, classes: np.ndarray) -> Tensor:
    """Returns the scores of one class for each image."""
    units = logits.shape[-1]
    if units == 1:
        factors = np.where(classes == 1, 1.0, -1.0).astype("float32")[:, None]
    else:
        factors = np.eye(units, dtype="float32")[classes]
    shape = (len(classes), *(1 for _ in logits.shape[1:-1]), factors.shape[-1])
    return ops.sum(logits * ops.cast(factors.reshape(shape), logits.dtype), axis=-1)
