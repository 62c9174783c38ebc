"""Turns convolutions of a model into target layers.

Reference: Chitta, Targeted Kernel Networks (2018), section 4.3.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.graph.functional import functional, inputs_like
from keras_attention.layers import TargetLayer
from keras_attention.utils.validation import names_of_layers, nearest

# What a TargetLayer takes over from the convolution that it replaces.
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
    """Copies a model with its convolutions, or some of them, turned into target layers.

    Names, weights and everything else are kept; `model` stays as it was. A new target layer
    computes its window times what the convolution computed.

    Args:
        model: A functional or sequential Keras model, also one with models inside.
        layers: Names of the `Conv2D` layers to turn; they need stride 1, "same" padding and one
            group. None takes all such layers, as the paper does with plain CNNs.
        window: `"cauchy"` or `"gaussian"`.
        **options: More arguments of `TargetLayer`: `roi`, `roi_groups`, `min_roi_size`,
            `scale_regularizer`.

    Returns:
        The new `keras.Model`.

    Raises:
        ValueError: For names that the model does not have (names the nearest), layers that cannot
            be turned, a model without such layers, or one that is neither functional nor
            sequential.

    Example:
    >>> import keras_attention as ka
    >>> model = to_targeted(ka.applications.CNN6(), scale_regularizer="l2")
    >>> [layer.name for layer in model.layers if hasattr(layer, "rois")]
    ['conv1', 'conv2', 'conv3']
    """
    functional(model)
    chosen = _choose(model, layers)
    pairs: list[tuple[keras.Layer, keras.Layer]] = []

    def copy(layer: keras.Layer) -> keras.Layer:
        if id(layer) in chosen:
            new = _target_layer(layer, window, options)
        else:
            new = type(layer).from_config(layer.get_config())
        pairs.append((layer, new))
        return new

    inputs = None if isinstance(model, keras.Sequential) else inputs_like(model)
    new_model = keras.models.clone_model(model, inputs, clone_function=copy, recursive=True)
    for old, new in pairs:
        _copy_weights(old, new)
    return new_model


def _choose(model: keras.Model, names: Sequence[str] | None) -> set[int]:
    """The identities of the layers to turn."""
    convolutions = [layer for layer in model._flatten_layers() if _is_convolution(layer)]
    if names is None:
        chosen = [layer for layer in convolutions if not _obstacle(layer)]
        if not chosen:
            raise ValueError(
                "`model` must hold a Conv2D layer with stride 1, padding='same' and groups=1. "
                f"Received: {model.name!r} without one"
            )
        return {id(layer) for layer in chosen}
    names = names_of_layers("layers", names)
    by_name = {layer.name: layer for layer in convolutions}
    for name in names:
        if name not in by_name:
            raise ValueError(
                f"`layers` must name Conv2D layers of {model.name!r}. Received: {name!r}."
                + nearest(name, by_name)
            )
        if _obstacle(by_name[name]):
            raise ValueError(
                "`layers` must name Conv2D layers with stride 1, padding='same' and groups=1. "
                f"Received: {name!r} with {_obstacle(by_name[name])}"
            )
    return {id(by_name[name]) for name in names}


def _is_convolution(layer: keras.Layer) -> bool:
    return type(layer) is keras.layers.Conv2D


def _obstacle(layer: keras.Layer) -> str:
    """What a target layer could not do, or nothing."""
    if layer.strides != (1, 1):
        return f"strides={layer.strides}"
    if layer.padding != "same":
        return f"padding={layer.padding!r}"
    return f"groups={layer.groups}" if layer.groups != 1 else ""


def _target_layer(layer: keras.Layer, window: str, options: dict[str, Any]) -> TargetLayer:
    config = layer.get_config()
    shared = {name: config[name] for name in _SHARED if name in config}
    return TargetLayer.from_config({**shared, "window": window, **options})


def _copy_weights(old: keras.Layer, new: keras.Layer) -> None:
    weights = old.get_weights()
    if isinstance(new, TargetLayer) and _is_convolution(old):
        weights += new.get_weights()[len(weights) :]  # center and scale come last
    new.set_weights(weights)
