"""The pictures of a distiller hold the maps that its loss compares."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.losses import AttentionTransferLoss

L = keras.layers
PAIRS = [("low", "low"), ("high", "top")]


def make_network(shape, channels, high="high", name=None, data_format="channels_last"):
    options = {"padding": "same", "data_format": data_format}
    inputs = keras.Input(shape)
    x = L.Conv2D(channels, 3, name="low", **options)(inputs)
    x = L.Conv2D(2 * channels, 3, strides=2, name=high, **options)(x)
    answer = L.Dense(4)(L.GlobalAveragePooling2D(data_format=data_format)(x))
    return keras.Model(inputs, answer, name=name)


def make_distiller(shape=(8, 12, 1), data_format="channels_last", **options):
    student = make_network(shape, 3, name="small", data_format=data_format)
    teacher = make_network(shape, 5, "top", data_format=data_format)
    loss = AttentionTransferLoss(data_format=data_format, **options)
    return ka.training.AttentionDistiller(student, teacher, PAIRS, loss)


def drawn(axes):
    return np.asarray(axes.images[0].get_array())


def attention(network, name, images, **options):
    features = keras.Model(network.input, network.get_layer(name).output)(images)
    return keras.ops.convert_to_numpy(ka.ops.attention_map(features, **options))


def classes(network, images):
    return [f"class {index}" for index in network.predict(images, verbose=0).argmax(axis=-1)]


@pytest.mark.parametrize(
    ("data_format", "options"),
    [
        ("channels_last", {}),
        ("channels_last", {"p": 4, "reduce": "max", "normalization": "l1"}),
        ("channels_first", {"p": 1}),
    ],
)
def test_student_beside_teacher(data_format, options, rng, tmp_path):
    images = rng.uniform(size=(5, 8, 12, 1)).astype("float32")
    given = images if data_format == "channels_last" else np.moveaxis(images, -1, 1)
    distiller = make_distiller(given.shape[1:], data_format, **options)
    path = tmp_path / "figures" / "attention.png"
    figure = ka.inspect.plot_attention(distiller, given, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 3 * 5 + 2, "a color bar a pair"
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles == ["image", "student\nlow", "teacher\nlow", "student\nhigh", "teacher\ntop"]
    assert figure.get_suptitle() == "What small and its teacher attend to"
    networks = [distiller.student, distiller.teacher] * 2
    for column, (network, name) in enumerate(zip(networks, sum(PAIRS, ()), strict=True), start=1):
        maps = attention(network, name, given, data_format=data_format, **options)
        said = classes(network, given)
        for row in range(3):
            axes = figure.axes[5 * row + column]
            np.testing.assert_allclose(drawn(axes).ravel(), maps[row], rtol=1e-4, atol=1e-6)
            assert axes.get_xlabel() == (said[row] if column > 2 else "")
    np.testing.assert_array_equal(drawn(figure.axes[5]), images[1, ..., 0])
    limits = [axes.images[0].get_clim() for axes in figure.axes[:5]]
    assert limits[1] == limits[2] != limits[3] == limits[4], "one scale for each pair"


def test_before_and_after(rng):
    images = rng.uniform(size=(2, 8, 12, 1)).astype("float32")
    distiller, earlier = make_distiller(), make_network((8, 12, 1), 3)
    figure = ka.inspect.plot_attention(
        distiller, images, before=earlier, layer="high", title="Figure 6"
    )
    assert figure.get_suptitle() == "Figure 6"
    assert len(figure.axes) == 2 * 4 + 1
    titles = [axes.get_title() for axes in figure.axes[1:4]]
    assert titles == ["student before\nhigh", "student after\nhigh", "teacher\ntop"]
    shown = [(earlier, "high"), (distiller.student, "high"), (distiller.teacher, "top")]
    for axes, (network, name) in zip(figure.axes[5:8], shown, strict=True):
        maps = attention(network, name, images)
        np.testing.assert_allclose(drawn(axes).ravel(), maps[1], atol=1e-6)
        assert axes.get_xlabel() == classes(network, images)[1]


def test_maps_of_other_sizes_are_shown_as_compared(rng):
    images = rng.uniform(size=(1, 8, 12, 1)).astype("float32")
    student, teacher = make_network((8, 12, 1), 3), make_network((8, 12, 1), 5)
    distiller = ka.training.AttentionDistiller(student, teacher, [("high", "low")])
    figure = ka.inspect.plot_attention(distiller, images)
    own, wanted = (drawn(axes) for axes in figure.axes[1:3])
    assert own.shape == wanted.shape == (4, 6)
    np.testing.assert_allclose(own.ravel(), attention(student, "high", images)[0], atol=1e-6)
    # The loss that is reported is that of the picture.
    distiller.compile("sgd", "mse")
    parts = distiller.evaluate(images, np.zeros((1, 4)), return_dict=True, verbose=0)
    compared = 1e3 * np.mean(np.square(own - wanted))
    assert parts["attention_loss"] == pytest.approx(compared, rel=1e-3)


def test_sequences_and_answers_that_are_no_classes(rng):
    def network(units):
        inputs = keras.Input((7, 3))
        x = L.GRU(units, return_sequences=True, name="states")(inputs)
        return keras.Model(inputs, L.Dense(1)(L.GlobalAveragePooling1D()(x)))

    distiller = ka.training.AttentionDistiller(network(4), network(6), ["states"])
    figure = ka.inspect.plot_attention(distiller, rng.uniform(size=(1, 7, 3)))
    assert [drawn(axes).shape for axes in figure.axes[:3]] == [(3, 7), (1, 7), (1, 7)]
    assert figure.axes[1].get_xlabel() == "step"


def test_what_a_distiller_cannot_show():
    distiller, other = make_distiller(), make_network((8, 12, 1), 3, "top", name="other")
    with pytest.raises(ValueError, match=r"one of None, 'low', 'high'\..*Did you mean 'high'"):
        ka.inspect.plot_attention(distiller, layer="hihg")
    with pytest.raises(ValueError, match=r"one of None, 'low', 'high'\. Received: layer='top'"):
        ka.inspect.plot_attention(distiller, layer=["low", "top"])
    with pytest.raises(ValueError, match=r"`before` must call.*before='other' without 'high'"):
        ka.inspect.plot_attention(distiller, before=other)
    with pytest.raises(ValueError, match=r"Received: images.shape=\(8, 12, 1\)"):
        ka.inspect.plot_attention(distiller, np.zeros((8, 12, 1)))


def test_distillers_without_pairs():
    networks = [make_network((8, 12, 1), channels) for channels in (3, 5)]
    distiller = ka.training.AttentionDistiller(*networks, alpha=0.9)
    with pytest.raises(ValueError, match=r"Received: a distiller without pairs"):
        ka.inspect.plot_attention(distiller)
    assert not ka.inspect.has_attention(distiller)
    assert ka.inspect.has_attention(make_distiller())
