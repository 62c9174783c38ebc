"""Augments any classifier with attention modules and gates over what they and it say.

Reference: Rodriguez et al., Attend and Rectify (2018), sections 3 and 4.4.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention.graph.classifier import Classifier, find_classifier
from keras_attention.graph.functional import unrolled
from keras_attention.graph.structure import Graph
from keras_attention.layers.attend_rectify import AttendRectifyHead, answered
from keras_attention.utils.validation import is_integer, nearest

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
    """Puts attention modules on layers of a classifier, and gates over all that is said.

    The new model calls the layers of `model`: their weights are the same variables. Its classifier
    is a new dense layer, `"rectify_logits"`, with the weights of the old one where that has as many
    classes; the modules and gates are the layer `"rectify"`. What is new learns faster with
    `training.LayerwiseOptimizer(keras.optimizers.SGD(1e-3), {"rectify": 10, "rectify_logits": 10})`
    (section 4.4).

    Args:
        model: A functional or sequential classifier of images, with or without its top, such as any
            of keras.applications; also one with models inside.
        layers: Names of the layers whose maps are attended to, in any order; or how many: the
            attention depth, counted from the last map backwards over those that the next layer
            makes smaller.
        classes: How many classes to tell apart.
        heads: Heads of each module; 4 by default, the paper's best.
        classifier_activation: Of the answer; `"softmax"` by default. None leaves the sum of the
            logarithms of probabilities, for `losses.NegativeLogLikelihood`.
        gradient_scale: Of the gradients from the modules and gates into the old layers: 1 by
            default; 0 blocks them (section 4.3).
        **options: More arguments of `layers.AttendRectifyHead`.

    Returns:
        The new `keras.Model`, from the same inputs to `(B, classes)`, float32.

    Raises:
        ValueError: For layers or a depth that are not there, or a model without maps.

    Example:
    >>> import keras_attention as ka
    >>> model = add_attend_rectify(ka.applications.LeNet5(), 2, classes=7)
    >>> model.output_shape, len(model.get_layer("rectify").modules)
    ((None, 7), 2)
    """
    flat = unrolled(model)
    graph, classifier = Graph(flat), find_classifier(flat)
    _check_names(flat)
    maps = [node.outputs[0] for node in _tapped(graph, layers)]
    first = graph.convolution_of(classifier.map_node)
    options.setdefault("data_format", first.data_format)
    options.setdefault("dtype", first.dtype_policy)
    head = AttendRectifyHead(classes, heads, gradient_scale=gradient_scale, name=HEAD, **options)
    features = _pooled(graph, classifier.map_node, first.data_format)
    logits = _logits(classifier, features, head.classes)
    answer = head(maps, logits, features)
    outputs = answered(answer, head.space, classifier_activation, "rectify_predictions")
    return keras.Model(flat.input, outputs, name=model.name)


def _tapped(graph: Graph, layers: Any) -> list[Any]:
    """The calls whose maps are attended to, the deepest first."""
    if is_integer(layers):
        return _last_places(graph, int(layers))
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
                f"`layers` must name layers that return maps. Received: {name!r}."
                + nearest(str(name), nodes)
            )
    return sorted((nodes[name] for name in names), key=graph.level, reverse=True)


def _last_places(graph: Graph, depth: int) -> list[Any]:
    places = sorted((place.node for place in graph.before_reductions()), key=graph.level)
    # Where several branches are reduced at once, the one of the longest way.
    nodes = list({graph.reductions(node): node for node in places}.values())
    if 1 <= depth <= len(nodes):
        return sorted(nodes, key=graph.level, reverse=True)[:depth]
    names = ", ".join(node.operation.name for node in nodes)
    raise ValueError(
        f"`layers`, as a depth, must be from 1 to {len(nodes)}: maps that the next layer makes "
        f"smaller come from {names or 'no layer'}. Received: layers={depth}"
    )


def _pooled(graph: Graph, node: Any, data_format: str) -> Tensor:
    """The mean of the last map: that which the model takes already, or a new one."""
    for reader in graph.readers(node):
        pool = reader.operation
        if isinstance(pool, keras.layers.GlobalAveragePooling2D) and not pool.keepdims:
            return reader.outputs[0]
    pool = keras.layers.GlobalAveragePooling2D(data_format=data_format, name=POOL)
    return pool(node.outputs[0])


def _logits(classifier: Classifier, features: Tensor, classes: int) -> Tensor:
    """What a new dense layer says, with the old weights where it may have them."""
    layer = keras.layers.Dense(
        classes, kernel_initializer="he_normal", dtype="float32", name=LOGITS
    )
    read = features if classifier.read is None else classifier.read
    logits = layer(read)
    if classifier.classes == classes and classifier.kernel is not None:
        layer.set_weights([classifier.kernel, classifier.bias])
    return logits


def _check_names(model: keras.Model) -> None:
    taken = {layer.name for layer in model.layers} & {HEAD, LOGITS}
    if taken:
        raise ValueError(
            f"`model` must not be augmented already. Received: {model.name!r} with a layer "
            f"{sorted(taken)[0]!r}"
        )
