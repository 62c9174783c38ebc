"""Replaces convolutions of a model by target layers.

Reference: Chitta, Targeted Kernel Networks (2018), section 4.3.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.graph.functional import (
    copy_model,
    functional_graph,
    nested_layers,
    replace_layers,
)
from keras_attention.layers import TargetLayer
from keras_attention.utils.validation import did_you_mean, layer_names

# Arguments that a TargetLayer shares with the convolution that it replaces.
_SHARED = (
    "name",
    "trainable",
    "dtype",
    "filters",
    "kernel_size",
    "dilation_rate",
    "activation",
    "use_bias",
    "data_format",
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
)


def to_targeted(
    model: keras.Model,
    layers: Sequence[str] | None = None,
    window: str = "cauchy",
    **options: Any,
) -> keras.Model:
    """Copies a model and replaces its convolutions, or some of them, by target layers.

    Names, weights and all other state are kept; `model` does not change. The output of a new target
    layer is its window times the output of the convolution.

    Args:
        model: Functional or sequential Keras model; nested models are included. If it is compiled,
            the copy is compiled with the same configuration.
        layers: Names of the `Conv2D` layers to replace. They must have stride 1, "same" padding and
            one group. By default all such layers are replaced, as in the paper's plain CNNs.
        window: `"cauchy"` or `"gaussian"`.
        **options: More arguments of `TargetLayer`: `roi`, `roi_groups`, `min_roi_size`,
            `scale_regularizer`.

    Returns:
        The new `keras.Model`.

    Raises:
        ValueError: If a name is unknown, a layer cannot be replaced, `model` has no such layers, is
            neither functional nor sequential, or cannot be copied.

    Example:
    >>> import keras_attention as ka
    >>> model = to_targeted(ka.applications.CNN6(), scale_regularizer="l2")
    >>> [layer.name for layer in model.layers if hasattr(layer, "rois")]
    ['conv1', 'conv2', 'conv3']
    """
    functional_graph(model)
    copied = copy_model(model)
    chosen = {id(layer) for layer in _choose_layers(copied, layers)}
    targets: list[tuple[keras.Layer, TargetLayer]] = []

    def replace(layer: keras.Layer) -> keras.Layer:
        if id(layer) not in chosen:
            return layer
        target = _target_layer(layer, window, options)
        targets.append((layer, target))
        return target

    new_model = replace_layers(copied, replace)
    for layer, target in targets:
        weights = layer.get_weights()
        target.set_weights([*weights, *target.get_weights()[len(weights) :]])
    if type(model) is keras.Sequential and type(new_model) is not keras.Sequential:
        new_model = keras.Sequential([new_model.inputs[0], *new_model.layers[1:]], name=model.name)
    new_model = copy_model(new_model)
    if model.compiled and (config := model.get_compile_config()):
        new_model.compile_from_config(config)
    return new_model


def _choose_layers(model: keras.Model, names: Sequence[str] | None) -> list[keras.Layer]:
    convolutions = [layer for layer in nested_layers(model) if type(layer) is keras.layers.Conv2D]
    if names is None:
        chosen = [layer for layer in convolutions if not _obstacle(layer)]
        if not chosen:
            raise ValueError(
                "`model` must contain a Conv2D layer with stride 1, padding='same' and groups=1. "
                f"Received: model={model.name!r} without one"
            )
        return chosen
    names = layer_names("layers", names)
    by_name = {layer.name: layer for layer in convolutions}
    for name in names:
        if name not in by_name:
            raise ValueError(
                f"`layers` must name Conv2D layers of {model.name!r}. Received: {name!r}."
                + did_you_mean(name, by_name)
            )
        if _obstacle(by_name[name]):
            raise ValueError(
                "`layers` must name Conv2D layers with stride 1, padding='same' and groups=1. "
                f"Received: {name!r} with {_obstacle(by_name[name])}"
            )
    return [by_name[name] for name in names]


def _obstacle(layer: keras.layers.Conv2D) -> str:
    """Returns the option that a target layer does not have, or an empty string."""
    if layer.strides != (1, 1):
        return f"strides={layer.strides}"
    if layer.padding != "same":
        return f"padding={layer.padding!r}"
    return f"groups={layer.groups}" if layer.groups != 1 else ""


def _target_layer(layer: keras.layers.Conv2D, window: str, options: dict[str, Any]) -> TargetLayer:
    config = layer.get_config()
    shared = {name: config[name] for name in _SHARED if name in config}
    return TargetLayer.from_config({**shared, "window": window, **options})
