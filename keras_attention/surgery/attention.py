"""Inserts SAN, CBAM or BAM into a model.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-C.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graph.functional import (
    Node,
    copy_model,
    first_tensor,
    functional_graph,
    inputs_like,
    is_functional,
    levels,
    nodes,
    replay,
)
from keras_attention.graph.structure import PADDINGS, Graph, InsertionPoint
from keras_attention.layers.attention_by_name import IMAGE_ATTENTIONS, apply_attention
from keras_attention.layers.base import ConfigurableLayer
from keras_attention.utils.validation import boolean, one_of

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
    """Copies a model and inserts attention layers.

    The copy keeps the names, the order and the values of the old weights, and all other state of
    the layers; `model` does not change. SAN compares the output of a layer with the input of the
    convolution that computed it.

    Args:
        model: Functional or sequential Keras model; nested models are included.
        name: `"san-c"`, `"san-d"`, `"cbam"` or `"bam"`.
        placement: `"bottleneck"` (default) inserts before layers that reduce the size of a map,
            if no other layer reads the map; `"full"` inserts after every convolution with its
            normalization and activation. Maps of one pixel, as in squeeze-and-excitation blocks,
            are left out.
        identity: If True, the copy computes the same outputs as `model` until it is trained: the
            attended map is added with a learned factor that is initially 0 (`ReZero`).
        **options: More arguments of `SANBlock`, `CBAM` or `BAM`. By default CBAM and BAM have one
            hidden unit per 16 channels, but at least 4 units, and SAN smooths with the kernel size
            of the convolution, or 3 after a 1x1 convolution.

    Returns:
        The new `keras.Model`.

    Raises:
        ValueError: If a name is unknown, `model` is neither functional nor sequential, cannot be
            copied, or has no position for attention.

    Example:
    >>> import keras_attention as ka
    >>> model = add_attention(ka.applications.CNN6(), "san-d")
    >>> [layer.name for layer in model.layers if "attention" in layer.name]
    ['conv1_attention', 'conv2_attention', 'conv3_attention']
    """
    functional_graph(model)
    one_of("name", name, IMAGE_ATTENTIONS)
    one_of("placement", placement, tuple(PLACEMENTS))
    insertion = _Insertion(name, placement, boolean("identity", identity), options)
    new_model = insertion.into(copy_model(model))
    if not insertion.count:
        raise ValueError(
            "`model` must contain a convolution with a feature map to attend to, for "
            f"placement={placement!r}. Received: model={model.name!r} without one"
        )
    return copy_model(new_model)


class _Insertion:
    """Inserts one mechanism into a model and its nested models.

    Attributes:
        count: Number of attention layers created.
    """

    def __init__(self, name: str, placement: str, identity: bool, options: Mapping[str, Any]):
        self.name, self.placement, self.identity = name, placement, identity
        self.options, self.count = options, 0
        self._nested: dict[int, keras.Model] = {}

    def into(self, model: keras.Model) -> keras.Model:
        """Returns the new model, which calls the layers of the old one; the old one if none fits.

        Keras orders layers by their distance from the outputs. Where attention in one branch would
        change the order of the weights, the other branches get layers that do nothing.
        """
        graph = functional_graph(model)
        nested = {
            id(layer): self._into_nested(layer) for layer in graph.layers if is_functional(layer)
        }
        points = PLACEMENTS[self.placement](Graph(graph))
        if not points and all(nested[id(old)] is old for old in graph.layers if id(old) in nested):
            return model
        weighted = [nested.get(id(layer), layer) for layer in graph.layers if layer.weights]
        new_model = self._rebuild(graph, model.name, nested, points)
        if not _has_order(new_model, weighted):
            new_model = self._rebuild(graph, model.name, nested, points, _level_with(graph, points))
        return new_model

    def _into_nested(self, model: keras.Model) -> keras.Model:
        if id(model) not in self._nested:
            self._nested[id(model)] = self.into(model)
        return self._nested[id(model)]

    def _rebuild(
        self,
        graph: keras.Model,
        name: str,
        nested: Mapping[int, keras.Model],
        points: Sequence[InsertionPoint],
        delayed: Sequence[Node] = (),
    ) -> keras.Model:
        """Repeats the calls of a graph and inserts attention."""
        point_of = {id(point.node): point for point in points}
        delayed_ids = {id(node) for node in delayed}
        unique_name = _UniqueNames(graph)
        # Inputs of nodes by node, and of padding layers by their output.
        inputs_of: dict[int, Tensor] = {}
        unpadded: dict[int, Tensor] = {}

        def call(node: Node, /, *args: Any, **kwargs: Any) -> Any:
            layer = node.operation
            first = first_tensor(args, kwargs)
            # Padding belongs to the convolution after it.
            inputs_of[id(node)] = first = unpadded.get(id(first), first)
            outputs = nested.get(id(layer), layer)(*args, **kwargs)
            if isinstance(layer, PADDINGS):
                unpadded[id(outputs)] = first
            if id(node) in point_of:
                convolution = point_of[id(node)].convolution
                attention_name = unique_name(f"{layer.name}_attention")
                y_prev = inputs_of[id(convolution)]
                return self._attend(convolution.operation, y_prev, outputs, attention_name)
            if id(node) in delayed_ids and len(node.outputs) == 1:
                for _ in range(1 + self.identity):
                    outputs = keras.layers.Identity(name=unique_name(f"{layer.name}_level"))(
                        outputs
                    )
            return outputs

        inputs = inputs_like(graph)
        return keras.Model(inputs, replay(graph, inputs, call), name=name)

    def _attend(self, convolution: keras.Layer, y_prev: Tensor, y: Tensor, name: str) -> Tensor:
        options = {"dtype": convolution.dtype_policy, **self.options}
        options.setdefault("data_format", convolution.data_format)
        self.count += 1
        attended = apply_attention(self.name, y_prev, y, convolution.kernel_size, name, options)
        if not self.identity:
            return attended
        return ReZero(dtype=convolution.dtype_policy, name=f"{name}_rezero")([y, attended])


class _UniqueNames:
    """Makes layer names that a model does not have yet, by adding numbers."""

    def __init__(self, graph: keras.Model):
        self._names = {layer.name for layer in graph.layers}
        self._names |= {node.operation.name for node in nodes(graph)}

    def __call__(self, base: str) -> str:
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name


def _has_order(model: keras.Model, layers: Sequence[keras.Layer]) -> bool:
    """Returns True if the model has these layers in this order, apart from others."""
    position = {id(layer): index for index, layer in enumerate(layers)}
    order = [position[id(layer)] for layer in model.layers if id(layer) in position]
    return order == sorted(order)


def _level_with(graph: keras.Model, points: Sequence[InsertionPoint]) -> list[Node]:
    """Returns the nodes at the same distance from the outputs as insertion points."""
    refined = {id(point.node) for point in points}
    found: list[Node] = []
    for level in levels(graph):
        if any(id(node) in refined for node in level):
            found += [node for node in level if id(node) not in refined]
    return found


@keras.saving.register_keras_serializable(package="keras_attention")
class ReZero(ConfigurableLayer):
    """Adds a refinement to a map with a learned factor that is initially 0.

    A pre-trained network with inserted attention so starts with its old outputs: the first training
    step changes the factor, the following ones the attention layer.

    Call arguments:
        inputs: `[before, after]`, two tensors of the same shape.

    Weights:
        alpha: Scalar; 0 at first.

    Output shape:
        The shape of both inputs.

    Example:
    >>> layer = ReZero()
    >>> [float(value) for value in layer([ops.ones((2,)), ops.zeros((2,))])]
    [1.0, 1.0]

    Reference:
        Bachlechner et al., ReZero is All You Need (2020), for residual branches.
    """

    def build(self, input_shape: Sequence[Shape]) -> None:
        self.alpha = self.add_weight(name="alpha", shape=(), initializer="zeros")

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        before, after = inputs
        return before + ops.cast(self.alpha, before.dtype) * (after - before)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        return tuple(input_shape[0])
