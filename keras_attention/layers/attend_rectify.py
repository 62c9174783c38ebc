"""Attend and Rectify: hypotheses from several layers correct what a network says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.limits import checked_weight
from keras_attention.ops.attend_rectify import (
    GATES,
    MASKS,
    SPACES,
    aggregate,
    attend,
    attended,
    gated,
    global_gates,
    head_overlap,
    scaled_gradient,
)
from keras_attention.utils.numerics import normalizable
from keras_attention.utils.validation import (
    check_not_empty,
    checked_shape,
    flag,
    map_spec,
    non_negative_number,
    odd_integers,
    one_of,
    positive_integer,
    standard_data_format,
    taken_map,
)

Tensor = Any
Shape = tuple[int | None, ...]
# PyTorch's momentum of 0.1 is Keras's 0.9.
NORMALIZATION = {"momentum": 0.9, "epsilon": 1e-5}
# The smallest probability whose logarithm is taken: float32 has no normal one much below.
LEAST = 1e-37


@keras.saving.register_keras_serializable(package="keras_attention")
class AttendRectifyHead(keras.Layer):
    """Attention modules on some layers of a network, and gates over what they and it say.

    In `space="log"` the answer is the sum of the logarithms of all hypotheses' probabilities, each
    with its gate. It is not normalized: train with `losses.NegativeLogLikelihood` of the answer as
    it stands, as the authors do, and take its softmax for probabilities.

    Args:
        classes: How many logits the network has.
        heads: Heads of each module, the attention width; 4 by default, the paper's best.
        space: `"log"` (default), as in the authors' code, or `"probability"`, the sum of
            probabilities (eq. 8).
        gates: `"softmax"` (default, eq. 7), `"sigmoid"` divided by their sum, or `"mean"` for equal
            shares, without weights.
        gate_normalization: Whether the gates' scores are normalized over the batch, as in the
            authors' code (default); else as in eq. 6.
        mask: `"softmax"` (default) or `"sigmoid"`: see `AttentionModule`.
        overlap_weight: Of the regularizer that keeps the heads of a module apart, whose mean over
            the modules is added in training; 1e-3 by default, as in the authors' code.
        gate_depth: 1, or 2 for a hidden layer before the gates, as in the authors' code.
        gradient_scale: What gradients from the modules and gates into the network are multiplied
            by; 1 by default. 0 blocks them (section 4.3).
        kernel_size: Of the modules' convolutions, odd; 3 by default.
        kernel_initializer: Of all kernels; `"he_normal"` by default, the paper's.
        regularizer: Of all weights; None by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        feature_maps: A list of maps, the deepest first: one for each module.
        logits: What the network says, before the softmax.
        features: The network's last features, globally pooled, for the gates.
        return_attention: Whether to return the list of masks too, `(B, H, W, heads)` each, float32;
            with channels first `(B, heads, H, W)`.
        return_gates: Whether to return the gates too, `(B, modules + 1)`, float32, after those; the
            network's own is the last.

    Weights:
        Those of each `AttentionModule`; unless the gates are equal, the kernel of the gates and the
        gamma, beta, moving mean and variance of their normalization.

    Input shape:
        `(B, H, W, C)` each, or `(B, C, H, W)` with channels first, `(B, classes)` and `(B, C)`.

    Output shape:
        `(B, classes)`.

    Raises:
        ValueError: For arguments or shapes that cannot be.

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
        self.heads = positive_integer("heads", heads)
        self.space = one_of("space", space, SPACES)
        self.gates = one_of("gates", gates, GATES)
        self.gate_normalization = flag("gate_normalization", gate_normalization)
        self.mask = one_of("mask", mask, MASKS)
        self.overlap_weight = non_negative_number("overlap_weight", overlap_weight)
        self.gate_depth = positive_integer("gate_depth", gate_depth)
        if self.gate_depth > 2:
            raise ValueError(f"`gate_depth` must be 1 or 2. Received: gate_depth={gate_depth!r}")
        self.gradient_scale = non_negative_number("gradient_scale", gradient_scale)
        self.kernel_size = odd_integers("kernel_size", kernel_size, 2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.data_format = standard_data_format(data_format)

    def build(
        self, feature_maps_shape: Sequence[Shape], logits_shape: Shape, features_shape: Shape
    ) -> None:
        maps = _checked_maps(feature_maps_shape)
        self._check_vectors(logits_shape, features_shape)
        self.modules = [self._module(depth, len(maps)) for depth in range(1, len(maps) + 1)]
        for module, shape in zip(self.modules, maps, strict=True):
            module.build(shape)
        self.relevance = None
        if self.gates != "mean":
            self.relevance = GlobalGate(
                len(maps) + 1,
                self.gate_depth,
                self.gate_normalization,
                self.kernel_initializer,
                self.regularizer,
                dtype=self.dtype_policy,
                name="relevance",
            )
            self.relevance.build(features_shape)

    def _check_vectors(self, logits: Shape, features: Shape) -> None:
        if len(logits) != 2 or logits[-1] != self.classes:
            raise ValueError(
                f"`logits` must be of {self.classes} classes, (B, classes). "
                f"Received: logits.shape={tuple(logits)}"
            )
        if len(features) != 2:
            raise ValueError(
                "`features` must be vectors (B, length). "
                f"Received: features.shape={tuple(features)}"
            )
        check_not_empty(self, features)

    def _check_batch(self, maps: Sequence[Tensor], logits: Tensor, features: Tensor) -> None:
        """A head that is built may be called on other shapes, which would be spread out."""
        if len(maps) != len(self.modules):
            raise ValueError(
                f"`feature_maps` must be {len(self.modules)} maps, as many as {self.name!r} was "
                f"built on. Received: {len(maps)} maps"
            )
        self._check_vectors(logits.shape, features.shape)
        counts = {tensor.shape[0] for tensor in (*maps, logits, features)} - {None}
        if len(counts) > 1:
            raise ValueError(
                "`feature_maps`, `logits` and `features` must be of the same batch. "
                f"Received: batches of {', '.join(map(str, sorted(counts)))}"
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
        found = self.steps(feature_maps, logits, features, training)
        outputs = ops.cast(found["answer"], self.compute_dtype)
        more = [found["masks"]] * return_attention + [found["gates"]] * return_gates
        return (outputs, *more) if more else outputs

    def steps(
        self,
        feature_maps: Sequence[Tensor],
        logits: Tensor,
        features: Tensor,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """All that leads to the answer, for pictures and tests.

        Returns:
            `"masks"`, a list of `(B, H, W, heads)`; `"head_gates"`, a list of `(B, heads)`;
            `"hypotheses"`, `(B, modules + 1, classes)`, logits, the network's last; `"gates"`,
            `(B, modules + 1)`; `"answer"`, `(B, classes)`.
        """
        self._check_batch(feature_maps, logits, features)
        if training and self.gradient_scale != 1.0:
            feature_maps = [scaled_gradient(maps, self.gradient_scale) for maps in feature_maps]
            features = scaled_gradient(features, self.gradient_scale)
        found = [
            module(maps, training=training, return_attention=True, return_gates=True)
            for module, maps in zip(self.modules, feature_maps, strict=True)
        ]
        said, masks, head_gates = (list(parts) for parts in zip(*found, strict=True))
        hypotheses = ops.stack([ops.cast(one, "float32") for one in [*said, logits]], axis=1)
        if self.relevance is None:
            scores = ops.zeros_like(hypotheses[:, :, 0])
        else:
            scores = self.relevance(features, training=training)
        gates = global_gates(scores, self.gates)
        return {
            "masks": masks,
            "head_gates": head_gates,
            "hypotheses": hypotheses,
            "gates": gates,
            "answer": aggregate(hypotheses, gates, self.space),
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

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classes": self.classes,
            "heads": self.heads,
            "space": self.space,
            "gates": self.gates,
            "gate_normalization": self.gate_normalization,
            "mask": self.mask,
            "overlap_weight": self.overlap_weight,
            "gate_depth": self.gate_depth,
            "gradient_scale": self.gradient_scale,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "data_format": self.data_format,
        }


def _checked_maps(shapes: Any) -> list[Shape]:
    """The shapes of the maps, where there is a list of them."""
    shapes = shapes if isinstance(shapes, (list, tuple)) else [shapes]
    found = [tuple(shape) if isinstance(shape, (list, tuple)) else shape for shape in shapes]
    if found and all(isinstance(shape, tuple) and len(shape) == 4 for shape in found):
        return found
    raise ValueError(
        "`feature_maps` must be a list of maps (B, H, W, C), the deepest first. "
        f"Received: shapes={shapes!r}"
    )


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionModule(keras.Layer):
    """Classifies what its heads look at in a map (eq. 1 to 5).

    Each head has a mask over the places, logits of every class and a score, all by convolutions
    without bias; what it says are the sums over the places of mask times logits. The answer is the
    mean of the heads, weighted by the softmax of the tanh of their scores.

    All of it is computed from the map, two matrix products and shifts of the masks
    (`ops.attend`): the convolutions for the classes are never made.

    Args:
        classes: How many logits.
        heads: How many heads, the attention width; 4 by default, the paper's best.
        mask: `"softmax"` over the places (default), or `"sigmoid"` with means over the places in
            the stead of sums, the paper's ablation.
        gate: Whether to return one answer; else that of every head.
        overlap_weight: Of the regularizer that keeps heads apart (`ops.head_overlap`), added in
            training; 1e-3 by default, as in the authors' code.
        kernel_size: Of the convolutions, odd; 3 by default, as in the authors' code.
        kernel_initializer: `"he_normal"` by default, the paper's.
        kernel_regularizer: Of all kernels; None by default.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: A map.
        return_attention: Whether to return the masks too, `(B, H, W, heads)`, float32; with
            channels first `(B, heads, H, W)`.
        return_gates: Whether to return the heads' gates too, `(B, heads)`, float32, after those.

    Weights:
        Kernels `(kh, kw, C, heads)` of the attention, `(kh, kw, C, heads * classes)` of the logits,
        a head after the other, and, with the gate, `(kh, kw, C, heads)` of the scores.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None.

    Output shape:
        `(B, classes)`, or `(B, heads, classes)` without the gate.

    Raises:
        ValueError: For arguments that cannot be.

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
        self.gate = flag("gate", gate)
        self.overlap_weight = non_negative_number("overlap_weight", overlap_weight)
        self.kernel_size = odd_integers("kernel_size", kernel_size, 2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.data_format = standard_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        axis = self._channel_axis
        shape = checked_shape(self, input_shape, axis)
        channels = shape[axis]
        self.input_spec = map_spec(shape, axis)
        self.attention_kernel = self._add_kernel("attention", channels, self.heads)
        self.output_kernel = self._add_kernel("output", channels, self.heads * self.classes)
        self.score_kernel = self._add_kernel("score", channels, self.heads) if self.gate else None

    def _add_kernel(self, name: str, channels: int, maps: int) -> Any:
        return self.add_weight(
            name=name,
            shape=checked_weight(
                (*self.kernel_size, channels, maps),
                classes=self.classes,
                heads=self.heads,
                kernel_size=self.kernel_size,
            ),
            initializer=fresh_initializer(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
        )

    def call(
        self,
        inputs: Tensor,
        training: bool | None = None,
        return_attention: bool = False,
        return_gates: bool = False,
    ) -> Any:
        inputs = taken_map(self, inputs)
        masks, sums = attend(inputs, self.attention_kernel, self.mask, self.data_format)
        if training and self.overlap_weight and self.heads > 1:
            self.add_loss(self.overlap_weight * head_overlap(masks, "channels_first"))
        answers, gates = self._answers_and_gates(sums)
        if self.data_format == "channels_last":
            masks = ops.transpose(masks, (0, 2, 3, 1))
        found = [masks] * return_attention + [gates] * return_gates
        outputs = ops.cast(answers, self.compute_dtype)
        return (outputs, *found) if found else outputs

    def _answers_and_gates(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """The answers, of each head or of the gated, and the gates `(B, heads)`."""
        if self.gate:
            return gated(sums, self.output_kernel, self.score_kernel)
        answers = attended(sums, self.output_kernel)
        return answers, ops.ones_like(answers[:, :, 0])

    def macs(self, input_shape: Sequence[int], executed: bool = False) -> int:
        """Multiply-accumulates for one image.

        Args:
            input_shape: With the batch.
            executed: Whether to count what is computed here: products with the taps of the
                attention and sums of the map. Else the paper's convolutions, as if made.
        """
        first = self.data_format == "channels_first"
        height, width = input_shape[2:] if first else input_shape[1:3]
        taps = self.kernel_size[0] * self.kernel_size[1] * input_shape[self._channel_axis]
        places, maps = height * width, self.heads * (self.classes + self.gate)
        if executed:
            return 2 * places * taps * self.heads + taps * maps + self.heads * self.classes
        return places * (taps * (self.heads + maps) + maps) + self.heads * self.classes

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        answer = (self.classes,) if self.gate else (self.heads, self.classes)
        return (input_shape[0], *answer)

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
        found = [masks] * return_attention + [gates] * return_gates
        return (outputs, *found) if found else outputs

    def masks_shape(self, input_shape: Shape) -> Shape:
        """Shape of the masks, for a map of this shape."""
        shape = list(input_shape)
        shape[self._channel_axis] = self.heads
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classes": self.classes,
            "heads": self.heads,
            "mask": self.mask,
            "gate": self.gate,
            "overlap_weight": self.overlap_weight,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "data_format": self.data_format,
        }

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1


class GlobalGate(keras.Layer):
    """Scores hypotheses by the tanh of a normalized product (eq. 6).

    Args:
        hypotheses: How many.
        depth: 1, or 2 for a hidden layer with ReLU of as many units, as in the authors' code.
        normalization: Whether products are normalized over the batch, as in the authors' code;
            without it as in the paper.
        kernel_initializer: Of the products' weights.
        regularizer: Of all weights.
        **kwargs: Arguments of `keras.Layer`.

    Input shape:
        `(B, C)`, globally pooled features.

    Output shape:
        `(B, hypotheses)`, float32.

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
                kernel_initializer=fresh_initializer(kernel_initializer),
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
                x = self.normalizations[index](normalizable(x), training=training)
        return ops.tanh(ops.cast(x, "float32"))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.products[-1].units)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> Any:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="float32")


def answered(answer: Tensor, space: str, activation: Any, name: str = "predictions") -> Tensor:
    """Applies an activation to the logarithms of what a head answers, in float32.

    Args:
        answer: What the head returns, `(B, classes)`, as a Keras tensor.
        space: The head's.
        activation: `"softmax"` for probabilities; None for the logarithms.
        name: Of the layer.

    Example:
    >>> answer = answered(keras.Input((5,)), "log", "softmax")
    >>> answer.dtype, answer.shape
    ('float32', (None, 5))
    """
    if space == "probability":
        answer = ops.log(ops.maximum(ops.cast(answer, "float32"), LEAST))
    return keras.layers.Activation(activation, dtype="float32", name=name)(answer)


def fresh_initializer(initializer: Any) -> Any:
    """Returns an initializer for one more weight, which would else get the same random values.

    Args:
        initializer: A name, an initializer or a function `(shape, dtype)`, which is taken as it is.

    Example:
    >>> fresh_initializer("zeros").__class__.__name__
    'Zeros'
    """
    found = keras.initializers.get(initializer)
    return found.clone() if isinstance(found, keras.initializers.Initializer) else found
