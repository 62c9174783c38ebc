"""Adds attention modules and confidence gates to any classifier.

Reference: Rodriguez et al., Attend and Rectify (2018), sections 3 and 4.4.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.graph.classifier import (
    SIGMOID,
    SOFTMAX,
    Classifier,
    find_classifier,
    output_kind,
)
from keras_attention.graph.features import layer_path
from keras_attention.graph.functional import Node, flatten_nested
from keras_attention.graph.structure import Graph
from keras_attention.layers.attend_rectify import AttendRectifyHead, apply_head_activation
from keras_attention.utils.validation import did_you_mean, is_integer

Tensor = Any

HEAD, LOGITS, POOL = "rectify", "rectify_logits", "rectify_pool"


def add_attend_rectify(
    model: keras.Model,
    layers: int | str | Sequence[str],
    classes: int,
    heads: int = 4,
    *,
    classifier_activation: Any = "softmax",
    gradient_scale: float = 1.0,
    **options: Any,
) -> keras.Model:
    """Adds attention modules to layers of a classifier, and gates that combine all predictions.

    The new model calls the layers of `model`, so their weights are the same variables. Its
    classifier is a new dense layer, `"rectify_logits"`, with the weights of the old one if that has
    as many classes. The attention modules and the gates are the layer `"rectify"`. The new layers
    learn faster with `training.LayerwiseOptimizer(keras.optimizers.SGD(1e-3), {"rectify": 10,
    "rectify_logits": 10})` (section 4.4).

    Args:
        model: Functional or sequential image classifier, with or without its top, such as any model
            of keras.applications. It can contain nested models.
        layers: Names of the layers whose feature maps are attended to, in any order, or their
            number (the attention depth): these are then the last layers whose map is reduced in
            size by the following layer; the last map of a model without its top counts as reduced.
            Layers of nested models may be named by their paths, such as `"encoder/conv1"`.
        classes: Number of classes, 2 or more; that of `model` if it has its top.
        heads: Attention heads of each module; 4 by default, the best number in the paper.
        classifier_activation: Activation of the output; `"softmax"` by default. With None, the
            output is the sum of the log-probabilities, for `losses.NegativeLogLikelihood`.
        gradient_scale: Factor of the gradients from the modules and gates into the old layers; 1
            by default. 0 blocks them (section 4.3).
        **options: More arguments of `layers.AttendRectifyHead`.

    Returns:
        The new `keras.Model` with outputs of shape `(B, classes)` in float32.

    Raises:
        ValueError: If a layer is unknown, the depth is too large, `model` has no feature maps, or
            its top has another number of classes, has sigmoid outputs, or classifies each pixel.

    Example:
    >>> import keras_attention as ka
    >>> model = add_attend_rectify(ka.applications.LeNet5(classes=7), 2, classes=7)
    >>> model.output_shape, len(model.get_layer("rectify").modules)
    ((None, 7), 2)
    """
    if isinstance(layers, (list, tuple)) and all(isinstance(name, str) for name in layers):
        layers = [layer_path(model, name, calls=None)[-1] for name in layers]
    flat = flatten_nested(model)
    graph, classifier = Graph(flat), find_classifier(flat)
    _validate_names(flat)
    _validate_output(flat, classifier)
    if classifier.classes not in (None, classes):
        raise ValueError(
            f"`classes` must be {classifier.classes}, the number of classes of `model`. "
            f"Received: classes={classes}. For other classes, pass the model without its top "
            "(include_top=False)."
        )
    maps = [node.outputs[0] for node in _attended_nodes(graph, layers)]
    convolution = graph.convolution_before(classifier.map_node)
    options.setdefault("data_format", convolution.data_format)
    options.setdefault("dtype", convolution.dtype_policy)
    head = AttendRectifyHead(classes, heads, gradient_scale=gradient_scale, name=HEAD, **options)
    features = _pooled_features(graph, classifier.map_node, convolution.data_format)
    logits = _logits(classifier, features, head.classes)
    outputs = head(maps, logits, features)
    outputs = apply_head_activation(
        outputs, head.space, classifier_activation, "rectify_predictions"
    )
    return keras.Model(flat.input, outputs, name=model.name)


def _validate_output(model: keras.Model, classifier: Classifier) -> None:
    kind, rank = output_kind(model), len(model.output_shape)
    if classifier.kernel is not None and kind == SIGMOID:
        received = "with sigmoid outputs"
    elif classifier.kernel is None and rank > 2 and kind == SOFTMAX:
        received = f"with a softmax over each position of a map of shape {model.output_shape}"
    elif classifier.kernel is None and rank == 2 and kind in (SOFTMAX, SIGMOID):
        received = "with probabilities that are not those of one dense layer"
    else:
        return
    raise ValueError(
        "`model` must be a classifier of images into classes of which one is right (softmax or "
        "logits), or a model without its top: the gates combine log-probabilities of such classes. "
        f"Received: model={model.name!r} {received}. Pass the model without its top."
    )


def _attended_nodes(graph: Graph, layers: Any) -> list[Node]:
    """Returns the nodes whose maps are attended to, the deepest first."""
    if is_integer(layers):
        return _last_reduced_nodes(graph, int(layers))
    names = [layers] if isinstance(layers, str) else layers
    if not isinstance(names, (list, tuple)) or not names or len(set(names)) < len(names):
        raise ValueError(
            "`layers` must be a number of layers, or a list of names without repetitions. "
            f"Received: layers={layers!r}"
        )
    nodes = {node.operation.name: node for node in graph.maps()}
    for name in names:
        if name not in nodes:
            raise ValueError(
                f"`layers` must name layers that return feature maps. Received: {name!r}."
                + did_you_mean(str(name), nodes)
            )
    return sorted((nodes[name] for name in names), key=graph.depth, reverse=True)


def _last_reduced_nodes(graph: Graph, count: int) -> list[Node]:
    points = sorted((point.node for point in graph.before_reductions()), key=graph.depth)
    # If several branches are reduced at the same stage, the deepest node is used.
    nodes = list({graph.reductions(node): node for node in points}.values())
    if 1 <= count <= len(nodes):
        return sorted(nodes, key=graph.depth, reverse=True)[:count]
    names = ", ".join(node.operation.name for node in nodes)
    raise ValueError(
        f"`layers`, as a number, must be from 1 to {len(nodes)}. The layers whose map is reduced "
        f"in size by the following layer are: {names or 'none'}. Received: layers={count}"
    )


def _pooled_features(graph: Graph, node: Node, data_format: str) -> Tensor:
    """Returns the mean of the last feature map, that of an existing layer if there is one."""
    for consumer in graph.consumers(node):
        pool = consumer.operation
        if isinstance(pool, keras.layers.GlobalAveragePooling2D) and not pool.keepdims:
            return consumer.outputs[0]
    pool = keras.layers.GlobalAveragePooling2D(data_format=data_format, name=POOL)
    return pool(node.outputs[0])


def _logits(classifier: Classifier, features: Tensor, classes: int) -> Tensor:
    """Applies the new dense layer, with the old weights if the number of classes is the same."""
    layer = keras.layers.Dense(
        classes, kernel_initializer="he_normal", dtype="float32", name=LOGITS
    )
    logits = layer(features if classifier.inputs is None else classifier.inputs)
    if classifier.classes == classes and classifier.kernel is not None:
        layer.set_weights([classifier.kernel, classifier.bias])
    return logits


def _validate_names(model: keras.Model) -> None:
    existing = {layer.name for layer in model.layers} & {HEAD, LOGITS}
    if existing:
        raise ValueError(
            "`model` must not contain attention modules of add_attend_rectify already. "
            f"Received: model={model.name!r} with a layer {sorted(existing)[0]!r}"
        )
