"""Steps that change each value of a map by itself, kept aside until the values are needed."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_attention.layers.scale_shift import ScaleShift

Tensor = Any
Array = Any
Name = Callable[[str], str]


class Pointwise:
    """A layer that treats every value alike, such as an activation."""

    def __init__(self, layer: keras.Layer, name: Name):
        self.layer, self.name = layer, name

    def of_tensor(self, tensor: Tensor, channels: Array) -> Tensor:
        """Applies the step; `channels` says whose values lie along the last axis."""
        config = {**self.layer.get_config(), "name": self.name(self.layer.name)}
        return type(self.layer).from_config(config)(tensor)

    def of_background(self, background: Array) -> Array:
        """What becomes of the values outside the regions, `(channels,)`."""
        values = keras.ops.convert_to_tensor(background[None].astype("float32"))
        return keras.ops.convert_to_numpy(self.layer(values))[0].astype("float32")


class Affine:
    """A scale and a shift for each channel: batch normalisation at inference."""

    def __init__(self, layer: keras.layers.BatchNormalization, name: Name):
        statistics = (layer.moving_mean, layer.moving_variance)
        mean, variance = (keras.ops.convert_to_numpy(value) for value in statistics)
        scale = 1.0 / np.sqrt(variance.astype("float64") + layer.epsilon)
        if layer.scale:
            scale = scale * keras.ops.convert_to_numpy(layer.gamma)
        shift = -mean * scale
        if layer.center:
            shift = shift + keras.ops.convert_to_numpy(layer.beta)
        self.scale, self.shift = scale.astype("float32"), shift.astype("float32")
        self.layer, self.name = layer, name

    def of_tensor(self, tensor: Tensor, channels: Array) -> Tensor:
        """Applies the step; `channels` says whose values lie along the last axis."""
        layer = ScaleShift(dtype=self.layer.dtype_policy, name=self.name(self.layer.name))
        outputs = layer(tensor)
        layer.set_weights([self.scale[channels], self.shift[channels]])
        return outputs

    def of_background(self, background: Array) -> Array:
        """What becomes of the values outside the regions, `(channels,)`."""
        return background * self.scale + self.shift


Step = Pointwise | Affine
