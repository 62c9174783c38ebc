"""Inserts SAN, CBAM or BAM into a model.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-C.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graph.features import layer_path
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
from keras_attention.graph.structure import PADDINGS, RECURRENT, Graph, InsertionPoint
from keras_attention.layers.attention_by_name import (
    IMAGE_ATTENTIONS,
    SMALLEST_SMOOTHING,
    apply_attention,
)
from keras_attention.layers.base import ConfigurableLayer
from keras_attention.layers.recurrent_attention import RecurrentAttention
from keras_attention.utils.validation import boolean, layer_names, one_of

Tensor = Any
PLACEMENTS = {
    "bottleneck": Graph.before_reductions,
    "block": Graph.after_residual_branches,
    "full": Graph.after_convolutions,
}
# "san" is "san-c" on sequences; "ran" replaces recurrent layers.
SEQUENCE_ATTENTIONS = ("san", "ran")
Shape = tuple[int | None, ...]


def add_attention(
    model: keras.Model,
    name: str,
    placement: str = "bottleneck",
    *,
    layers: Sequence[str] | None = None,
    identity: bool = False,
    **options: Any,
) -> keras.Model:
    """Copies a model and inserts attention layers.

    The copy keeps the names, the order and the values of the old weights, and all other state of
    the layers; `model` does not change. SAN compares the output of a layer with the input of the
    convolution that computed it.

    Args:
        model: Functional or sequential Keras model; nested models are included.
        name: `"san-c"`, `"san-d"`, `"cbam"` or `"bam"`; for recurrent networks `"san"`, after the
            outputs of recurrent layers, or `"ran"`, which masks the inputs of their cells.
        placement: `"bottleneck"` (default) inserts before layers that reduce the size of a map,
            if no other layers read the map except skip connections to a decoder; the last map of a
            network without its top counts as reduced. `"block"` inserts once per residual block, at
            the end of the residual branch. `"full"` inserts after every convolution with its
            normalization and activation, or after every recurrent layer. Maps of one pixel, as in
            squeeze-and-excitation blocks, are left out.
        layers: Names of layers after which to insert, in place of a placement; layers of nested
            models also by their paths, such as `"encoder/conv1"`. None (default) for `placement`.
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
    one_of("name", name, (*IMAGE_ATTENTIONS, *SEQUENCE_ATTENTIONS))
    one_of("placement", placement, tuple(PLACEMENTS))
    if boolean("identity", identity) and name == "ran":
        raise ValueError(
            "`identity` must be False for name='ran', whose mask multiplies the inputs of a cell. "
            "Received: identity=True"
        )
    paths = None
    if layers is not None:
        paths = [layer_path(model, one, calls=None) for one in layer_names("layers", layers)]
    insertion = _Insertion(name, placement, paths, identity, options)
    new_model = insertion.into(copy_model(model))
    if not insertion.count:
        raise ValueError(
            f"`model` must contain {insertion.wanted} to attend to. "
            f"Received: model={model.name!r} without one"
        )
    return copy_model(new_model)


class _Insertion:
    """Inserts one mechanism into a model and its nested models.

    Attributes:
        count: Number of attention layers created.
    """

    def __init__(
        self,
        name: str,
        placement: str,
        paths: Sequence[tuple[str, ...]] | None,
        identity: bool,
        options: Mapping[str, Any],
    ):
        self.name, self.placement, self.paths, self.identity = name, placement, paths, identity
        self.options, self.count = options, 0
        self._nested: dict[int, keras.Model] = {}
        self._recurrent: dict[int, keras.Layer] = {}

    @property
    def wanted(self) -> str:
        """Description of what the insertion needs, for an error message."""
        if self.name == "ran":
            return "a recurrent layer with outputs over time"
        if self.placement == "block":
            return "a residual block, the addition of a branch of convolutions and a shortcut,"
        return f"a convolution with a feature map for placement={self.placement!r}"

    def into(
        self, model: keras.Model, path: tuple[str, ...] = (), reduced_outputs: bool = True
    ) -> keras.Model:
        """Returns the new model, which calls the layers of the old one; the old one if none fits.

        Keras orders layers by their distance from the outputs. Where attention in one branch would
        change the order of the weights, the other branches get layers that do nothing.
        """
        graph = functional_graph(model)
        structure = Graph(graph, reduced_outputs)
        nested: dict[int, keras.Model] = {}
        for node in structure.nodes:
            layer = node.operation
            if is_functional(layer) and id(layer) not in nested:
                is_reduced = structure.is_reduced(node)
                nested[id(layer)] = self._into_nested(layer, (*path, layer.name), is_reduced)
        points = self._points(structure, path)
        if not points and all(nested[id(old)] is old for old in graph.layers if id(old) in nested):
            return model
        weighted = [nested.get(id(layer), layer) for layer in graph.layers if layer.weights]
        new_model = self._rebuild(graph, model.name, nested, points)
        if not _has_order(new_model, weighted):
            new_model = self._rebuild(graph, model.name, nested, points, _level_with(graph, points))
        return new_model

    def _into_nested(
        self, model: keras.Model, path: tuple[str, ...], reduced_outputs: bool
    ) -> keras.Model:
        if id(model) not in self._nested:
            self._nested[id(model)] = self.into(model, path, reduced_outputs)
        return self._nested[id(model)]

    def _points(self, structure: Graph, path: tuple[str, ...]) -> list[InsertionPoint]:
        if self.paths is None:
            points = PLACEMENTS[self.placement](structure)
        else:
            here = [one[-1] for one in self.paths if one[:-1] == path]
            points = structure.after_layers(here)
            self._validate_points(points)
        if self.name == "ran":
            return [point for point in points if isinstance(point.node.operation, keras.layers.RNN)]
        return points

    def _validate_points(self, points: Sequence[InsertionPoint]) -> None:
        """Checks the layers that the user chose."""
        for point in points:
            shape = tuple(point.node.outputs[0].shape)
            needs_convolution = self.name.startswith("san")
            if len(shape) not in (3, 4, 5) or (needs_convolution and point.convolution is None):
                raise ValueError(
                    "`layers` must name layers that return feature maps"
                    + " after a convolution" * needs_convolution
                    + f". Received: {point.node.operation.name!r} with output shape {shape}"
                )

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
            if id(node) in point_of and self.name == "ran":
                return self._recurrent_attention(layer)(*args, **kwargs)
            outputs = nested.get(id(layer), layer)(*args, **kwargs)
            if isinstance(layer, PADDINGS):
                unpadded[id(outputs)] = first
            if id(node) in point_of:
                convolution = point_of[id(node)].convolution
                attention_name = unique_name(f"{layer.name}_attention")
                # CBAM and BAM only read the output.
                source = layer if convolution is None else convolution.operation
                y_prev = inputs_of[id(node if convolution is None else convolution)]
                return self._attend(source, y_prev, outputs, attention_name)
            if id(node) in delayed_ids and len(node.outputs) == 1:
                for _ in range(1 + self.identity):
                    outputs = keras.layers.Identity(name=unique_name(f"{layer.name}_level"))(
                        outputs
                    )
            return outputs

        inputs = inputs_like(graph)
        return keras.Model(inputs, replay(graph, inputs, call), name=name)

    def _attend(self, convolution: keras.Layer, y_prev: Tensor, y: Tensor, name: str) -> Tensor:
        options = {"dtype": getattr(convolution, "dtype_policy", None), **self.options}
        if isinstance(convolution, RECURRENT):
            options.setdefault("data_format", "channels_last")
        else:
            options.setdefault("data_format", getattr(convolution, "data_format", None))
        self.count += 1
        kernel_size = getattr(convolution, "kernel_size", SMALLEST_SMOOTHING)
        kind = "san-c" if self.name == "san" else self.name
        attended = apply_attention(kind, y_prev, y, kernel_size, name, options)
        if not self.identity:
            return attended
        return ReZero(dtype=options["dtype"], name=f"{name}_rezero")([y, attended])

    def _recurrent_attention(self, layer: keras.layers.RNN) -> keras.layers.RNN:
        """Returns a recurrent layer of the same cell, whose inputs are masked."""
        if id(layer) not in self._recurrent:
            self.count += 1
            cell = RecurrentAttention(layer.cell, dtype=layer.dtype_policy, **self.options)
            shared = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
            options = {name: getattr(layer, name) for name in shared}
            self._recurrent[id(layer)] = keras.layers.RNN(
                cell, name=layer.name, dtype=layer.dtype_policy, **options
            )
        return self._recurrent[id(layer)]


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
