"""Spatial transformer: a learned affine warp of each image."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.layers.base import AttentionLayer
from keras_attention.ops.spatial_transformer import spatial_transform
from keras_attention.utils.data_format import channel_axis, map_shape, standardize_data_format
from keras_attention.utils.tensor_validation import convert_input
from keras_attention.utils.validation import positive_integers

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="keras_attention")
class SpatialTransformer(AttentionLayer):
    """Spatial transformer layer: warps images by predicted affine transforms (section 3).

    `localization` computes features of the images; a dense layer of 6 units, which this layer adds,
    maps them to the transform. Its kernel is initialized to zero and its bias to the identity, so
    that images initially pass unchanged, whatever the localization network. A localization network
    with 6 outputs of its own gets that dense layer too.

    Args:
        localization: A Keras layer or model from the images, in this layer's data format, to
            `(B, features)`.
        output_size: Height and width of the output in pixels, one integer or a pair. None (default)
            for those of the input.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.Layer`.

    Call arguments:
        inputs: Images or feature maps.
        return_attention: If True, the transforms are also returned, `(B, 2, 3)`, float32. The rows
            are x and y of the input, the columns the factors of x, y and 1 of the output; -1 and 1
            are the borders.

    Weights:
        Weights of `localization`, then kernel `(features, 6)` and bias `(6,)`, always float32.

    Input shape:
        `(B, H, W, C)`, or `(B, C, H, W)` with channels first. H and W may be None if the
        localization network allows it.

    Output shape:
        `(B, H_out, W_out, C)` or `(B, C, H_out, W_out)`. Pixels that lie outside the input are
        zero.

    Raises:
        ValueError: For a localization that is not a layer or does not return a vector of known
            length, or sizes that are not positive.

    Example:
    >>> localization = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8, "relu")])
    >>> layer = SpatialTransformer(localization, output_size=(16, 20))
    >>> outputs, transforms = layer(ops.ones((2, 32, 40, 3)), return_attention=True)
    >>> tuple(outputs.shape), [int(value) for value in ops.reshape(transforms[0], (6,))]
    ((2, 16, 20, 3), [1, 0, 0, 0, 1, 0])

    Reference:
        Jaderberg et al., Spatial Transformer Networks (2015).
    """

    def __init__(
        self,
        localization: keras.Layer,
        output_size: int | Sequence[int] | None = None,
        *,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(localization, keras.Layer):
            raise ValueError(
                "`localization` must be a Keras layer or model from images to features. "
                f"Received: localization={localization!r}"
            )
        self.localization = localization
        self.output_size = (
            None if output_size is None else positive_integers("output_size", output_size, 2)
        )
        self.data_format = standardize_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        # In float32: half precision cannot represent positions to the pixel.
        self.affine = keras.layers.Dense(
            6,
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            dtype="float32",
            name="affine",
        )

    def build(self, input_shape: Shape) -> None:
        input_shape = self._validate_map(input_shape)
        if not self.localization.built:
            self.localization.build(input_shape)
        shape = self.localization.compute_output_shape(input_shape)
        if len(shape) != 2 or not isinstance(shape[-1], int):
            raise ValueError(
                f"`localization` must return (B, features) for images of shape {input_shape}. "
                f"Received: localization={self.localization.name!r}, which returns {shape}"
            )
        self.affine.build(shape)

    def call(self, inputs: Tensor, return_attention: bool = False) -> Any:
        inputs = convert_input(self, inputs)
        transforms = self.transforms(inputs)
        outputs = spatial_transform(inputs, transforms, self.output_size, self.data_format)
        return (outputs, transforms) if return_attention else outputs

    def transforms(self, inputs: Tensor) -> Tensor:
        """Predicts the transforms of images or feature maps: `(B, 2, 3)`, float32."""
        return ops.reshape(self.affine(self.localization(inputs)), (-1, 2, 3))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.output_size is None:
            return tuple(input_shape)
        channels = input_shape[channel_axis(self.data_format)]
        return map_shape(input_shape[0], self.output_size, channels, self.data_format)

    def compute_output_spec(
        self, inputs: Any, training: bool | None = None, return_attention: bool = False
    ) -> Any:
        shape = self.compute_output_shape(inputs.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        transforms = keras.KerasTensor((inputs.shape[0], 2, 3), dtype="float32")
        return (outputs, transforms) if return_attention else outputs

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SpatialTransformer":
        config = dict(config)
        config["localization"] = keras.saving.deserialize_keras_object(config["localization"])
        return cls(**config)
