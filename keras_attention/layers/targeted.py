"""Convolution whose kernels each learn where to look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.layers.attentive_regularization import WindowedLayer
from keras_attention.limits import check_reach, checked_weight
from keras_attention.ops.grouped_convolution import SLICED_SHARE, sliced_targeted_convolution
from keras_attention.ops.roi_grouping import (
    TRAINING_COST,
    ConvolutionCost,
    Groups,
    checked_partition,
    group_rois,
    grouping_seconds,
    union_of,
    with_a_pixel,
)
from keras_attention.ops.targeted import roi_rectangles, targeted_convolution
from keras_attention.utils.numerics import is_pointwise
from keras_attention.utils.validation import (
    checked_shape,
    flag,
    map_spec,
    one_of,
    positive_integer,
    positive_integers,
    taken_map,
)

Tensor = Any
Shape = tuple[int | None, ...]
ROI_MODES = ("slice", "mask", "full")
Array = Any
Sides = tuple[int, int]


@keras.saving.register_keras_serializable(package="keras_attention")
class TargetLayer(WindowedLayer):
    """A convolution whose kernels each attend to a region of interest that they learn.

    Computes `F * activation(conv(inputs) + bias)`, stride 1 and "same" padding, where `F` is each
    kernel's attention window (eq. 13), clipped to its region of interest (eq. 15 to 17).

    Args:
        filters: Number of kernels, C.
        kernel_size: Taps of a kernel, one integer or `(rows, columns)`.
        window: `"cauchy"` (default, section 4.4) or `"gaussian"`.
        roi: `"slice"` (default) computes the convolution only inside rectangles that hold the
            regions of groups of kernels, see `slice_groups`, where these are less than 0.8 of the
            map; on JAX and under XLA only after `regroup`. `"mask"` computes it everywhere and
            sets the outside to zero: the same values and gradients; `"full"` does not clip the
            window.
        roi_groups: None (the paper) for one region per kernel, or an integer G for G regions,
            each shared by a contiguous group of kernels.
        min_roi_size: Smallest region during training in pixels, one integer or
            `(rows, columns)`. None (default) takes the kernel size, as section 3.5, or the map
            where that is smaller. Held by a constraint on the scale, along sides that are known
            when the layer is built.
        use_bias: Whether to add a bias; False as in the paper.
        scale_regularizer: Regularizer of the scales; the paper uses
            `keras.regularizers.L2(1e-4)`, times beta to the power of the block. None by default.
        dilation_rate: Distance between a kernel's taps in pixels, one integer or a pair.
        activation: Activation before the window; None for none. One that is not known to act on
            each value by itself, such as softmax, needs the whole map: then `"slice"` is `"mask"`.
        kernel_initializer: `"he_normal"`, section 4.2.
        bias_initializer: `"zeros"`.
        kernel_regularizer: None.
        bias_regularizer: None.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Images or activations.
        return_attention: Whether to return the windows too, repeated for every image, float32.

    Weights:
        kernel: `(kh, kw, Cin, C)`; bias: `(C,)` where used.
        center: `(2, C)`, or `(2, G)` with `roi_groups=G`; rows are height and width; in `[0, 1]`.
        scale: The same shape, in `[min_roi_size / (2 * side), 1]`.

    Input shape:
        `(B, H, W, Cin)`, or `(B, Cin, H, W)` with channels first. H and W may be None.

    Output shape:
        `(B, H, W, C)` or `(B, C, H, W)`.

    Raises:
        ValueError: For sizes that are not positive, an unknown window or roi, more groups than
            kernels, or a `min_roi_size` larger than the map.

    Example:
    >>> layer = TargetLayer(8, 3, window="gaussian")
    >>> tuple(layer(ops.ones((2, 28, 20, 1))).shape)
    (2, 28, 20, 8)
    >>> layer.rois(28, 20)[0].tolist()
    [[0, 28], [0, 20]]

    Reference:
        Chitta, Targeted Kernel Networks (2018), section 3.5.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        window: str = "cauchy",
        roi: str = "slice",
        roi_groups: int | None = None,
        min_roi_size: int | Sequence[int] | None = None,
        use_bias: bool = False,
        scale_regularizer: Any = None,
        *,
        dilation_rate: int | Sequence[int] = 1,
        activation: Any = None,
        kernel_initializer: Any = "he_normal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(window, scale_regularizer, data_format, **kwargs)
        self.filters = positive_integer("filters", filters)
        self.kernel_size = positive_integers("kernel_size", kernel_size, rank=2)
        self.roi = one_of("roi", roi, ROI_MODES)
        self.roi_groups = self._checked_roi_groups(roi_groups)
        self.min_roi_size = (
            None if min_roi_size is None else positive_integers("min_roi_size", min_roi_size, 2)
        )
        self.use_bias = flag("use_bias", use_bias)
        self.dilation_rate = positive_integers("dilation_rate", dilation_rate, rank=2)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self._slicing = Slicing(self.filters)
        self._sides: tuple[int | None, ...] = (None, None)

    def build(self, input_shape: Shape) -> None:
        input_shape = checked_shape(self, input_shape, self._channel_axis)
        self.input_spec = map_spec(input_shape, self._channel_axis)
        channels, sides = self._channels_of(input_shape), self._sides_of(input_shape)
        check_reach(self.dilation_rate, sides)
        shape = (*self.kernel_size, channels, self.filters)
        self.kernel = self.add_weight(
            name="kernel",
            shape=checked_weight(shape, filters=self.filters, kernel_size=self.kernel_size),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self._add_window(sides, self.roi_groups or self.filters, self._smallest_roi(sides))
        self._sides = sides

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = taken_map(self, inputs)
        sides = self._sides_of(ops.shape(inputs))
        window = self.attention_window(*sides, clip=self.roi != "full")
        rest = {
            "bias": self.bias if self.use_bias else None,
            "activation": self.activation,
            "dilation_rate": self.dilation_rate,
            "data_format": self.data_format,
        }
        kernel = ops.convert_to_tensor(self.kernel)
        if all(isinstance(side, int) for side in sides):
            self._sides = sides
        if self.slices and self._slicing.is_possible(sides):
            rectangles = roi_rectangles(sides, *self._window_of_channels())
            rest["fixed"] = self._slicing.fixed(sides)
            outputs = sliced_targeted_convolution(
                inputs, kernel, window, rectangles, self._slicing.groups, **rest
            )
        else:
            outputs = targeted_convolution(inputs, kernel, window, **rest)
        if return_attention:
            return outputs, self._attention_of_batch(window, outputs)
        return outputs

    @property
    def slice_groups(self) -> Groups:
        """Groups of kernels that `roi="slice"` convolves together, over the union of their regions.

        Any partition of the kernels gives the same values and gradients; it decides the speed
        only. One group at first; `regroup` and the callback `RegroupROIs` choose. Set it before
        the model is traced, or compile again after.
        """
        return self._slicing.groups

    @slice_groups.setter
    def slice_groups(self, groups: Sequence[Sequence[int]]) -> None:
        self._slicing.partition(groups)

    @property
    def map_sides(self) -> tuple[int | None, ...]:
        """Height and width of the map seen last; None where they are not known."""
        return self._sides

    def plan_groups(
        self,
        sides: Sequence[int] | None = None,
        cost: ConvolutionCost = TRAINING_COST,
        batch_size: int = 64,
        margin: int = 1,
        fixed_shapes: bool | None = None,
    ) -> SlicePlan:
        """Finds the groups for `roi="slice"` that cost the least with the regions of now.

        Args:
            sides: Height and width of the map; None takes those seen last.
            cost: Rates of the machine, see `ops.convolution_cost`.
            batch_size: Images of a step.
            margin: Pixels around the regions that a fixed rectangle leaves them to move in.
            fixed_shapes: Whether the estimates are for a program of fixed shapes, as with
                `jit_compile=True`. None asks the backend, which on TensorFlow means that they
                are not.

        Returns:
            What `regroup` takes, with estimated seconds of a step before and after.

        Raises:
            ValueError: Where the sides are not known.
        """
        height, width = self._sides if sides is None else sides
        if height is None or width is None:
            raise ValueError(
                f"{self.name!r} has not seen a map of known size: pass `sides`, such as (28, 28). "
                f"Received: sides={sides}"
            )
        map_sides = (int(height), int(width))
        return self._slicing.plan(
            self.rois(*map_sides).astype(int),
            map_sides,
            self.kernel_size,
            self.dilation_rate,
            self.kernel.shape[2],
            cost,
            batch_size,
            margin,
            not backend.supports_dynamic_shapes() if fixed_shapes is None else fixed_shapes,
        )

    def regroup(self, plan: SlicePlan | None = None) -> None:
        """Slices by the groups of a plan, by default of `plan_groups()`.

        Call it before the model is traced, or compile again after. Where XLA or JAX fix shapes,
        each group also has a fixed rectangle: while its regions stay inside, that is computed,
        else the whole map.
        """
        self._slicing.take(self.plan_groups() if plan is None else plan)

    def macs(self, input_shape: Shape, executed: bool = False) -> int:
        """Counts multiply-accumulates for one image of the given shape.

        Args:
            input_shape: `(B, H, W, Cin)` or channels first.
            executed: False counts each kernel's own region, as the paper's tables do; True what
                is computed: the whole map, or with `roi="slice"` the unions of the groups where
                they are small enough to slice. With `roi="full"` both are the whole map.

        Returns:
            Multiply-accumulates of the convolution.
        """
        sides = self._sides_of(input_shape)
        taps = int(np.prod(self.kernel_size)) * self._channels_of(input_shape)
        whole = int(np.prod(sides))
        if self.roi == "full":
            return taps * self.filters * whole
        rois = self.rois(*sides)
        if not executed:
            return taps * int(np.prod(rois[..., 1] - rois[..., 0], axis=-1).sum())
        pixels = self._slicing.pixels(rois, sides) if self.slices else self.filters * whole
        return taps * pixels

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sides = self._sides_of(input_shape)
        if self.data_format == "channels_last":
            return (input_shape[0], *sides, self.filters)
        return (input_shape[0], self.filters, *sides)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "roi": self.roi,
            "roi_groups": self.roi_groups,
            "min_roi_size": self.min_roi_size,
            "use_bias": self.use_bias,
            "dilation_rate": self.dilation_rate,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }

    @property
    def slices(self) -> bool:
        """Whether the layer computes regions only, where that pays."""
        return self.roi == "slice" and is_pointwise(self.activation)

    def _window_of_channels(self) -> tuple[Tensor, Tensor]:
        center, scale = super()._window_of_channels()
        if self.roi_groups is None:
            return center, scale
        group_of_kernel: Any = np.arange(self.filters) * self.roi_groups // self.filters
        return ops.take(center, group_of_kernel, axis=1), ops.take(scale, group_of_kernel, axis=1)

    def _smallest_roi(self, sides: Sequence[int | None]) -> tuple[int, ...]:
        if self.min_roi_size is None:
            return tuple(
                size if side is None else min(size, side)
                for size, side in zip(self.kernel_size, sides, strict=True)
            )
        for size, side in zip(self.min_roi_size, sides, strict=True):
            if side is not None and size > side:
                raise ValueError(
                    f"`min_roi_size` must fit the map of {sides[0]} x {sides[1]} pixels that "
                    f"{self.name!r} is built on. Received: min_roi_size={self.min_roi_size}"
                )
        return self.min_roi_size

    def _checked_roi_groups(self, groups: int | None) -> int | None:
        if groups is None:
            return None
        if positive_integer("roi_groups", groups) > self.filters:
            raise ValueError(
                f"`roi_groups` must be at most the number of kernels, {self.filters}. "
                f"Received: roi_groups={groups}"
            )
        return int(groups)


class SlicePlan(NamedTuple):
    """A grouping to take, with what it is worth.

    Attributes:
        groups: A partition of the kernels.
        sides: Height and width of the map that it is for.
        rectangles: One for each group, for programs whose shapes are fixed; None where they would
            be most of the map.
        seconds_before: Estimate of a step with the groups of now.
        seconds: Estimate of a step with the new ones.
    """

    groups: Groups
    sides: Sides
    rectangles: list[Any] | None
    seconds_before: float
    seconds: float


class Slicing:
    """The groups that a target layer slices by; one group at first."""

    def __init__(self, filters: int):
        self.filters = filters
        self._groups: Groups | None = None
        self._fixed: dict[Sides, Any] = {}

    @property
    def groups(self) -> Groups:
        """All kernels together before a partition is chosen."""
        if self._groups is None:
            self._groups = (tuple(range(self.filters)),)
        return self._groups

    def partition(self, groups: Sequence[Sequence[int]]) -> None:
        """Takes groups of the user's choice.

        Raises:
            ValueError: Where they are not a partition of the kernels.
        """
        partition = checked_partition("slice_groups", groups, self.filters)
        self._groups, self._fixed = partition, {}

    def plan(
        self,
        regions: Array,
        sides: Sides,
        kernel_size: Sequence[int],
        dilation_rate: Sequence[int],
        channels: int,
        cost: ConvolutionCost,
        batch_size: int,
        margin: int,
        fixed_shapes: bool,
    ) -> SlicePlan:
        """Finds the groups that cost the least with the given regions `(C, 2, 2)`."""
        rest = (sides, kernel_size, channels, cost, batch_size, dilation_rate)
        groups = group_rois(regions, *rest)
        rectangles = self._fix(regions, groups, sides, margin)

        def seconds(partition: Groups, fixed: Any) -> float:
            computed, together = _computed(regions, sides, partition, fixed, fixed_shapes)
            return grouping_seconds(computed, together, *rest)

        before = seconds(self.groups, self._fixed.get(sides))
        return SlicePlan(groups, sides, rectangles, before, seconds(groups, rectangles))

    def take(self, plan: SlicePlan) -> None:
        """Slices by a plan from now on."""
        self._groups = plan.groups
        self._fixed = {} if plan.rectangles is None else {plan.sides: plan.rectangles}

    def is_possible(self, sides: Sequence[Any]) -> bool:
        """Whether to slice a map of these sides, or to compute it whole."""
        if backend.supports_dynamic_shapes():
            return True
        # What chooses between a rectangle and the map is not for other formats.
        return backend.fuses() and tuple(sides) in self._fixed

    def fixed(self, sides: Sequence[Any]) -> Any:
        """The groups' fixed rectangles; None where they are sized by the regions in each step."""
        return None if backend.supports_dynamic_shapes() else self._fixed[tuple(sides)]

    def pixels(self, regions: Array, sides: Sequence[int]) -> int:
        """Pixels computed for all kernels together."""
        map_sides = (int(sides[0]), int(sides[1]))
        slices = (self.groups, self._fixed.get(map_sides))
        fixed_shapes = not backend.supports_dynamic_shapes()
        return _pixels(_computed(regions, map_sides, *slices, fixed_shapes)[0])

    def _fix(self, regions: Array, groups: Groups, sides: Sides, margin: int) -> Any:
        unions = np.stack([union_of(regions[list(group)]) for group in groups])
        around = with_a_pixel(unions) + np.array([-margin, margin])
        rectangles = np.clip(around, 0, np.array(sides)[:, None])
        kernels = np.repeat(rectangles, [len(group) for group in groups], axis=0)
        pays = _pixels(kernels) <= SLICED_SHARE * self.filters * np.prod(sides)
        return rectangles.tolist() if pays else None


def _computed(
    regions: Array, sides: Sides, groups: Groups, fixed: Any, fixed_shapes: bool
) -> tuple[Array, Groups]:
    """The rectangle that is computed for each kernel, and the groups: one where it is the map."""
    whole = np.broadcast_to(np.array([[0, sides[0]], [0, sides[1]]]), regions.shape)
    everything = (whole, (tuple(range(len(regions))),))
    if fixed_shapes and fixed is None:
        return everything
    rectangles = np.empty_like(regions)
    for number, group in enumerate(groups):
        union = with_a_pixel(union_of(regions[list(group)]))
        if fixed_shapes:
            smallest, union = union, np.array(fixed[number])
            if not np.array_equal(union_of(np.stack([smallest, union])), union):
                return everything  # a region has left its rectangle
        rectangles[list(group)] = union
    if _pixels(rectangles) > SLICED_SHARE * _pixels(whole):
        return everything
    return rectangles, groups


def _pixels(rectangles: Array) -> int:
    return int(np.prod(rectangles[..., 1] - rectangles[..., 0], axis=-1).sum())
