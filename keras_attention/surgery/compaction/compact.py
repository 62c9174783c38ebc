"""`compact`: an inference model that computes the regions of a trained one, and nothing else."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.graph.functional import functional_graph, nodes
from keras_attention.layers import TargetLayer
from keras_attention.surgery.compaction import convolutions, rules
from keras_attention.surgery.compaction.convolutions import Target, target_of
from keras_attention.surgery.compaction.maps import EntryMap, Map, RegionMap, entry_map, region_map
from keras_attention.utils.numerics import is_pointwise
from keras_attention.utils.validation import positive_integer

MAPS = (RegionMap, EntryMap)
# Images of a call to be fast for, and what they weigh.
BATCHES = {64: 1.0, 1: 0.5}


def compact(
    model: keras.Model, input_shape: Any = None, *, batch_size: int | None = None
) -> keras.Model:
    """Makes a fast inference model of a trained one: regions as constants, only they computed.

    Each target layer becomes convolutions of a few groups of kernels, over rectangles that are
    fixed, or one matrix where its regions are a few pixels. What they compute passes through
    activations, batch normalisation, pooling and concatenation to the next target layer without
    the map around it; input channels that are zero in what a group reads are left out; a dense
    layer after flattening reads what can differ from a constant. All of it is exact up to the
    rounding of sums: what lies outside a region is a known constant per channel, zero at first.
    Other layers get whole maps. Training-only layers are left out; weights are constants of the
    regions of now: compact again after training further.

    Args:
        model: A functional or sequential model that holds target layers, also inside nested
            models.
        input_shape: `(H, W, channels)` where the model's own leaves H or W open.
        batch_size: Images per call to be fast for. None, the default, weighs calls of 64 and of
            one: what is best for 64 repeats kernels in matrices, which cost one image time.

    Returns:
        A `keras.Model` of the same inputs and outputs. It saves, loads and exports.

    Raises:
        ValueError: For a model without target layers, one that is neither functional nor
            sequential, or sizes that are not known.

    Example:
    >>> import keras_attention as ka
    >>> model = ka.applications.TDN10()
    >>> fast = compact(model)
    >>> fast.output_shape
    (None, 10)

    Reference:
        Chitta, Targeted Kernel Networks (2018), section 3.5.
    """
    batches = BATCHES if batch_size is None else {positive_integer("batch_size", batch_size): 1.0}
    _check(model)
    return _Compaction(model, batches).compacted(input_shape)


def _check(model: Any) -> None:
    functional_graph(model)
    if not _target_layers(model):
        raise ValueError(f"`model` must hold a TargetLayer. Received: {model.name!r} without one")


@dataclass(frozen=True)
class Flattened:
    """A map after Flatten, for a dense layer to read."""

    source: Map
    layer: keras.layers.Flatten


class _Compaction:
    """Walks through a model's graph; what passes between its layers are tensors or maps."""

    def __init__(self, model: keras.Model, batches: Mapping[int, float]):
        self.graph = model._functional if isinstance(model, keras.Sequential) else model
        self.model, self.batches = model, batches
        self.original_names = {layer.name for layer in model.layers}
        self.taken: set[str] = set()
        self.copies: dict[int, Any] = {}

    def compacted(self, input_shape: Any = None) -> keras.Model:
        """The new model."""
        inputs = [_input_like(tensor, input_shape) for tensor in self.graph.inputs]
        self.taken.update(tensor._keras_history.operation.name for tensor in inputs)
        values: dict[int, Any] = {
            id(old): new for old, new in zip(self.graph.inputs, inputs, strict=True)
        }
        readers = self._readers()
        for node in self._nodes():
            args, kwargs = node.arguments.fill_in(values)
            outputs = self._call(node.operation, args, kwargs)
            for old, new in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
                if isinstance(new, EntryMap) and readers[id(old)] > 1:
                    new = new.as_regions()  # else it would be computed for each reader
                values[id(old)] = new
        outputs = keras.tree.map_structure(
            lambda old: self._plain(values[id(old)]), self.graph._outputs_struct
        )
        packed = keras.tree.pack_sequence_as(self.graph._inputs_struct, inputs)
        return keras.Model(packed, outputs, name=self.model.name)

    def name(self, base: str) -> str:
        """A layer name that is not taken: an original one for the first that asks for it."""
        name, number = base, 1
        while name in self.taken or (name != base and name in self.original_names):
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        return name

    def _nodes(self) -> list[Any]:
        return nodes(self.graph)

    def _readers(self) -> Counter[int]:
        read = [tensor for node in self._nodes() for tensor in node.input_tensors]
        return Counter(id(tensor) for tensor in [*read, *self.graph.outputs])

    def _call(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """A layer's result as a map where there is a rule for it, else as a tensor."""
        asked = [value for value in kwargs.values() if value is not None and value is not False]
        only = args[0] if len(args) == 1 and not asked else None
        result = None
        if isinstance(only, (list, tuple)):
            result = self._join(layer, list(only))
        elif only is not None:
            result = self._apply(layer, only)
        if result is None:
            args, kwargs = keras.tree.map_structure(self._plain, (args, kwargs))
            result = self._copy(layer)(*args, **kwargs)
            self._copy_weights(layer)
        return result

    def _apply(self, layer: Any, value: Any) -> Any:
        """A layer of one input; None where there is no rule."""
        if type(layer) in rules.IDENTITIES:
            return value
        if isinstance(value, Flattened):
            is_dense = type(layer) is keras.layers.Dense
            return rules.dense_of_flat(layer, value.source, self.name) if is_dense else None
        source = self._as_map(value, layer)
        return None if source is None else self._apply_to_map(layer, source, source is not value)

    def _apply_to_map(self, layer: Any, source: Map, is_whole: bool) -> Any:
        if type(layer) is TargetLayer:
            if not is_pointwise(layer.activation):
                return None
            return convolve(target_of(layer, source.layout.sides), source, self.batches)
        if type(layer) is keras.layers.Flatten:
            same = layer.data_format == source.layout.data_format
            return Flattened(source, layer) if same and not is_whole else None
        if rules.is_pointwise(layer):
            return rules.pointwise(layer, source)
        rule = rules.RULES.get(type(layer))
        return rule(layer, source) if rule else None

    def _join(self, layer: Any, values: list[Any]) -> Any:
        """A layer of several inputs; None where there is no rule."""
        if type(layer) is not keras.layers.Concatenate:
            return None
        if not any(isinstance(value, MAPS) for value in values):
            return None
        formats = {value.layout.data_format for value in values if isinstance(value, MAPS)}
        maps = []
        for value in values:
            if isinstance(value, EntryMap):
                value = value.as_regions()
            elif not isinstance(value, RegionMap):
                value = self._map_of(value, next(iter(formats)), layer)
            maps.append(value)
        return rules.concatenation(layer, maps) if None not in maps else None

    def _as_map(self, value: Any, layer: Any) -> Map | None:
        if isinstance(value, MAPS):
            return value
        default = keras.config.image_data_format()
        return self._map_of(value, getattr(layer, "data_format", default), layer)

    def _map_of(self, value: Any, data_format: str, layer: Any) -> RegionMap | None:
        shape = getattr(value, "shape", ())
        if len(shape) != 4 or None in shape[1:]:
            if type(layer) is TargetLayer:
                raise ValueError(
                    f"`compact` needs the sizes of the map that {layer.name!r} reads: pass "
                    f"`input_shape`, such as (28, 28, 1). Received: a map of {tuple(shape)}"
                )
            return None
        return region_map(value, data_format, layer.dtype_policy, self.name)

    def _plain(self, value: Any) -> Any:
        """The tensor that the original model has in a map's place."""
        if isinstance(value, Flattened):
            name = self.name(value.layer.name)
            return keras.layers.Flatten(value.layer.data_format, name=name)(value.source.plain())
        return value.plain() if isinstance(value, MAPS) else value

    def _copy(self, layer: Any) -> Any:
        if id(layer) not in self.copies:
            if isinstance(layer, keras.Model) and _target_layers(layer):
                self.copies[id(layer)] = _Compaction(layer, self.batches).compacted()
            else:
                self.copies[id(layer)] = type(layer).from_config(layer.get_config())
            self.taken.add(layer.name)
        return self.copies[id(layer)]

    def _copy_weights(self, layer: Any) -> None:
        copy = self.copies[id(layer)]
        if getattr(layer, "weights", None) and not (
            isinstance(layer, keras.Model) and _target_layers(layer)
        ):
            copy.set_weights(layer.get_weights())


def _target_layers(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, TargetLayer)]


def _input_like(tensor: Any, input_shape: Any) -> Any:
    """A new input of the old name: servers ask for it by name."""
    shape = tuple(tensor.shape)
    if input_shape is not None:
        sizes = tuple(input_shape)
        fits = len(sizes) == len(shape) - 1 and all(
            want in (None, size) for size, want in zip(sizes, shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"`input_shape` must fit the model's {shape[1:]}, without the batch. "
                f"Received: input_shape={input_shape}"
            )
        shape = (shape[0], *sizes)
    name = tensor._keras_history.operation.name
    return keras.Input(batch_shape=shape, dtype=tensor.dtype, name=name)


def convolve(target: Target, source: Map, batches: Mapping[int, float]) -> Map:
    """Computes a target layer's regions, and only them.

    Args:
        target: The layer.
        source: The map that it reads.
        batches: Images of a call to be fast for, and what each weighs: the way is taken whose
            times over those of the whole convolution have the smallest weighted sum.
    """
    channels = source.layout.channels
    weights = {
        batch: weight / convolutions.whole_seconds(target, channels, batch)
        for batch, weight in batches.items()
    }
    costs = {
        groups: sum(
            convolutions.groups_seconds(target, channels, groups, batch) * weight
            for batch, weight in weights.items()
        )
        for groups in [convolutions.groups_of(target, channels, batch) for batch in batches]
    }
    groups = min(costs, key=lambda choice: costs[choice])
    matrix = sum(
        convolutions.matrix_seconds(target, source, batch) * weight
        for batch, weight in weights.items()
    )
    if matrix < costs[groups]:
        entries = source if isinstance(source, EntryMap) else entry_map(source)
        return convolutions.by_matrix(target, entries, max(batches))
    regions = source.as_regions() if isinstance(source, EntryMap) else source
    return convolutions.by_groups(target, regions, groups)
