"""Multiply-accumulates of models, and tables that compare models.

A multiply-accumulate counts 1. Biases of convolutions count nothing, biases of dense layers 1 per
unit, and normalization 1 per element, as in the tables of Attentive Regularization and Targeted
Kernel Networks.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers
from rich.table import Table

from keras_attention.inspect.calls import Call, trace_calls, trace_layer
from keras_attention.utils.data_format import spatial_shape
from keras_attention.utils.validation import dictionary, keras_model, non_negative_number

Rule = Callable[[Call], int]


def count_macs(
    model: keras.Model,
    input_shape: Any = None,
    per_layer: bool = False,
    *,
    executed: bool = False,
) -> int | dict[str, int]:
    """Counts the multiply-accumulates of a forward pass for one image.

    Layers that compute only a region of their output count their current regions of interest.

    Args:
        model: Any Keras model.
        input_shape: `(H, W, channels)`, or a nested structure of shapes for several inputs.
            Default: the input shape of the model.
        per_layer: If True, returns the count of each layer.
        executed: If False (default), counts what the method needs, as the papers' tables do. If
            True, counts what this implementation computes, such as the rectangle that contains the
            regions of a group of kernels.

    Returns:
        The total, or a dictionary from layer name to count in the order of the calls. A layer that
        is called several times has the sum of its calls. Layers with a count of 0 are left out.

    Raises:
        ValueError: If the model does not define its input size and `input_shape` is missing.

    Example:
    >>> import keras_attention as ka
    >>> count_macs(ka.applications.CNN6(), input_shape=(28, 28, 1))
    368407442
    """
    counts, names = _counts_by_layer(model, trace_calls(model, input_shape), executed)
    counts = {key: macs for key, macs in counts.items() if macs}
    if not per_layer:
        return sum(counts.values())
    return _by_unique_name(counts, names)


def _counts_by_layer(
    model: keras.Layer, calls: Sequence[Call], executed: bool
) -> tuple[dict[int, int], dict[int, str]]:
    """Returns the count and the name of each layer by its identity, and warns about unknown ones.

    Layers inside the calls of layers whose count includes them are left out.
    """
    counts: dict[int, int] = {}
    names: dict[int, str] = {}
    for call in calls:
        if any(_includes_sublayers(caller) for caller in call.callers):
            continue
        macs, key = _macs(call, executed), id(call.layer)
        if macs is not None:
            counts[key] = counts.get(key, 0) + macs
            names[key] = call.layer.name
    _warn_about_unknown_layers(model, counts)
    return counts, names


def summary_table(
    models: Mapping[str, keras.Model],
    input_shape: Any = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    title: str | None = None,
) -> Table:
    """Compares models by trainable parameters, multiply-accumulates and values of your own.

    Args:
        models: Dictionary from the name in the table to the model.
        input_shape: `(H, W, channels)` for the multiply-accumulates. Default: the input shape of
            each model.
        columns: Further columns, a dictionary from heading to a list with a value for each model.
        title: Title above the table.

    Returns:
        A `rich.table.Table`, for `rich.print` or a notebook.

    Raises:
        ValueError: If a column does not have a value for each model.

    Example:
    >>> import keras_attention as ka
    >>> table = summary_table({"DN10": ka.applications.DN10()}, columns={"error %": [0.48]})
    >>> [column.header for column in table.columns]
    ['model', 'parameters', 'MACs', 'error %']
    """
    models, columns = dictionary("models", models), dictionary("columns", columns or {})
    for heading, values in columns.items():
        if len(values) != len(models):
            raise ValueError(
                f"Each column must have {len(models)} values, one for each model. "
                f"Received: columns[{heading!r}] with {len(values)} values"
            )
    table = Table(title=title)
    table.add_column("model")
    for heading in ("parameters", "MACs", *columns):
        table.add_column(heading, justify="right")
    for row, (name, model) in enumerate(models.items()):
        macs: Any = count_macs(model, input_shape)
        cells = [f"{trainable_parameters(model):,}", short_number(int(macs))]
        cells += [_cell(values[row]) for values in columns.values()]
        table.add_row(name, *cells)
    return table


def trainable_parameters(model: keras.Model) -> int:
    """Counts the trainable parameters of a model."""
    weights = keras_model("model", model).trainable_weights
    return sum(math.prod(weight.shape) for weight in weights)


def short_number(value: float) -> str:
    """Formats a count with three digits and a unit, as in the papers' tables.

    Example:
    >>> short_number(368_367_114), short_number(44_746)
    ('368M', '44.7K')
    """
    non_negative_number("value", value)
    for unit, size in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        # Values just below a unit would otherwise be rounded to 1000 of the smaller one.
        if value >= 0.9995 * size:
            count = value / size
            return f"{count:.3g}{unit}" if count < 999.5 else f"{count:.0f}{unit}"
    return f"{value:.0f}"


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _macs(call: Call, executed: bool) -> int | None:
    """Counts a call, by a method of the layer or by a rule; None if there is neither."""
    layer: Any = call.layer
    if _has_method(layer, "macs"):
        return int(layer.macs(call.input_shape, executed=executed))
    if _has_method(layer, "inner_calls"):
        inner, more = layer.inner_calls(call.input_shape, executed=executed)
        counts = (
            times * count_macs(part, shape, executed=executed) for part, shape, times in inner
        )
        return int(sum(counts)) + more
    if isinstance(layer, layers.TimeDistributed):
        # The layer is called for each step, which no rule of its own knows.
        steps, shape = call.input_shape[1], (call.input_shape[0], *call.input_shape[2:])
        inner_calls = trace_layer(layer.layer, shape, layer.compute_dtype)
        return int(steps * sum(_counts_by_layer(layer.layer, inner_calls, executed)[0].values()))
    return next((rule(call) for classes, rule in _RULES if isinstance(layer, classes)), None)


def _has_method(layer: keras.Layer, name: str) -> bool:
    return callable(getattr(layer, name, None))


def _includes_sublayers(layer: keras.Layer) -> bool:
    """Returns True if the count of a layer contains that of the layers inside it."""
    own_rule = _has_method(layer, "macs") or _has_method(layer, "inner_calls")
    return own_rule or isinstance(layer, (layers.RNN, layers.TimeDistributed))


def _warn_about_unknown_layers(model: keras.Layer, counted: dict[int, int]) -> None:
    """Warns about layers with kernels that no rule has counted."""
    inside: set[int] = set()
    for layer in model._flatten_layers():
        if id(layer) in counted:
            inside.update(id(part) for part in layer._flatten_layers())
            # Wrappers such as SpectralNormalization also track the kernel of their layer.
            inside.update(id(weight) for weight in layer.weights)
    unknown = sorted(
        f"{type(layer).__name__} {layer.name!r}"
        for layer in model._flatten_layers()
        if id(layer) not in inside
        and any(
            len(weight.shape) > 1 and id(weight) not in inside
            for weight in layer._trainable_variables
        )
    )
    if unknown:
        warnings.warn(
            f"These layers count as 0 MACs, because no rule exists for them: {', '.join(unknown)}. "
            "To count them, add a method `macs(input_shape, executed=False)` to their class.",
            stacklevel=3,
        )


def _by_unique_name(counts: dict[int, int], names: dict[int, str]) -> dict[str, int]:
    """Appends a number to the names that several layers share."""
    result: dict[str, int] = {}
    for key, macs in counts.items():
        name, number = names[key], 2
        while name in result:
            name, number = f"{names[key]} ({number})", number + 1
        result[name] = macs
    return result


def _pixels(layer: keras.Layer, shape: tuple[int, ...]) -> int:
    return math.prod(spatial_shape(shape, layer.data_format))


def _convolution(call: Call) -> int:
    # The shape of a grouped kernel contains the channels of one group only.
    return _pixels(call.layer, call.output_shape) * math.prod(call.layer.kernel.shape)


def _transposed_convolution(call: Call) -> int:
    return _pixels(call.layer, call.input_shape) * math.prod(call.layer.kernel.shape)


def _separable_convolution(call: Call) -> int:
    layer = call.layer
    kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return _pixels(layer, call.output_shape) * kernels


def _dense(call: Call) -> int:
    inputs = call.layer.kernel.shape[0] + (1 if call.layer.use_bias else 0)
    return math.prod(call.output_shape[1:]) * inputs


def _recurrent(call: Call) -> int:
    """Counts each weight of the cell's kernels once per time step; of convolutions, per pixel."""
    layer = call.layer
    weights = (weight for weight in layer.cell.weights if "bias" not in weight.name)
    macs = call.input_shape[1] * sum(math.prod(weight.shape) for weight in weights)
    if not hasattr(layer.cell, "kernel_size"):
        return macs
    shape = call.output_shape[0] if layer.return_state else call.output_shape
    shape = (shape[0], *shape[2:]) if layer.return_sequences else shape
    return macs * math.prod(spatial_shape(shape, layer.cell.data_format))


def _elements(call: Call) -> int:
    return math.prod(call.output_shape[1:])


# The first class that fits applies, so subclasses precede their base classes.
_RULES: tuple[tuple[Any, Rule], ...] = (
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable_convolution),
    (
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
        _transposed_convolution,
    ),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _convolution),
    (layers.Dense, _dense),
    (layers.RNN, _recurrent),
    (layers.Embedding, lambda call: 0),
    (layers.BatchNormalization, _elements),
    ((layers.LayerNormalization, layers.GroupNormalization), _elements),
)
