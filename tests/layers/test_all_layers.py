"""Tests of every layer, on the cases of `layer_cases.py`."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests import harness, layer_cases

# `make test` runs on one case of each layer.
FIRST = list({case.name: case for case in reversed(layer_cases.LAYER_CASES)}.values())
every_layer = pytest.mark.parametrize(
    "case", harness.cross_section(layer_cases.LAYER_CASES, fast=FIRST), ids=str
)
# Cells have no data format, and Keras's layer test does not pass states.
LAYERS = [case for case in layer_cases.LAYER_CASES if not case.wrap]
every_format = pytest.mark.parametrize("case", harness.cross_section(LAYERS, fast=FIRST), ids=str)
COMPILED = ("TargetLayer", "CBAM")


def test_every_public_layer_has_a_row():
    assert {case.name for case in layer_cases.LAYER_CASES} == set(ka.layers.__all__)


@every_format
@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")  # by Keras's layer test
def test_keras_layer_test(case):
    harness.run_keras_layer_test(case)


@every_layer
def test_file_round_trip_without_custom_objects(case, rng, tmp_path):
    model = harness.model_of_layer(case)
    x = case.data(rng)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))


@every_format
def test_channels_first_equals_channels_last(case, rng):
    x = case.data(rng)
    last, first = case.make(), case.make(data_format="channels_first")
    y = last(x)
    first(harness.to_channels_first(x))
    weights = [w * rng.uniform(0.6, 0.95, w.shape) for w in last.get_weights()]
    last.set_weights(weights)
    first.set_weights(weights)
    y = keras.ops.convert_to_numpy(last(x))
    z = keras.ops.convert_to_numpy(first(harness.to_channels_first(x)))
    transposed = harness.to_channels_last(z) if z.ndim == len(case.main_shape) else z
    np.testing.assert_allclose(transposed, y, atol=1e-5)
    assert first.compute_output_shape(harness.shapes(harness.to_channels_first(x))) == z.shape


@every_layer
@pytest.mark.parametrize(
    "policy", harness.cross_section(["mixed_float16", "mixed_bfloat16"], fast={"mixed_float16"})
)
def test_half_precision(case, policy, rng):
    x = case.data(rng, like=policy.removeprefix("mixed_"))
    exact = case.make(**case.unambiguous_choice)
    if case.has_dtype_of_parts:
        keras.config.set_dtype_policy(policy)
    half = case.make(dtype=policy, **case.unambiguous_choice)
    y = exact(x)
    half(x)
    weights = [w * rng.uniform(0.6, 0.95, w.shape) for w in exact.get_weights()]
    exact.set_weights(weights)
    half.set_weights(weights)
    y, z = exact(x), half(x)
    assert keras.backend.standardize_dtype(z.dtype) == policy.removeprefix("mixed_")
    scale = float(np.abs(keras.ops.convert_to_numpy(y)).max())
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.cast(z, "float32")),
        keras.ops.convert_to_numpy(y),
        atol=scale * (0.005 if policy == "mixed_float16" else 0.04),
    )


@every_layer
def test_unknown_sizes_give_the_same_values(case, rng):
    x = case.data(rng, batch=3)
    known, unknown = harness.model_of_layer(case), harness.model_of_layer(case, sides="any")
    unknown.set_weights(known.get_weights())
    expected = known(x, training=False)
    np.testing.assert_allclose(unknown.predict(x, verbose=0), expected, atol=5e-6)
    assert unknown.output_shape[-1] == case.output_shape[-1]


@every_layer
@harness.in_graphs_if_slow
def test_step_lowers_loss_and_reaches_every_weight(case, eagerly, rng):
    x = case.data(rng)
    y = rng.normal(size=case.output_shape).astype("float32")
    model = harness.model_of_layer(case)
    harness.check_training_step(model, x, y, "mse", 1e-2, case.idle_weights, eagerly)


@pytest.mark.parametrize(
    "case",
    harness.cross_section(
        layer_cases.LAYER_CASES, fast=[case for case in FIRST if case.name in COMPILED]
    ),
    ids=str,
)
def test_jit_compiled_training(case, rng):
    x = case.data(rng)
    y = rng.normal(size=case.output_shape).astype("float32")
    model = harness.model_of_layer(case)
    model.compile("sgd", "mse", jit_compile=True)
    first = model.train_on_batch(x, y)
    assert model.train_on_batch(x, y) < first


@pytest.mark.skipif(not harness.ON_TENSORFLOW, reason="JAX needs jax_enable_x64 for float64")
@every_layer
def test_float64(case, rng):
    x = case.data(rng)
    model = harness.model_of_layer(case)
    expected = model(x, training=False)
    keras.backend.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        wide = harness.model_of_layer(case)
        wide.set_weights(model.get_weights())
        outputs = wide(x, training=False)
        wide.compile("sgd", "mse")
        wide.train_on_batch(x, np.zeros(case.output_shape))
    finally:
        keras.backend.set_floatx("float32")
    assert keras.backend.standardize_dtype(outputs.dtype) == "float64"
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize(
    "case",
    harness.cross_section(
        layer_cases.LAYER_CASES,
        fast=[case for case in FIRST if case.name in ("SANBlock", "TargetLayer")],
    ),
    ids=str,
)
@harness.slow_on_jax
def test_jit_compiled_with_unknown_sizes(case, rng):
    """XLA compiles the graph again for each size."""
    model = harness.model_of_layer(case, sides="any")
    model.compile("sgd", "mse", jit_compile=True)
    for extra in (0, 1, 3):
        x = case.data(rng)
        if isinstance(x, list):
            x = [enlarged(one, extra, rng) for one in x]
        else:
            x = enlarged(x, extra, rng)
        expected = model(x, training=False)
        np.testing.assert_allclose(model.predict_on_batch(x), expected, atol=1e-5)
        assert np.isfinite(model.train_on_batch(x, np.zeros(expected.shape))).all()


def enlarged(array, extra, rng):
    """Returns random values with more rows, columns or steps."""
    sides = [side + extra for side in array.shape[1:-1]]
    return rng.normal(size=(array.shape[0], *sides, array.shape[-1])).astype("float32")


@every_format
def test_attention_is_returned(case, rng):
    x = case.data(rng)
    inputs = case.inputs()
    model = keras.Model(inputs, case.make()(inputs, return_attention=True))
    outputs, attention, *_ = model.predict(x, verbose=0)
    assert outputs.shape == case.output_shape
    assert attention.shape == (case.attention_shape or case.output_shape)
    assert attention.dtype == np.float32
    if case.attention_shape is None:
        assert attention.min() >= 0.0
        assert attention.max() <= 1.0


class ScaledCBAM(ka.layers.CBAM):
    """Subclass of a user, whose argument is kept under another name."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.scale = factor

    def get_config(self):
        return {**super().get_config(), "factor": self.scale}


def test_config_of_a_subclass_outside_the_package():
    copy = ScaledCBAM.from_config(ScaledCBAM(2.0, reduction=2, kernel_size=5).get_config())
    assert (copy.scale, copy.reduction, tuple(np.ravel(copy.kernel_size))) == (2.0, 2, (5,))
