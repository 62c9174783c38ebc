"""The pictures of SAN hold the layer's own values."""

import keras
import numpy as np
import pytest

import keras_attention as ka

STEPS = ("difference", "extrema", "smoothed", "mask")


def pictures(figure, rows, columns):
    """What each panel shows, `[row][column]`."""
    shown = [np.ma.getdata(axes.images[0].get_array()) for axes in figure.axes[: rows * columns]]
    return [shown[row * columns : (row + 1) * columns] for row in range(rows)]


def layer_inputs(model, layer, images):
    reads = keras.Model(model.inputs[0], model.get_layer(layer).input)
    return reads(images, training=False)


def to_numpy(tensors):
    return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in tensors.items()}


def test_tiles_are_the_layers_steps(rng):
    model = ka.applications.LeNet5((14, 12, 1), 3, attention="san-c")
    images = rng.uniform(size=(2, 14, 12, 1)).astype("float32")
    inputs = layer_inputs(model, "conv1_attention", images)
    steps = to_numpy(model.get_layer("conv1_attention").steps(inputs))
    shown = pictures(ka.inspect.plot_attention(model, images), 2, 7)
    for row, (image, y_prev, y, *maps) in enumerate(shown):
        np.testing.assert_array_equal(image, images[row, ..., 0])
        np.testing.assert_array_equal(y_prev, images[row, ..., 0])
        assert y.shape == (2 * 14 + 1, 3 * 12 + 2), "six channels, a line between them"
        outputs = keras.ops.convert_to_numpy(inputs[1])
        np.testing.assert_array_equal(y[15:, 13:25], outputs[row, ..., 4])
        for name, tiles in zip(STEPS, maps, strict=True):
            np.testing.assert_allclose(tiles[:14, 26:], steps[name][row, ..., 2], atol=1e-6)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_shows_the_channels_whose_masks_vary_most(data_format, rng):
    last = data_format == "channels_last"
    images = rng.uniform(size=(4, 6, 5, 2) if last else (4, 2, 6, 5)).astype("float32")
    inputs = keras.Input(images.shape[1:])
    y = keras.layers.Conv2D(20, 3, data_format=data_format)(inputs)
    layer = ka.layers.SANBlock(smoothing=None, extrema=False, data_format=data_format, name="san")
    model = keras.Model(inputs, layer([inputs, y]))
    kernel, bias = model.layers[1].get_weights()
    kernel[..., :4], bias[:4] = 0.0, 100.0  # the mask of those channels is 1 everywhere
    model.layers[1].set_weights([kernel, bias])
    figure = ka.inspect.plot_attention(model, images)
    assert figure.axes[0].get_title() == "image"
    assert figure.axes[1].get_title() == "y_prev\n2 channels"
    assert figure.axes[2].get_title() == "y\n16 of 20 channels"
    outputs = keras.ops.convert_to_numpy(model.layers[1](images))
    fifth = outputs[0, ..., 4] if last else outputs[0, 4]
    shown = pictures(figure, 3, 7)
    np.testing.assert_allclose(shown[0][2][:4, :3], fifth, rtol=1e-5)
    assert len(figure.axes) == 3 * 7 + 6, "three images of four"


def test_sequences(rng):
    inputs = keras.Input((7, 3))
    y = keras.layers.Conv1D(5, 3, padding="same")(inputs)
    model = keras.Model(inputs, ka.layers.SANBlock(data_format="channels_last")([inputs, y]))
    sequences = rng.uniform(size=(2, 7, 3)).astype("float32")
    steps = model.layers[-1].steps([sequences, model.layers[1](sequences)])
    figure = ka.inspect.plot_attention(model, sequences)
    for row, (sequence, y_prev, _, *maps) in enumerate(pictures(figure, 2, 7)):
        np.testing.assert_array_equal(sequence, sequences[row].T)
        np.testing.assert_array_equal(y_prev, sequences[row].T)
        for name, shown in zip(STEPS, maps, strict=True):
            np.testing.assert_allclose(shown, to_numpy(steps)[name][row].T, atol=1e-6)
    assert figure.axes[0].get_xlabel() == "step"
    assert figure.axes[2].get_ylabel() == "channel"


def test_color_bars_end_at_the_least_and_the_greatest_value(rng):
    model = ka.applications.LeNet5((14, 12, 1), 3, attention="san-d")
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(2, 14, 12, 1)))
    masks = np.concatenate([row[6].ravel() for row in pictures(figure, 2, 7)])
    bar = figure.axes[-1]
    np.testing.assert_allclose(bar.get_xlim(), [np.nanmin(masks), np.nanmax(masks)], rtol=1e-6)
    np.testing.assert_allclose(bar.get_xticks(), bar.get_xlim(), rtol=1e-6)


def test_maps_without_contrast():
    model = ka.applications.LeNet5((14, 12, 1), 3, attention="san-c")
    figure = ka.inspect.plot_attention(model)
    assert all(np.all(shown[~np.isnan(shown)] == 0.5) for shown in pictures(figure, 1, 7)[0][6:])


def test_sequences_that_become_images(rng):
    inputs = keras.Input((6, 5))
    maps = keras.layers.Reshape((6, 5, 1))(inputs)
    y = keras.layers.Conv2D(4, 3, padding="same")(maps)
    model = keras.Model(inputs, ka.layers.SANBlock()([maps, y]))
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, 6, 5)))
    assert figure.axes[0].get_title() == "sequence"
    assert figure.axes[2].get_title() == "y\n4 channels"
