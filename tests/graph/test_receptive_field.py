"""Receptive fields equal the positions with non-zero gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention import backend
from keras_attention.graph.receptive_field import ReceptiveField, receptive_field

layers = keras.layers

MODELS = {
    "coarse": lambda: [layers.Conv2D(2, 7, 2), layers.Conv2D(2, 3, 2)],
    "same": lambda: [layers.Conv2D(2, 3, 2, padding="same"), layers.Conv2D(2, 3, padding="same")],
    "pooled": lambda: [layers.Conv2D(2, 3), layers.AveragePooling2D(3, 2), layers.ReLU()],
    "dilated": lambda: [layers.Conv2D(2, 3, dilation_rate=2), layers.BatchNormalization()],
    "padded": lambda: [
        layers.ZeroPadding2D(((2, 1), (1, 3))),
        layers.Conv2D(2, 4, 3),
        layers.Cropping2D(((1, 0), (0, 1))),
    ],
    "nested": lambda: [
        keras.Sequential([layers.Conv2D(2, 3, 2), layers.AveragePooling2D(2, 1)]),
        layers.SeparableConv2D(2, (2, 3)),
    ],
}


@pytest.mark.parametrize("sides", [(24, 21), (23, 24)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_field_equals_positions_with_gradients(name, sides):
    inputs = x = keras.Input((*sides, 1))
    for layer in MODELS[name]():
        x = layer(x)
    model = keras.Model(inputs, x)
    field = receptive_field(model)
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 0.5))  # no product is zero, none cancels another
    position = (3, 2)
    seen = backend.input_gradient(
        lambda image: ops.sum(model(image)[:, position[0], position[1]]), ops.ones((1, *sides, 1))
    )
    rows, columns = np.nonzero(np.asarray(seen)[0, :, :, 0])
    for found, at, stride, start, size, side in zip(
        (rows, columns), position, field.stride, field.start, field.size, sides, strict=True
    ):
        first = at * stride + start
        assert (found.min(), found.max()) == (max(first, 0), min(first + size, side) - 1)


def test_branches_are_merged():
    inputs = keras.Input((20, 20, 1))
    wide = layers.Conv2D(2, 5, 2, padding="same")(inputs)
    narrow = layers.Conv2D(2, 1, 2)(inputs)
    model = keras.Model(inputs, layers.Add()([wide, narrow]))
    assert receptive_field(model) == ReceptiveField((2, 2), (5, 5), (-1, -1))


@pytest.mark.parametrize(
    "layer", [layers.GlobalAveragePooling2D(), layers.UpSampling2D(), layers.Conv2DTranspose(2, 2)]
)
def test_unknown_layers(layer):
    with pytest.raises(ValueError, match="Receptive fields are known for"):
        receptive_field(keras.Sequential([keras.Input((8, 8, 1)), layer]))
