"""A target layer on a map of known size, as arrays."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_attention.layers import TargetLayer
from keras_attention.ops.roi_grouping import with_a_pixel
from keras_attention.surgery.compaction.region_map import Layout

Array = Any


@dataclass(frozen=True)
class Target:
    """What a target layer computes on a map of known size, as arrays."""

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
        """Pixels that a kernel reads before and after its own, per axis."""
        spans = [
            (taps - 1) * rate
            for taps, rate in zip(self.layer.kernel_size, self.layer.dilation_rate, strict=True)
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
        """The pixels that a rectangle of the output reads, and the zeros around them."""
        low, high = zip(*self.reach, strict=True)
        wide = np.stack([rectangle[:, 0] - low, rectangle[:, 1] + high], axis=-1)
        limits = np.array(self.sides)
        inside = np.stack([np.maximum(wide[:, 0], 0), np.minimum(wide[:, 1], limits)], axis=-1)
        return inside, np.abs(wide - inside)

    def config(self) -> dict[str, Any]:
        """What the layers that compute it take over."""
        return {
            "activation": keras.activations.serialize(self.layer.activation),
            "use_bias": self.layer.use_bias,
            "dtype": self.layer.dtype_policy,
        }


def target_of(layer: TargetLayer, sides: tuple[int, int]) -> Target:
    """Reads a target layer's weights and regions."""
    as_array = keras.ops.convert_to_numpy
    # A pixel of an empty region does no harm: the window is zero there.
    rectangles = with_a_pixel(layer.rois(*sides).astype(int))
    if layer.roi == "full":
        rectangles[:] = np.array([[0, sides[0]], [0, sides[1]]])
    return Target(
        layer,
        as_array(layer.kernel).astype("float32"),
        as_array(layer.bias).astype("float32") if layer.use_bias else None,
        as_array(layer.attention_window(*sides, clip=layer.roi != "full")).astype("float32"),
        rectangles,
    )
