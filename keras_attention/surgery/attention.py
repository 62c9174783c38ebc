"""Puts SAN, CBAM or BAM into any functional model.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-C.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graph.functional import functional, inputs_like, is_functional
from keras_attention.graph.structure import PADDINGS, Graph, Place
from keras_attention.layers.by_name import IMAGE_ATTENTIONS, attended
from keras_attention.utils.validation import flag, one_of

Tensor = Any
PLACEMENTS = {"bottleneck": Graph.before_reductions, "full": Graph.after_convolutions}
Shape = tuple[int | None, ...]


def add_attention(
    model: keras.Model,
    name: str,
    placement: str = "bottleneck",
    *,
    identity: bool = False,
    **options: Any,
) -> keras.Model:
    """Copies a model with a mechanism put between its layers.

    Names, order and values of the old weights are kept; `model` stays as it was. What a layer's
    output is compared with, by SAN, is what its convolution reads.

    Args:
        model: A functional or sequential Keras model, also one with models inside.
        name: `"san-c"`, `"san-d"`, `"cbam"` or `"bam"`.
        placement: `"bottleneck"` (default), before each layer that makes the map smaller, where
            nothing goes on at the map's own size; or `"full"`, after every convolution with its
            normalization and activation. Maps of one pixel are left out, as in squeeze and
            excitation.
        identity: Whether the copy computes at first what `model` does: each mechanism then has a
            share in what goes on that is learned and 0 at first.
        **options: More arguments of `SANBlock`, `CBAM` or `BAM`. Without `reduction` CBAM and BAM
            have a hidden unit for 16 channels, 4 at least; without `kernel_size` SAN's smoothing
            has that of the convolution, or 3 where this has 1.

    Returns:
        The new `keras.Model`.

    Raises:
        ValueError: For names that do not exist, a model without a place for attention, or one that
            is neither functional nor sequential.

    Example:
    >>> import keras_attention as ka
    >>> model = add_attention(ka.applications.CNN6(), "san-d")
    >>> [layer.name for layer in model.layers if "attention" in layer.name]
    ['conv1_attention', 'conv2_attention', 'conv3_attention']
    """
    functional(model)
    one_of("name", name, IMAGE_ATTENTIONS)
    one_of("placement", placement, tuple(PLACEMENTS))
    addition = _Addition(name, placement, flag("identity", identity), options)
    new_model = addition.into(model)
    if not addition.count:
        raise ValueError(
            f"`model` must hold a convolution with a map to attend to, for placement={placement!r}."
            f" Received: {model.name!r} without one"
        )
    return new_model


class _Addition:
    """One mechanism, to be put into a model and the models inside."""

    def __init__(self, name: str, placement: str, identity: bool, options: Mapping[str, Any]):
        self.name, self.placement, self.identity = name, placement, identity
        self.options, self.count = options, 0
        self._copies: dict[int, Any] = {}

    def into(self, model: keras.Model) -> keras.Model:
        """The copy of one model, with its weights."""
        graph = functional(model)
        copy = _Copy(self, graph, model.name)
        if copy.keeps_order():
            return copy.model
        for layer in graph.layers:
            self._copies.pop(id(layer), None)
        return _Copy(self, graph, model.name, levels=True).model

    def copy_of(self, layer: Any) -> Any:
        """The copy of a layer, the same for each of its calls."""
        if id(layer) not in self._copies:
            before, copy = self.count, None
            if is_functional(layer):
                copy = self.into(layer)
            if self.count == before:  # nothing was added: its own kind is kept
                copy = type(layer).from_config(layer.get_config())
            self._copies[id(layer)] = copy
        return self._copies[id(layer)]

    def refine(self, convolution: keras.Layer, y_prev: Tensor, y: Tensor, name: str) -> Tensor:
        """The output to go on with."""
        options = {"dtype": convolution.dtype_policy, **self.options}
        options.setdefault("data_format", convolution.data_format)
        self.count += 1
        refined = attended(self.name, y_prev, y, convolution.kernel_size, name, options)
        if not self.identity:
            return refined
        return ReZero(dtype=convolution.dtype_policy, name=f"{name}_share")([y, refined])


class _Copy:
    """The calls of one graph, made again on the copies of its layers.

    Keras orders layers by their distance from the outputs. With `levels`, branches beside a
    mechanism get layers that do nothing, as many as the mechanism has: all distances grow alike,
    and the order stays.
    """

    def __init__(self, addition: _Addition, graph: keras.Model, name: str, levels: bool = False):
        self._addition, self._graph = addition, graph
        places = PLACEMENTS[addition.placement](Graph(graph))
        self._places: dict[int, Place] = {id(place.node): place for place in places}
        self._beside: set[int] = set()
        if levels:
            for nodes in graph._nodes_by_depth.values():
                if any(id(node) in self._places for node in nodes):
                    self._beside.update(id(node) for node in nodes)
        self._read: dict[int, Tensor] = {}
        self._unpadded: dict[int, Tensor] = {}
        self._taken = {layer.name for layer in graph.layers}
        inputs = inputs_like(graph)
        values = dict(zip(map(id, graph.inputs), keras.tree.flatten(inputs), strict=True))
        for node in Graph(graph).nodes:
            self._call(node, values)
        outputs = keras.tree.map_structure(lambda old: values[id(old)], graph._outputs_struct)
        self.model = keras.Model(inputs, outputs, name=name)

    def _call(self, node: Any, values: dict[int, Tensor]) -> None:
        """Repeats a call, and refines what comes out where it is the place."""
        layer, copy = node.operation, self._addition.copy_of(node.operation)
        args, kwargs = node.arguments.fill_in(values)
        first = values[id(node.input_tensors[0])]
        # A convolution reads what was before its padding.
        self._read[id(node)] = first = self._unpadded.get(id(first), first)
        new = copy(*args, **kwargs)
        if isinstance(layer, PADDINGS):
            self._unpadded[id(new)] = first
        if type(copy) is type(layer) and len(copy.weights) == len(layer.weights):
            copy.set_weights(layer.get_weights())
        if id(node) in self._places:
            place = self._places[id(node)]
            y_prev = self._read[id(place.convolution)]
            name = self._name(f"{layer.name}_attention")
            new = self._addition.refine(place.convolution.operation, y_prev, new, name)
        elif id(node) in self._beside and len(node.outputs) == 1:
            for _ in range(1 + self._addition.identity):
                new = keras.layers.Identity(name=self._name(f"{layer.name}_level"))(new)
        values.update(zip(map(id, node.outputs), keras.tree.flatten(new), strict=True))

    def keeps_order(self) -> bool:
        """Whether the layers with weights come in the order of the old ones."""
        copies = [self._addition.copy_of(old) for old in self._graph.layers if old.weights]
        wanted = {id(copy): number for number, copy in enumerate(copies)}
        order = [wanted[id(layer)] for layer in self.model.layers if id(layer) in wanted]
        return order == sorted(order)

    def _name(self, base: str) -> str:
        """The name, with a number where the model has it already."""
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name


@keras.saving.register_keras_serializable(package="keras_attention")
class ReZero(keras.Layer):
    """Adds a learned share of the way from a map to its refinement; the share is 0 at first.

    A pre-trained network that a mechanism is put into so starts where it was: the first step of
    training moves the share, the next ones the mechanism.

    Call arguments:
        inputs: `[before, after]`, of the same shape.

    Weights:
        share: A scalar, 0 at first.

    Output shape:
        That of both.

    Example:
    >>> layer = ReZero()
    >>> [float(value) for value in layer([ops.ones((2,)), ops.zeros((2,))])]
    [1.0, 1.0]

    Reference:
        Bachlechner et al., ReZero is All You Need (2020), of residual branches.
    """

    def build(self, input_shape: Sequence[Shape]) -> None:
        self.share = self.add_weight(name="share", shape=(), initializer="zeros")

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        before, after = inputs
        return before + ops.cast(self.share, before.dtype) * (after - before)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(input_shape[0])
