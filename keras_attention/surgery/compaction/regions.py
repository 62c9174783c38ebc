"""Feature maps of compacted models, and the convolutions that compute them.

Between the layers of a compacted model, a feature map is kept as rectangles (`RegionMap`) or as
single pixels (`PixelMap`), without its constant background. `convolve` computes such a map from
another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.layers import TargetLayer
from keras_attention.layers.compacted import (
    AssembleRegions,
    CroppedConv2D,
    GatherPixels,
    PixelDense,
    ScaleShift,
)
from keras_attention.ops.roi_grouping import (
    Groups,
    LayerCost,
    at_least_one_pixel,
    group_rois,
    union_rectangle,
)

Tensor = Any
Array = Any
# Function that makes a layer name unique.
MakeName = Callable[[str], str]

# If False, regions are always computed as convolutions of rectangles, and dense layers read whole
# maps. This is for ablations of the benchmarks.
USE_PIXEL_INDICES = True
# A matrix contains the kernel once per pixel; this limits it to 64 MB of float32.
MAX_MATRIX_ELEMENTS = 16_000_000
# Measured on 2 cores (benchmarks/convolution_rates.py): multiply-accumulates per second and
# elements read per second of a matrix product, and seconds to gather one pixel.
MATRIX_RATE, MATRIX_READ_RATE, GATHER_SECONDS = 150e9, 8e9, 2e-9


@dataclass(frozen=True)
class Layout:
    """Properties of a feature map that are known in advance.

    Attributes:
        sides: Height and width.
        background: Value of each channel outside its support, `(C,)`.
        support: Rectangle of each channel outside which it is background, `(C, 2, 2)`.
        data_format: Data format of the tensor in the original model.
        dtype: Dtype policy of the layer that computed it.
    """

    sides: tuple[int, int]
    background: Array
    support: Array
    data_format: str
    dtype: Any

    @property
    def channels(self) -> int:
        return len(self.background)

    @property
    def whole(self) -> Array:
        return np.array([[0, self.sides[0]], [0, self.sides[1]]])


@dataclass(frozen=True)
class Region:
    """Some channels of a map inside a rectangle, `(B, height, width, channels)`."""

    tensor: Tensor
    rectangle: Array
    channels: Array


@dataclass(frozen=True, eq=False)
class RegionMap:
    """A map as regions, with pointwise operations that are applied later.

    Attributes:
        layout: Properties of the map before the pointwise operations.
        regions: Regions of the map; each channel is in one region or in none.
        make_name: Function that makes a layer name unique.
        pointwise: Operations to apply to everything that is read from the map.
    """

    layout: Layout
    regions: tuple[Region, ...]
    make_name: MakeName
    pointwise: tuple[PointwiseOperation, ...] = ()
    _assembled: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    def then(self, operation: PointwiseOperation) -> RegionMap:
        """Returns the map after one more pointwise operation."""
        return replace(self, pointwise=(*self.pointwise, operation), _assembled={})

    def background(self) -> Array:
        """Returns the value of each channel outside its support, after the operations."""
        return _background_after(self.layout.background, self.pointwise)

    def channel_order(self) -> Array:
        """Returns the channels in the order of the regions."""
        return np.concatenate([region.channels for region in self.regions])

    def applied(self) -> RegionMap:
        """Returns the same map with the operations applied to the regions."""
        if not self.pointwise:
            return self
        regions = tuple(
            replace(region, tensor=_apply(self.pointwise, region.tensor, region.channels))
            for region in self.regions
        )
        layout = replace(self.layout, background=self.background())
        return RegionMap(layout, regions, self.make_name)

    def assemble(self, target: Array, sort: bool = False) -> Tensor:
        """Returns a rectangle of the map as one tensor.

        Args:
            target: `[[top, bottom], [left, right]]`.
            sort: If True, channels are in the order of the original model, else in the order of the
                regions.
        """
        key = (str(target.tolist()), sort)
        if key not in self._assembled:
            self._assembled[key] = self._assemble(target, sort)
        return self._assembled[key]

    def to_tensor(self) -> Tensor:
        """Returns the whole map, as in the original model."""
        tensor = self.assemble(self.layout.whole, sort=True)
        if self.layout.data_format == "channels_first":
            name = self.make_name("channels_first")
            tensor = keras.layers.Permute((3, 1, 2), name=name)(tensor)
        return tensor

    def _assemble(self, target: Array, sort: bool) -> Tensor:
        order = self.channel_order()
        is_target = len(self.regions) == 1 and np.array_equal(self.regions[0].rectangle, target)
        permutation = None
        if sort and not np.array_equal(order, np.arange(len(order))):
            permutation = np.argsort(order)
            order = order[permutation]
        if is_target and permutation is None:
            tensor = self.regions[0].tensor
        else:
            background = self.layout.background[self.channel_order()]
            layer = AssembleRegions(
                [region.rectangle for region in self.regions],
                target,
                order=None if permutation is None else permutation.tolist(),
                background=bool(background.any()),
                dtype=self.layout.dtype,
                name=self.make_name("regions"),
            )
            tensor = layer([region.tensor for region in self.regions])
            if layer.has_background:
                layer.set_weights([background])
        return _apply(self.pointwise, tensor, order)


def region_map(tensor: Tensor, data_format: str, dtype: Any, make_name: MakeName) -> RegionMap:
    """Returns the map of a whole tensor `(B, H, W, C)` or `(B, C, H, W)`."""
    if data_format == "channels_first":
        tensor = keras.layers.Permute((2, 3, 1), name=make_name("channels_last"))(tensor)
    _, height, width, channels = tensor.shape
    whole = np.array([[0, height], [0, width]])
    layout = Layout(
        (height, width),
        np.zeros(channels, "float32"),
        np.broadcast_to(whole, (channels, 2, 2)),
        data_format,
        dtype,
    )
    return RegionMap(layout, (Region(tensor, whole, np.arange(channels)),), make_name)


class PixelIndices(NamedTuple):
    """Indices of pixels, each of one channel: three integer arrays `(n,)`."""

    rows: Array
    columns: Array
    channels: Array


@dataclass(frozen=True, eq=False)
class PixelMap:
    """A map as pixels, which are computed in the order in which the next layer reads them.

    Attributes:
        layout: Properties of the map before the pointwise operations.
        compute: Function that returns the tensor `(B, n)` of any pixels of the map; pixels outside
            the support are background.
        make_name: Function that makes a layer name unique.
        pointwise: Operations to apply to everything that is read from the map.
    """

    layout: Layout
    compute: Callable[[PixelIndices], Tensor]
    make_name: MakeName
    pointwise: tuple[PointwiseOperation, ...] = ()
    _support: list[Tensor] = field(default_factory=list, repr=False)

    def then(self, operation: PointwiseOperation) -> PixelMap:
        """Returns the map after one more pointwise operation."""
        return replace(self, pointwise=(*self.pointwise, operation), _support=[])

    def background(self) -> Array:
        """Returns the value of each channel outside its support, after the operations."""
        return _background_after(self.layout.background, self.pointwise)

    def support_pixels(self) -> PixelIndices:
        """Returns the indices of all pixels in the supports of the channels."""
        return pixels_in(self.layout.support)

    def support_values(self) -> Tensor:
        """Returns the values of `support_pixels()`, `(B, n)`, which are computed once."""
        if not self._support:
            self._support.append(self.values(self.support_pixels()))
        return self._support[0]

    def values(self, pixels: PixelIndices) -> Tensor:
        """Returns the values of any pixels, `(B, n)`, after the operations."""
        return _apply(self.pointwise, self.compute(pixels), pixels.channels)

    def to_region_map(self) -> RegionMap:
        """Returns the same map with one region."""
        channels = np.arange(self.layout.channels)
        rectangle = union_rectangle(self.layout.support)
        rectangles = np.broadcast_to(rectangle, (len(channels), 2, 2))
        sides = [int(stop - start) for start, stop in rectangle]
        reshape = keras.layers.Reshape((*sides, len(channels)), name=self.make_name("rectangle"))
        tensor = reshape(self.values(pixels_in(rectangles)))
        layout = replace(self.layout, background=self.background())
        return RegionMap(layout, (Region(tensor, rectangle, channels),), self.make_name)

    def to_tensor(self) -> Tensor:
        """Returns the whole map, as in the original model."""
        return self.to_region_map().to_tensor()


FeatureMap = RegionMap | PixelMap


def pixels_in(rectangles: Array) -> PixelIndices:
    """Returns the pixels of each channel's rectangle `(C, 2, 2)`, by row, column and channel."""
    low = rectangles[:, :, 0].min(axis=0)
    inside = []
    for axis in range(2):
        positions = np.arange(low[axis], max(rectangles[:, axis, 1].max(), low[axis] + 1))
        bounds = rectangles[:, axis]
        inside.append((positions[:, None] >= bounds[:, 0]) & (positions[:, None] < bounds[:, 1]))
    rows, columns, channels = np.nonzero(inside[0][:, None] & inside[1][None])
    return PixelIndices(rows + low[0], columns + low[1], channels)


def pixel_map(source: FeatureMap) -> PixelMap:
    """Returns a map as pixels."""
    if isinstance(source, PixelMap):
        return source
    source = source.applied()
    layout, regions = source.layout, source.regions
    tensors = [region.tensor for region in regions]

    def compute(pixels: PixelIndices) -> Tensor:
        indices, count = _indices_in(regions, layout.channels, pixels)
        return _gather(tensors, indices, count, pixels, layout, source.make_name)

    return PixelMap(layout, compute, source.make_name)


def _indices_in(
    regions: tuple[Region, ...], channels: int, pixels: PixelIndices
) -> tuple[Array, int]:
    """Returns the index of each pixel in the flattened regions, and the number of their elements.

    The index of a pixel that is in no region is this number.
    """
    indices = np.full(len(pixels.rows), -1)
    start = 0
    for region in regions:
        channel_index: Array = np.full(channels, -1)
        channel_index[region.channels] = np.arange(len(region.channels))
        (top, bottom), (left, right) = region.rectangle
        inside = channel_index[pixels.channels] >= 0
        inside &= (pixels.rows >= top) & (pixels.rows < bottom)
        inside &= (pixels.columns >= left) & (pixels.columns < right)
        pixel = (pixels.rows - top) * (right - left) + (pixels.columns - left)
        flat = start + pixel * len(region.channels) + channel_index[pixels.channels]
        indices = np.where(inside, flat, indices)
        start += (bottom - top) * (right - left) * len(region.channels)
    return np.where(indices < 0, start, indices).astype("int32"), start


def _select(
    tensor: Tensor,
    existing: PixelIndices,
    pixels: PixelIndices,
    layout: Layout,
    make_name: MakeName,
) -> Tensor:
    """Returns the values of pixels from a tensor `(B, n)` of existing ones, or the background."""
    count = len(existing.rows)
    index: Array = np.full((*layout.sides, layout.channels), count, "int32")
    index[tuple(existing)] = np.arange(count)
    return _gather([tensor], index[tuple(pixels)], count, pixels, layout, make_name)


def _gather(
    tensors: list[Tensor],
    indices: Array,
    count: int,
    pixels: PixelIndices,
    layout: Layout,
    make_name: MakeName,
) -> Tensor:
    """Gathers pixels by their indices in flattened tensors; index `count` is background."""
    missing = indices == count
    layer = GatherPixels(
        len(indices), with_zero=bool(missing.any()), dtype=layout.dtype, name=make_name("pixels")
    )
    tensor = layer(tensors)
    layer.set_weights([indices])
    shift = np.where(missing, layout.background[pixels.channels], 0.0)
    if shift.any():
        background = ScaleShift(dtype=layout.dtype, name=make_name("background"))
        tensor = background(tensor)
        background.set_weights([np.ones_like(shift), shift])
    return tensor


class Pointwise:
    """A layer that changes each value separately, such as an activation."""

    def __init__(self, layer: keras.Layer, make_name: MakeName):
        self.layer, self.make_name = layer, make_name

    def of_tensor(self, tensor: Tensor, channels: Array) -> Tensor:
        """Applies the layer to a tensor whose last axis has the given channels."""
        config = {**self.layer.get_config(), "name": self.make_name(self.layer.name)}
        return type(self.layer).from_config(config)(tensor)

    def of_background(self, background: Array) -> Array:
        """Applies the layer to the values outside the regions, `(channels,)`."""
        values = keras.ops.convert_to_tensor(background[None].astype("float32"))
        return keras.ops.convert_to_numpy(self.layer(values))[0].astype("float32")


class Affine:
    """A scale and a shift of each channel: batch normalization at inference."""

    def __init__(self, layer: keras.layers.BatchNormalization, make_name: MakeName):
        statistics = (layer.moving_mean, layer.moving_variance)
        mean, variance = (keras.ops.convert_to_numpy(value) for value in statistics)
        scale = 1.0 / np.sqrt(variance.astype("float64") + layer.epsilon)
        if layer.scale:
            scale = scale * keras.ops.convert_to_numpy(layer.gamma)
        shift = -mean * scale
        if layer.center:
            shift = shift + keras.ops.convert_to_numpy(layer.beta)
        self.scale, self.shift = scale.astype("float32"), shift.astype("float32")
        self.layer, self.make_name = layer, make_name

    def of_tensor(self, tensor: Tensor, channels: Array) -> Tensor:
        """Scales and shifts a tensor whose last axis has the given channels."""
        layer = ScaleShift(dtype=self.layer.dtype_policy, name=self.make_name(self.layer.name))
        outputs = layer(tensor)
        layer.set_weights([self.scale[channels], self.shift[channels]])
        return outputs

    def of_background(self, background: Array) -> Array:
        """Scales and shifts the values outside the regions, `(channels,)`."""
        return background * self.scale + self.shift


PointwiseOperation = Pointwise | Affine


def _apply(operations: Sequence[PointwiseOperation], tensor: Tensor, channels: Array) -> Tensor:
    for operation in operations:
        tensor = operation.of_tensor(tensor, channels)
    return tensor


def _background_after(background: Array, operations: Sequence[PointwiseOperation]) -> Array:
    for operation in operations:
        background = operation.of_background(background)
    return background


def convolve(
    layer: TargetLayer, source: FeatureMap, batch_weights: Mapping[int, float]
) -> FeatureMap:
    """Computes the regions of a target layer, by the method with the lowest estimated cost.

    The regions are computed by convolutions of groups of kernels, each over one rectangle, or, if
    they have few pixels, by one matrix product.

    Args:
        layer: Target layer.
        source: Map that the layer reads.
        batch_weights: Batch sizes to be fast for, and their weights. The cost of a method is the
            weighted sum of its times, relative to the time of the convolution of the whole map.
    """
    target = _target_convolution(layer, source.layout.sides)
    channels = source.layout.channels
    weights = {
        batch: weight / _whole_seconds(target, channels, batch)
        for batch, weight in batch_weights.items()
    }
    costs = {
        groups: sum(
            groups_seconds(target, channels, groups, batch) * weight
            for batch, weight in weights.items()
        )
        for groups in [
            group_rois(target.rectangles, _layer_cost(target, channels, batch))
            for batch in batch_weights
        ]
    }
    groups = min(costs, key=lambda choice: costs[choice])
    matrix_cost = sum(
        _matrix_seconds(target, source, batch) * weight for batch, weight in weights.items()
    )
    if USE_PIXEL_INDICES and matrix_cost < costs[groups]:
        return _convolve_pixels(target, pixel_map(source), max(batch_weights))
    regions = source.to_region_map() if isinstance(source, PixelMap) else source
    return _convolve_groups(target, regions, groups)


@dataclass(frozen=True)
class _TargetConvolution:
    """The computation of a target layer on a map of known size, as arrays."""

    layer: TargetLayer
    kernel: Array
    bias: Array | None
    window: Array
    rectangles: Array

    @property
    def sides(self) -> tuple[int, int]:
        height, width = self.window.shape[:2]
        return height, width

    @property
    def reach(self) -> tuple[tuple[int, int], ...]:
        """Pixels that a kernel reads before and after its own position, per axis."""
        spans = [
            (size - 1) * rate
            for size, rate in zip(self.layer.kernel_size, self.layer.dilation_rate, strict=True)
        ]
        return tuple((span // 2, span - span // 2) for span in spans)

    def layout(self) -> Layout:
        background: Array = np.zeros(len(self.rectangles), "float32")
        return Layout(
            self.sides,
            background,
            self.rectangles,
            self.layer.data_format,
            self.layer.dtype_policy,
        )

    def reads(self, rectangle: Array) -> tuple[Array, Array]:
        """Returns the pixels that a rectangle of the output reads, and the zeros around them."""
        before, after = zip(*self.reach, strict=True)
        padded = np.stack([rectangle[:, 0] - before, rectangle[:, 1] + after], axis=-1)
        limits = np.array(self.sides)
        inside = np.stack([np.maximum(padded[:, 0], 0), np.minimum(padded[:, 1], limits)], axis=-1)
        return inside, np.abs(padded - inside)

    def config(self) -> dict[str, Any]:
        """Returns the arguments that the new layers share with the target layer."""
        return {
            "activation": keras.activations.serialize(self.layer.activation),
            "use_bias": self.layer.use_bias,
            "dtype": self.layer.dtype_policy,
        }


def _target_convolution(layer: TargetLayer, sides: tuple[int, int]) -> _TargetConvolution:
    as_array = keras.ops.convert_to_numpy
    # An extra pixel in an empty region changes nothing, because the window is zero there.
    rectangles = at_least_one_pixel(layer.rois(*sides).astype(int))
    if layer.roi == "full":
        rectangles[:] = np.array([[0, sides[0]], [0, sides[1]]])
    return _TargetConvolution(
        layer,
        as_array(layer.kernel).astype("float32"),
        as_array(layer.bias).astype("float32") if layer.use_bias else None,
        as_array(layer.attention_window(*sides, clip=layer.roi != "full")).astype("float32"),
        rectangles,
    )


def groups_seconds(target: _TargetConvolution, channels: int, groups: Groups, batch: int) -> float:
    """Estimates the time of the convolutions of groups."""
    return _layer_cost(target, channels, batch).seconds(target.rectangles, groups)


def _layer_cost(target: _TargetConvolution, channels: int, batch: int) -> LayerCost:
    layer = target.layer
    return LayerCost(
        target.sides, layer.kernel_size, channels, batch=batch, dilation_rate=layer.dilation_rate
    )


def _whole_seconds(target: _TargetConvolution, channels: int, batch: int) -> float:
    """Estimates the time of the convolution of the whole map."""
    whole = np.array([[0, target.sides[0]], [0, target.sides[1]]])
    everywhere = replace(target, rectangles=np.broadcast_to(whole, target.rectangles.shape))
    return groups_seconds(everywhere, channels, (tuple(range(len(target.rectangles))),), batch)


def _convolve_groups(target: _TargetConvolution, source: RegionMap, groups: Groups) -> RegionMap:
    """Convolves each group of kernels over the rectangle that contains its regions."""
    # Regions are sorted by position, so that those out of the reach of a group are at an end.
    regions = tuple(
        sorted(source.regions, key=lambda region: region.rectangle.sum(axis=1).tolist())
    )
    source = RegionMap(source.layout, regions, source.make_name, source.pointwise)
    unions = [union_rectangle(target.rectangles[list(group)]) for group in groups]
    inputs = [_group_input(target, source, union) for union in unions]
    input_union = union_rectangle(np.stack([group_input.rectangle for group_input in inputs]))
    tensor = source.assemble(input_union)
    results = []
    for group, union, group_input in zip(groups, unions, inputs, strict=True):
        kernels = np.array(group)
        channels = source.channel_order()[slice(*group_input.channels)]
        layer = CroppedConv2D(
            len(kernels),
            target.layer.kernel_size,
            read=group_input.rectangle - input_union[:, :1],
            padding=group_input.padding,
            channels=None if len(channels) == source.layout.channels else group_input.channels,
            dilation_rate=target.layer.dilation_rate,
            name=source.make_name(target.layer.name),
            **target.config(),
        )
        outputs = layer(tensor)
        weights = [target.kernel[:, :, channels][..., kernels]]
        if target.bias is not None:
            weights.append(target.bias[kernels])
        (top, bottom), (left, right) = union
        layer.set_weights([*weights, target.window[top:bottom, left:right, kernels]])
        results.append(Region(outputs, union, kernels))
    return RegionMap(target.layout(), tuple(results), source.make_name)


class _GroupInput(NamedTuple):
    """The part of the input that a group of kernels reads; the rest in its reach is zero."""

    rectangle: Array
    padding: Array
    channels: tuple[int, int]


def _group_input(target: _TargetConvolution, source: RegionMap, union: Array) -> _GroupInput:
    """Leaves out channels and borders in which the map is zero.

    The CPU library does not compute products with padding, so that a small input saves time.
    """
    inside, padding = target.reads(union)
    starts = np.cumsum([0, *(len(region.channels) for region in source.regions)])
    if source.background().any():
        return _GroupInput(inside, padding, (0, int(starts[-1])))
    overlapping = [
        index
        for index, region in enumerate(source.regions)
        if (region.rectangle[:, 0] < inside[:, 1]).all()
        and (region.rectangle[:, 1] > inside[:, 0]).all()
    ]
    if not overlapping:  # The input is zero, but a convolution must read something.
        return _GroupInput(inside, padding, (0, int(starts[1])))
    channels = (int(starts[overlapping[0]]), int(starts[overlapping[-1] + 1]))
    filled = union_rectangle(np.stack([source.regions[index].rectangle for index in overlapping]))
    # Libraries require that the padding is not larger than the kernel.
    spans = np.array([sum(reach) for reach in target.reach])
    padded = np.stack([inside[:, 0] - padding[:, 0], inside[:, 1] + padding[:, 1]], axis=-1)
    low = np.maximum(inside[:, 0], np.minimum(filled[:, 0], padded[:, 0] + spans))
    high = np.minimum(inside[:, 1], np.maximum(filled[:, 1], padded[:, 1] - spans))
    narrow = np.stack([low, high], axis=-1)
    return _GroupInput(narrow, np.abs(padded - narrow), channels)


def _matrix_seconds(target: _TargetConvolution, source: FeatureMap, batch: int) -> float:
    """Estimates the time of the matrix product; infinity if the matrix would be too large."""
    inputs = len(_pixels_read(target, pixels_in(source.layout.support)).rows)
    outputs = int(np.prod(np.diff(target.rectangles)[..., 0], axis=-1).sum())
    elements = inputs * outputs
    if elements > MAX_MATRIX_ELEMENTS:
        return float("inf")
    seconds = product_seconds(elements, batch)
    if isinstance(source, RegionMap):
        seconds += inputs * batch * GATHER_SECONDS
    return seconds


def product_seconds(elements: int, batch: int) -> float:
    """Estimates the time of a matrix product, which small batches spend on reading the matrix."""
    return max(elements * batch / MATRIX_RATE, elements / MATRIX_READ_RATE)


def _convolve_pixels(target: _TargetConvolution, source: PixelMap, batch: int) -> PixelMap:
    """Computes the pixels of the regions by a matrix product, when the next layer reads them."""
    inputs = source.support_pixels()
    read = _pixels_read(target, inputs)
    is_all = len(read.rows) == len(inputs.rows)
    tensor = source.support_values() if is_all else source.values(read)
    product = _PixelProduct(target, source, read, tensor)
    own = pixels_in(target.rectangles)
    computed: list[Any] = []

    def compute(pixels: PixelIndices) -> Any:
        outside = len(pixels.rows) - np.count_nonzero(_is_inside(target.rectangles, pixels))
        wasted = len(read.rows) * int(outside)
        gathering = len(pixels.rows) * batch * GATHER_SECONDS
        if product_seconds(wasted, batch) < gathering:
            return product.compute(pixels)
        if not computed:
            computed.append(product.compute(own))
        return _select(computed[0], own, pixels, target.layout(), source.make_name)

    return PixelMap(target.layout(), compute, source.make_name)


@dataclass(frozen=True)
class _PixelProduct:
    """The matrix product of the pixels that are read, `(B, inputs)`, for any output pixels."""

    target: _TargetConvolution
    source: PixelMap
    read: PixelIndices
    tensor: Any

    def compute(self, pixels: PixelIndices) -> Any:
        target, constants = self.target, self.source.background()
        inside = _is_inside(target.rectangles, pixels)
        matrix = _convolution_matrix(target, self.read, pixels) * inside
        bias: Array = np.zeros(len(pixels.rows), "float32")
        if target.bias is not None:
            bias += target.bias[pixels.channels]
        if constants.any():
            bias += _convolve_constants(target, constants, pixels)
            bias -= constants[self.read.channels] @ matrix
        layer = PixelDense(
            len(pixels.rows),
            name=self.source.make_name(target.layer.name),
            **{**target.config(), "use_bias": bool(bias.any())},
        )
        outputs = layer(self.tensor)
        window = target.window[pixels.rows, pixels.columns, pixels.channels] * inside
        layer.set_weights([matrix, *([bias] if layer.use_bias else []), window])
        return outputs


def _convolution_matrix(
    target: _TargetConvolution, inputs: PixelIndices, outputs: PixelIndices
) -> Array:
    """Returns a convolution as a matrix from pixels to pixels, `(inputs, outputs)`."""
    shape = (len(inputs.rows), len(outputs.rows))
    valid: Array = np.ones(shape, bool)
    taps = []
    for axis, (before, _) in enumerate(target.reach):
        offsets = (
            inputs[axis].astype("int32")[:, None]
            - outputs[axis].astype("int32")[None]
            + np.int32(before)
        )
        rate, size = target.layer.dilation_rate[axis], target.kernel.shape[axis]
        valid &= (offsets >= 0) & (offsets // rate < size) & (offsets % rate == 0)
        taps.append(np.clip(offsets // rate, 0, size - 1))
    matrix = target.kernel[taps[0], taps[1], inputs.channels[:, None], outputs.channels[None]]
    return np.where(valid, matrix, np.float32(0))


def _convolve_constants(
    target: _TargetConvolution, constants: Array, pixels: PixelIndices
) -> Array:
    """Convolves a map that has one constant per channel; returns the given output pixels."""
    total: Array = np.zeros(len(pixels.rows), "float32")
    for row in range(target.kernel.shape[0]):
        for column in range(target.kernel.shape[1]):
            inside: Array = np.ones(len(pixels.rows), bool)
            for axis, tap in enumerate((row, column)):
                position = pixels[axis] - target.reach[axis][0]
                position = position + tap * target.layer.dilation_rate[axis]
                inside &= (position >= 0) & (position < target.sides[axis])
            total += inside * (constants @ target.kernel[row, column])[pixels.channels]
    return total


def _pixels_read(target: _TargetConvolution, pixels: PixelIndices) -> PixelIndices:
    """Returns the pixels that some region of the target layer reads, at least one."""
    reads, _ = target.reads(union_rectangle(target.rectangles))
    is_read: Array = np.ones(len(pixels.rows), bool)
    for axis in range(2):
        is_read &= (pixels[axis] >= reads[axis, 0]) & (pixels[axis] < reads[axis, 1])
    is_read[:1] |= not is_read.any()  # A matrix of zeros needs an input, too.
    return PixelIndices(*(indices[is_read] for indices in pixels))


def _is_inside(rectangles: Array, pixels: PixelIndices) -> Array:
    bounds = rectangles[pixels.channels]
    inside: Array = np.ones(len(pixels.rows), bool)
    for axis in range(2):
        inside &= (pixels[axis] >= bounds[:, axis, 0]) & (pixels[axis] < bounds[:, axis, 1])
    return inside
