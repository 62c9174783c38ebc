"""Pictures of patches hold the layer's own positions, saliency and patches."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.layer_rows import coarse_layers, fine_layers, top_layers


def make_model(data_format="channels_last", nested=False, **options):
    shape = (20, 18, 3) if data_format == "channels_last" else (3, 20, 18)
    parts = [part(data_format) for part in (coarse_layers, fine_layers, top_layers)]
    options = {"patches": 3, "patch_size": (6, 4), "data_format": data_format, **options}
    inputs = keras.Input(shape)
    layer = ka.layers.PatchRefiner(*parts, name="refiner", **options)
    model = keras.Model(inputs, layer(inputs), name="inner")
    return keras.Sequential([keras.Input(shape), model], name="outer") if nested else model


@pytest.mark.parametrize(
    ("data_format", "nested"), [("channels_last", False), ("channels_first", True)]
)
def test_panels_of_patches(data_format, nested, rng, tmp_path):
    images = rng.uniform(size=(2, 20, 18, 3)).astype("float32")
    given = images if data_format == "channels_last" else np.moveaxis(images, -1, 1)
    model = make_model(data_format, nested)
    layer = (model.layers[0] if nested else model).get_layer("refiner")
    answer, saliency, positions = layer(given, return_attention=True)
    figure = ka.inspect.plot_attention(model, given, tmp_path / "patches.png")
    assert (tmp_path / "patches.png").is_file()
    assert len(figure.axes) == 2 * 3 + 1, "image, saliency, patches; a color bar of saliency"
    assert figure.axes[-1].get_xlabel() == "saliency"
    assert [axes.get_title() for axes in figure.axes[:3]] == ["image", "saliency", "3 patches"]
    first = np.argmax(layer.top(layer.coarse(given)), axis=-1)
    for row in (0, 1):
        image, map_, patches = figure.axes[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(image.images[0].get_array(), images[row])
        np.testing.assert_allclose(map_.images[0].get_array(), saliency[row])
        assert image.get_xlabel() == f"first {first[row]}, then {np.argmax(answer[row])}"
        starts = np.asarray(positions[row]) * layer.place.stride - layer.place.offset
        corners = {patch.get_xy() for patch in image.patches}
        assert corners == {(left - 0.5, top - 0.5) for top, left in starts}
        assert {(p.get_width(), p.get_height()) for p in image.patches} == {(4, 6)}
        widest = max(image.patches, key=lambda patch: patch.get_linewidth())
        assert widest.get_xy() == (starts[0][1] - 0.5, starts[0][0] - 0.5)
        cut = ka.ops.gather_patches(
            images[row : row + 1],
            positions[row : row + 1],
            layer.place.size,
            layer.place.stride,
            layer.place.offset,
            "channels_last",
        )
        shown = np.ma.getdata(patches.images[0].get_array())[:6, :4]
        np.testing.assert_allclose(shown, np.asarray(cut)[0, 0].mean(-1), rtol=1e-5)


def test_with_attention_names_saliency_and_positions(rng):
    attending = ka.inspect.with_attention(make_model())
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in attending.output.items()}
    assert shapes == {
        "predictions": (3,),
        "refiner_saliency": (9, 8),
        "refiner_positions": (3, 2),
    }


def test_without_top_nothing_is_said(rng):
    figure = ka.inspect.plot_attention(make_model(include_top=False))
    assert figure.axes[0].get_xlabel() == ""
    assert ka.inspect.has_attention(make_model())
