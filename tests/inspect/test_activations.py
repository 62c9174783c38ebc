"""The pictures of a layer's activations hold its attention map."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.inspect.pictures import over

L = keras.layers


def make_model(shape, data_format="channels_last", kind="functional"):
    """Two maps; the second from a layer that does not say where its channels are."""
    layers = [
        L.Conv2D(6, 3, padding="same", name="first", data_format=data_format),
        L.Conv2D(8, 3, strides=2, padding="same", name="second", data_format=data_format),
        L.ReLU(name="active"),
        L.GlobalAveragePooling2D(name="pooled", data_format=data_format),
        L.Dense(5, activation="softmax", name="answer"),
    ]
    model = keras.Sequential([keras.Input(shape), *layers], name="inner")
    if kind == "nested":
        inputs = keras.Input(shape)
        model = keras.Model(inputs, L.Rescaling(2.0)(model(inputs)))
    if kind == "functional":
        x = inputs = keras.Input(shape)
        for layer in layers:
            x = layer(x)
        model = keras.Model(inputs, x, name="inner")
    return model, keras.Model(layers[0].input, [layers[0].output, layers[2].output])


def drawn(axes):
    return np.asarray(axes.images[0].get_array())


def attention(features, sides, **options):
    flat = ka.ops.attention_map(features, **options)
    return keras.ops.convert_to_numpy(flat).reshape(-1, *sides)


@pytest.mark.parametrize(
    ("data_format", "kind"),
    [
        ("channels_last", "functional"),
        ("channels_first", "functional"),
        ("channels_last", "nested"),
        ("channels_first", "sequential"),
    ],
)
def test_map_and_overlay(data_format, kind, rng, tmp_path):
    images = rng.uniform(size=(4, 8, 12, 3)).astype("float32")
    given = images if data_format == "channels_last" else np.moveaxis(images, -1, 1)
    model, probe = make_model(given.shape[1:], data_format, kind)
    path = tmp_path / "a.png"
    figure = ka.inspect.plot_attention(model, given, path, layer="active")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 3 * 3 + 1, "three rows of three, and a color bar"
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["image", "active\n4 x 6", "active\nover the image"]
    assert figure.get_suptitle().endswith("attends to: active")
    maps = attention(probe(given)[1], (4, 6), data_format=data_format)
    for row in range(3):
        image, one, overlay = figure.axes[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(drawn(image), images[row])
        np.testing.assert_allclose(drawn(one), maps[row], atol=1e-6)
        assert one.images[0].get_clim() == pytest.approx((maps[:3].min(), maps[:3].max()))
        brightness = drawn(overlay)[..., :2].sum(axis=-1)
        shares = over(maps[row][..., None], (8, 12))[..., 0]
        assert brightness[shares > 0.8].min() > brightness[shares < 0.2].max()


def test_several_layers_beside_what_they_were(rng):
    images = rng.uniform(size=(1, 8, 12, 1)).astype("float32")
    (model, probe), (earlier, first) = make_model((8, 12, 1)), make_model((8, 12, 1))
    figure = ka.inspect.plot_attention(model, images, layer=["first", "active"], before=earlier)
    assert len(figure.axes) == 1 + 2 * 3 + 2
    for place, sides in enumerate(((8, 12), (4, 6))):
        before, now = figure.axes[1 + 3 * place : 3 + 3 * place]
        assert before.get_title().endswith("\nbefore")
        np.testing.assert_allclose(
            drawn(before), attention(first(images)[place], sides)[0], atol=1e-6
        )
        np.testing.assert_allclose(drawn(now), attention(probe(images)[place], sides)[0], atol=1e-6)
        assert before.images[0].get_clim() == now.images[0].get_clim(), "one scale"


def test_beside_a_mechanism(rng):
    model = ka.applications.LeNet5((16, 12, 1), attention="cbam")
    images = rng.uniform(size=(2, 16, 12, 1))
    of_mask = ka.inspect.plot_attention(model, images, layer="conv1_attention")
    assert of_mask.axes[2].get_title() == "mask of channels\nmean of places"
    of_map = ka.inspect.plot_attention(model, images, layer=["conv1_attention"])
    assert of_map.axes[2].get_title() == "conv1_attention\nover the image"


def test_half_precision_and_subclasses(rng):
    keras.config.set_dtype_policy("mixed_float16")

    class Small(keras.Model):
        def __init__(self):
            super().__init__()
            self.convolve = L.Conv2D(3, 3, name="convolve")

        def call(self, inputs):
            return keras.ops.mean(self.convolve(inputs), axis=(1, 2))

    figure = ka.inspect.plot_attention(Small(), rng.uniform(size=(1, 6, 5, 2)), layer="convolve")
    assert np.sum(np.square(drawn(figure.axes[1]))) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("actve", r"such as 'active', or a list.*Received: layer='actve'. Did you mean 'active'"),
        ("answer", r"makes a map \(B, H, W, channels\).*'answer', and 'answer' makes \(1, 5\)"),
        (["first", "secnd"], r"Received: layer=\['first', 'secnd'\]. Did you mean 'second'"),
        ([], r"Received: layer=\[\]"),
        (3, "Received: layer=3"),
        (None, "or `layer` must name one that makes a map, such as 'active'.*Received: 'inner'"),
    ],
)
def test_layers_without_a_map(layer, message):
    with pytest.raises(ValueError, match=message):
        ka.inspect.plot_attention(make_model((8, 12, 1))[0], layer=layer)


def test_names_the_mechanisms_too():
    model = ka.applications.LeNet5((16, 12, 1), attention="cbam")
    with pytest.raises(ValueError, match=r"one of None, 'conv1_attention'.*, or the name of"):
        ka.inspect.plot_attention(model, layer="nothing")


def test_models_before_need_the_layers():
    model, _ = make_model((8, 12, 1))
    other = keras.Sequential([keras.Input((8, 12, 1)), L.ReLU(name="activ")], name="other")
    message = r"`before` must call .*before='other' without 'active'. Did you mean 'activ'"
    with pytest.raises(ValueError, match=message):
        ka.inspect.plot_attention(model, layer="active", before=other)
