"""Targeted convolution: each kernel learns its own region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_attention import backend
from keras_attention.layers.attentive_regularization import WindowedLayer
from keras_attention.ops.grouped_convolution import SLICED_SHARE, sliced_targeted_convolution
from keras_attention.ops.roi_grouping import (
    TRAINING_COST,
    ConvolutionCost,
    Groups,
    LayerCost,
    at_least_one_pixel,
    group_rois,
    union_rectangle,
    validate_partition,
)
from keras_attention.ops.targeted import targeted_convolution
from keras_attention.utils.data_format import channel_axis, map_shape, spatial_shape
from keras_attention.utils.tensor_validation import convert_input
from keras_attention.utils.validation import (
    boolean,
    one_of,
    positive_integer,
    positive_integers,
    validate_dilation_rate,
)

Tensor = Any
Shape = tuple[int | None, ...]
ROI_MODES = ("slice", "mask", "full")
Array = Any
Sides = tuple[int, int]


@keras.saving.register_keras_serializable(package="keras_attention")
class TargetLayer(WindowedLayer):
    """Targeted convolution: each kernel attends to a learned region of interest.

    Computes `F * activation(conv(inputs) + bias)`, stride 1 and "same" padding, where `F` is each
    kernel's attention window (eq. 13), clipped to its region of interest (eq. 15 to 17).

    The weight decay of an optimizer such as AdamW would move the centers to the upper left corner
    and shrink the windows. Exclude them before the optimizer is built:
    `optimizer.exclude_from_weight_decay(var_list=[weight for weight in model.trainable_weights if
    weight.name in ("center", "scale")])`.

    Args:
        filters: Number of kernels, C.
        kernel_size: Kernel size, one integer or `(rows, columns)`.
        window: `"cauchy"` (default, section 4.4) or `"gaussian"`.
        roi: `"slice"` (default) computes the convolution only inside rectangles around the regions
            of groups of kernels (see `slice_groups`), if these cover less than 0.8 of the map; on
            JAX and under XLA only after `regroup`. `"mask"` computes it everywhere and sets the
            outside to zero, with the same values and gradients. `"full"` does not clip the window.
        roi_groups: None (as in the paper) for one region per kernel, or an integer G for G regions,
            each shared by a contiguous group of kernels.
        min_roi_size: Smallest region during training in pixels, one integer or
            `(rows, columns)`. None (default) for the kernel size, as in section 3.5, or the size of
            the map if that is smaller. It is enforced by a constraint on the scale, along axes
            whose size is known when the layer is built.
        use_bias: If True, a bias is added; False by default, as in the paper.
        scale_regularizer: Regularizer of the scales; the paper uses
            `keras.regularizers.L2(1e-4)`, times beta to the power of the block. None by default.
        dilation_rate: Dilation of the kernels in pixels, one integer or a pair.
        activation: Activation before the window; None for none. With an activation that is not
            pointwise, such as softmax, `"slice"` is computed like `"mask"`.
        kernel_initializer: Initializer of the kernel; `"he_normal"`, section 4.2.
        bias_initializer: Initializer of the bias; `"zeros"`.
        kernel_regularizer: Regularizer of the kernel; None.
        bias_regularizer: Regularizer of the bias; None.
        activity_regularizer: Regularizer of the outputs; None.
        kernel_constraint: Constraint of the kernel; None.
        bias_constraint: Constraint of the bias; None.
        train_kernel: If False, kernel and bias do not train, only the window. True by default.
        train_window: If False, the window does not train. True by default.
        identity: If True, the outputs are those of an ordinary convolution until the layer is
            trained: the window is `1 + share * (F - 1)`, with a learned share in `[0, 1]` that is
            initially 0. Regions of interest are clipped, and sliced, when the share has reached 1.
            False by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Images or feature maps.
        return_attention: If True, the windows are also returned, repeated for every image, float32.

    Weights:
        kernel: `(kh, kw, Cin, C)`; bias, if used: `(C,)`.
        center: `(2, C)`, or `(2, G)` with `roi_groups=G`; rows are height and width; in `[0, 1]`.
        scale: The same shape, in `[min_roi_size / (2 * side), 1]`.
        share: Scalar, if `identity` is True.

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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        train_kernel: bool = True,
        train_window: bool = True,
        identity: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        kwargs["activity_regularizer"] = activity_regularizer
        _refuse_other_convolutions(kwargs)
        super().__init__(window, scale_regularizer, data_format, **kwargs)
        self.filters = positive_integer("filters", filters)
        self.kernel_size = positive_integers("kernel_size", kernel_size, rank=2)
        self.roi = one_of("roi", roi, ROI_MODES)
        self.roi_groups = self._validate_roi_groups(roi_groups)
        self.min_roi_size = (
            None if min_roi_size is None else positive_integers("min_roi_size", min_roi_size, 2)
        )
        self.use_bias = boolean("use_bias", use_bias)
        self.dilation_rate = positive_integers("dilation_rate", dilation_rate, rank=2)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self._train_kernel = boolean("train_kernel", train_kernel)
        self._train_window = boolean("train_window", train_window)
        self.identity = boolean("identity", identity)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self._slicing = _KernelGroups(self.filters)
        self._sides: tuple[int | None, ...] = (None, None)

    def build(self, input_shape: Shape) -> None:
        input_shape = self._validate_map(input_shape)
        channels = input_shape[channel_axis(self.data_format)]
        sides = spatial_shape(input_shape, self.data_format)
        validate_dilation_rate(self.dilation_rate, sides)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels, self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self._add_window(sides, self.roi_groups or self.filters, self._min_roi_sides(sides))
        if self.identity:
            self.share = self.add_weight(
                name="share",
                shape=(),
                initializer="zeros",
                constraint=Share(),
                autocast=False,
            )
        self._sides = sides
        self._apply_train_options()

    @property
    def trainable(self) -> bool:
        """If False, no weight trains; if True, those of `train_kernel` and `train_window` do."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Layer.trainable.fset(self, value)
        if value:
            self._apply_train_options()

    def _apply_train_options(self) -> None:
        for names, value in (
            (("kernel", "bias"), self._train_kernel),
            (("center", "scale", "share"), self._train_window),
        ):
            for name in names:
                if name in vars(self):
                    getattr(self, name).trainable = value and self.trainable

    @property
    def train_kernel(self) -> bool:
        """If False, kernel and bias do not train. Can be set; files keep it."""
        return self._train_kernel

    @train_kernel.setter
    def train_kernel(self, value: bool) -> None:
        self._train_kernel = value
        self._apply_train_options()

    @property
    def train_window(self) -> bool:
        """If False, centers and scales do not train. Can be set; files keep it."""
        return self._train_window

    @train_window.setter
    def train_window(self, value: bool) -> None:
        self._train_window = value
        self._apply_train_options()

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = convert_input(self, inputs)
        sides = spatial_shape(ops.shape(inputs), self.data_format)
        window = self.attention_window(*sides, clip=self.roi != "full")
        options = {
            "bias": self.bias if self.use_bias else None,
            "activation": self.activation,
            "dilation_rate": self.dilation_rate,
            "data_format": self.data_format,
        }
        kernel = ops.convert_to_tensor(self.kernel)
        if all(isinstance(side, int) for side in sides):
            self._sides = sides
        if self.uses_slicing and self._slicing.can_slice(sides):
            rectangles = self._rectangles(sides)
            options["fixed"] = self._slicing.static_rectangles(sides)
            outputs = sliced_targeted_convolution(
                inputs, kernel, window, rectangles, self._slicing.groups, **options
            )
        else:
            outputs = targeted_convolution(inputs, kernel, window, **options)
        return self._with_attention(outputs, window, return_attention)

    def attention_window(self, *sides: int, clip: bool = False) -> Tensor:
        """Samples each kernel's attention window on a map of the given size (eq. 13).

        Returns a float32 tensor `(*sides, C)`; with `clip`, it is 0 outside the region of interest.
        With `identity`, it is the window that the outputs are multiplied by.
        """
        window = super().attention_window(*sides, clip=clip)
        return 1.0 + self.share * (window - 1.0) if self.identity else window

    def _rectangles(self, sides: Sequence[Any]) -> Tensor:
        rectangles = super()._rectangles(sides)
        if not self.identity:
            return rectangles
        whole = ops.stack([ops.stack([0, side]) for side in sides])
        is_clipped = ops.convert_to_tensor(self.share) >= 1.0
        return ops.where(is_clipped, rectangles, ops.cast(whole, rectangles.dtype))

    @property
    def slice_groups(self) -> Groups:
        """Groups of kernels that are convolved together, inside the union of their regions.

        Values and gradients are the same for any partition of the kernels; only the speed differs.
        Initially there is one group; `regroup` and the callback `RegroupROIs` choose better ones.
        Set the groups before the model is traced, or compile the model again.
        """
        return self._slicing.groups

    @slice_groups.setter
    def slice_groups(self, groups: Sequence[Sequence[int]]) -> None:
        self._slicing.set_partition(groups)

    @property
    def map_sides(self) -> tuple[int | None, ...]:
        """Height and width of the last map that the layer was called on; None if unknown."""
        return self._sides

    def plan_groups(
        self,
        sides: Sequence[int] | None = None,
        cost: ConvolutionCost = TRAINING_COST,
        batch_size: int = 64,
        margin: int = 1,
        fixed_shapes: bool | None = None,
    ) -> GroupingPlan:
        """Finds the groups with the lowest estimated cost for the current regions.

        Args:
            sides: Height and width of the map; None for those of the last call.
            cost: Speed of the machine, see `ops.roi_grouping.ConvolutionCost`.
            batch_size: Images per step.
            margin: Pixels by which fixed rectangles are larger than the regions inside, so that the
                regions can move.
            fixed_shapes: If True, the estimates are for a program with fixed shapes, as with
                `jit_compile=True`. None for the default of the backend; False on TensorFlow.

        Returns:
            The plan for `regroup`, with the estimated seconds per step before and after.
        """
        height, width = self._sides if sides is None else sides
        if height is None or width is None:
            raise ValueError(
                f"`sides` must be a height and a width until {self.name!r} has been called on a "
                f"map of known size. Received: sides={sides}. Pass `sides`, such as (28, 28)."
            )
        map_sides = (int(height), int(width))
        if fixed_shapes is None:
            fixed_shapes = not backend.supports_dynamic_shapes()
        channels = self.kernel.shape[2]
        layer = LayerCost(
            map_sides, self.kernel_size, channels, cost, batch_size, self.dilation_rate
        )
        return self._slicing.plan(self.rois(*map_sides).astype(int), layer, margin, fixed_shapes)

    def regroup(self, plan: GroupingPlan | None = None) -> None:
        """Changes the groups to those of a plan, by default that of `plan_groups()`.

        Call it before the model is traced, or compile the model again. On JAX and under XLA, where
        shapes are fixed, each group also has a fixed rectangle. While its regions stay inside, the
        rectangle is computed, else the whole map.
        """
        self._slicing.apply(self.plan_groups() if plan is None else plan)

    def macs(self, input_shape: Sequence[int], executed: bool = False) -> int:
        """Counts multiply-accumulates of the convolution for one image.

        Args:
            input_shape: `(B, H, W, Cin)` or channels first.
            executed: If False, each kernel's own region is counted, as in the paper's tables. If
                True, the pixels that are computed: the whole map, or with `roi="slice"` the unions
                of the groups if they are small enough. With `roi="full"` both are the whole map.
        """
        sides = spatial_shape(input_shape, self.data_format)
        taps = int(np.prod(self.kernel_size)) * input_shape[channel_axis(self.data_format)]
        whole = int(np.prod(sides))
        if self.roi == "full":
            return taps * self.filters * whole
        rois = self.rois(*sides)
        if not executed:
            return taps * _pixels(rois)
        if self.uses_slicing:
            return taps * self._slicing.count_pixels(rois, sides)
        return taps * self.filters * whole

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sides = spatial_shape(input_shape, self.data_format)
        return map_shape(input_shape[0], sides, self.filters, self.data_format)

    @property
    def uses_slicing(self) -> bool:
        """True if the layer computes only regions of interest where this is faster."""
        return self.roi == "slice" and is_pointwise(self.activation)

    def _window_parameters(self) -> tuple[Tensor, Tensor]:
        center, scale = super()._window_parameters()
        if self.roi_groups is None:
            return center, scale
        group_of_kernel: Any = np.arange(self.filters) * self.roi_groups // self.filters
        return ops.take(center, group_of_kernel, axis=1), ops.take(scale, group_of_kernel, axis=1)

    def _min_roi_sides(self, sides: Sequence[int | None]) -> tuple[int, ...]:
        if self.min_roi_size is None:
            return tuple(
                size if side is None else min(size, side)
                for size, side in zip(self.kernel_size, sides, strict=True)
            )
        for size, side in zip(self.min_roi_size, sides, strict=True):
            if side is not None and size > side:
                raise ValueError(
                    f"`min_roi_size` must be at most the size of the map of {self.name!r}, "
                    f"{sides[0]} x {sides[1]} pixels. Received: min_roi_size={self.min_roi_size}"
                )
        return self.min_roi_size

    def _validate_roi_groups(self, groups: int | None) -> int | None:
        if groups is None:
            return None
        if positive_integer("roi_groups", groups) > self.filters:
            raise ValueError(
                f"`roi_groups` must be at most `filters`, {self.filters}. "
                f"Received: roi_groups={groups}"
            )
        return int(groups)


def _refuse_other_convolutions(kwargs: dict[str, Any]) -> None:
    """Removes the options of Keras's convolutions that have a single value here."""
    for name, allowed in (
        ("strides", (1, (1, 1), [1, 1])),
        ("padding", ("same",)),
        ("groups", (1,)),
    ):
        value = kwargs.pop(name, allowed[0])
        if value not in allowed:
            raise ValueError(
                f"`{name}` must be {allowed[0]!r} in target layers. Received: {name}={value!r}. "
                "Use a pooling layer behind to reduce the map."
            )


@keras.saving.register_keras_serializable(package="keras_attention")
class Share(keras.constraints.Constraint):
    """Clips weights to `[0, 1]`.

    Example:
    >>> [float(value) for value in Share()(np.array([-1.0, 0.5, 2.0]))]
    [0.0, 0.5, 1.0]
    """

    def __call__(self, w: Tensor) -> Tensor:
        return ops.clip(w, 0.0, 1.0)


class GroupingPlan(NamedTuple):
    """Groups of kernels, with their estimated cost.

    Attributes:
        groups: A partition of the kernels.
        sides: Height and width of the map that the plan is for.
        rectangles: One per group, for programs with fixed shapes; None if they would cover most of
            the map.
        seconds_before: Estimated seconds per step with the current groups.
        seconds: Estimated seconds per step with the new groups.
    """

    groups: Groups
    sides: Sides
    rectangles: list[Any] | None
    seconds_before: float
    seconds: float


class _KernelGroups:
    """Groups of kernels of a `TargetLayer`; initially one group."""

    def __init__(self, filters: int):
        self.filters = filters
        self._groups: Groups | None = None
        self._fixed: dict[Sides, Any] = {}

    @property
    def groups(self) -> Groups:
        """The partition; one group of all kernels until another one is set."""
        if self._groups is None:
            self._groups = (tuple(range(self.filters)),)
        return self._groups

    def set_partition(self, groups: Sequence[Sequence[int]]) -> None:
        """Sets groups that the user chose."""
        partition = validate_partition("slice_groups", groups, self.filters)
        self._groups, self._fixed = partition, {}

    def plan(
        self, regions: Array, layer: LayerCost, margin: int, fixed_shapes: bool
    ) -> GroupingPlan:
        """Finds the groups with the lowest estimated cost for regions `(C, 2, 2)`."""
        sides: Any = layer.sides
        groups = group_rois(regions, layer)
        rectangles = self._fixed_rectangles(regions, groups, sides, margin)

        def seconds(partition: Groups, fixed: Any) -> float:
            return layer.seconds(
                *_computed_rectangles(regions, sides, partition, fixed, fixed_shapes)
            )

        before = seconds(self.groups, self._fixed.get(sides))
        return GroupingPlan(groups, sides, rectangles, before, seconds(groups, rectangles))

    def apply(self, plan: GroupingPlan) -> None:
        """Sets the groups and rectangles of a plan."""
        self._groups = plan.groups
        self._fixed = {} if plan.rectangles is None else {plan.sides: plan.rectangles}

    def can_slice(self, sides: Sequence[Any]) -> bool:
        """Returns True if a map of this size can be sliced."""
        if backend.supports_dynamic_shapes():
            return True
        # Other export formats do not support the condition that selects a rectangle or the map.
        is_known = all(isinstance(side, int) for side in sides)
        return backend.fusion_enabled() and is_known and tuple(sides) in self._fixed

    def static_rectangles(self, sides: Sequence[Any]) -> Any:
        """Returns the fixed rectangles; None if rectangles follow the regions in each step."""
        return None if backend.supports_dynamic_shapes() else self._fixed[tuple(sides)]

    def count_pixels(self, regions: Array, sides: Sequence[int]) -> int:
        """Returns the number of pixels that are computed, over all kernels."""
        map_sides = (int(sides[0]), int(sides[1]))
        slices = (self.groups, self._fixed.get(map_sides))
        fixed_shapes = not backend.supports_dynamic_shapes()
        return _pixels(_computed_rectangles(regions, map_sides, *slices, fixed_shapes)[0])

    def _fixed_rectangles(self, regions: Array, groups: Groups, sides: Sides, margin: int) -> Any:
        unions = np.stack([union_rectangle(regions[list(group)]) for group in groups])
        around = at_least_one_pixel(unions) + np.array([-margin, margin])
        rectangles = np.clip(around, 0, np.array(sides)[:, None])
        kernels = np.repeat(rectangles, [len(group) for group in groups], axis=0)
        pays = _pixels(kernels) <= SLICED_SHARE * self.filters * np.prod(sides)
        return rectangles.tolist() if pays else None


def _computed_rectangles(
    regions: Array, sides: Sides, groups: Groups, fixed: Any, fixed_shapes: bool
) -> tuple[Array, Groups]:
    """Returns the rectangle that is computed for each kernel, and the groups.

    If the whole map is computed, there is one group.
    """
    whole = np.broadcast_to(np.array([[0, sides[0]], [0, sides[1]]]), regions.shape)
    everything = (whole, (tuple(range(len(regions))),))
    if fixed_shapes and fixed is None:
        return everything
    rectangles = np.empty_like(regions)
    for number, group in enumerate(groups):
        union = at_least_one_pixel(union_rectangle(regions[list(group)]))
        if fixed_shapes:
            smallest, union = union, np.array(fixed[number])
            if not np.array_equal(union_rectangle(np.stack([smallest, union])), union):
                return everything  # a region is no longer inside its rectangle
        rectangles[list(group)] = union
    if _pixels(rectangles) > SLICED_SHARE * _pixels(whole):
        return everything
    return rectangles, groups


def _pixels(rectangles: Array) -> int:
    return int(np.prod(rectangles[..., 1] - rectangles[..., 0], axis=-1).sum())


_ELEMENTWISE_NAMES = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu",
    "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish", "relu", "relu6", "selu",
    "sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid",
    "squareplus", "tanh", "tanh_shrink", "threshold",
)  # fmt: skip
# Names differ between Keras versions.
_ELEMENTWISE = [
    getattr(keras.activations, name)
    for name in _ELEMENTWISE_NAMES
    if hasattr(keras.activations, name)
]


def is_pointwise(activation: Any) -> bool:
    """Returns True for Keras activations that are applied elementwise.

    Softmax and similar functions need all channels of a pixel at once. A function that is not one
    of Keras's activations may do the same, so it is not considered pointwise.

    Example:
    >>> is_pointwise(keras.activations.relu), is_pointwise(keras.activations.softmax)
    (True, False)
    """
    return activation is None or any(activation is function for function in _ELEMENTWISE)
