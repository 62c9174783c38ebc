"""Which pixels of an image a place of a map sees."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.graph.functional import functional, is_functional, nodes

# What reads each place by itself, by the names of layers and operations.
_POINTWISE = (
    "Absolute",
    "Activation",
    "ActivityRegularization",
    "Add",
    "Average",
    "BatchNormalization",
    "Cast",
    "ChannelActivity",
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
    """Place `i` of a map sees the pixels from `i * stride + start`, `size` of them, on each axis.

    Attributes:
        stride: Pixels from one place to the next, `(rows, columns)`.
        size: Pixels that a place sees.
        start: First pixel that place 0 sees; negative where padding is.
    """

    stride: tuple[int, int] = (1, 1)
    size: tuple[int, int] = (1, 1)
    start: tuple[int, int] = (0, 0)

    def then(self, window: Any, steps: Any, before: Any) -> "ReceptiveField":
        """The field behind windows over the map, with `before` of them padded at the start."""
        pairs = zip(self.stride, self.size, self.start, window, steps, before, strict=True)
        made = [
            (stride * step, size + (wide - 1) * stride, start - pad * stride)
            for stride, size, start, wide, step, pad in pairs
        ]
        return ReceptiveField(*zip(*made, strict=True))

    def merged(self, other: "ReceptiveField") -> "ReceptiveField":
        """The field of what reads two maps at the same place."""
        if self.stride != other.stride:
            raise ValueError(f"Maps of strides {self.stride} and {other.stride} meet.")
        pairs = zip(self.start, self.size, other.start, other.size, strict=True)
        spans = [(min(a, c), max(a + b, c + d)) for a, b, c, d in pairs]
        (top, bottom), (left, right) = spans
        return ReceptiveField(self.stride, (bottom - top, right - left), (top, left))


def receptive_field(model: keras.Model) -> ReceptiveField:
    """Finds what the places of a model's map see of its image.

    Args:
        model: A functional or sequential model from one image to one map, of convolutions,
            pooling, padding, cropping, and layers that read each place by itself. Padding
            "same" behind strides depends on the size of the image: where the model leaves it
            open, it is that of sides which all strides divide.

    Raises:
        ValueError: For a model of other layers.

    Example:
    >>> model = keras.Sequential([
    ...     keras.Input((100, 100, 1)),
    ...     keras.layers.Conv2D(12, 7, 2), keras.layers.Conv2D(24, 3, 2),
    ... ])
    >>> receptive_field(model)
    ReceptiveField(stride=(4, 4), size=(11, 11), start=(0, 0))
    """
    graph = functional(model)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ValueError(f"{model.name!r} must have one input and one output.")
    return _behind(graph, ReceptiveField())


def _behind(graph: keras.Model, field: ReceptiveField) -> ReceptiveField:
    fields = {id(graph.inputs[0]): field}
    for node in nodes(graph):
        seen = [fields[id(tensor)] for tensor in node.input_tensors]
        together = seen[0]
        for other in seen[1:]:
            together = together.merged(other)
        made = _of_call(node, together)
        fields.update((id(tensor), made) for tensor in node.outputs)
    return fields[id(graph.outputs[0])]


def _of_call(node: Any, field: ReceptiveField) -> ReceptiveField:
    layer = node.operation
    if is_functional(layer):
        return _behind(functional(layer), field)
    if type(layer).__name__ in _POINTWISE:
        return field
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return field.then((1, 1), (1, 1), [before for before, _ in layer.padding])
    if isinstance(layer, keras.layers.Cropping2D):
        return field.then((1, 1), (1, 1), [-before for before, _ in layer.cropping])
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window is None or len(window) != 2 or "Transpose" in type(layer).__name__:
        raise ValueError(f"{layer.name!r} ({type(layer).__name__}) has no known field.")
    spread = getattr(layer, "dilation_rate", (1, 1))
    wide = [(side - 1) * rate + 1 for side, rate in zip(window, spread, strict=True)]
    steps = getattr(layer, "strides", (1, 1))
    before = [0, 0]
    if getattr(layer, "padding", "same") == "same":
        sides = _sides(layer, node.input_tensors[0].shape)
        before = [padding_before(*part) for part in zip(sides, wide, steps, strict=True)]
    return field.then(wide, steps, before)


def padding_before(side: int | None, window: int, step: int) -> int:
    """Zeros before the first of a side's pixels, for padding "same".

    Example:
    >>> padding_before(8, 3, 2), padding_before(7, 3, 2), padding_before(None, 3, 2)
    (0, 1, 0)
    """
    rest = step if side is None or side % step == 0 else side % step
    return max(window - rest, 0) // 2


def _sides(layer: keras.Layer, shape: Any) -> Any:
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return shape[2:] if first else shape[1:3]
