"""Models that return their attention maps beside their predictions."""

import inspect
from typing import Any

import keras

from keras_attention.graph.functional import Node, functional_graph, is_functional, replay

Tensor = Any
NamedTensors = list[tuple[str, Tensor]]

# Options of a layer's call that add outputs, in the order of these outputs.
OPTIONS = ("return_attention", "return_gates")


def with_attention(model: keras.Model) -> keras.Model:
    """Makes a model with the same inputs and weights that also returns the attention maps.

    Layers whose call has an option `return_attention` return their map, and their gates if the call
    has an option `return_gates`, also in nested functional and sequential models. These layers and
    all that follow them are called once more to form the new model. It computes each layer once, as
    `model` does, and `model` does not change.

    Args:
        model: Functional or sequential Keras model that is built. Layers inside other layers and
            inside subclassed models do not return their maps.

    Returns:
        A `keras.Model` whose output is a dictionary:

        - `"predictions"` is the output of `model`; `"predictions1"` and so on if there are several.
            Outputs in a dictionary keep their names.
        - `"<layer>_attention"` is the attention map of a layer.
        - `"<layer>_masks"` are the masks of a layer with gates (`"<layer>_masks1"` and so on for a
            list of masks), and `"<layer>_gates"` its gates.
        - `"<layer>_saliency"` and `"<layer>_positions"` are those of a `PatchRefiner`.

        Names of layers in a nested model begin with the name of that model and `_`. A name that
        occurs again, for example because a layer is called twice, ends in `_2`.

    Raises:
        ValueError: If the model is neither functional nor sequential, or has no such layer.

    Example:
    >>> import keras_attention as ka
    >>> attending = with_attention(ka.applications.ClutteredCNN(attention_depth=1))
    >>> {name: tuple(tensor.shape[1:]) for name, tensor in attending.output.items()}
    {'predictions': (10,), 'rectify_masks1': (5, 5, 4), 'rectify_gates': (2,)}
    """
    functional_graph(model)
    outputs, maps = _AttentionGraph({}).rebuild(model)
    if not maps:
        raise ValueError(
            "`model` must contain a layer with a call option `return_attention`, outside other "
            f"layers and subclassed models. Received: {model.name!r} without such a layer"
        )
    named = _unique_names([*_named_outputs(outputs), *maps])
    return keras.Model(functional_graph(model).input, named, name=model.name)


class _AttentionGraph:
    """Repeats the calls of layers that depend on a mechanism, in a model and in nested models.

    Args:
        replacements: Replacement of each layer and nested model by its identity, so that a layer
            that is called twice has one replacement.
    """

    def __init__(self, replacements: dict[int, Any]):
        self.replacements = replacements
        self.maps: NamedTensors = []

    def rebuild(self, model: keras.Model) -> tuple[Any, NamedTensors]:
        """Returns the new outputs in the structure of the model's, and the named maps."""
        graph = functional_graph(model)
        return replay(graph, graph.input, self._call), self.maps

    def _call(self, node: Node, /, *args: Any, **kwargs: Any) -> Any:
        """Returns the new outputs of a node: the old ones if none of its inputs is new."""
        layer = node.operation
        if _has_attention_option(layer):
            return self._call_with_attention(layer, args, kwargs)
        if is_functional(layer) and self._nested_model(layer)[1]:
            attending, names = self._nested_model(layer)
            outputs, maps = attending(*args, **kwargs)
            self.maps += [(name, maps[name]) for name in names]
            return outputs
        arguments = keras.tree.flatten((args, kwargs))
        if all(any(old is new for new in arguments) for old in node.input_tensors):
            return node.outputs
        return layer(*args, **kwargs)

    def _call_with_attention(self, layer: keras.Layer, args: Any, kwargs: Any) -> Any:
        """Calls a layer with all options, keeps the maps, and returns the original outputs."""
        options = [name for name in OPTIONS if name in inspect.signature(layer.call).parameters]
        copy = self.replacements.setdefault(id(layer), _uncalled_copy(layer))
        outputs = copy(*args, **{**kwargs, **dict.fromkeys(options, True)})
        names = getattr(layer, "attention_names", None)
        if names is not None:
            named = zip(names, outputs[1:], strict=True)
            self.maps += [(f"{layer.name}_{name}", tensor) for name, tensor in named]
            return outputs if kwargs.get("return_attention") else outputs[:1]
        self.maps += _named_maps(layer.name, *outputs[1:])
        kept = [True, *(bool(kwargs.get(name)) for name in options)]
        return [output for output, keep in zip(outputs, kept, strict=True) if keep]

    def _nested_model(self, model: keras.Model) -> tuple[keras.Model, list[str]]:
        """Returns a model with its outputs and a dictionary of maps, and the names of the maps."""
        if id(model) not in self.replacements:
            outputs, found = _AttentionGraph(self.replacements).rebuild(model)
            maps = _unique_names([(f"{model.name}_{name}", tensor) for name, tensor in found])
            inputs = functional_graph(model).input
            new = keras.Model(inputs, [outputs, maps], name=model.name) if maps else model
            self.replacements[id(model)] = new, list(maps)
        return self.replacements[id(model)]


def _uncalled_copy(layer: keras.Layer) -> keras.Layer:
    """Returns a layer that shares the variables and has no nodes.

    Keras derives the number of outputs from the first call of a layer, so the layer itself cannot
    return more outputs in a later call.
    """
    copy = object.__new__(type(layer))
    copy.__dict__.update(layer.__dict__, _inbound_nodes=[], _outbound_nodes=[])
    return copy


def _has_attention_option(layer: Any) -> bool:
    return (
        isinstance(layer, keras.Layer)
        and "return_attention" in inspect.signature(layer.call).parameters
    )


def _named_outputs(outputs: Any) -> NamedTensors:
    if isinstance(outputs, dict):
        return list(outputs.items())
    flat = keras.tree.flatten(outputs)
    if len(flat) == 1:
        return [("predictions", flat[0])]
    return [(f"predictions{number}", tensor) for number, tensor in enumerate(flat, start=1)]


def _named_maps(layer: str, maps: Any, gates: Tensor = None) -> NamedTensors:
    if gates is None:
        return [(f"{layer}_attention", maps)]
    named = [(f"{layer}_masks", maps)]
    if isinstance(maps, (list, tuple)):
        named = [(f"{layer}_masks{depth}", mask) for depth, mask in enumerate(maps, start=1)]
    return [*named, (f"{layer}_gates", gates)]


def _unique_names(named: NamedTensors) -> dict[str, Tensor]:
    """Makes a dictionary; a name that exists already gets a number."""
    result: dict[str, Tensor] = {}
    for base, tensor in named:
        name, number = base, 1
        while name in result:
            number += 1
            name = f"{base}_{number}"
        result[name] = tensor
    return result
