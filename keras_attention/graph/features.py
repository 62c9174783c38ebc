"""Feature extraction: models that also return the outputs of some of their layers."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_attention.graph.functional import (
    Node,
    flatten_nested,
    functional_graph,
    inputs_like,
    replay,
)
from keras_attention.graph.structure import Graph
from keras_attention.utils.validation import did_you_mean

Tensor = Any
# Number of layer names that an error lists.
LISTED_NAMES = 12


def feature_extractor(
    model: keras.Model,
    names: Sequence[str],
    with_outputs: bool = True,
    make_layer: Callable[[], keras.layers.Layer] | None = None,
) -> keras.Model:
    """Creates a model that also returns the outputs of some layers; the layers are shared.

    Each layer is computed once, and `model` does not change. Layers of nested functional and
    sequential models are found by their own names.

    Args:
        model: Functional or sequential Keras model that is built.
        names: Names of layers that are called once and return one tensor.
        with_outputs: If True, the outputs of `model` are returned too. If False, layers that no
            feature depends on are left out.
        make_layer: Function that creates a layer to insert after each named layer. It returns two
            tensors: its input, which the following layers read, and the feature that is returned.

    Returns:
        A model whose output is `[outputs of model, features]`, or `features` alone, where
        `features` is a list with one tensor for each name.

    Example:
    >>> import keras_attention as ka
    >>> extractor = feature_extractor(ka.applications.WideResNet(10, 1, "at"), ["group1", "group3"])
    >>> [tuple(features.shape) for features in extractor.output[1]]
    [(None, 32, 32, 16), (None, 8, 8, 64)]
    """
    graph = _graph_with(model, names)
    features = [_output_of(graph, name) for name in names]
    inputs, outputs = graph.input, graph.output
    if make_layer is not None:
        inputs = inputs_like(graph)
        outputs, features = _insert(graph, names, make_layer, inputs)
    outputs = [outputs, features] if with_outputs else features
    return keras.Model(inputs, outputs, name=f"{model.name}_features")


def _insert(
    graph: keras.Model,
    names: Sequence[str],
    make_layer: Callable[[], keras.layers.Layer],
    inputs: Any,
) -> tuple[Any, list[Tensor]]:
    """Replays a model with a layer after each named layer; returns its outputs and the features."""
    features: dict[str, Tensor] = {}

    def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
        outputs = node.operation(*args, **kwargs)
        name = node.operation.name
        if name in names:
            outputs, features[name] = make_layer()(keras.tree.flatten(outputs)[0])
        return outputs

    outputs = replay(graph, inputs, call)
    return outputs, [features[name] for name in names]


def split_model(
    model: keras.Model, names: Sequence[str], at: str
) -> tuple[keras.Model, keras.Model]:
    """Splits a model at the output of a layer into two models that also return features.

    Args:
        model: Functional or sequential Keras model that is built.
        names: Names of layers whose outputs are returned, as in `feature_extractor`.
        at: Name of the layer at which the model is split.

    Returns:
        A model from the inputs to `[output of at, features before it]`, and a model from `[output
        of at, inputs]` to `[outputs of model, features after it]`.

    Example:
    >>> import keras_attention as ka
    >>> network = ka.applications.WideResNet(10, 1, "at")
    >>> first, second = split_model(network, ["group1", "group3"], at="group2")
    >>> [maps.shape[-1] for maps in first.output[1]], [maps.shape[-1] for maps in second.output[1]]
    ([16], [64])
    """
    graph = _graph_with(model, [at, *names])
    output = _output_of(graph, at)
    before = names_before(model, names, at)
    lower = [_output_of(graph, name) for name in names if name in before]
    upper = [_output_of(graph, name) for name in names if name not in before]
    first = keras.Model(graph.input, [output, lower], name=f"{model.name}_until_{at}")
    second = keras.Model([output, graph.input], [graph.output, upper])
    return first, second


def names_before(model: keras.Model, names: Sequence[str], at: str) -> list[str]:
    """Returns the names of the layers that a layer depends on, including its own name.

    Example:
    >>> import keras_attention as ka
    >>> names_before(ka.applications.WideResNet(10, 1, "at"), ["group1", "group3"], "group2")
    ['group1']
    """
    model = _graph_with(model, [at, *names])
    graph = Graph(model)
    pending, reached = [_output_of(model, at)], set()
    while pending:
        node = graph.producer(pending.pop())
        if node is not None and id(node) not in reached:
            reached.add(id(node))
            pending += node.input_tensors
    return [name for name in names if id(graph.producer(_output_of(model, name))) in reached]


def layer_output(model: keras.Model, name: str) -> Tensor:
    """Returns the symbolic output of a layer, also of a layer in a nested model.

    Example:
    >>> import keras_attention as ka
    >>> layer_output(ka.applications.WideResNet(10, 1, "at"), "group3").shape
    (None, 8, 8, 64)
    """
    return _output_of(_graph_with(model, [name]), name)


def _graph_with(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Returns the graph of a model; without nested models if they contain some of the names."""
    graph = functional_graph(model)
    top_level = {node.operation.name for node in Graph(graph).nodes}
    return graph if top_level.issuperset(names) else flatten_nested(graph)


def _output_of(model: keras.Model, name: str) -> Tensor:
    graph = Graph(model)
    found = [node for node in graph.nodes if node.operation.name == name]
    if len(found) == 1 and len(found[0].outputs) == 1:
        return found[0].outputs[0]
    if not found:
        names = [node.operation.name for node in graph.nodes]
        raise ValueError(
            f"The name must be that of a layer of {model.name!r}. Received: {name!r}."
            + (did_you_mean(name, names, 3) or _list_maps(graph))
        )
    raise ValueError(
        f"The layer must be called once by {model.name!r} and return one tensor. "
        f"Received: {name!r}, called {len(found)} times, with {len(found[0].outputs)} outputs"
    )


def _list_maps(graph: Graph) -> str:
    """Names some layers that end a stage of the network, which are the usual choices."""
    names = [point.node.operation.name for point in graph.before_reductions()]
    return f" Maps before reductions: {', '.join(names[:LISTED_NAMES])}" if names else ""
