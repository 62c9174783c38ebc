"""Compaction: fast inference models that compute only the regions of interest of target layers."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from keras_attention.graph.functional import (
    Node,
    copy_model,
    functional_graph,
    input_like,
    is_functional,
    nodes,
    replay,
)
from keras_attention.layers import TargetLayer
from keras_attention.layers.compacted import GatherPixels, PoolPixels, ScaleShift
from keras_attention.layers.targeted import is_pointwise
from keras_attention.surgery.compaction import regions
from keras_attention.surgery.compaction.regions import (
    Affine,
    FeatureMap,
    Layout,
    MakeName,
    PixelIndices,
    PixelMap,
    Pointwise,
    Region,
    RegionMap,
    convolve,
    pixel_map,
    region_map,
)
from keras_attention.utils.validation import positive_integer

Tensor = Any
Array = Any
MAPS = (RegionMap, PixelMap)
# Default batch sizes to be fast for, and their weights.
BATCH_WEIGHTS = {64: 1.0, 1: 0.5}


def compact(
    model: keras.Model, input_shape: Any = None, *, batch_size: int | None = None
) -> keras.Model:
    """Creates a fast inference model that computes only the regions of interest.

    Each target layer is replaced by convolutions of a few groups of kernels, each over one fixed
    rectangle, or by one matrix product if its regions have few pixels. The results pass through
    activations, batch normalization, pooling and concatenation to the next target layer without the
    map around the regions. Input channels that are zero where a group reads them are left out, and
    a dense layer after flattening reads only values that are not constant. All of this is exact up
    to the rounding of sums, because the map outside a region is a known constant per channel. Other
    layers read whole maps. Layers that do nothing in inference are left out. The regions are fixed:
    after further training, compact the model again.

    Args:
        model: Functional or sequential model with target layers, also in nested models.
        input_shape: Input shape `(H, W, channels)`, if the model leaves the height or width open.
        batch_size: Batch size to be fast for. By default, batches of 64 and single images are both
            considered: the fastest choice for batches of 64 can store kernels several times in
            matrices, which makes single images slower.

    Returns:
        A `keras.Model` with the same inputs and outputs.

    Raises:
        ValueError: If `model` has no target layers, is neither functional nor sequential, cannot be
            copied, or leaves sizes open.

    Example:
    >>> import keras_attention as ka
    >>> model = ka.applications.TDN10()
    >>> fast = compact(model)
    >>> fast.output_shape
    (None, 10)

    Reference:
        Chitta, Targeted Kernel Networks (2018), section 3.5.
    """
    batch_weights = BATCH_WEIGHTS
    if batch_size is not None:
        batch_weights = {positive_integer("batch_size", batch_size): 1.0}
    functional_graph(model)
    if not _has_target_layers(model):
        raise ValueError(
            f"`model` must contain a TargetLayer. Received: model={model.name!r} without one"
        )
    compaction = _Compaction(copy_model(model), batch_weights)
    return copy_model(compaction.compacted_model(input_shape))


def _has_target_layers(model: keras.Model) -> bool:
    return any(isinstance(layer, TargetLayer) for layer in model._flatten_layers())


@dataclass(frozen=True)
class _Flattened:
    """A feature map after a Flatten layer, to be read by a dense layer."""

    source: FeatureMap
    layer: keras.layers.Flatten


class _Compaction:
    """Replays a model with feature maps in place of tensors where it has rules for the layers."""

    def __init__(self, model: keras.Model, batch_weights: Mapping[int, float]):
        self.graph, self.batch_weights = functional_graph(model), batch_weights
        self._original_names = {layer.name for layer in model.layers}
        self._used_names: set[str] = set()
        self._nested: dict[int, keras.Model] = {}
        self._readers = Counter(id(tensor) for tensor in self.graph.outputs)
        for node in nodes(self.graph):
            self._readers.update(id(tensor) for tensor in node.input_tensors)

    def compacted_model(self, input_shape: Any = None) -> keras.Model:
        inputs = keras.tree.map_structure(
            lambda tensor: _sized_input(tensor, input_shape), self.graph.input
        )
        self._used_names.update(
            tensor._keras_history.operation.name for tensor in keras.tree.flatten(inputs)
        )
        outputs = replay(self.graph, inputs, self._call)
        outputs = keras.tree.map_structure(self._to_tensor, outputs)
        return keras.Model(inputs, outputs, name=self.graph.name)

    def _make_name(self, base: str) -> str:
        """Returns a unique layer name; an original name for the first layer that requests it."""
        name, number = base, 1
        while name in self._used_names or (name != base and name in self._original_names):
            number += 1
            name = f"{base}_{number}"
        self._used_names.add(name)
        return name

    def _call(self, node: Node, /, *args: Any, **kwargs: Any) -> list[Any]:
        """Returns the outputs of a node: maps if there is a rule for its layer, else tensors."""
        layer = node.operation
        result = None
        # Rules exist for layers that are called with one argument and without options.
        if len(args) == 1 and all(value is None or value is False for value in kwargs.values()):
            is_list = isinstance(args[0], (list, tuple))
            result = (self._join if is_list else self._apply)(layer, args[0])
        if result is None:
            args, kwargs = keras.tree.map_structure(self._to_tensor, (args, kwargs))
            result = self._operation(layer)(*args, **kwargs)
        results = keras.tree.flatten(result)
        for index, (old, new) in enumerate(zip(node.outputs, results, strict=True)):
            if isinstance(new, PixelMap) and self._readers[id(old)] > 1:
                # The pixels would be computed again for each reader.
                results[index] = new.to_region_map()
        return results

    def _apply(self, layer: Any, value: Any) -> Any:
        """Applies a layer with one input; returns None if there is no rule."""
        if type(layer) in IDENTITIES:
            return value
        if isinstance(value, _Flattened):
            is_dense = type(layer) is keras.layers.Dense and regions.USE_PIXEL_INDICES
            return _dense_after_flatten(layer, value.source, self._make_name) if is_dense else None
        source = self._as_map(value, layer)
        return None if source is None else self._apply_to_map(layer, source, source is not value)

    def _apply_to_map(self, layer: Any, source: FeatureMap, is_whole: bool) -> Any:
        if type(layer) is TargetLayer:
            if not is_pointwise(layer.activation):
                return None
            return convolve(layer, source, self.batch_weights)
        if type(layer) is keras.layers.Flatten:
            is_same_format = layer.data_format == source.layout.data_format
            return _Flattened(source, layer) if is_same_format and not is_whole else None
        if _is_pointwise_layer(layer):
            return source.then(Pointwise(layer, source.make_name))
        rule = RULES.get(type(layer))
        return rule(layer, source) if rule else None

    def _join(self, layer: Any, values: Any) -> Any:
        """Applies a layer with several inputs; returns None if there is no rule."""
        formats = {value.layout.data_format for value in values if isinstance(value, MAPS)}
        if type(layer) is not keras.layers.Concatenate or not formats:
            return None
        maps = []
        for value in values:
            if isinstance(value, PixelMap):
                value = value.to_region_map()
            elif not isinstance(value, RegionMap):
                value = self._map_of(value, next(iter(formats)), layer)
            maps.append(value)
        return _concatenate(layer, maps) if None not in maps else None

    def _as_map(self, value: Any, layer: Any) -> FeatureMap | None:
        if isinstance(value, MAPS):
            return value
        default = keras.config.image_data_format()
        return self._map_of(value, getattr(layer, "data_format", default), layer)

    def _map_of(self, value: Any, data_format: str, layer: Any) -> RegionMap | None:
        shape = getattr(value, "shape", ())
        if len(shape) != 4 or None in shape[1:]:
            if type(layer) is TargetLayer:
                raise ValueError(
                    f"`compact` requires the size of the map that {layer.name!r} reads. Received: "
                    f"shape {tuple(shape)}. Pass `input_shape`, such as (28, 28, 1)"
                )
            return None
        dtype = getattr(layer, "dtype_policy", None)
        return region_map(value, data_format, dtype, self._make_name)

    def _to_tensor(self, value: Any) -> Any:
        """Returns the tensor that the original model has in place of a map."""
        if isinstance(value, _Flattened):
            name = self._make_name(value.layer.name)
            flatten = keras.layers.Flatten(value.layer.data_format, name=name)
            return flatten(value.source.to_tensor())
        return value.to_tensor() if isinstance(value, MAPS) else value

    def _operation(self, layer: Any) -> Any:
        """Returns a layer, or the compacted model of a nested model with target layers."""
        self._used_names.add(layer.name)
        if not is_functional(layer) or not _has_target_layers(layer):
            return layer
        if id(layer) not in self._nested:
            compaction = _Compaction(layer, self.batch_weights)
            self._nested[id(layer)] = compaction.compacted_model()
        return self._nested[id(layer)]


def _sized_input(tensor: Tensor, input_shape: Any) -> Tensor:
    shape = tuple(tensor.shape)
    if input_shape is not None:
        sizes = tuple(input_shape)
        fits = len(sizes) == len(shape) - 1 and all(
            old in (None, size) for size, old in zip(sizes, shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"`input_shape` must fit the model's input shape {shape[1:]}, without the batch. "
                f"Received: input_shape={input_shape}"
            )
        shape = (shape[0], *sizes)
    return input_like(tensor, shape)


# Layers that change each value separately, and layers that do nothing in inference.
POINTWISE = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
IDENTITIES = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)


def _is_pointwise_layer(layer: Any) -> bool:
    if type(layer) is keras.layers.Activation:
        return is_pointwise(layer.activation)
    return type(layer) in POINTWISE


def _normalize(layer: keras.layers.BatchNormalization, source: FeatureMap) -> FeatureMap | None:
    """Applies batch normalization of the channels."""
    channels = 3 if source.layout.data_format == "channels_last" else 1
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    return source.then(Affine(layer, source.make_name)) if axis % 4 == channels else None


def _pool(layer: keras.layers.Layer, source: FeatureMap) -> FeatureMap | None:
    """Applies max or average pooling whose windows lie inside the map."""
    window, strides = tuple(layer.pool_size), tuple(layer.strides)
    is_inside = layer.padding == "valid" or all(
        side % stride == 0 and size <= stride
        for side, size, stride in zip(source.layout.sides, window, strides, strict=True)
    )
    if not is_inside or layer.data_format != source.layout.data_format:
        return None
    sides = tuple(
        (side - size) // stride + 1
        for side, size, stride in zip(source.layout.sides, window, strides, strict=True)
    )
    pooling = _Pooling(layer, window, strides, sides)
    if isinstance(source, PixelMap):
        return pooling.of_pixels(source)
    return pooling.of_regions(source)


class _Pooling:
    """Pooling of feature maps."""

    def __init__(self, layer: keras.layers.Layer, window: Any, strides: Any, sides: Any):
        self.layer, self.window, self.strides, self.sides = layer, window, strides, sides

    def of_regions(self, source: RegionMap) -> RegionMap:
        source = source.applied()

        def change(region: Region) -> Region:
            rectangle = self._results(region.rectangle[None])[0]
            single = RegionMap(source.layout, (region,), source.make_name)
            layer = type(self.layer)(
                self.window,
                self.strides,
                padding="valid",
                data_format="channels_last",
                dtype=self.layer.dtype_policy,
                name=source.make_name(self.layer.name),
            )
            tensor = layer(single.assemble(self._reads(rectangle)))
            return Region(tensor, rectangle, region.channels)

        regions = tuple(change(region) for region in source.regions)
        return RegionMap(self._layout(source.layout), regions, source.make_name)

    def of_pixels(self, source: PixelMap) -> PixelMap:
        window = [
            (row, column) for row in range(self.window[0]) for column in range(self.window[1])
        ]
        reduce = "max" if isinstance(self.layer, keras.layers.MaxPooling2D) else "mean"

        def compute(pixels: PixelIndices) -> Tensor:
            rows = [pixels.rows * self.strides[0] + row for row, _ in window]
            columns = [pixels.columns * self.strides[1] + column for _, column in window]
            channels = np.tile(pixels.channels, len(window))
            read = PixelIndices(np.concatenate(rows), np.concatenate(columns), channels)
            layer = PoolPixels(
                len(window),
                reduce,
                dtype=self.layer.dtype_policy,
                name=source.make_name(self.layer.name),
            )
            return layer(source.values(read))

        layout = replace(source.layout, background=source.background())
        return PixelMap(self._layout(layout), compute, source.make_name)

    def _layout(self, layout: Layout) -> Layout:
        return replace(layout, sides=self.sides, support=self._results(layout.support))

    def _results(self, rectangles: Array) -> Array:
        """Returns the results that read some pixel of each rectangle, at least one."""
        size, stride = np.array(self.window)[None], np.array(self.strides)[None]
        low = np.maximum((rectangles[..., 0] - size) // stride + 1, 0)
        high = np.minimum(-(-rectangles[..., 1] // stride), np.array(self.sides)[None])
        low = np.minimum(low, np.array(self.sides)[None] - 1)
        return np.stack([low, np.maximum(high, low + 1)], axis=-1)

    def _reads(self, rectangle: Array) -> Array:
        size, stride = np.array(self.window), np.array(self.strides)
        return np.stack([rectangle[:, 0] * stride, (rectangle[:, 1] - 1) * stride + size], axis=-1)


def _global_average(
    layer: keras.layers.GlobalAveragePooling2D, source: FeatureMap
) -> Tensor | None:
    """Computes the mean of each channel from its region and the background around it."""
    if layer.keepdims or layer.data_format != source.layout.data_format:
        return None
    if isinstance(source, PixelMap):
        source = source.to_region_map()
    source = source.applied()
    size, means = float(np.prod(source.layout.sides)), []
    for region in source.regions:
        fraction = np.prod(region.rectangle[:, 1] - region.rectangle[:, 0]) / size
        config = {"dtype": layer.dtype_policy, "name": source.make_name(layer.name)}
        mean = type(layer)(data_format="channels_last", **config)(region.tensor)
        scaling = ScaleShift(dtype=layer.dtype_policy, name=source.make_name("fraction"))
        means.append(scaling(mean))
        background = source.layout.background[region.channels]
        scaling.set_weights([np.full_like(background, fraction), (1 - fraction) * background])
    order = np.argsort(source.channel_order())
    if len(means) == 1 and np.array_equal(order, np.arange(len(order))):
        return means[0]
    gather = GatherPixels(len(order), dtype=layer.dtype_policy, name=source.make_name("channels"))
    outputs = gather(means)
    gather.set_weights([order.astype("int32")])
    return outputs


def _concatenate(layer: keras.layers.Concatenate, sources: list[RegionMap]) -> RegionMap | None:
    """Concatenates the channels of maps."""
    formats = {source.layout.data_format for source in sources}
    channels = 3 if formats == {"channels_last"} else 1
    if len(formats) > 1 or layer.axis % 4 != channels:
        return None
    joined: list[Region] = []
    start = 0
    sources = [source.applied() for source in sources]
    for source in sources:
        joined += [replace(region, channels=region.channels + start) for region in source.regions]
        start += source.layout.channels
    layout = replace(
        sources[0].layout,
        background=np.concatenate([source.layout.background for source in sources]),
        support=np.concatenate([source.layout.support for source in sources]),
    )
    return RegionMap(layout, tuple(joined), sources[0].make_name)


def _dense_after_flatten(
    layer: keras.layers.Dense, source: FeatureMap, make_name: MakeName
) -> Tensor:
    """Applies a dense layer to a flattened map, with the rows of values that are not constant."""
    source = pixel_map(source)
    pixels, layout = source.support_pixels(), source.layout
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    rows = _flat_index(layout, pixels)
    background = source.background()
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else 0.0
    if background.any():
        indices = np.indices((*layout.sides, layout.channels))
        everywhere = PixelIndices(*(index.ravel() for index in indices))
        all_rows = _flat_index(layout, everywhere)
        bias = bias + background[everywhere.channels] @ kernel[all_rows]
        bias = bias - background[pixels.channels] @ kernel[rows]
    new = keras.layers.Dense(
        layer.units,
        activation=layer.activation,
        use_bias=layer.use_bias or bool(np.any(bias)),
        dtype=layer.dtype_policy,
        name=make_name(layer.name),
    )
    outputs = new(source.support_values())
    new.set_weights([kernel[rows], *([bias] if new.use_bias else [])])
    return outputs


def _flat_index(layout: Layout, pixels: PixelIndices) -> Array:
    # Flatten moves the channels to the end before it flattens, for both data formats.
    index = pixels.rows * layout.sides[1] + pixels.columns
    return index * layout.channels + pixels.channels


RULES: dict[type, Callable[[Any, Any], Any]] = {
    keras.layers.BatchNormalization: _normalize,
    keras.layers.MaxPooling2D: _pool,
    keras.layers.AveragePooling2D: _pool,
    keras.layers.GlobalAveragePooling2D: _global_average,
}
