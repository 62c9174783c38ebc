import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import cross_section

LayerwiseOptimizer = ka.training.LayerwiseOptimizer
OPTIMIZERS = {
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
}


def model_of_two(**layer):
    keras.utils.set_random_seed(1)
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="deep")], name="base")
    return keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2, name="top", **layer)])


def weights_after(optimizer, rng, steps=4):
    model = model_of_two()
    model.compile(optimizer, "mse")
    x = rng.normal(size=(8, 4)).astype("float32")
    for _ in range(steps):
        model.train_on_batch(x, x[:, :2])
    return model


@pytest.mark.parametrize("name", cross_section(OPTIMIZERS, fast={"sgd"}))
def test_factor_of_one_is_the_optimizer_itself(name):
    plain = weights_after(OPTIMIZERS[name](0.01), np.random.default_rng(0))
    optimizer = LayerwiseOptimizer(OPTIMIZERS[name](0.01), {"top": 1.0})
    layerwise = weights_after(optimizer, np.random.default_rng(0))
    for one, other in zip(plain.get_weights(), layerwise.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("name", cross_section(OPTIMIZERS, fast={"sgd"}))
def test_first_step_is_scaled_by_the_factor(name, rng):
    """The first step of each layer, with weight decay, corresponds to its own rate."""
    slow = weights_after(OPTIMIZERS[name](0.01), np.random.default_rng(0), steps=1)
    fast = weights_after(OPTIMIZERS[name](0.1), np.random.default_rng(0), steps=1)
    optimizer = LayerwiseOptimizer(OPTIMIZERS[name](0.01), {"top": 10})
    mixed = weights_after(optimizer, np.random.default_rng(0), steps=1)
    pairs = zip(mixed.weights, slow.get_weights(), fast.get_weights(), strict=True)
    for weight, at_slow, at_fast in pairs:
        expected = at_fast if "top" in weight.path else at_slow
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_sublayers_have_the_factor_of_their_layer(rng):
    optimizer = LayerwiseOptimizer(keras.optimizers.SGD(0.1), {"top": 10, "deep": 0.5})
    model = weights_after(optimizer, rng, steps=1)
    rates = {
        weight.path.split("/")[-2]: float(optimizer._select_optimizer(weight).learning_rate)
        for weight in model.trainable_weights
    }
    assert rates == pytest.approx({"deep": 0.05, "top": 1.0})


def test_callbacks_set_all_rates_in_proportion(rng):
    model = model_of_two()
    model.compile(LayerwiseOptimizer(keras.optimizers.SGD(0.1), {"top": 10}), "mse")
    x = rng.normal(size=(8, 4)).astype("float32")
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=1e9)
    model.fit(x, x[:, :2], epochs=3, verbose=0, callbacks=[halve, plateau])
    low, high = (float(one.learning_rate) for one in model.optimizer.optimizers)
    assert high == pytest.approx(10 * low, rel=1e-6)
    assert low < 0.1 / 2**3


def test_schedules_are_scaled_and_saved(rng, tmp_path):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.1, 0.01])
    optimizer = LayerwiseOptimizer(keras.optimizers.SGD(schedule, momentum=0.9), {"top": 10})
    model = weights_after(optimizer, rng)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    rates = [float(one.learning_rate) for one in loaded.optimizer.optimizers]
    assert rates == pytest.approx([0.01, 0.1])
    x = rng.normal(size=(8, 4)).astype("float32")
    for one in (model, loaded):
        one.train_on_batch(x, x[:, :2])
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_half_precision_scales_the_loss(rng):
    keras.config.set_dtype_policy("mixed_float16")
    model = weights_after(LayerwiseOptimizer(keras.optimizers.SGD(0.01), {"top": 10}), rng)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.parametrize("factors", [{}, None, {"top": 0}, {"top": -1}, {"top": "ten"}, ["top"]])
def test_bad_factors(factors):
    with pytest.raises(ValueError, match="Received: factors"):
        LayerwiseOptimizer(keras.optimizers.SGD(), factors)


def test_bad_names_and_optimizers(rng):
    with pytest.raises(
        ValueError, match=r"layers with trainable weights: base, .*top\. Received: 'head'"
    ):
        weights_after(LayerwiseOptimizer(keras.optimizers.SGD(), {"head": 10}), rng)
    with pytest.raises(ValueError, match="Received: optimizer='sgd'"):
        LayerwiseOptimizer("sgd", {"top": 10})
