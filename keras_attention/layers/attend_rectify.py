"""Attend and Rectify: attention modules on several layers correct the predictions of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.layers.base import AttentionLayer, ConfigurableLayer, clip_to_normalizable
from keras_attention.ops.attend_rectify import (
    GATES,
    MASKS,
    SPACES,
    aggregate_hypotheses,
    attend,
    gated_output,
    global_gates,
    head_outputs,
    head_overlap,
    scale_gradient,
)
from keras_attention.ops.attention_transfer import at_least_float32
from keras_attention.utils.data_format import channel_axis, spatial_shape, standardize_data_format
from keras_attention.utils.tensor_validation import convert_input, validate_not_empty
from keras_attention.utils.validation import (
    boolean,
    non_negative_number,
    odd_integers,
    one_of,
    positive_integer,
)

Tensor = Any
Shape = tuple[int | None, ...]
# PyTorch's momentum of 0.1 is 0.9 in Keras.
NORMALIZATION = {"momentum": 0.9, "epsilon": 1e-5}
# Smaller probabilities are clipped before the logarithm: they are subnormal in float32.
SMALLEST_PROBABILITY = 1e-37


@keras.saving.register_keras_serializable(package="keras_attention")
class AttendRectifyHead(ConfigurableLayer):
    """Attend-and-Rectify head: attention modules on several layers, combined by gates (section 3).

    Each attention module predicts the classes from one feature map. The output combines these
    hypotheses with the network's own logits, weighted by global gates.

    With `space="log"` the output is the gated sum of log-probabilities. It is not normalized: train
    it with `losses.NegativeLogLikelihood`, as in the authors' code, and apply a softmax to get
    probabilities.

    Args:
        classes: Number of classes, the length of the logits, 2 or more.
        heads: Number of heads of each module, the attention width; 4 by default, the paper's best.
        space: `"log"` (default), as in the authors' code, or `"probability"`, the sum of
            probabilities (eq. 8).
        gates: `"softmax"` (default, eq. 7), `"sigmoid"` divided by their sum, or `"mean"` for equal
            gates without weights.
        gate_normalization: If True (default), the scores of the gates are batch-normalized, as in
            the authors' code; if False, they are not, as in eq. 6.
        mask: `"softmax"` (default) or `"sigmoid"`: see `AttentionModule`.
        overlap_weight: Weight of the regularizer against overlapping heads, whose mean over the
            modules is added to the training loss; 1e-3 by default, as in the authors' code.
        gate_depth: Number of dense layers of the gates, 1 or 2; 2 is the hidden layer of the
            authors' code.
        gradient_scale: Factor of the gradients from the modules and the gates to the network; 1 by
            default. 0 blocks them (section 4.3).
        kernel_size: Kernel size of the modules' convolutions, odd; 3 by default.
        kernel_initializer: Initializer of all kernels; `"he_normal"` by default, as in the paper.
        regularizer: Regularizer of all weights; None by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        feature_maps: List of feature maps, deepest first, one per module.
        logits: Logits of the network.
        features: Globally pooled features of the network's last layer, the input of the gates.
        return_attention: If True, the list of masks is also returned, `(B, H, W, heads)` each, or
            `(B, heads, H, W)` with channels first, float32.
        return_gates: If True, the gates are also returned (after the masks), `(B, modules + 1)`,
            float32. The last one belongs to the network.

    Weights:
        Weights of each `AttentionModule`; unless `gates="mean"`, the kernel of the gates and the
        gamma, beta, moving mean and variance of their normalization.

    Input shape:
        `(B, H, W, C)` for each map, or `(B, C, H, W)` with channels first; `(B, classes)` for the
        logits and `(B, C)` for the features.

    Output shape:
        `(B, classes)`.

    Raises:
        ValueError: For invalid arguments, or inputs whose shapes are not compatible.

    Example:
    >>> head = AttendRectifyHead(10)
    >>> maps = [ops.ones((2, 8, 8, 64)), ops.ones((2, 16, 16, 32))]
    >>> tuple(head(maps, ops.zeros((2, 10)), ops.ones((2, 64))).shape)
    (2, 10)

    Reference:
        Rodriguez et al., Attend and Rectify (2018), section 3.
    """

    def __init__(
        self,
        classes: int,
        heads: int = 4,
        space: str = "log",
        gates: str = "softmax",
        gate_normalization: bool = True,
        mask: str = "softmax",
        overlap_weight: float = 1e-3,
        *,
        gate_depth: int = 1,
        gradient_scale: float = 1.0,
        kernel_size: int | tuple[int, int] = 3,
        kernel_initializer: Any = "he_normal",
        regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.classes = positive_integer("classes", classes)
        if self.classes < 2:
            raise ValueError(
                "`classes` must be at least 2, because a softmax over one class is constant. "
                f"Received: classes={classes}. Use 2 classes for a binary decision."
            )
        self.heads = positive_integer("heads", heads)
        self.space = one_of("space", space, SPACES)
        self.gates = one_of("gates", gates, GATES)
        self.gate_normalization = boolean("gate_normalization", gate_normalization)
        self.mask = one_of("mask", mask, MASKS)
        self.overlap_weight = non_negative_number("overlap_weight", overlap_weight)
        self.gate_depth = positive_integer("gate_depth", gate_depth)
        if self.gate_depth > 2:
            raise ValueError(f"`gate_depth` must be 1 or 2. Received: gate_depth={gate_depth!r}")
        self.gradient_scale = non_negative_number("gradient_scale", gradient_scale)
        self.kernel_size = odd_integers("kernel_size", kernel_size, 2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.data_format = standardize_data_format(data_format)

    def build(
        self, feature_maps_shape: Sequence[Shape], logits_shape: Shape, features_shape: Shape
    ) -> None:
        maps = _map_shapes(feature_maps_shape)
        self._validate_vectors(logits_shape, features_shape)
        self.modules = [self._module(depth, len(maps)) for depth in range(1, len(maps) + 1)]
        for module, shape in zip(self.modules, maps, strict=True):
            module.build(shape)
        self.global_gate = None
        if self.gates != "mean":
            self.global_gate = GlobalGate(
                len(maps) + 1,
                self.gate_depth,
                self.gate_normalization,
                self.kernel_initializer,
                self.regularizer,
                dtype=self.dtype_policy,
                name="global_gate",
            )
            self.global_gate.build(features_shape)

    def _validate_vectors(self, logits: Shape, features: Shape) -> None:
        if len(logits) != 2 or logits[-1] != self.classes:
            raise ValueError(
                f"`logits` must have the shape (B, {self.classes}). "
                f"Received: logits.shape={tuple(logits)}"
            )
        if len(features) != 2:
            raise ValueError(
                f"`features` must have the shape (B, C). Received: features.shape={tuple(features)}"
            )
        validate_not_empty(self, features)

    def _validate_call(self, maps: Sequence[Tensor], logits: Tensor, features: Tensor) -> None:
        """Validates the shapes of a call, which else might be broadcast."""
        if len(maps) != len(self.modules):
            raise ValueError(
                f"`feature_maps` must be a list of {len(self.modules)} maps, which {self.name!r} "
                f"was built for. Received: {len(maps)} maps"
            )
        self._validate_vectors(logits.shape, features.shape)
        counts = {tensor.shape[0] for tensor in (*maps, logits, features)} - {None}
        if len(counts) > 1:
            raise ValueError(
                "`feature_maps`, `logits` and `features` must have the same batch size. "
                f"Received: batch sizes {', '.join(map(str, sorted(counts)))}"
            )

    def _module(self, depth: int, count: int) -> AttentionModule:
        return AttentionModule(
            self.classes,
            self.heads,
            self.mask,
            overlap_weight=self.overlap_weight / count,
            kernel_size=self.kernel_size,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.regularizer,
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name=f"module{depth}",
        )

    def call(
        self,
        feature_maps: Sequence[Tensor],
        logits: Tensor,
        features: Tensor,
        training: bool | None = None,
        return_attention: bool = False,
        return_gates: bool = False,
    ) -> Any:
        results = self.intermediates(feature_maps, logits, features, training)
        outputs = ops.cast(results["output"], self.compute_dtype)
        more = [results["masks"]] * return_attention + [results["gates"]] * return_gates
        return (outputs, *more) if more else outputs

    def intermediates(
        self,
        feature_maps: Sequence[Tensor],
        logits: Tensor,
        features: Tensor,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """Computes all intermediate results and the output, with the arguments of `call`.

        Returns a dictionary: `"masks"`, a list of `(B, H, W, heads)`; `"head_gates"`, a list of
        `(B, heads)`; `"hypotheses"`, logits `(B, modules + 1, classes)`, the last ones of the
        network; `"gates"`, `(B, modules + 1)`; `"output"`, `(B, classes)`.
        """
        self._validate_call(feature_maps, logits, features)
        if training and self.gradient_scale != 1.0:
            feature_maps = [scale_gradient(maps, self.gradient_scale) for maps in feature_maps]
            features = scale_gradient(features, self.gradient_scale)
        results = [
            module(maps, training=training, return_attention=True, return_gates=True)
            for module, maps in zip(self.modules, feature_maps, strict=True)
        ]
        outputs, masks, head_gates = (list(parts) for parts in zip(*results, strict=True))
        hypotheses = ops.stack([at_least_float32(one) for one in [*outputs, logits]], axis=1)
        if self.global_gate is None:
            scores = ops.zeros_like(hypotheses[:, :, 0])
        else:
            scores = self.global_gate(features, training=training)
        gates = global_gates(scores, self.gates)
        return {
            "masks": masks,
            "head_gates": head_gates,
            "hypotheses": hypotheses,
            "gates": gates,
            "output": aggregate_hypotheses(hypotheses, gates, self.space),
        }

    def compute_output_shape(
        self, feature_maps_shape: Sequence[Shape], logits_shape: Shape, features_shape: Shape
    ) -> Shape:
        return (logits_shape[0], self.classes)

    def compute_output_spec(
        self,
        feature_maps: Sequence[Any],
        logits: Any,
        features: Any,
        training: bool | None = None,
        return_attention: bool = False,
        return_gates: bool = False,
    ) -> Any:
        batch, count = logits.shape[0], len(feature_maps)
        outputs = keras.KerasTensor((batch, self.classes), dtype=self.compute_dtype)
        shapes = [
            module.masks_shape(maps.shape)
            for module, maps in zip(self.modules, feature_maps, strict=True)
        ]
        masks = [keras.KerasTensor(shape, dtype="float32") for shape in shapes]
        gates = keras.KerasTensor((batch, count + 1), dtype="float32")
        more = [masks] * return_attention + [gates] * return_gates
        return (outputs, *more) if more else outputs


def _map_shapes(shapes: Any) -> list[Shape]:
    """Returns a list of the shapes of the maps, after validation."""
    shapes = shapes if isinstance(shapes, (list, tuple)) else [shapes]
    result = [tuple(shape) if isinstance(shape, (list, tuple)) else shape for shape in shapes]
    if result and all(isinstance(shape, tuple) and len(shape) == 4 for shape in result):
        return result
    raise ValueError(
        "`feature_maps` must be a list of maps (B, H, W, C), deepest first. "
        f"Received: shapes={shapes!r}"
    )


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionModule(AttentionLayer):
    """Attention module: classifies the features that several attention heads select (eq. 1 to 5).

    Convolutions without bias compute for each head an attention mask over the positions, logits for
    every class, and a score. The output of a head is the sum over the positions of mask times
    logits. The outputs of the heads are averaged with weights, the softmax of the tanh of their
    scores.

    The layer computes this without the convolutions for the classes: two matrix products and
    shifted masks give the same result (`ops.attend`).

    Args:
        classes: Number of classes.
        heads: Number of heads, the attention width; 4 by default, the paper's best.
        mask: `"softmax"` over the positions (default), or `"sigmoid"` with means instead of sums
            over the positions, the paper's ablation.
        gate: If True (default), the outputs of the heads are averaged; if False, the outputs of all
            heads are returned.
        overlap_weight: Weight of the regularizer against overlapping heads (`ops.head_overlap`),
            which is added to the training loss; 1e-3 by default, as in the authors' code.
        kernel_size: Kernel size of the convolutions, odd; 3 by default, as in the authors' code.
        kernel_initializer: Initializer of all kernels; `"he_normal"` by default, as in the paper.
        kernel_regularizer: Regularizer of all kernels; None by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: A feature map.
        return_attention: If True, the masks are also returned, `(B, H, W, heads)`, or
            `(B, heads, H, W)` with channels first, float32.
        return_gates: If True, the weights of the heads are also returned (after the masks),
            `(B, heads)`, float32.

    Weights:
        attention: `(kh, kw, C, heads)`.
        output: `(kh, kw, C, heads * classes)`, the kernels of the first head first.
        score: `(kh, kw, C, heads)`, if `gate` is True.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None.

    Output shape:
        `(B, classes)`, or `(B, heads, classes)` with `gate=False`.

    Raises:
        ValueError: For invalid arguments, or an input that is not a batch of images.

    Example:
    >>> tuple(AttentionModule(10)(ops.ones((2, 7, 5, 32))).shape)
    (2, 10)

    Reference:
        Rodriguez et al., Attend and Rectify (2018), sections 3.2 to 3.4.
    """

    def __init__(
        self,
        classes: int,
        heads: int = 4,
        mask: str = "softmax",
        gate: bool = True,
        overlap_weight: float = 1e-3,
        *,
        kernel_size: int | Sequence[int] = 3,
        kernel_initializer: Any = "he_normal",
        kernel_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.classes = positive_integer("classes", classes)
        self.heads = positive_integer("heads", heads)
        self.mask = one_of("mask", mask, MASKS)
        self.gate = boolean("gate", gate)
        self.overlap_weight = non_negative_number("overlap_weight", overlap_weight)
        self.kernel_size = odd_integers("kernel_size", kernel_size, 2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.data_format = standardize_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        channels = self._validate_map(input_shape)[channel_axis(self.data_format)]
        self.attention_kernel = self._add_kernel("attention", channels, self.heads)
        self.output_kernel = self._add_kernel("output", channels, self.heads * self.classes)
        self.score_kernel = self._add_kernel("score", channels, self.heads) if self.gate else None

    def _add_kernel(self, name: str, channels: int, maps: int) -> Any:
        return self.add_weight(
            name=name,
            shape=(*self.kernel_size, channels, maps),
            initializer=clone_initializer(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
        )

    def call(
        self,
        inputs: Tensor,
        training: bool | None = None,
        return_attention: bool = False,
        return_gates: bool = False,
    ) -> Any:
        inputs = convert_input(self, inputs)
        masks, sums = attend(inputs, self.attention_kernel, self.mask, self.data_format)
        if training and self.overlap_weight and self.heads > 1:
            self.add_loss(self.overlap_weight * head_overlap(masks, "channels_first"))
        if self.gate:
            outputs, gates = gated_output(sums, self.output_kernel, self.score_kernel)
        else:
            outputs = head_outputs(sums, self.output_kernel)
            gates = ops.ones_like(outputs[:, :, 0])
        if self.data_format == "channels_last":
            masks = ops.transpose(masks, (0, 2, 3, 1))
        more = [masks] * return_attention + [gates] * return_gates
        outputs = ops.cast(outputs, self.compute_dtype)
        return (outputs, *more) if more else outputs

    def macs(self, input_shape: Sequence[int], executed: bool = False) -> int:
        """Counts multiply-accumulates for one image, by default those of the paper's convolutions.

        With `executed` they are those of this layer: products with the kernel of the attention and
        weighted sums of the map.
        """
        pixels = math.prod(spatial_shape(input_shape, self.data_format))
        taps = math.prod(self.kernel_size) * input_shape[channel_axis(self.data_format)]
        maps = self.heads * (self.classes + self.gate)
        if executed:
            return 2 * pixels * taps * self.heads + taps * maps + self.heads * self.classes
        return pixels * (taps * (self.heads + maps) + maps) + self.heads * self.classes

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.gate:
            return (input_shape[0], self.classes)
        return (input_shape[0], self.heads, self.classes)

    def compute_output_spec(
        self,
        inputs: Any,
        training: bool | None = None,
        return_attention: bool = False,
        return_gates: bool = False,
    ) -> Any:
        shape = tuple(inputs.shape)
        outputs = keras.KerasTensor(self.compute_output_shape(shape), dtype=self.compute_dtype)
        masks = keras.KerasTensor(self.masks_shape(shape), dtype="float32")
        gates = keras.KerasTensor((shape[0], self.heads), dtype="float32")
        more = [masks] * return_attention + [gates] * return_gates
        return (outputs, *more) if more else outputs

    def masks_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the masks for an input shape."""
        shape = list(input_shape)
        shape[channel_axis(self.data_format)] = self.heads
        return tuple(shape)


class GlobalGate(keras.Layer):
    """Scores of hypotheses: the tanh of a normalized dense layer (eq. 6).

    With a depth of 2 there is a hidden layer of the same width and a ReLU, as in the authors' code.
    The input are globally pooled features `(B, C)`, the output is `(B, hypotheses)`, float32.

    Example:
    >>> tuple(GlobalGate(4)(ops.ones((2, 32))).shape)
    (2, 4)
    """

    def __init__(
        self,
        hypotheses: int,
        depth: int = 1,
        normalization: bool = True,
        kernel_initializer: Any = "he_normal",
        regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        names = ["gate"] if depth == 1 else ["hidden", "gate"]
        options: dict[str, Any] = {"dtype": self.dtype_policy}
        self.products = [
            keras.layers.Dense(
                hypotheses,
                use_bias=False,
                kernel_initializer=clone_initializer(kernel_initializer),
                kernel_regularizer=regularizer,
                name=name,
                **options,
            )
            for name in names
        ]
        options |= {"beta_regularizer": regularizer, "gamma_regularizer": regularizer}
        self.normalizations = [
            keras.layers.BatchNormalization(name=f"{name}_bn", **NORMALIZATION, **options)
            for name in names
            if normalization
        ]

    def build(self, input_shape: Shape) -> None:
        for index, product in enumerate(self.products):
            product.build(input_shape)
            input_shape = product.compute_output_shape(input_shape)
            if self.normalizations:
                self.normalizations[index].build(input_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        x = inputs
        for index, product in enumerate(self.products):
            x = product(ops.relu(x) if index else x)
            if self.normalizations:
                x = self.normalizations[index](clip_to_normalizable(x), training=training)
        return ops.tanh(at_least_float32(x))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.products[-1].units)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")


def apply_head_activation(
    outputs: Tensor, space: str, activation: Any, name: str = "predictions"
) -> Tensor:
    """Applies a classifier activation to the outputs of an Attend-and-Rectify head, in float32.

    Outputs of a head with `space="probability"` are converted to log-probabilities first.

    Example:
    >>> predictions = apply_head_activation(keras.Input((5,)), "log", "softmax")
    >>> predictions.dtype, predictions.shape
    ('float32', (None, 5))
    """
    if space == "probability":
        outputs = ops.log(ops.maximum(ops.cast(outputs, "float32"), SMALLEST_PROBABILITY))
    return keras.layers.Activation(activation, dtype="float32", name=name)(outputs)


def clone_initializer(initializer: Any) -> Any:
    """Returns a copy of an initializer, so that several weights do not get the same random values.

    A function `(shape, dtype)` is not copied.

    Example:
    >>> clone_initializer("zeros").__class__.__name__
    'Zeros'
    """
    initializer = keras.initializers.get(initializer)
    is_object = isinstance(initializer, keras.initializers.Initializer)
    return initializer.clone() if is_object else initializer
