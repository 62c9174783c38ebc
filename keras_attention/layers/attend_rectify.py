"""Attend and Rectify: hypotheses from several layers correct what a network says."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.arguments import (
    flag,
    non_negative_number,
    odd_integers,
    one_of,
    positive_integer,
    standard_data_format,
)
from keras_attention.layers.attention_module import AttentionModule
from keras_attention.layers.map_inputs import check_not_empty
from keras_attention.layers.relevance import Relevance
from keras_attention.ops.attend_rectify import GATES, MASKS, SPACES, aggregate, global_gates
from keras_attention.ops.gradients import scaled_gradient

Tensor = Any
Shape = tuple[int | None, ...]


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
            self.relevance = Relevance(
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
