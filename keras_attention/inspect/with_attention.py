"""A model that returns, beside its answer, where it attends."""

import inspect
from typing import Any

import keras

Tensor = Any
Named = list[tuple[str, Tensor]]

# What a layer may be asked to return after its output, in this order.
ASKED = ("return_attention", "return_gates")


def with_attention(model: keras.Model) -> keras.Model:
    """Makes a model of the same inputs and weights that returns the attention maps too.

    Every call of a layer that takes `return_attention` is asked for its map, and for its gates
    where the layer takes `return_gates`; so are those in functional and sequential models inside.
    What comes after the first of them is called once more, on what they then return: nothing is
    computed twice, and `model` stays as it was.

    Args:
        model: A functional or sequential Keras model that is built. What other layers and
            subclassed models hold inside is not asked.

    Returns:
        A `keras.Model` whose output is a dictionary. The model's own output is `"predictions"`, of
        several `"predictions1"` and so on; those of a dictionary keep their names. A layer's map is
        `"<layer>_attention"`; of a layer with gates the masks are `"<layer>_masks"`, or
        `"<layer>_masks1"` and so on where it returns a list of them, and the gates
        `"<layer>_gates"`; of a `PatchRefiner` there are `"<layer>_saliency"` and
        `"<layer>_positions"`. The names of layers in a model inside begin with that model's name
        and `_`. Where a name would come twice, as of a layer called twice, the second ends in `_2`.

    Raises:
        ValueError: For a model that is neither functional nor sequential, or without such a layer.

    Example:
    >>> import keras_attention as ka
    >>> attending = with_attention(ka.applications.ClutteredCNN(attention_depth=1))
    >>> {name: tuple(tensor.shape[1:]) for name, tensor in attending.output.items()}
    {'predictions': (10,), 'rectify_masks1': (5, 5, 4), 'rectify_gates': (2,)}
    """
    if not _has_graph(model):
        raise ValueError(
            "`model` must be a functional or sequential Keras model that is built. "
            f"Received: model={model!r}"
        )
    outputs, found = _Repetition({}).of(model)
    if not found:
        raise ValueError(
            "`model` must hold a layer that takes `return_attention`, by itself or in a functional "
            f"or sequential model inside. Received: {model.name!r} without one"
        )
    named = _unique([*_named_outputs(outputs), *found])
    return keras.Model(_inputs(model), named, name=model.name)


class _Repetition:
    """Calls what depends on a mechanism again, in a model and in the models inside.

    Args:
        made: What was made in the stead of a layer, by its identity: for a layer that is called
            twice once.
    """

    def __init__(self, made: dict[int, Any]):
        self.made = made
        self.found: Named = []

    def of(self, model: keras.Model) -> tuple[Any, Named]:
        """The outputs of the calls made again, as the model has them, and the maps by name."""
        graph = model._functional if isinstance(model, keras.Sequential) else model
        by_depth = graph._nodes_by_depth
        nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
        values = {id(tensor): tensor for node in nodes for tensor in node.outputs}
        for node in nodes:
            if not node.is_input:
                new = self._outputs(node, values)
                values.update(zip(map(id, node.outputs), keras.tree.flatten(new), strict=True))
        outputs = keras.tree.map_structure(lambda old: values[id(old)], graph._outputs_struct)
        return outputs, self.found

    def _outputs(self, node: Any, values: dict[int, Tensor]) -> Any:
        """What stands for the outputs of a call: the same where nothing before it has changed."""
        layer = node.operation
        args, kwargs = node.arguments.fill_in(values)
        if _is_asked(layer):
            return self._asked(layer, args, kwargs)
        if _has_graph(layer) and self._inside(layer)[1]:
            attending, names = self._inside(layer)
            outputs, maps = attending(*args, **kwargs)
            self.found += [(name, maps[name]) for name in names]
            return outputs
        if all(values[id(tensor)] is tensor for tensor in node.input_tensors):
            return node.outputs
        return layer(*args, **kwargs)

    def _asked(self, layer: keras.Layer, args: Any, kwargs: Any) -> Any:
        """Calls a layer for its maps, and returns what it returned before."""
        wanted = [name for name in ASKED if name in inspect.signature(layer.call).parameters]
        twin = self.made.setdefault(id(layer), _twin(layer))
        outputs = twin(*args, **{**kwargs, **dict.fromkeys(wanted, True)})
        names = getattr(layer, "attention_names", None)
        if names is not None:
            named = zip(names, outputs[1:], strict=True)
            self.found += [(f"{layer.name}_{name}", tensor) for name, tensor in named]
            return outputs if kwargs.get("return_attention") else outputs[:1]
        self.found += _named_maps(layer.name, *outputs[1:])
        kept = [True, *(bool(kwargs.get(name)) for name in wanted)]
        return [output for output, keep in zip(outputs, kept, strict=True) if keep]

    def _inside(self, model: keras.Model) -> tuple[keras.Model, list[str]]:
        """A model that returns its outputs and a dictionary of its maps, and their names."""
        if id(model) not in self.made:
            outputs, found = _Repetition(self.made).of(model)
            maps = _unique([(f"{model.name}_{name}", tensor) for name, tensor in found])
            new = keras.Model(_inputs(model), [outputs, maps], name=model.name) if maps else model
            self.made[id(model)] = new, list(maps)
        return self.made[id(model)]


def _twin(layer: keras.Layer) -> keras.Layer:
    """A layer of the same variables that has not been called yet.

    Keras takes the first call of a layer for all of them, so it cannot return more in a later one.
    """
    twin = object.__new__(type(layer))
    twin.__dict__.update(layer.__dict__, _inbound_nodes=[], _outbound_nodes=[])
    return twin


def _is_asked(layer: Any) -> bool:
    return (
        isinstance(layer, keras.Layer)
        and "return_attention" in inspect.signature(layer.call).parameters
    )


def _has_graph(model: Any) -> bool:
    """Whether a model says how its layers are called."""
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))


def _inputs(model: keras.Model) -> Any:
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def _named_outputs(outputs: Any) -> Named:
    if isinstance(outputs, dict):
        return list(outputs.items())
    flat = keras.tree.flatten(outputs)
    if len(flat) == 1:
        return [("predictions", flat[0])]
    return [(f"predictions{number}", tensor) for number, tensor in enumerate(flat, start=1)]


def _named_maps(layer: str, maps: Any, gates: Tensor = None) -> Named:
    if gates is None:
        return [(f"{layer}_attention", maps)]
    named = [(f"{layer}_masks", maps)]
    if isinstance(maps, (list, tuple)):
        named = [(f"{layer}_masks{depth}", mask) for depth, mask in enumerate(maps, start=1)]
    return [*named, (f"{layer}_gates", gates)]


def _unique(named: Named) -> dict[str, Tensor]:
    """A dictionary; a name that is taken gets a number."""
    result: dict[str, Tensor] = {}
    for base, tensor in named:
        name, number = base, 1
        while name in result:
            number += 1
            name = f"{base}_{number}"
        result[name] = tensor
    return result
