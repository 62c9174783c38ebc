"""Reading, copying and rebuilding functional models node by node.

A node is one call of an operation (a layer, a nested model or a function of `keras.ops`) in the
graph of a functional model. All rebuilding goes through `replay`, which repeats these nodes.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import keras

Tensor = Any
Node = Any
Call = Callable[..., Any]


def is_functional(layer: Any) -> bool:
    """Returns True for functional models, and for sequential models that are built.

    Example:
    >>> is_functional(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    True
    """
    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def functional_graph(model: Any) -> keras.Model:
    """Returns a functional model unchanged, and the functional twin of a sequential model."""
    if not is_functional(model):
        raise ValueError(
            "`model` must be a functional or sequential Keras model that is built. "
            f"Received: model={model!r}"
        )
    return model._functional if isinstance(model, keras.Sequential) else model


def to_functional(model: keras.Model) -> keras.Model:
    """Converts any Keras model to a functional one; the layers are shared.

    Args:
        model: Keras model that is built. A subclassed model is called once on symbolic inputs, in
            inference mode: the branches of `if training:` in its Python code are fixed, while its
            layers still receive the training flag.

    Example:
    >>> class Classifier(keras.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.top = keras.layers.Dense(2, name="top")
    ...     def call(self, inputs):
    ...         return self.top(inputs)
    >>> model = Classifier()
    >>> _ = model(keras.ops.ones((1, 3)))
    >>> to_functional(model).get_layer("top") is model.top
    True
    """
    if not isinstance(model, keras.Model) or is_functional(model):
        return functional_graph(model)
    shape: Any = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if not _is_shape(shape):
        raise ValueError(
            "A subclassed `model` must have one input and must have been called on it. "
            f"Received: model={model.name!r}"
        )
    inputs = keras.Input(tuple(shape)[1:], name="inputs")
    try:
        outputs = model.call(inputs)
    except Exception as error:
        raise ValueError(
            "A subclassed `model` must consist of layers and keras.ops, so that it can be called "
            f"on symbolic inputs. Received: model={model.name!r}, which raised: {error}"
        ) from error
    return keras.Model(inputs, outputs, name=model.name)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, (list, tuple)) and all(
        side is None or isinstance(side, int) for side in shape
    )


def nodes(model: keras.Model) -> list[Node]:
    """Returns the nodes of a functional model, except its inputs, in an order of execution.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="top")])
    >>> [node.operation.name for node in nodes(functional_graph(model))]
    ['top']
    """
    return [node for level in levels(model) for node in level if not node.is_input]


def levels(model: keras.Model) -> list[list[Node]]:
    """Returns the nodes of a functional model by their distance from the outputs, inputs first."""
    by_distance = model._nodes_by_depth
    return [by_distance[distance] for distance in sorted(by_distance, reverse=True)]


def inputs_like(model: keras.Model) -> Any:
    """Creates inputs with the structure, shapes, dtypes and names of a model's inputs."""
    return keras.tree.map_structure(input_like, functional_graph(model).input)


def input_like(tensor: Tensor, batch_shape: Any = None) -> Tensor:
    """Creates an input with the name, shape and dtype of another.

    Args:
        tensor: Input of a functional model.
        batch_shape: Shape of the new input, if it differs.
    """
    layer = tensor._keras_history.operation
    return keras.Input(
        batch_shape=tensor.shape if batch_shape is None else batch_shape,
        dtype=tensor.dtype,
        sparse=getattr(tensor, "sparse", None),
        optional=getattr(layer, "optional", False),
        name=layer.name,
    )


def replay(model: keras.Model, inputs: Any, call: Call | None = None) -> Any:
    """Repeats the nodes of a model on new inputs.

    This is the interpreter on which feature extraction and all surgery are built.

    Args:
        model: Functional or sequential model.
        inputs: One value for each input, in the structure of `model.input`. The values can be
            tensors, symbolic tensors, or any objects that `call` accepts.
        call: Function `call(node, *args, **kwargs)` that computes the outputs of a node from its
            arguments, in which the values take the places of the symbolic tensors. By default it
            calls `node.operation`. Nested models are nodes like any layer.

    Returns:
        The values of the outputs, in the structure of `model.output`.

    Example:
    >>> images = keras.Input((4,))
    >>> model = keras.Model(images, keras.layers.Dense(2, name="top")(images / 255.0))
    >>> replay(model, "x", lambda node, x, *_: f"{type(node.operation).__name__}({x})")
    'Dense(TrueDivide(x))'
    """
    graph = functional_graph(model)
    values = dict(zip(map(id, graph.inputs), keras.tree.flatten(inputs), strict=True))
    for node in nodes(graph):
        args, kwargs = node.arguments.fill_in(values)
        outputs = node.operation(*args, **kwargs) if call is None else call(node, *args, **kwargs)
        values.update(zip(map(id, node.outputs), keras.tree.flatten(outputs), strict=True))
    return keras.tree.map_structure(lambda tensor: values[id(tensor)], graph.output)


def first_tensor(args: Any, kwargs: Any) -> Tensor:
    """Returns the first symbolic tensor among the arguments of a call."""
    arguments = keras.tree.flatten((args, kwargs))
    return next(value for value in arguments if isinstance(value, keras.KerasTensor))


def flatten_nested(model: keras.Model) -> keras.Model:
    """Replaces nested models by their layers, at any depth; the layers are shared.

    Returns:
        A functional model without nested functional or sequential models. If `model` has none, its
        own graph is returned.

    Example:
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="inner")])
    >>> outer = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(1, name="outer")])
    >>> [layer.name for layer in flatten_nested(outer).layers[1:]]
    ['inner', 'outer']
    """
    graph = functional_graph(model)
    if not any(is_functional(layer) for layer in graph.layers):
        return graph
    inputs = inputs_like(graph)
    return keras.Model(inputs, replay(graph, inputs, _call_flat()), name=model.name)


def _call_flat(training: bool | None = None) -> Call:
    """Returns a function `call` for `replay` that replays nested models, too."""

    def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
        operation = node.operation
        if isinstance(operation, keras.Layer) and kwargs.get("training") is None:
            kwargs = {**kwargs, "training": training} if training is not None else kwargs
        if is_functional(operation):
            inputs = args[0] if args else kwargs["inputs"]
            return replay(operation, inputs, _call_flat(kwargs.get("training")))
        return operation(*args, **kwargs)

    return call


def nested_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a model and of its nested models, each once.

    Layers inside of other layers, such as wrappers, are not included.

    Example:
    >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="inner")])
    >>> outer = keras.Sequential([keras.Input((4,)), inner], name="outer")
    >>> [layer.name for layer in nested_layers(outer) if isinstance(layer, keras.layers.Dense)]
    ['inner']
    """
    layers = [layer for graph in _graphs(model) for layer in graph.layers]
    return list({id(layer): layer for layer in layers}.values())


def _graphs(model: keras.Model) -> list[keras.Model]:
    """Returns the graphs of a model and of its nested models, each once."""
    graphs, pending = {}, [model]
    while pending:
        graph = functional_graph(pending.pop())
        if id(graph) not in graphs:
            graphs[id(graph)] = graph
            pending += [layer for layer in graph.layers if is_functional(layer)]
    return list(graphs.values())


def replace_layers(
    model: keras.Model, replace: Callable[[keras.layers.Layer], keras.layers.Layer]
) -> keras.Model:
    """Rebuilds a model and its nested models with other layers.

    Args:
        model: Functional or sequential model.
        replace: Function that returns the replacement of a layer, or the layer itself. It is called
            once per layer, however often the layer is called, and not for nested models.

    Returns:
        A model that calls the replacements and the other layers of `model`, which are shared. It is
        sequential if `model` is. If nothing is replaced, it is `model` itself.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])
    >>> type(replace_layers(model, lambda layer: keras.layers.ELU()).layers[0]).__name__
    'ELU'
    """
    replacements: dict[int, Any] = {}

    def replacement(operation: Any) -> Any:
        if id(operation) not in replacements:
            new = operation
            if is_functional(operation):
                new = rebuild(operation)
            elif isinstance(operation, keras.layers.Layer):
                new = replace(operation)
            replacements[id(operation)] = new
        return replacements[id(operation)]

    def rebuild(model: keras.Model) -> keras.Model:
        called = [node.operation for node in nodes(functional_graph(model))]
        if all(replacement(operation) is operation for operation in called):
            return model
        if isinstance(model, keras.Sequential):
            layers = [replacement(layer) for layer in model.layers]
            return keras.Sequential([input_like(model.inputs[0]), *layers], name=model.name)
        inputs = inputs_like(model)
        return keras.Model(inputs, replay(model, inputs, call), name=model.name)

    def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
        return replacement(node.operation)(*args, **kwargs)

    return rebuild(model)


def copy_model(model: keras.Model) -> keras.Model:
    """Copies a functional or sequential model with the whole state of its layers.

    The copy goes through the code that saves and loads models, so that all state is kept: adapted
    statistics of preprocessing layers, wrapped layers, `trainable` flags, quantized kernels. The
    states of random seeds are copied, too. The copy is not compiled. Its layers are called in one
    graph only, also if the layers of `model` are called in others.

    Args:
        model: Functional or sequential model. Custom layers need `get_config`, but need not be
            registered.

    Returns:
        A model with the same names: a functional one, or a sequential one if `model` is a
        sequential model that is not compiled. Keras cannot save models in which a nested model
        shares a layer with the outer model or with another nested model, so the copy of such a
        model has no nested models.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="top")])
    >>> copied = copy_model(model)
    >>> copied.get_layer("top") is model.get_layer("top")
    False
    """
    graph = functional_graph(model)
    is_shared = _shares_across_levels(graph)
    if is_shared:
        graph = flatten_nested(graph)
    if type(model) is keras.Sequential and not model.compiled and not is_shared:
        uncompiled = model
    else:
        # Without the optimizer and the losses, which may be unknown to the loading code.
        uncompiled = keras.Model(graph.input, graph.output, name=model.name)
    classes = {type(layer) for layer in uncompiled._flatten_layers(include_self=False)}
    custom = {kind.__name__: kind for kind in classes if not kind.__module__.startswith("keras.")}
    try:
        with keras.saving.custom_object_scope(custom), warnings.catch_warnings():
            # Layers without `build` are built when the copied model calls them.
            warnings.filterwarnings("ignore", "`build\\(\\)` was called on layer", UserWarning)
            copied = copy.deepcopy(uncompiled)
    except Exception as error:
        raise ValueError(
            "`model` must be copyable by `copy.deepcopy`: custom layers need `get_config`. "
            f"Received: model={model.name!r}, whose copy raised: {error}"
        ) from error
    if uncompiled is not model:
        # Configurations in JSON turn tuples into lists.
        inputs = keras.tree.pack_sequence_as(graph.input, copied.inputs)
        outputs = keras.tree.pack_sequence_as(graph.output, copied.outputs)
        copied = keras.Model(inputs, outputs, name=model.name)
    for old, new in zip(_seed_states(uncompiled), _seed_states(copied), strict=True):
        new.assign(old)
    return copied


def _shares_across_levels(model: keras.Model) -> bool:
    """Returns True if a layer is called in more than one of a model and its nested models."""
    layers = [layer for graph in _graphs(model) for layer in graph.layers]
    called = [id(layer) for layer in layers if not isinstance(layer, keras.layers.InputLayer)]
    return len(set(called)) < len(called)


def _seed_states(model: keras.Model) -> list[Any]:
    """Returns the variables that are not among the weights."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
