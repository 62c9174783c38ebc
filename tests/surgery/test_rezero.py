import copy

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.surgery.attention import ReZero
from tests.harness import cross_section


def small_model():
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.MaxPooling2D()(keras.layers.Conv2D(8, 3, name="conv")(inputs))
    return keras.Model(inputs, keras.layers.Flatten()(x))


def test_identity_at_first_then_a_weighted_mean(rng):
    before, after = rng.normal(size=(2, 3, 4, 5)).astype("float32")
    layer = ReZero()
    np.testing.assert_array_equal(np.asarray(layer([before, after])), before)
    layer.alpha.assign(0.25)
    np.testing.assert_allclose(layer([before, after]), 0.75 * before + 0.25 * after, atol=1e-6)


@pytest.mark.parametrize(
    "policy", cross_section(["float32", "mixed_float16"], fast={"mixed_float16"})
)
def test_files_clones_and_copies(policy, rng, tmp_path):
    keras.config.set_dtype_policy(policy)
    model = ka.surgery.add_attention(small_model(), "bam", identity=True)
    keras.config.set_dtype_policy("float32")
    for layer in model.layers:
        if isinstance(layer, ReZero):
            layer.alpha.assign(0.5)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = rng.uniform(size=(2, 12, 12, 1)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for other in (loaded, clone, copy.deepcopy(model)):
        np.testing.assert_array_equal(np.asarray(other(x)), np.asarray(model(x)))
        rezero = [layer for layer in other.layers if isinstance(layer, ReZero)]
        assert {layer.dtype_policy.name for layer in rezero} == {policy}
