"""What one layer of a network says by itself: attention heads, their hypotheses and their gates."""

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
from keras_attention.layers.initializers import fresh_initializer
from keras_attention.layers.map_inputs import checked_shape, map_spec, taken_map
from keras_attention.limits import checked_weight
from keras_attention.ops.attend_rectify import MASKS, attend, attended, gated, head_overlap

Tensor = Any
Shape = tuple[int | None, ...]


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
