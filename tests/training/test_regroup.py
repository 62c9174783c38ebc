import json

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.ops.roi_grouping import ConvolutionCost
from keras_attention.training import RegroupROIs
from tests.harness import ON_TENSORFLOW, cross_section, slow_on_jax

# Groups have no overhead in this cost model, so every saved pixel counts.
FREE = ConvolutionCost(start=0.0, assembly=0.0, half_kernels=0.0, half_pixels=0.0)


def network(roi="slice", policy=None):
    """Returns two target layers with ROIs in two corners."""
    inputs = keras.Input((16, 12, 1))
    x = ka.layers.TargetLayer(4, 3, roi=roi, activation="relu", dtype=policy, name="first")(inputs)
    x = keras.layers.MaxPooling2D()(x)
    x = ka.layers.TargetLayer(4, 3, roi=roi, scale_regularizer="l2", dtype=policy, name="second")(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    for name in ("first", "second"):
        layer = model.get_layer(name)
        layer.center.assign(np.tile([0.2, 0.8], (2, 2)))
        layer.scale.assign(np.full((2, 4), 0.3))
    return model


def data(rng, count=32):
    x = rng.normal(size=(count, 16, 12, 1)).astype("float32")
    return x, rng.normal(size=(count, 2)).astype("float32")


def fit(model, x, y, callbacks=(), jit=False, **options):
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=jit)
    options = {"epochs": 2, "batch_size": 8, "verbose": 0, "shuffle": False, **options}
    return model.fit(x, y, callbacks=list(callbacks), **options)


class Eager(RegroupROIs):
    """Applies every new grouping and records it."""

    def __init__(self, **options):
        super().__init__(min_gain=0.0, cost=FREE, **options)
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self._first_step_seconds = -1.0
        super().on_epoch_end(epoch, logs)
        self.seen.append(self.layers[0].slice_groups)


@pytest.mark.parametrize("jit", cross_section([False, True], [False]) if ON_TENSORFLOW else [True])
def test_regrouping_does_not_change_training(jit, rng):
    x, y = data(rng)
    plain, regrouped = network("mask"), network()
    regrouped.set_weights(plain.get_weights())
    expected = fit(plain, x, y).history["loss"]
    callback = Eager()
    got = fit(regrouped, x, y, [callback], jit, validation_data=(x, y)).history["loss"]
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    for weight, want in zip(regrouped.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(weight, want, atol=1e-5)
    assert len(callback.seen[-1]) > 1


@pytest.mark.slow
@slow_on_jax
def test_groups_follow_the_regions(rng):
    """Kernels with the same ROI are grouped, also after their ROIs have moved."""
    model = network()
    x, y = data(rng)
    layer = model.get_layer("first")

    class Move(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                layer.center.assign(np.repeat([[0.2, 0.8]] * 2, 2, axis=1))

    callback = Eager()
    fit(model, x, y, [Move(), callback], epochs=3)
    assert callback.seen[0] == ((0, 2), (1, 3))
    assert callback.seen[-1] == ((0, 1), (2, 3))


@pytest.mark.slow
def test_no_regrouping_if_little_time_remains(rng):
    """A short training does not justify another trace."""
    model = network()
    callback = RegroupROIs(cost=FREE)
    traced: list[int] = []
    callback.set_model(model)
    original = RegroupROIs._apply
    callback._apply = lambda plans: (traced.append(1), original(callback, plans))
    fit(model, *data(rng, 8), [callback], epochs=2)
    assert traced == [1]


def test_a_second_fit_does_not_trace_again(rng):
    """Groups do not change if the ROIs have not changed."""
    model, (x, y) = network(), data(rng, 8)
    callback = RegroupROIs(cost=FREE)
    fit(model, x, y, [callback], epochs=1)
    traced = model.train_function
    model.fit(x, y, batch_size=8, epochs=1, verbose=0, shuffle=False, callbacks=[callback])
    assert model.train_function is traced


@pytest.mark.slow
@slow_on_jax
def test_groups_are_restored_in_another_process(rng):
    """With XLA the rectangles are restored too; the state is JSON-compatible."""
    model, (x, y) = network(), data(rng, 8)
    callback = Eager()
    fit(model, x, y, [callback], jit=True)
    state = json.loads(json.dumps(callback.get_state()))
    other, again = network(), RegroupROIs(min_gain=1.0)
    again.set_model(other)
    other.compile("sgd", "mse", jit_compile=True)
    again.on_train_begin()
    again.set_state(state)
    for name in ("first", "second"):
        layers = [one.get_layer(name) for one in (model, other)]
        assert len({layer.slice_groups for layer in layers}) == 1
        sides = layers[0].map_sides
        regions = layers[0].rois(*sides)
        assert len({layer._slicing.count_pixels(regions, sides) for layer in layers}) == 1
    assert json.loads(json.dumps(again.get_state())) == state


@pytest.mark.slow
def test_every(rng):
    callback = RegroupROIs(every=3, min_gain=1.0)  # never regroups
    checks = []
    original = RegroupROIs._plans
    callback._plans = lambda: checks.append(1) or original(callback)
    fit(network(), *data(rng), [callback], epochs=7)
    assert len(checks) == 3  # at the start, after epochs 3 and 6


@pytest.mark.slow
@slow_on_jax
def test_half_precision(rng):
    x, y = data(rng)
    half, full = network(policy="mixed_float16"), network()
    full.set_weights(half.get_weights())
    losses = [fit(model, x, y, [Eager()]).history["loss"] for model in (half, full)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)


@pytest.mark.slow
@pytest.mark.skipif(not ON_TENSORFLOW, reason="tf.distribute")
def test_under_a_mirrored_strategy(rng):
    import tensorflow as tf

    x, y = data(rng)
    plain = network("mask")
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = network()
        model.set_weights(plain.get_weights())
        got = fit(model, x, y, [Eager()]).history["loss"]
    np.testing.assert_allclose(got, fit(plain, x, y).history["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "Received: every=0"),
        ({"min_gain": -0.1}, "Received: min_gain=-0.1"),
        ({"batch_size": 2.5}, "Received: batch_size=2.5"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        RegroupROIs(**options)


def test_a_model_without_slices(rng):
    with pytest.raises(ValueError, match=r"Received: .* without one"):
        fit(network("mask"), *data(rng), [RegroupROIs()])
