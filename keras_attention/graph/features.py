"""A model that returns, beside its answer, the maps that some of its layers make."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_attention.graph.functional import functional, inputs_like, run, unrolled
from keras_attention.graph.structure import Graph
from keras_attention.utils.validation import nearest

Tensor = Any
# Names in an error, of those that a model has.
SHOWN = 12


def tapped(model: keras.Model, names: Sequence[str], answer: bool = True) -> keras.Model:
    """Makes a model of the same inputs and layers that also returns what some layers put out.

    Nothing is computed twice, and `model` stays as it was. Layers of functional and sequential
    models inside are found by their own names.

    Args:
        model: A functional or sequential Keras model that is built.
        names: Of layers that are called once.
        answer: Whether to return the model's own output; without, what follows the last tap is
            not computed.

    Returns:
        A model whose output is `[answer, [output of each name]]`, or the list alone.

    Raises:
        ValueError: For another model, or a name of no layer (names the nearest), of one that is
            called more than once or puts out more than one tensor.

    Example:
    >>> import keras_attention as ka
    >>> with_maps = tapped(ka.applications.WideResNet(10, 1, "at"), ["group1", "group3"])
    >>> [tuple(maps.shape) for maps in with_maps.output[1]]
    [(None, 32, 32, 16), (None, 8, 8, 64)]
    """
    graph = graph_with(model, names)
    maps = [tap(graph, name) for name in names]
    outputs = [graph._outputs_struct, maps] if answer else maps
    return keras.Model(graph.input, outputs, name=f"{model.name}_tapped")


def tapped_behind(
    model: keras.Model,
    names: Sequence[str],
    make: Callable[[str], keras.layers.Layer],
    answer: bool = True,
) -> keras.Model:
    """As `tapped`, but returns what layers put behind those say of their outputs.

    Args:
        model: A functional or sequential Keras model that is built.
        names: Of layers that are called once, and make one tensor each.
        make: Makes a layer for a name that returns two tensors: its input, which goes on through
            the network, and what is to be returned.
        answer: Whether to return the model's own output.

    Returns:
        A model whose output is `[answer, [what was made of each name]]`, or the list alone.

    Example:
    >>> import keras_attention as ka
    >>> from keras_attention.distillation.features import ChannelActivity
    >>> with_maps = tapped_behind(
    ...     ka.applications.WideResNet(10, 1, "at"), ["group3"], lambda name: ChannelActivity()
    ... )
    >>> with_maps.output[1][0].shape
    (None, 8, 8, 1)
    """
    graph = graph_with(model, names)
    made: dict[str, Tensor] = {}

    def behind(name: str) -> Callable[[Tensor], Tensor]:
        def call(features: Tensor) -> Tensor:
            through, made[name] = make(name)(features)
            return through

        return call

    inputs = inputs_like(graph)
    outputs = run(graph, inputs, behind={name: behind(name) for name in names})
    maps = [made[name] for name in names]
    return keras.Model(
        inputs, [outputs, maps] if answer else maps, name=f"{model.name}_tapped_behind"
    )


def cut(model: keras.Model, names: Sequence[str], at: str) -> tuple[keras.Model, keras.Model]:
    """Cuts a model in two at the output of a layer, as `tapped` finds it.

    Args:
        model: A functional or sequential Keras model that is built.
        names: Of more layers whose outputs are wanted.
        at: Name of the layer.

    Returns:
        A model from the inputs to `[output of at, outputs of names up to there]`, and one from
        `[output of at, inputs]` to `[answer, outputs of the other names]`.

    Example:
    >>> import keras_attention as ka
    >>> network = ka.applications.WideResNet(10, 1, "at")
    >>> first, second = cut(network, ["group1", "group3"], at="group2")
    >>> [maps.shape[-1] for maps in first.output[1]], [maps.shape[-1] for maps in second.output[1]]
    ([16], [64])
    """
    graph = graph_with(model, [at, *names])
    place = tap(graph, at)
    before = names_before(model, names, at)
    lower = [tap(graph, name) for name in names if name in before]
    upper = [tap(graph, name) for name in names if name not in before]
    first = keras.Model(graph.input, [place, lower], name=f"{model.name}_until_{at}")
    whole = keras.Model([place, graph.input], [graph._outputs_struct, upper])
    return first, whole


def names_before(model: keras.Model, names: Sequence[str], at: str) -> list[str]:
    """Which layers another one depends on, and itself.

    Example:
    >>> import keras_attention as ka
    >>> names_before(ka.applications.WideResNet(10, 1, "at"), ["group1", "group3"], "group2")
    ['group1']
    """
    graph = graph_with(model, [at, *names])
    calls = Graph(graph)
    waiting, reached = [tap(graph, at)], set()
    while waiting:
        node = calls.maker(waiting.pop())
        if node is not None and id(node) not in reached:
            reached.add(id(node))
            waiting += node.input_tensors
    return [name for name in names if id(calls.maker(tap(graph, name))) in reached]


def graph_with(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """The model as a graph that calls these layers; laid out where models inside hold them."""
    graph = functional(model)
    own = {node.operation.name for node in Graph(graph).nodes}
    return graph if own.issuperset(names) else unrolled(graph)


def tap(graph: keras.Model, name: str) -> Tensor:
    """What the layer of a name puts out in a functional model.

    Raises:
        ValueError: As `tapped` does.
    """
    calls = Graph(graph)
    found = [node for node in calls.nodes if node.operation.name == name]
    if len(found) == 1 and len(found[0].outputs) == 1:
        return found[0].outputs[0]
    if not found:
        raise ValueError(
            f"Expected the name of a layer of {graph.name!r}. Received: {name!r}."
            + (nearest(name, [node.operation.name for node in calls.nodes], 3) or _maps(calls))
        )
    raise ValueError(
        f"Expected a layer that {graph.name!r} calls once, for one tensor. "
        f"Received: {name!r}, called {len(found)} times for {len(found[0].outputs)} each"
    )


def _maps(calls: Graph) -> str:
    """The layers that reduce or end a stage say most; a few of all that make maps."""
    names = [place.node.operation.name for place in calls.before_reductions()]
    return f" Maps before reductions: {', '.join(names[:SHOWN])}" if names else ""
