import keras
import numpy as np
import pytest

import keras_attention as ka


@pytest.fixture
def model():
    return ka.applications.TDN10(input_shape=(16, 12, 1), classes=3)


def test_writes_a_picture(model, rng, tmp_path):
    path = tmp_path / "figures" / "attention.png"
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(2, 16, 12, 1)), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000
    assert [item.name for item in path.parent.iterdir()] == ["attention.png"], "nothing is left"
    assert len(figure.axes) == 6 * 3 + 1


def test_shows_windows_before_and_now(model, rng):
    layer = model.get_layer("block1_target1")
    layer.center.assign(np.full((2, 12), 0.2))
    layer.scale.assign(np.full((2, 12), 0.3))
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, 16, 12, 1)))
    before, now = (np.asarray(figure.axes[i].images[0].get_array()) for i in (0, 1))
    for mosaic, peak in ((before, (8, 6)), (now, (3, 2))):
        first_kernel = mosaic[:16, :12]
        assert np.unravel_index(np.argmax(first_kernel), first_kernel.shape) == peak
    patches = figure.axes[2].patches
    assert len(patches) == 12
    (top, bottom), (left, right) = layer.rois(16, 12)[0]
    assert patches[0].get_bbox().extents.tolist() == [left, top, right, bottom]


def test_another_model_may_be_the_one_before(model):
    earlier = keras.models.clone_model(model)
    earlier.get_layer("block1_target1").scale.assign(np.full((2, 12), 0.1))
    figure = ka.inspect.plot_attention(model, before=earlier)
    assert np.nanmean(figure.axes[0].images[0].get_array()) < 0.1


def test_attentive_regularization_and_any_size(rng):
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


def test_windows_come_first(rng):
    figure = ka.inspect.plot_attention(ka.applications.TSTN(input_shape=(16, 16, 3)))
    assert len(figure.axes) == 3 * 3 + 1


def test_another_layer_by_name(rng):
    images = rng.uniform(size=(2, 16, 16, 3))
    windows_and_warp = ka.applications.TSTN(input_shape=(16, 16, 3))
    warps = ka.inspect.plot_attention(windows_and_warp, images, layer="align")
    assert warps.axes[0].get_ylabel() == "align: looks at"
    assert len(warps.axes) == 4
    target = windows_and_warp.layers[-1].name
    with pytest.raises(ValueError, match=f"one of None, .*'align'.*Received: layer='{target}'"):
        ka.inspect.plot_attention(windows_and_warp, images, layer=target)
    san = ka.applications.LeNet5((16, 16, 3), attention="san-c")
    assert "conv1_attention" in ka.inspect.plot_attention(san, images).get_suptitle()
    figure = ka.inspect.plot_attention(san, images, layer="conv2_attention", title="Second")
    assert figure.axes[1].get_title() == "y_prev\n6 channels"
    assert figure.get_suptitle() == "Second"
    with pytest.raises(ValueError, match="Did you mean 'conv2_attention'"):
        ka.inspect.plot_attention(san, images, layer="conv2_attenton")
    with pytest.raises(ValueError, match="Received: layer=2"):
        ka.inspect.plot_attention(san, images, layer=2)


def test_one_row_of_several_layers(model):
    figure = ka.inspect.plot_attention(model, layer="block2_target1")
    assert len(figure.axes) == 3 + 1


@pytest.mark.parametrize("attention", ["san", "ran"])
def test_writes_pictures_of_sequences(attention, rng, tmp_path):
    model = ka.applications.LSTM4((None, 4), 3, attention=attention)
    path = tmp_path / "figures" / "attention.png"
    ka.inspect.plot_attention(model, rng.uniform(size=(1, 9, 4)), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [item.name for item in path.parent.iterdir()] == ["attention.png"]
    with pytest.raises(ValueError, match=r"Received: images.shape=\(1, 9, 4, 1\)"):
        ka.inspect.plot_attention(model, rng.uniform(size=(1, 9, 4, 1)))


def test_models_of_any_size_need_images():
    with pytest.raises(ValueError, match="takes any size"):
        ka.inspect.plot_attention(ka.applications.TDN10(input_shape=(None, None, 1)))


def test_models_without_attention():
    with pytest.raises(ValueError, match=r"must hold an attention mechanism.*'dn10'"):
        ka.inspect.plot_attention(ka.applications.DN10())


@pytest.mark.parametrize("shape", [(16, 12, 1), (0, 16, 12, 1)])
def test_images_of_another_shape(model, shape):
    with pytest.raises(ValueError, match="at least one image"):
        ka.inspect.plot_attention(model, np.zeros(shape))


def test_a_failed_write_leaves_nothing(model, tmp_path):
    with pytest.raises(ValueError, match="nonsense"):
        ka.inspect.plot_attention(model, path=tmp_path / "a.nonsense")
    assert list(tmp_path.iterdir()) == []
