"""Feature extraction: models that also return the outputs of some of their layers."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_attention.graph.functional import (
    Node,
    flatten_nested,
    functional_graph,
    inputs_like,
    is_functional,
    nodes,
    replay,
)
from keras_attention.graph.structure import Graph
from keras_attention.utils.validation import did_you_mean

Tensor = Any
Path = tuple[str, ...]
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
    sequential models are found by their own names, or by their paths, such as `"encoder/conv"`.

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
    graph = functional_graph(model)
    paths = {name: layer_path(model, name) for name in names}
    inputs = graph.input if make_layer is None else inputs_like(graph)
    outputs, found = _replay_with_features(graph, inputs, list(paths.values()), make_layer)
    features = [found[paths[name]] for name in names]
    outputs = [outputs, features] if with_outputs else features
    return keras.Model(inputs, outputs, name=f"{model.name}_features")


def _replay_with_features(
    graph: keras.Model,
    inputs: Any,
    paths: Sequence[Path],
    make_layer: Callable[[], keras.layers.Layer] | None,
) -> tuple[Any, dict[Path, Tensor]]:
    """Replays a model; returns its outputs and the features at some paths.

    Nested models with features inside are replaced by models of the same layers that also return
    these features: layers of different nested models may have the same names.
    """
    own = {path[0] for path in paths if len(path) == 1}
    if make_layer is None and all(len(path) == 1 for path in paths):
        producers = {node.operation.name: node for node in Graph(graph).nodes}
        return graph.output, {(name,): producers[name].outputs[0] for name in own}
    found: dict[Path, Tensor] = {}

    def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
        name = node.operation.name
        inner = [path[1:] for path in paths if path[0] == name and len(path) > 1]
        if inner:
            outputs, features = _nested_extractor(node.operation, inner, make_layer)(
                *args, **kwargs
            )
            found.update(zip(((name, *path) for path in inner), features, strict=True))
        else:
            outputs = node.operation(*args, **kwargs)
        if name in own:
            tensor = keras.tree.flatten(outputs)[0]
            if make_layer is not None:
                outputs, tensor = make_layer()(tensor)
            found[name,] = tensor
        return outputs

    return replay(graph, inputs, call), found


def _nested_extractor(
    model: keras.Model, paths: Sequence[Path], make_layer: Callable[[], keras.layers.Layer] | None
) -> keras.Model:
    graph = functional_graph(model)
    inputs = graph.input if make_layer is None else inputs_like(graph)
    outputs, found = _replay_with_features(graph, inputs, paths, make_layer)
    return keras.Model(inputs, [outputs, [found[path] for path in paths]], name=model.name)


def layer_path(model: keras.Model, name: str, calls: int | None = 1) -> Path:
    """Returns the path to a layer: the names of the nested models around it, and its own.

    Args:
        model: Functional or sequential Keras model.
        name: Name of a layer, or its path with slashes, such as `"encoder/conv"`. The name alone is
            enough if no other layer has it.
        calls: Number of calls that the layer must have; None for any.

    Example:
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="relu")], name="inner")
    >>> layer_path(keras.Sequential([keras.Input((4,)), inner]), "relu")
    ('inner', 'relu')
    """
    known = dict(_calls_by_path(functional_graph(model)))
    wanted = tuple(name.split("/"))
    found = [path for path in known if path[-len(wanted) :] == wanted]
    if wanted in known:
        found = [wanted]
    if not found:
        names = ["/".join(path) for path in known] + [path[-1] for path in known]
        raise ValueError(
            f"The name must be that of a layer of {model.name!r}. Received: {name!r}."
            + (did_you_mean(name, names, 3) or _list_maps(model))
        )
    if len(found) > 1:
        raise ValueError(
            f"The name must be that of one layer of {model.name!r}. Received: {name!r}, the name "
            f"of {', '.join(repr('/'.join(path)) for path in found)}. Use one of these paths."
        )
    count, outputs = known[found[0]]
    if outputs != 1 or calls not in (count, None):
        raise ValueError(
            "The layer must be called once and return one tensor. "
            f"Received: {name!r}, called {count} times, with {outputs} outputs"
        )
    return found[0]


def _calls_by_path(graph: keras.Model) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Yields the path of each layer with its number of calls and of outputs."""
    calls = Counter(node.operation.name for node in nodes(graph))
    for name, node in {node.operation.name: node for node in nodes(graph)}.items():
        yield (name,), (calls[name], len(node.outputs))
        if is_functional(node.operation):
            for path, (count, outputs) in _calls_by_path(functional_graph(node.operation)):
                yield (name, *path), (count * calls[name], outputs)


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
    if name in (node.operation.name for node in nodes(functional_graph(model))):
        return _output_of(functional_graph(model), layer_path(model, name)[-1])
    return feature_extractor(model, [name], with_outputs=False).outputs[0]


def _graph_with(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Returns the graph of a model; without nested models if they contain some of the layers."""
    is_nested = any(len(layer_path(model, name)) > 1 for name in names)
    return flatten_nested(model) if is_nested else functional_graph(model)


def _output_of(graph: keras.Model, name: str) -> Tensor:
    """Returns the output of a layer of a graph without nested models, by its name or path."""
    own_name = name.rsplit("/", maxsplit=1)[-1]
    return next(node for node in nodes(graph) if node.operation.name == own_name).outputs[0]


def _list_maps(model: keras.Model) -> str:
    """Names some layers that end a stage of the network, which are the usual choices."""
    try:
        graph = flatten_nested(model)
    except ValueError:  # nested models with equal layer names
        graph = functional_graph(model)
    names = [point.node.operation.name for point in Graph(graph).before_reductions()]
    return f" Maps before reductions: {', '.join(names[:LISTED_NAMES])}" if names else ""
