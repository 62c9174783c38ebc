"""Images are drawn in their value range, models have several inputs, and rows have names."""

import warnings

import keras
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import keras_attention as ka
from keras_attention.inspect.examples import display_limits
from tests.harness import cross_section

L = keras.layers
NAMES = ["cat", "dog", "cow"]


def drawn(axes):
    return np.asarray(axes.images[0].get_array())


def classifier(first=(), last="softmax", units=3, mechanism=None, shape=(16, 12, 3)):
    mechanism = mechanism or ka.layers.CBAM(reduction=1, name="mask")
    layers = [keras.Input(shape), *first, L.Conv2D(4, 3), mechanism, L.GlobalAveragePooling2D()]
    return keras.Sequential([*layers, L.Dense(units, last)], name="classifier")


def normalization():
    layer = L.Normalization(mean=[120.0, 110.0, 100.0], variance=[3600.0, 3300.0, 3500.0])
    layer.build((None, 16, 12, 3))
    return layer


MODELS = {
    "rescaling": ([L.Rescaling(1 / 255)], (0, 255)),
    "symmetric": ([L.Rescaling(1 / 127.5, offset=-1)], (0, 255)),
    "normalization": ([normalization()], (0, 255)),
    "unit": ([], (0, 1)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_images_are_drawn_in_the_range_of_the_model(kind, rng):
    first, (low, high) = MODELS[kind]
    images = rng.uniform(low, high, size=(2, 16, 12, 3)).astype("float32")
    expected = (images - low) / (high - low)
    figure = ka.inspect.plot_attention(classifier(first), images)
    np.testing.assert_allclose(drawn(figure.axes[0]), expected[0], atol=1e-6)
    np.testing.assert_allclose(drawn(figure.axes[6]), expected[1], atol=1e-6)


def test_the_requested_range(rng):
    model = classifier()
    images = rng.uniform(-1, 1, size=(1, 16, 12, 3)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = ka.inspect.plot_attention(model, images, image_range=(-1, 1))
    np.testing.assert_allclose(drawn(figure.axes[0]), (images[0] + 1) / 2, atol=1e-6)
    with pytest.warns(UserWarning, match=r"so \[-1, 1\] is used. Pass `image_range`"):
        inferred = ka.inspect.plot_attention(model, images)
    np.testing.assert_array_equal(drawn(inferred.axes[0]), drawn(figure.axes[0]))


def test_the_model_receives_the_images_unchanged(rng):
    """The masks in the figure are those for the images in their own range."""
    images = rng.uniform(0, 255, size=(1, 16, 12, 3)).astype("float32")
    model = classifier([L.Rescaling(1 / 255)])
    figure = ka.inspect.plot_attention(model, images)
    layer = model.get_layer("mask")
    features = keras.Model(model.inputs[0], model.layers[1].output)(images)
    mask = keras.ops.convert_to_numpy(layer(features, return_attention=True)[1])
    np.testing.assert_allclose(drawn(figure.axes[3]), mask[0].mean(axis=-1), rtol=1e-5)


def test_integer_images(rng):
    images = rng.integers(0, 256, size=(1, 16, 12, 3), dtype="uint8")
    figure = ka.inspect.plot_attention(classifier([L.Rescaling(1 / 255)]), images)
    np.testing.assert_allclose(drawn(figure.axes[0]), images[0] / 255, atol=1e-6)


@pytest.mark.parametrize("first", [[], [L.Rescaling(1 / 255)], [normalization()]])
def test_inputs_of_regions_are_drawn_as_images(first, rng):
    """A spatial transformer behind a rescaling shows the image, not a stencil."""
    low, high = (0, 255) if first else (0, 1)
    images = rng.uniform(low, high, size=(2, 16, 12, 3)).astype("float32")
    pool = keras.Sequential([keras.Input((16, 12, 3)), L.GlobalAveragePooling2D()])
    transformer = ka.layers.SpatialTransformer(pool, name="align")
    model = keras.Sequential([keras.Input((16, 12, 3)), *first, transformer])
    figure = ka.inspect.plot_attention(model, images)
    for index in range(2):
        expected = (images[index] - low) / (high - low)
        np.testing.assert_allclose(drawn(figure.axes[index]), expected, atol=1e-5)
        np.testing.assert_allclose(drawn(figure.axes[2 + index]), expected, atol=1e-4)


def test_limits_of_feature_maps(rng):
    images, maps = rng.uniform(size=(2, 4, 4, 3)), rng.normal(size=(2, 4, 4, 3))
    low, high = display_limits(maps, images)
    assert (low, high) == (maps.min(), maps.max())
    low, high = display_limits(images * [1, 2, 3] - 1, images)
    np.testing.assert_allclose(low, [-1, -1, -1])
    np.testing.assert_allclose(high, [0, 1, 2], atol=1e-12)
    low, high = display_limits(np.zeros((1, 4, 4, 2)), images)
    assert (low, high) == (0, 1)


def test_ranges_of_sequences_are_refused(rng):
    model = ka.applications.LSTM4((6, 4), 3, attention="ran")
    with pytest.raises(ValueError, match=r"`image_range` must be None.*image_range=\(0, 1\)"):
        ka.inspect.plot_attention(model, rng.uniform(size=(1, 6, 4)), image_range=(0, 1))
    with pytest.raises(ValueError, match="pair of increasing finite numbers"):
        ka.inspect.plot_attention(classifier(), image_range=(1, 0))


# Several inputs


MECHANISMS = {
    "masks": lambda: ka.layers.CBAM(reduction=1, name="attention"),
    "windows": lambda: ka.layers.TargetLayer(4, 3, name="attention"),
    "heads": lambda: ka.layers.AttentionModule(3, heads=2, name="attention"),
}


def model_of_two(structure, kind="masks", order=("image", "more")):
    """A model of an image of 0..255 and five numbers; `structure` is list, tuple or dict."""
    inputs = {
        "image": keras.Input((16, 12, 3), name="image"),
        "more": keras.Input((5,), name="more"),
    }
    x = MECHANISMS[kind]()(L.Conv2D(4, 3, name="conv")(L.Rescaling(1 / 255)(inputs["image"])))
    x = L.GlobalAveragePooling2D()(x) if len(x.shape) == 4 else x
    outputs = L.Dense(3, "softmax")(L.Concatenate()([x, inputs["more"]]))
    given = inputs if structure is dict else structure(inputs[name] for name in order)
    return keras.Model(given, outputs, name="two")


@pytest.mark.parametrize("kind", MECHANISMS)
@pytest.mark.parametrize(
    ("structure", "order"), [(dict, ()), (list, ("image", "more")), (tuple, ("more", "image"))]
)
def test_several_inputs(structure, order, kind, rng):
    model = model_of_two(structure, kind, order)
    arrays = {"image": rng.uniform(0, 255, (2, 16, 12, 3)), "more": rng.normal(size=(2, 5))}
    images = arrays if structure is dict else structure(arrays[name] for name in order)
    figure = ka.inspect.plot_attention(model, images, grad_cam=True, labels=[0, 1])
    image = drawn(figure.axes[2 if kind == "windows" else 0])
    expected = arrays["image"][0] / 255
    expected = expected.mean(axis=-1) if kind == "windows" else expected
    np.testing.assert_allclose(image, expected, atol=1e-5)
    of_map = ka.inspect.plot_attention(model, images, layer="conv")
    assert of_map.axes[1].get_title() == "conv\n14 x 10"
    assert ka.inspect.plot_attention(model).axes
    assert ka.inspect.has_attention(model)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({"image": 1, "mor": 2}, r"keys \['image', 'more'\].*Received: .*keys \['image', 'mor'\]"),
        ([np.zeros((1, 16, 12, 3))], r"keys \['image', 'more'\].*a list of length 1"),
        (np.zeros((1, 16, 12, 3)), r"Received: images.shape=\(1, 16, 12, 3\)"),
        (
            {"image": np.zeros((2, 16, 12, 3)), "more": np.zeros((1, 5))},
            r"same number of examples.*\(2, 16, 12, 3\), \(1, 5\)",
        ),
        (
            {"image": np.zeros((1, 16, 12, 3)), "more": np.zeros((1, 4))},
            r"images.shape=\[\(1, 16, 12, 3\), \(1, 4\)\].*Its inputs have the shapes",
        ),
    ],
)
def test_inputs_of_another_structure(images, message):
    with pytest.raises(ValueError, match=message):
        ka.inspect.plot_attention(model_of_two(dict), images)


def test_one_input_in_a_structure(rng):
    images = rng.uniform(size=(2, 16, 12, 3))
    model = classifier()
    expected = drawn(ka.inspect.plot_attention(model, images).axes[0])
    for nested in ([images], list(images)):
        np.testing.assert_array_equal(
            drawn(ka.inspect.plot_attention(model, nested).axes[0]), expected
        )
    inputs = {"a": keras.Input((None, 4, 3), name="a"), "b": keras.Input((2,), name="b")}
    outputs = [ka.layers.CBAM(reduction=1)(inputs["a"]), inputs["b"]]
    of_any_size = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="images=None"):
        ka.inspect.plot_attention(of_any_size)


def test_distillers_of_several_inputs(rng):
    student, teacher = (model_of_two(dict) for _ in range(2))
    distiller = ka.training.AttentionDistiller(student, teacher, ["conv"])
    images = {"image": rng.uniform(0, 255, (2, 16, 12, 3)), "more": rng.normal(size=(2, 5))}
    figure = ka.inspect.plot_attention(distiller, images)
    np.testing.assert_allclose(drawn(figure.axes[0]), images["image"][0] / 255, atol=1e-6)
    assert [axes.get_title() for axes in figure.axes[1:3]] == ["student\nconv", "teacher\nconv"]


# Names of rows and classes


def test_names_of_classes_rows_and_true_classes(rng):
    model, images = classifier(), rng.uniform(size=(3, 16, 12, 3))
    best = keras.ops.convert_to_numpy(model(images)).argmax(axis=-1)
    options = {"class_names": NAMES, "labels": [2, 0, 1], "indices": [7, 104, 33]}
    figure = ka.inspect.plot_attention(model, images, **options)
    for row, label in enumerate([2, 0, 1]):
        axes = figure.axes[6 * row]
        assert axes.get_ylabel() == f"image {options['indices'][row]}"
        assert axes.get_xlabel() == f"true: {NAMES[label]}, predicted: {NAMES[best[row]]}"
    plain = ka.inspect.plot_attention(model, images, labels=["cow", "cat", "dog"])
    assert plain.axes[0].get_xlabel() == f"true: cow, predicted: {best[0]}"
    assert ka.inspect.plot_attention(model, images).axes[0].get_xlabel() == ""


@pytest.mark.parametrize("bias", [-50.0, 50.0])
def test_names_of_two_classes_of_one_unit(bias, rng):
    model = classifier(last="sigmoid", units=1)
    model.layers[-1].bias.assign([bias])
    figure = ka.inspect.plot_attention(
        model, rng.uniform(size=(1, 16, 12, 3)), class_names=["no", "yes"]
    )
    assert figure.axes[0].get_xlabel() == f"predicted: {'yes' if bias > 0 else 'no'}"


def test_names_in_figures_of_heads_windows_and_frames(rng):
    images = rng.uniform(size=(2, 20, 20, 1))
    heads = ka.applications.build("ClutteredCNN", input_shape=(20, 20, 1), attention_depth=1)
    names = [f"digit {index}" for index in range(10)]
    figure = ka.inspect.plot_attention(heads, images, class_names=names, labels=[3, 4])
    assert figure.axes[0].get_xlabel() == "true: digit 3"
    texts = [text.get_text() for axes in figure.axes[:4] for text in axes.texts]
    assert any(text.startswith("digit ") for text in texts)
    windows = ka.applications.TDN10((20, 20, 1))
    figure = ka.inspect.plot_attention(windows, images, labels=[3, 4], indices=[11, 12])
    assert figure.axes[2].get_title().startswith("all regions,\non image 11\ntrue: 3, predicted: ")
    frames = ka.applications.STN((20, 20, 1))
    figure = ka.inspect.plot_attention(frames, images, labels=[3, 4], indices=[11, 12])
    assert figure.axes[1].get_title().startswith("image 12\ntrue: 4, predicted: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ["a", "b"]}, "must contain 3 names, .* Received: class_names with 2"),
        ({"class_names": "abc"}, "`class_names` must be a list of strings.*class_names='abc'"),
        ({"class_names": [1, 2, 3]}, r"class_names=\[1, 2, 3\]"),
        ({"labels": [0]}, r"`labels` must contain 2 elements.*labels=\[0\]"),
        ({"labels": [0, 0.5]}, r"indices of classes, or only names.*labels=\[0, 0.5\]"),
        ({"labels": [0, -1]}, r"labels=\[0, -1\]"),
        ({"labels": [0, 3], "class_names": NAMES}, "indices of classes from 0 to 2"),
        ({"indices": [1, 2, 3]}, r"`indices` must contain 2 elements.*indices=\[1, 2, 3\]"),
        ({"dpi": 0}, "`dpi` must be a positive integer"),
        ({"width": 0}, "`width` must be a finite number above 0"),
        ({"width": 0.5}, "`width` must be large enough for 6 panels.*width=0.5"),
        ({"grad_cam": 1}, "`grad_cam` must be True or False"),
        ({"grad_cam": np.zeros((1, 4, 4))}, r"one for each image.*shape \(1, 4, 4\)"),
    ],
)
def test_bad_options(options, message, rng):
    with pytest.raises(ValueError, match=message):
        ka.inspect.plot_attention(classifier(), rng.uniform(size=(2, 16, 12, 3)), **options)


def test_resolution_and_width_of_a_file(rng, tmp_path):
    from PIL import Image

    model, images = classifier(), rng.uniform(size=(2, 16, 12, 3))
    options = {"class_names": NAMES, "labels": [0, 1], "width": 3.4, "dpi": 200}
    figure = ka.inspect.plot_attention(model, images, tmp_path / "a.png", grad_cam=True, **options)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 680
        assert 200 < image.height < 680
    assert figure.get_figwidth() == 3.4
    _check_no_overlap(figure)


@pytest.mark.parametrize("name", cross_section(["TSTN", "STN"], fast={"STN"}))
def test_narrow_figures_of_regions(name, rng):
    model = ka.applications.build(name, input_shape=(16, 16, 3))
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(2, 16, 16, 3)), width=3.4)
    _check_no_overlap(figure)


def _check_no_overlap(figure):
    """Titles in a row, and notes, do not overlap, and nothing is outside of the figure."""
    figure.set_dpi(300)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    texts = [axes.title for axes in panels] + [axes.xaxis.label for axes in panels]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    for index, box in enumerate(boxes):
        assert box.x0 > -2
        assert box.x1 < figure.bbox.width + 2
        assert box.y0 > -2
        assert box.y1 < figure.bbox.height + 2
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
