import numpy as np

from keras_attention.surgery.attention import ReZero


def test_nothing_at_first_then_the_share(rng):
    before, after = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    layer = ReZero()
    np.testing.assert_array_equal(np.asarray(layer([before, after])), before)
    layer.alpha.assign(0.25)
    np.testing.assert_allclose(layer([before, after]), 0.75 * before + 0.25 * after, atol=1e-6)
