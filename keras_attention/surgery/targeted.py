"""Replaces convolutions of a model by target layers.

Reference: Chitta, Targeted Kernel Networks (2018), section 4.3.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.graph.features import layer_path
from keras_attention.graph.functional import (
    Node,
    copy_model,
    functional_graph,
    is_functional,
    nested_layers,
    replace_layers,
    replay,
)
from keras_attention.graph.structure import merged_weights, reduces
from keras_attention.layers import TargetLayer
from keras_attention.utils.validation import layer_names, non_negative_number

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
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
)


def to_targeted(
    model: keras.Model,
    layers: Sequence[str] | None = None,
    window: str = "cauchy",
    identity: bool = False,
    beta: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Copies a model and replaces its convolutions, or some of them, by target layers.

    Names, weights and all other state are kept; `model` does not change. The output of a new target
    layer is its window times the output of the convolution, which lowers the accuracy of a trained
    network until it is trained again; `identity=True` avoids that.

    Args:
        model: Functional or sequential Keras model; nested models are included. If it is compiled,
            the copy is compiled with the same configuration.
        layers: Names of the `Conv2D` layers to replace; layers of nested models also by their
            paths, such as `"encoder/conv1"`. They must have stride 1, "same" padding (or a 1x1
            kernel) and one group. By default all such layers are replaced, as in the paper's plain
            CNNs, except those inside of other layers, such as wrappers.
        window: `"cauchy"` or `"gaussian"`.
        identity: If True, the copy computes the same outputs as `model` until it is trained: the
            windows contribute through a learned share that is initially 0. False by default.
        beta: Factor of `scale_regularizer`, an L1 or L2 regularizer, for each time that the map has
            become smaller before a layer (section 4.2; 2 or 4 in the paper). Defaults to 1.
        **options: More arguments of `TargetLayer`: `roi`, `roi_groups`, `min_roi_size`,
            `scale_regularizer`.

    Returns:
        The new `keras.Model`.

    Raises:
        ValueError: If a name is unknown, a layer cannot be replaced, `model` has no such layers, is
            neither functional nor sequential, or cannot be copied.

    Example:
    >>> import keras_attention as ka
    >>> model = to_targeted(ka.applications.CNN6(), scale_regularizer="l2", beta=2.0)
    >>> [layer.name for layer in model.layers if hasattr(layer, "rois")]
    ['conv1', 'conv2', 'conv3']

    Reference:
        Chitta, Targeted Kernel Networks (2018), sections 3.5 and 4.2.
    """
    functional_graph(model)
    regularizer = keras.regularizers.get(options.pop("scale_regularizer", None))
    _validate_beta(beta, regularizer)
    options |= {"window": window, "identity": identity}
    copied = copy_model(model)
    chosen = {id(layer) for layer in _choose_layers(copied, layers)}
    blocks = _blocks(copied)
    targets: list[tuple[keras.Layer, TargetLayer]] = []

    def replace(layer: keras.Layer) -> keras.Layer:
        if id(layer) not in chosen:
            return layer
        penalty = _scaled(regularizer, beta ** blocks[id(layer)])
        target = _target_layer(layer, {**options, "scale_regularizer": penalty})
        targets.append((layer, target))
        return target

    new_model = replace_layers(copied, replace)
    for layer, target in targets:
        weights = merged_weights(layer)
        target.set_weights([*weights, *target.get_weights()[len(weights) :]])
    if type(model) is keras.Sequential and type(new_model) is not keras.Sequential:
        new_model = keras.Sequential([new_model.inputs[0], *new_model.layers[1:]], name=model.name)
    new_model = copy_model(new_model)
    if model.compiled and (config := model.get_compile_config()):
        new_model.compile_from_config(config)
    return new_model


def _validate_beta(beta: Any, regularizer: Any) -> None:
    non_negative_number("beta", beta)
    if beta != 1.0 and regularizer is not None and type(regularizer) not in _SCALABLE:
        raise ValueError(
            "`scale_regularizer` must be an L1, L2 or L1L2 regularizer if `beta` is not 1. "
            f"Received: scale_regularizer={regularizer!r}, beta={beta!r}"
        )


_SCALABLE = (keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)


def _scaled(regularizer: Any, factor: float) -> Any:
    """Returns a regularizer times a factor."""
    if regularizer is None or factor == 1.0:
        return regularizer
    config = regularizer.get_config()
    return type(regularizer)(**{name: factor * float(value) for name, value in config.items()})


class _Block(int):
    """Number of times that a map has become smaller, a stand-in for the map itself."""


def _blocks(model: keras.Model) -> dict[int, int]:
    """Returns for each layer the number of times that the map has become smaller before it."""
    found: dict[int, int] = {}

    def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
        layer = node.operation
        if is_functional(layer):
            inputs = args[0] if args else kwargs["inputs"]
            return replay(functional_graph(layer), inputs, call)
        values = keras.tree.flatten((args, kwargs))
        block = max((value for value in values if isinstance(value, _Block)), default=0)
        found[id(layer)] = min(block, found.get(id(layer), block))
        return [_Block(block + reduces(node)) for _ in node.outputs]

    graph = functional_graph(model)
    replay(graph, keras.tree.map_structure(lambda tensor: _Block(0), graph.input), call)
    return found


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
    chosen = []
    for name in layer_names("layers", names):
        layer = _find_layer(model, name)
        if type(layer) is not keras.layers.Conv2D:
            raise ValueError(
                f"`layers` must name Conv2D layers of {model.name!r}. "
                f"Received: {name!r}, which is a {type(layer).__name__}"
            )
        if _obstacle(layer):
            raise ValueError(
                "`layers` must name Conv2D layers with stride 1, padding='same' and groups=1. "
                f"Received: {name!r} with {_obstacle(layer)}"
            )
        chosen.append(layer)
    return chosen


def _find_layer(model: keras.Model, name: str) -> keras.Layer:
    """Returns a layer by its name, or by its path through nested models."""
    inside = [layer.name for layer in model._flatten_layers(include_self=False)]
    called = {layer.name for layer in nested_layers(model)}
    if name in inside and name not in called:
        raise ValueError(
            "`layers` must name layers that the model calls itself. "
            f"Received: {name!r}, which is inside of another layer, such as a wrapper"
        )
    current: Any = model
    for part in layer_path(model, name, calls=None):
        current = current.get_layer(part)
    return current


def _obstacle(layer: keras.layers.Conv2D) -> str:
    """Returns the option that a target layer does not have, or an empty string."""
    if layer.strides != (1, 1):
        return f"strides={layer.strides}"
    if layer.padding != "same" and tuple(layer.kernel_size) != (1, 1):
        return f"padding={layer.padding!r}"
    return f"groups={layer.groups}" if layer.groups != 1 else ""


def _target_layer(layer: keras.layers.Conv2D, options: dict[str, Any]) -> TargetLayer:
    config = layer.get_config()
    shared = {name: config[name] for name in _SHARED if name in config}
    return TargetLayer.from_config({**shared, **options})
