"""Counting multiply-accumulates.

One multiply-accumulate counts 1; additive biases of convolutions count nothing, those of dense
layers 1 per unit, and normalisation 1 per element, as in the tables of Attentive Regularization
and Targeted Kernel Networks.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_attention.inspect.calls import Call, trace_calls

Rule = Callable[[Call, bool], int]


def count_macs(
    model: keras.Model,
    input_shape: Any = None,
    per_layer: bool = False,
    *,
    executed: bool = False,
) -> int | dict[str, int]:
    """Counts the multiply-accumulates of a forward pass for one image.

    Layers that look at a part of the map only are counted with the regions that they have now.

    Args:
        model: Any Keras model.
        input_shape: `(H, W, channels)`; a nest of shapes for several inputs. None takes the
            model's own.
        per_layer: Whether to return each layer's count.
        executed: False counts what the method needs, as the papers' tables do; True what this
            program computes for it, such as the rectangle that holds a group's regions.

    Returns:
        The total, or a dictionary from the layers' names to their counts, in the order of calls;
        layers that are called twice count twice, those that count nothing are left out.

    Raises:
        ValueError: Where the model's sizes are not known and `input_shape` does not give them.

    Example:
    >>> import keras_attention as ka
    >>> count_macs(ka.applications.CNN6(), input_shape=(28, 28, 1))
    368407442
    """
    counts: dict[int, int] = {}
    names: dict[int, str] = {}
    for call in trace_calls(model, input_shape):
        rule = _rule(call.layer)
        if rule is None or any(_counts_its_parts(caller) for caller in call.callers):
            continue
        key = id(call.layer)
        counts[key] = counts.get(key, 0) + rule(call, executed)
        names[key] = call.layer.name
    _warn_of_layers_without_rule(model, counts)
    counts = {key: macs for key, macs in counts.items() if macs}
    if not per_layer:
        return sum(counts.values())
    return _by_name(counts, names)


def _rule(layer: keras.Layer) -> Rule | None:
    if _has(layer, "macs"):
        return lambda call, executed: int(call.layer.macs(call.input_shape, executed=executed))
    if _has(layer, "work"):
        return _work
    return next((rule for kinds, rule in _RULES if isinstance(layer, kinds)), None)


def _warn_of_layers_without_rule(model: keras.Model, counted: dict[int, int]) -> None:
    """Names what has matrices, or kernels, that no rule has counted."""
    inside: set[int] = set()
    for layer in model._flatten_layers():
        if id(layer) in counted:
            inside.update(id(part) for part in layer._flatten_layers())
    unknown = sorted(
        f"{type(layer).__name__} {layer.name!r}"
        for layer in model._flatten_layers()
        if id(layer) not in inside
        and any(len(weight.shape) > 1 for weight in layer._trainable_variables)
    )
    if unknown:
        warnings.warn(
            f"These layers count as 0 MACs, there is no rule for them: {', '.join(unknown)}. "
            "A method `macs(input_shape, executed=False)` of the layer would be one.",
            stacklevel=3,
        )


def _has(layer: keras.Layer, method: str) -> bool:
    return callable(getattr(layer, method, None))


def _counts_its_parts(layer: keras.Layer) -> bool:
    return _has(layer, "macs") or _has(layer, "work") or isinstance(layer, keras.layers.RNN)


def _work(call: Call, executed: bool) -> int:
    """What a layer says of the models inside: how often each runs, on what, and what it adds."""
    parts, more = call.layer.work(call.input_shape, executed=executed)
    counts = [times * count_macs(part, shape, executed=executed) for part, shape, times in parts]
    return int(sum(counts)) + more


def _by_name(counts: dict[int, int], names: dict[int, str]) -> dict[str, int]:
    result: dict[str, int] = {}
    for key, macs in counts.items():
        name, number = names[key], 2
        while name in result:
            name, number = f"{names[key]} ({number})", number + 1
        result[name] = macs
    return result


def _pixels(layer: keras.Layer, shape: tuple[int, ...]) -> int:
    last = layer.data_format == "channels_last"
    return math.prod(shape[1:-1] if last else shape[2:])


def _convolution(call: Call, executed: bool) -> int:
    # A kernel's shape holds the channels of one group only, so groups need no extra care.
    return _pixels(call.layer, call.output_shape) * math.prod(call.layer.kernel.shape)


def _transposed_convolution(call: Call, executed: bool) -> int:
    return _pixels(call.layer, call.input_shape) * math.prod(call.layer.kernel.shape)


def _separable_convolution(call: Call, executed: bool) -> int:
    layer = call.layer
    kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return _pixels(layer, call.output_shape) * kernels


def _dense(call: Call, executed: bool) -> int:
    inputs = call.layer.kernel.shape[0] + (1 if call.layer.use_bias else 0)
    return math.prod(call.output_shape[1:]) * inputs


def _recurrent(call: Call, executed: bool) -> int:
    """At each step every weight of the cell's kernels counts once."""
    weights = (weight for weight in call.layer.cell.weights if "bias" not in weight.name)
    return call.input_shape[1] * sum(math.prod(weight.shape) for weight in weights)


def _elements(call: Call, executed: bool) -> int:
    return math.prod(call.output_shape[1:])


def _nothing(call: Call, executed: bool) -> int:
    return 0


# The first kind that fits counts: the special ones come first.
_RULES: tuple[tuple[Any, Rule], ...] = (
    ((keras.layers.SeparableConv1D, keras.layers.SeparableConv2D), _separable_convolution),
    (
        (
            keras.layers.Conv1DTranspose,
            keras.layers.Conv2DTranspose,
            keras.layers.Conv3DTranspose,
        ),
        _transposed_convolution,
    ),
    (
        (
            keras.layers.Conv1D,
            keras.layers.Conv2D,
            keras.layers.Conv3D,
            keras.layers.DepthwiseConv1D,
            keras.layers.DepthwiseConv2D,
        ),
        _convolution,
    ),
    ((keras.layers.Dense,), _dense),
    ((keras.layers.RNN,), _recurrent),
    ((keras.layers.Embedding,), _nothing),
    (
        (
            keras.layers.BatchNormalization,
            keras.layers.LayerNormalization,
            keras.layers.GroupNormalization,
        ),
        _elements,
    ),
)
