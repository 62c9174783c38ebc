"""Figures of activations show a layer's attention map, and the maps that a distiller compares."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.inspect.figures import resize_to_image
from keras_attention.losses import AttentionTransferLoss

L = keras.layers
PAIRS = [("low", "low"), ("high", "top")]


def make_model(shape, data_format="channels_last", kind="functional"):
    """Two maps; the second is that of a layer without a data format."""
    layers = [
        L.Conv2D(6, 3, padding="same", name="first", data_format=data_format),
        L.Conv2D(8, 3, strides=2, padding="same", name="second", data_format=data_format),
        L.ReLU(name="active"),
        L.GlobalAveragePooling2D(name="pooled", data_format=data_format),
        L.Dense(5, activation="softmax", name="probabilities"),
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


@pytest.fixture(scope="module")
def lenet():
    return ka.applications.LeNet5((16, 12, 1), attention="cbam")


def drawn(axes):
    return np.asarray(axes.images[0].get_array())


def maps_of(features, sides, **options):
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
    inputs = images if data_format == "channels_last" else np.moveaxis(images, -1, 1)
    model, features = make_model(inputs.shape[1:], data_format, kind)
    path = tmp_path / "a.png"
    figure = ka.inspect.plot_attention(model, inputs, path, layer="active")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 3 * 3 + 1, "three rows of three, and a color bar"
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["image", "active\n4 x 6", "active\nover the image"]
    assert figure.get_suptitle() == f"Attention of {model.name}: active"
    maps = maps_of(features(inputs)[1], (4, 6), data_format=data_format)
    for row in range(3):
        image, one, overlay = figure.axes[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(drawn(image), images[row])
        np.testing.assert_allclose(drawn(one), maps[row], atol=1e-6)
        assert one.images[0].get_clim() == pytest.approx((maps[:3].min(), maps[:3].max()))
        brightness = drawn(overlay)[..., :2].sum(axis=-1)
        shares = resize_to_image(maps[row][..., None], (8, 12))[..., 0]
        assert brightness[shares > 0.8].min() > brightness[shares < 0.2].max()


def test_several_layers_and_the_model_before(rng):
    images = rng.uniform(size=(1, 8, 12, 1)).astype("float32")
    (model, features), (earlier, first) = make_model((8, 12, 1)), make_model((8, 12, 1))
    figure = ka.inspect.plot_attention(model, images, layer=["first", "active"], before=earlier)
    assert len(figure.axes) == 1 + 2 * 3 + 2
    for index, sides in enumerate(((8, 12), (4, 6))):
        before, current = figure.axes[1 + 3 * index : 3 + 3 * index]
        assert before.get_title().endswith("\nbefore")
        for axes, network in ((before, first), (current, features)):
            expected = maps_of(network(images)[index], sides)[0]
            np.testing.assert_allclose(drawn(axes), expected, atol=1e-6)
        assert before.images[0].get_clim() == current.images[0].get_clim(), "one scale"


def test_a_mechanism_by_name_and_in_a_list(lenet, rng):
    images = rng.uniform(size=(2, 16, 12, 1))
    of_mask = ka.inspect.plot_attention(lenet, images, layer="conv1_attention")
    assert of_mask.axes[2].get_title() == "channel mask\nmean of positions"
    of_map = ka.inspect.plot_attention(lenet, images, layer=["conv1_attention"])
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
        (
            "probabilities",
            r"shape \(B, H, W, channels\).*'probabilities', where 'probabilities' has the output "
            r"shape \(1, 5\)",
        ),
        (["first", "secnd"], r"Received: layer=\['first', 'secnd'\]. Did you mean 'second'"),
        ([], r"Received: layer=\[\]"),
        (3, "Received: layer=3"),
        (None, "`layer` must be .* is a feature map, such as 'active'.*Received: 'inner'"),
    ],
)
def test_layers_without_a_map(layer, message):
    with pytest.raises(ValueError, match=message):
        ka.inspect.plot_attention(make_model((8, 12, 1))[0], layer=layer)


def test_errors_name_the_mechanisms_too(lenet):
    with pytest.raises(ValueError, match=r"one of None, 'conv1_attention'.*, or the name of"):
        ka.inspect.plot_attention(lenet, layer="nothing")


def test_models_before_need_the_layers():
    model, _ = make_model((8, 12, 1))
    other = keras.Sequential([keras.Input((8, 12, 1)), L.ReLU(name="activ")], name="other")
    message = r"`before` must call .*before='other' without 'active'. Did you mean 'activ'"
    with pytest.raises(ValueError, match=message):
        ka.inspect.plot_attention(model, layer="active", before=other)


def make_network(shape, channels, high="high", name=None, data_format="channels_last"):
    options = {"padding": "same", "data_format": data_format}
    inputs = keras.Input(shape)
    x = L.Conv2D(channels, 3, name="low", **options)(inputs)
    x = L.Conv2D(2 * channels, 3, strides=2, name=high, **options)(x)
    logits = L.Dense(4)(L.GlobalAveragePooling2D(data_format=data_format)(x))
    return keras.Model(inputs, logits, name=name)


def make_distiller(shape=(8, 12, 1), data_format="channels_last", **options):
    student = make_network(shape, 3, name="small", data_format=data_format)
    teacher = make_network(shape, 5, "top", data_format=data_format)
    loss = AttentionTransferLoss(data_format=data_format, **options)
    return ka.training.AttentionDistiller(student, teacher, PAIRS, loss)


def attention(network, name, images, **options):
    features = keras.Model(network.input, network.get_layer(name).output)(images)
    return keras.ops.convert_to_numpy(ka.ops.attention_map(features, **options))


def classes(network, images):
    logits = keras.ops.convert_to_numpy(network(images))
    return [f"class {index}" for index in logits.argmax(axis=-1)]


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
    inputs = images if data_format == "channels_last" else np.moveaxis(images, -1, 1)
    distiller = make_distiller(inputs.shape[1:], data_format, **options)
    path = tmp_path / "figures" / "attention.png"
    figure = ka.inspect.plot_attention(distiller, inputs, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 3 * 5 + 2, "a color bar for each pair"
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert titles == ["image", "student\nlow", "teacher\nlow", "student\nhigh", "teacher\ntop"]
    assert figure.get_suptitle() == "Attention of small and its teacher"
    networks = [distiller.student, distiller.teacher]
    predicted = [classes(network, inputs) for network in networks]
    for column, name in enumerate(sum(PAIRS, ()), start=1):
        which = (column - 1) % 2
        maps = attention(networks[which], name, inputs, data_format=data_format, **options)
        for row in range(3):
            axes = figure.axes[5 * row + column]
            np.testing.assert_allclose(drawn(axes).ravel(), maps[row], rtol=1e-4, atol=1e-6)
            assert axes.get_xlabel() == (predicted[which][row] if column > 2 else "")
    np.testing.assert_array_equal(drawn(figure.axes[5]), images[1, ..., 0])
    limits = [axes.images[0].get_clim() for axes in figure.axes[:5]]
    assert limits[1] == limits[2] != limits[3] == limits[4], "one scale for each pair"


def test_before_and_after_distillation(rng):
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
    of_student, of_teacher = (drawn(axes) for axes in figure.axes[1:3])
    assert of_student.shape == of_teacher.shape == (4, 6)
    expected = attention(student, "high", images)[0]
    np.testing.assert_allclose(of_student.ravel(), expected, atol=1e-6)
    # The reported loss is that of the maps in the figure.
    distiller.compile("sgd", "mse")
    parts = distiller.evaluate(images, np.zeros((1, 4)), return_dict=True, verbose=0)
    compared = 1e3 * np.mean(np.square(of_student - of_teacher))
    assert parts["attention_loss"] == pytest.approx(compared, rel=1e-3)


def test_distillers_of_sequences_without_classes(rng):
    def network(units):
        inputs = keras.Input((7, 3))
        x = L.GRU(units, return_sequences=True, name="states")(inputs)
        return keras.Model(inputs, L.Dense(1)(L.GlobalAveragePooling1D()(x)))

    distiller = ka.training.AttentionDistiller(network(4), network(6), ["states"])
    figure = ka.inspect.plot_attention(distiller, rng.uniform(size=(1, 7, 3)))
    assert [drawn(axes).shape for axes in figure.axes[:3]] == [(3, 7), (1, 7), (1, 7)]
    assert figure.axes[1].get_xlabel() == "step"


def test_arguments_that_do_not_fit_a_distiller():
    distiller, other = make_distiller(), make_network((8, 12, 1), 3, "top", name="other")
    with pytest.raises(ValueError, match=r"one of None, 'low', 'high'\..*Did you mean 'high'"):
        ka.inspect.plot_attention(distiller, layer="hihg")
    with pytest.raises(ValueError, match=r"one of None, 'low', 'high'\. Received: layer='top'"):
        ka.inspect.plot_attention(distiller, layer=["low", "top"])
    with pytest.raises(ValueError, match=r"`before` must call.*before='other' without 'high'"):
        ka.inspect.plot_attention(distiller, before=other)
    with pytest.raises(ValueError, match=r"Received: images.shape=\(8, 12, 1\)"):
        ka.inspect.plot_attention(distiller, np.zeros((8, 12, 1)))


def test_the_mean_of_several_teachers(rng):
    images = rng.uniform(size=(2, 8, 12, 1)).astype("float32")
    student = make_network((8, 12, 1), 3, name="small")
    teachers = [make_network((8, 12, 1), 5, "top"), make_network((8, 12, 1), 4, "end")]
    pairs = [("high", ["top", "end"])]
    distiller = ka.training.AttentionDistiller(student, teachers, pairs)
    figure = ka.inspect.plot_attention(distiller, images, labels=[1, 2])
    assert figure.get_suptitle() == "Attention of small and its teachers"
    assert figure.axes[2].get_title() == "mean of 2 teachers\ntop, end"
    assert figure.axes[0].get_xlabel() == "true: 1"
    maps = [
        attention(one, name, images) for one, name in zip(teachers, ("top", "end"), strict=True)
    ]
    np.testing.assert_allclose(drawn(figure.axes[2]).ravel(), np.mean(maps, axis=0)[0], atol=1e-6)


def test_teachers_of_another_image_size(rng):
    images = rng.uniform(size=(1, 8, 12, 1)).astype("float32")
    student, teacher = make_network((8, 12, 1), 3), make_network((16, 24, 1), 5, "top")
    distiller = ka.training.AttentionDistiller(student, teacher, [("high", "top")])
    figure = ka.inspect.plot_attention(distiller, images)
    assert [drawn(axes).shape for axes in figure.axes[1:3]] == [(4, 6), (4, 6)]


def test_teachers_in_the_dataset():
    student = make_network((8, 12, 1), 3)
    distiller = ka.training.AttentionDistiller(student, None, ["high"], precomputed=True)
    assert not ka.inspect.has_attention(distiller)
    with pytest.raises(ValueError, match=r"precomputed=True.*`distiller.student`.*layer='high'"):
        ka.inspect.plot_attention(distiller)
    assert ka.inspect.plot_attention(distiller.student, layer="high").axes


def gradient_map(network, images, labels, step=1e-2):
    """Attention map of the gradient of the cross-entropy, by finite differences."""
    rows = []
    for image, label in zip(images, labels, strict=True):
        changes = step * np.eye(image.size, dtype="float32").reshape(-1, *image.shape)
        pair = [keras.ops.convert_to_numpy(network(image + sign * changes)) for sign in (1, -1)]
        losses = [np.log(np.exp(z - z.max()).sum(-1)) + z.max() - z[:, label] for z in pair]
        squares = np.square((losses[0] - losses[1]) / (2 * step)).reshape(image.shape[:2])
        rows.append(squares / np.linalg.norm(squares))
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["transfer", "symmetry", "min_l2"])
@pytest.mark.parametrize("labels", [None, [3, 0]])
def test_distillers_of_gradients(kind, labels, rng, tmp_path):
    images = rng.uniform(size=(2, 8, 12, 1)).astype("float32")
    student, teacher = make_network((8, 12, 1), 3, name="small"), make_network((8, 12, 1), 5)
    teacher = teacher if kind == "transfer" else None
    distiller = ka.training.AttentionDistiller(student, teacher, gradient=kind, from_logits=True)
    assert ka.inspect.has_attention(distiller)
    figure = ka.inspect.plot_attention(distiller, images, tmp_path / "a.png", labels=labels)
    networks = {"student": student, **({"teacher": teacher} if teacher else {})}
    titles = [axes.get_title() for axes in figure.axes[1 : 1 + len(networks)]]
    assert titles == [f"{name}\ngradient" for name in networks]
    predicted = keras.ops.convert_to_numpy(student(images)).argmax(axis=-1)
    for column, network in enumerate(networks.values(), start=1):
        expected = gradient_map(network, images, predicted if labels is None else labels)
        np.testing.assert_allclose(drawn(figure.axes[column]), expected[0], rtol=0.02, atol=2e-3)
        assert figure.axes[column].get_xlabel() == classes(network, images)[0]
    for option in ({"layer": "high"}, {"before": student}):
        with pytest.raises(ValueError, match="`layer` and `before` must be None"):
            ka.inspect.plot_attention(distiller, images, **option)


def test_gradients_of_a_layer_and_of_several_teachers(rng):
    images = rng.uniform(size=(1, 8, 12, 1)).astype("float32")
    student, *teachers = (make_network((8, 12, 1), 3) for _ in range(3))
    term = ka.training.GradientAttention("transfer", layer="high")
    distiller = ka.training.AttentionDistiller(
        student, teachers, gradient=term, from_logits=True, multi_label=True
    )
    figure = ka.inspect.plot_attention(distiller, images, labels=[2], grad_cam=True)
    titles = [axes.get_title() for axes in figure.axes[1:4]]
    assert titles == [
        "student\ngradient",
        "mean of 2 teachers\ngradient",
        "Grad-CAM\nover the image",
    ]
    assert drawn(figure.axes[2]).shape == (4, 6)


def test_distillers_without_pairs():
    networks = [make_network((8, 12, 1), channels) for channels in (3, 5)]
    distiller = ka.training.AttentionDistiller(*networks, alpha=0.9)
    with pytest.raises(ValueError, match=r"Received: a distiller without pairs"):
        ka.inspect.plot_attention(distiller)
    assert not ka.inspect.has_attention(distiller)
    assert ka.inspect.has_attention(make_distiller())
