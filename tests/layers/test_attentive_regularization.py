import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.layers import AttentiveRegularization
from tests import harness
from tests.golden import TOLERANCE, channels_last, golden

windows = pytest.mark.parametrize("window", ["gaussian", "cauchy"])


def layer_with(window, center, scale, shape):
    layer = AttentiveRegularization(window)
    layer.build(shape)
    layer.set_weights([center, scale])
    return layer


@windows
def test_outputs_and_gradients_equal_the_authors_code(window):
    data = golden("ar_original.npz")
    x = channels_last(data["x_nchw"])
    center = np.stack([data["mu1"], data["mu2"]])
    scale = np.stack([data["sig1"], data["sig2"]])
    layer = layer_with(window, center, scale, x.shape)
    outputs, _, by_center, by_scale = harness.value_and_gradients(layer, x, np.float32(1))
    np.testing.assert_allclose(outputs, channels_last(data[f"ar2d_{window}_out_nchw"]), **TOLERANCE)
    for axis, number in enumerate("12"):
        for actual, name in ((by_center, "mu"), (by_scale, "sig")):
            desired = data[f"ar2d_{window}_grad_sumsq_out_wrt_{name}{number}"]
            np.testing.assert_allclose(actual[axis], desired, rtol=1e-4, atol=1e-3)


@windows
def test_sequences_equal_the_authors_code(window):
    data = golden("ar_original.npz")
    x = np.moveaxis(data["x1d_ncl"], 1, -1)
    layer = layer_with(window, data["mu1"][None], data["sig1"][None], x.shape)
    expected = np.moveaxis(data[f"ar1d_{window}_out_ncl"], 1, -1)
    np.testing.assert_allclose(layer(x), expected, **TOLERANCE)


def test_initial_regions_are_the_whole_map():
    layer = AttentiveRegularization()
    layer.build((None, 4, 6, 2))
    np.testing.assert_array_equal(layer.rois(4, 6), [[[0, 4], [0, 6]]] * 2)


def test_weights_of_one_size_serve_another(rng):
    layer = AttentiveRegularization()
    layer.build((None, 8, 8, 3))
    layer.center.assign(rng.uniform(0.2, 0.8, (2, 3)))
    small, large = layer.attention_window(8, 8), layer.attention_window(16, 24)
    every_third = ops.convert_to_numpy(large)[::2, ::3]
    np.testing.assert_allclose(every_third, ops.convert_to_numpy(small), rtol=1e-4)


def test_masks_pass_through(rng):
    inputs = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(inputs)
    outputs = AttentiveRegularization()(embedded)
    assert keras.src.backend.get_keras_mask(outputs) is not None


@pytest.mark.parametrize("shape", [(None, 3), (None, 2, 2, 2, 2, 2)])
def test_other_ranks(shape):
    with pytest.raises(ValueError, match=r"sequences.*Received: input_shape"):
        AttentiveRegularization().build(shape)


def test_unknown_window():
    with pytest.raises(ValueError, match=r"'cauchy', 'gaussian'.*Received: window='box'"):
        AttentiveRegularization("box")
