"""Receptive fields: the pixels of an image that each position of a feature map depends on."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.graph.functional import Node, functional_graph, is_functional, nodes

# Layers and operations that compute each position from the same position of their inputs.
_POINTWISE = (
    "Absolute",
    "Activation",
    "ActivityRegularization",
    "Add",
    "Average",
    "BatchNormalization",
    "Cast",
    "ChannelMeanSquare",
    "Clip",
    "Concatenate",
    "Divide",
    "Dropout",
    "ELU",
    "Elu",
    "GaussianDropout",
    "GaussianNoise",
    "Gelu",
    "GetItem",
    "Identity",
    "LeakyReLU",
    "LeakyRelu",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "ReLU",
    "Relu",
    "Relu6",
    "Rescaling",
    "Sigmoid",
    "Silu",
    "Softmax",
    "SpatialDropout2D",
    "Subtract",
    "Tanh",
)


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of a map: position `i` depends on `size` pixels from `i * stride + start`.

    Attributes:
        stride: Pixels between neighbouring positions, `(rows, columns)`.
        size: Number of pixels that a position depends on, `(rows, columns)`.
        start: First pixel that position 0 depends on; negative if it lies in padding.
    """

    stride: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (1, 1)
    start: tuple[int, int] = (0, 0)

    def then(self, window: Any, strides: Any, padding: Any) -> "ReceptiveField":
        """Returns the field after windows that slide over the map.

        Args:
            window: Sizes of the window.
            strides: Strides of the window.
            padding: Pixels of padding before the first row and the first column.
        """
        axes = zip(self.stride, self.size, self.start, window, strides, padding, strict=True)
        fields = [
            (stride * step, size + (length - 1) * stride, start - before * stride)
            for stride, size, start, length, step, before in axes
        ]
        return ReceptiveField(*zip(*fields, strict=True))

    def merged(self, other: "ReceptiveField") -> "ReceptiveField":
        """Returns the field of an operation that reads two maps at the same position."""
        if self.stride != other.stride:
            raise ValueError(
                "Feature maps that are merged must have equal strides. "
                f"Received: strides {self.stride} and {other.stride}"
            )
        axes = zip(self.start, self.size, other.start, other.size, strict=True)
        spans = [(min(a, c), max(a + b, c + d)) for a, b, c, d in axes]
        (top, bottom), (left, right) = spans
        return ReceptiveField(self.stride, (bottom - top, right - left), (top, left))


def receptive_field(model: keras.Model) -> ReceptiveField:
    """Computes the receptive field of a model from one image to one feature map.

    Args:
        model: Functional or sequential model of convolutions, pooling, padding, cropping, and
            layers that act on each position separately. The padding of strided layers with "same"
            padding depends on the image size; if the model leaves the size open, sizes that all
            strides divide are assumed.

    Example:
    >>> model = keras.Sequential([
    ...     keras.Input((100, 100, 1)),
    ...     keras.layers.Conv2D(12, 7, 2), keras.layers.Conv2D(24, 3, 2),
    ... ])
    >>> receptive_field(model)
    ReceptiveField(stride=(4, 4), size=(11, 11), start=(0, 0))
    """
    graph = functional_graph(model)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(
            "`model` must have one input and one output. Received: "
            f"model={model.name!r} with {len(graph.inputs)} and {len(graph.outputs)}"
        )
    return _field_after_model(graph, ReceptiveField())


def _field_after_model(graph: keras.Model, field: ReceptiveField) -> ReceptiveField:
    fields = {id(graph.inputs[0]): field}
    for node in nodes(graph):
        inputs = [fields[id(tensor)] for tensor in node.input_tensors]
        merged = inputs[0]
        for other in inputs[1:]:
            merged = merged.merged(other)
        after = _field_after_node(node, merged)
        fields.update((id(tensor), after) for tensor in node.outputs)
    return fields[id(graph.outputs[0])]


def _field_after_node(node: Node, field: ReceptiveField) -> ReceptiveField:
    layer = node.operation
    if is_functional(layer):
        return _field_after_model(functional_graph(layer), field)
    if type(layer).__name__ in _POINTWISE:
        return field
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return field.then((1, 1), (1, 1), [before for before, _ in layer.padding])
    if isinstance(layer, keras.layers.Cropping2D):
        return field.then((1, 1), (1, 1), [-before for before, _ in layer.cropping])
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is None or len(window) != 2 or "Transpose" in type(layer).__name__:
        raise ValueError(
            "Receptive fields are known for convolutions, pooling, padding, cropping and pointwise "
            f"layers. Received: {layer.name!r} ({type(layer).__name__})"
        )
    dilation = getattr(layer, "dilation_rate", (1, 1))
    extent = [(size - 1) * rate + 1 for size, rate in zip(window, dilation, strict=True)]
    strides = getattr(layer, "strides", (1, 1))
    padding = [0, 0]
    if getattr(layer, "padding", "same") == "same":
        sides = _sides(layer, node.input_tensors[0].shape)
        padding = [padding_before(*axis) for axis in zip(sides, extent, strides, strict=True)]
    return field.then(extent, strides, padding)


def padding_before(side: int | None, window: int, stride: int) -> int:
    """Returns the number of zeros before the first pixel of an axis for "same" padding.

    Example:
    >>> padding_before(8, 3, 2), padding_before(7, 3, 2), padding_before(None, 3, 2)
    (0, 1, 0)
    """
    rest = stride if side is None or side % stride == 0 else side % stride
    return max(window - rest, 0) // 2


def _sides(layer: keras.Layer, shape: Any) -> Any:
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return shape[2:] if first else shape[1:3]
