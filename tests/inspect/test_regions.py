"""Figures of windows, spatial transformers and patches show the layers' own regions."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.layer_cases import coarse_model, fine_model, top_model


@pytest.fixture
def targeted():
    """Two targeted layers, of 12 and of 4 kernels."""
    layers = [ka.layers.TargetLayer(12, 3, name="first"), keras.layers.MaxPooling2D()]
    layers += [ka.layers.TargetLayer(4, 3, name="second")]
    return keras.Sequential([keras.Input((16, 12, 1)), *layers], name="targeted")


def test_windows_before_training_and_now(targeted, rng):
    layer = targeted.get_layer("first")
    layer.center.assign(np.full((2, 12), 0.2))
    layer.scale.assign(np.full((2, 12), 0.3))
    figure = ka.inspect.plot_attention(targeted, rng.uniform(size=(1, 16, 12, 1)))
    assert len(figure.axes) == 2 * 3 + 1
    before, current = (np.asarray(figure.axes[i].images[0].get_array()) for i in (0, 1))
    for mosaic, peak in ((before, (8, 6)), (current, (3, 2))):
        first_kernel = mosaic[:16, :12]
        assert np.unravel_index(np.argmax(first_kernel), first_kernel.shape) == peak
    patches = figure.axes[2].patches
    assert len(patches) == 12
    (top, bottom), (left, right) = layer.rois(16, 12)[0]
    assert patches[0].get_bbox().extents.tolist() == [left, top, right, bottom]


def test_windows_of_a_given_model_before(targeted):
    earlier = keras.models.clone_model(targeted)
    earlier.get_layer("first").scale.assign(np.full((2, 12), 0.1))
    figure = ka.inspect.plot_attention(targeted, before=earlier)
    assert np.nanmean(figure.axes[0].images[0].get_array()) < 0.1


def test_windows_of_one_layer_by_name(targeted):
    figure = ka.inspect.plot_attention(targeted, layer="second")
    assert len(figure.axes) == 3 + 1


def test_attentive_regularization_and_unknown_sizes(rng):
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(5, 3)(inputs)
    model = keras.Model(inputs, ka.layers.AttentiveRegularization()(x))
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, 10, 12, 1)))
    assert "8 x 10" in figure.axes[0].get_ylabel()


def test_frames_and_warped_images_of_a_spatial_transformer(rng):
    model = ka.applications.STN(input_shape=(12, 16, 3), classes=3)
    half = [0.5, 0, 0.25, 0, 0.5, -0.25]
    model.get_layer("align").affine.bias.assign(half)
    images = rng.uniform(size=(2, 12, 16, 3))
    figure = ka.inspect.plot_attention(model, images)
    assert len(figure.axes) == 4
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), images[1], atol=1e-6)
    x, y = figure.axes[0].lines[0].get_data()
    assert (min(x), max(x), min(y), max(y)) == (6.0, 14.0, 1.5, 7.5)
    warped = np.asarray(figure.axes[2].images[0].get_array())
    assert warped.shape == (12, 16, 3)
    # The first pixel shows row 1.25, column 5.75.
    corner = np.einsum("i,j,ijc", [0.75, 0.25], [0.25, 0.75], images[0][1:3, 5:7])
    np.testing.assert_allclose(warped[0, 0], corner, atol=1e-6)


def make_refiner(data_format="channels_last", nested=False, **options):
    shape = (20, 18, 3) if data_format == "channels_last" else (3, 20, 18)
    parts = [part(data_format) for part in (coarse_model, fine_model, top_model)]
    options = {"patches": 3, "patch_size": (6, 4), "data_format": data_format, **options}
    inputs = keras.Input(shape)
    layer = ka.layers.PatchRefiner(*parts, name="refiner", **options)
    model = keras.Model(inputs, layer(inputs), name="inner")
    return keras.Sequential([keras.Input(shape), model], name="outer") if nested else model


@pytest.mark.parametrize(
    ("data_format", "nested"), [("channels_last", False), ("channels_first", True)]
)
def test_patches(data_format, nested, rng, tmp_path):
    images = rng.uniform(size=(2, 20, 18, 3)).astype("float32")
    inputs = images if data_format == "channels_last" else np.moveaxis(images, -1, 1)
    model = make_refiner(data_format, nested)
    layer = (model.layers[0] if nested else model).get_layer("refiner")
    outputs, saliency, positions = layer(inputs, return_attention=True)
    figure = ka.inspect.plot_attention(model, inputs, tmp_path / "patches.png")
    assert (tmp_path / "patches.png").is_file()
    assert len(figure.axes) == 2 * 3 + 1, "image, saliency, patches; a color bar of saliency"
    assert figure.axes[-1].get_xlabel() == "saliency"
    assert [axes.get_title() for axes in figure.axes[:3]] == ["image", "saliency", "3 patches"]
    coarse = np.argmax(layer.top(layer.coarse(inputs)), axis=-1)
    grid = layer.patch_grid
    for row in (0, 1):
        image, map_, patches = figure.axes[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(image.images[0].get_array(), images[row])
        np.testing.assert_allclose(map_.images[0].get_array(), saliency[row])
        refined = np.argmax(outputs[row])
        assert image.get_xlabel() == f"coarse: {coarse[row]}, refined: {refined}"
        corners = np.asarray(positions[row]) * grid.stride - grid.offset
        drawn = {patch.get_xy() for patch in image.patches}
        assert drawn == {(left - 0.5, top - 0.5) for top, left in corners}
        assert {(p.get_width(), p.get_height()) for p in image.patches} == {(4, 6)}
        widest = max(image.patches, key=lambda patch: patch.get_linewidth())
        assert widest.get_xy() == (corners[0][1] - 0.5, corners[0][0] - 0.5)
        expected = ka.ops.gather_patches(
            images[row : row + 1],
            positions[row : row + 1],
            grid.size,
            grid.stride,
            grid.offset,
            "channels_last",
        )
        shown = np.ma.getdata(patches.images[0].get_array())[:6, :4]
        np.testing.assert_allclose(shown, np.asarray(expected)[0, 0].mean(-1), rtol=1e-5)


def test_patches_without_top_have_no_classes():
    figure = ka.inspect.plot_attention(make_refiner(include_top=False))
    assert figure.axes[0].get_xlabel() == ""
    assert ka.inspect.has_attention(make_refiner())


def test_with_attention_names_saliency_and_positions():
    attending = ka.inspect.with_attention(make_refiner())
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in attending.output.items()}
    assert shapes == {
        "predictions": (3,),
        "refiner_saliency": (9, 8),
        "refiner_positions": (3, 2),
    }
