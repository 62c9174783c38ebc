"""The pictures of CBAM and BAM hold the layer's own masks."""

import keras
import numpy as np
import pytest

import keras_attention as ka


@pytest.mark.parametrize("kind", ["CBAM", "BAM"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_panels_are_the_layers_mask(kind, data_format, rng):
    last = data_format == "channels_last"
    images = rng.uniform(size=(2, 6, 5, 3)).astype("float32")
    layer = getattr(ka.layers, kind)(reduction=1, data_format=data_format)
    inputs = keras.Input((6, 5, 3) if last else (3, 6, 5))
    model = keras.Model(inputs, layer(inputs))
    given = images if last else np.moveaxis(images, -1, 1)
    outputs, mask = layer(given, return_attention=True)
    outputs, mask = (keras.ops.convert_to_numpy(tensor) for tensor in (outputs, mask))
    if not last:
        outputs, mask = np.moveaxis(outputs, 1, -1), np.moveaxis(mask, 1, -1)

    figure = ka.inspect.plot_attention(model, given)
    panels = [np.ma.getdata(axes.images[0].get_array()) for axes in figure.axes[:12]]
    for row in (0, 1):
        image, seen, channels, places, tiles, attended = panels[6 * row : 6 * row + 6]
        np.testing.assert_array_equal(image, images[row])
        np.testing.assert_allclose(seen, images[row].mean(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(channels, mask[row].mean(axis=(0, 1))[None], rtol=1e-5)
        np.testing.assert_allclose(places, mask[row].mean(axis=-1), rtol=1e-5)
        np.testing.assert_allclose(tiles[:6, 6:11], mask[row][..., 1], rtol=1e-5)
        np.testing.assert_allclose(attended, outputs[row].mean(axis=-1), rtol=1e-5)
    assert figure.axes[4].get_title() == "mask\n3 channels"


def test_a_layer_of_the_same_protocol(rng):
    """Whatever returns the mask of its map by `return_attention` is drawn."""

    class Half(keras.layers.Layer):
        def call(self, inputs, return_attention=False):
            mask = keras.ops.full_like(inputs, 0.5)
            return (inputs * mask, mask) if return_attention else inputs * mask

        data_format = "channels_last"

    model = keras.Sequential([keras.Input((4, 4, 2)), Half(name="half")])
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, 4, 4, 2)))
    assert np.all(figure.axes[3].images[0].get_array() == 0.5)
    assert figure.get_suptitle().endswith("half")
