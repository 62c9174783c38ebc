import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.golden import TOLERANCE, channels_last, golden
from tests.harness import ON_TENSORFLOW

numpy = keras.ops.convert_to_numpy
CONFIGS = {"a": {}, "b": {"dilation_rate": 4}, "c": {"kernel_size": 5}}


def block_of(data, config, first=False, **options):
    """The block of a configuration with its weights, and its inputs."""
    pair = [data[f"{config}/{name}"] for name in ("y_prev", "y")]
    pair = pair if first else [channels_last(x) for x in pair]
    layer = ka.layers.SANBlock(
        **{**CONFIGS[config], **options}, data_format="channels_first" if first else None
    )
    layer.build([x.shape for x in pair])
    if layer.smoothing:
        kernel = np.transpose(data[f"{config}/conv_w_oihw"], (2, 3, 1, 0))
        layer.set_weights([kernel, data[f"{config}/conv_b"]])
    return layer, pair


@pytest.mark.parametrize("config", list(CONFIGS))
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_golden_numbers(config, activation):
    data = golden("san_block_independent.npz")
    layer, pair = block_of(data, config, activation=activation)
    outputs, mask = layer(pair, return_attention=True)
    prefix = f"{config}/zero/{activation}"
    np.testing.assert_allclose(outputs, channels_last(data[f"{prefix}/out_eq4"]), **TOLERANCE)
    np.testing.assert_allclose(mask, channels_last(data[f"{prefix}/mask_eq12"]), **TOLERANCE)
    first, pair = block_of(data, config, first=True, activation=activation)
    np.testing.assert_allclose(first(pair), data[f"{prefix}/out_eq4"], **TOLERANCE)


@pytest.mark.parametrize("config", list(CONFIGS))
def test_golden_ablations(config):
    data = golden("san_block_independent.npz")
    for name, options in (
        ("zero/no_smoothing_mask", {"smoothing": None}),
        ("no_extrema_mask", {"extrema": False, "smoothing": None}),
    ):
        layer, pair = block_of(data, config, **options)
        _, mask = layer(pair, return_attention=True)
        expected = channels_last(data[f"{config}/{name}"])
        np.testing.assert_allclose(mask, expected, **TOLERANCE)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="gradient tapes need TensorFlow")
@pytest.mark.parametrize("config", list(CONFIGS))
def test_golden_gradients(config):
    import tensorflow as tf

    data = golden("san_block_independent.npz")
    layer, pair = block_of(data, config)
    y_prev, y = map(tf.constant, pair)
    with tf.GradientTape() as tape:
        tape.watch([y_prev, y])
        total = tf.reduce_sum(layer([y_prev, y]) ** 2)
    for name, gradient in zip(("y_prev", "y"), tape.gradient(total, [y_prev, y]), strict=True):
        expected = data[f"{config}/zero/linear/grad_sumsq_out_wrt_{name}"]
        np.testing.assert_allclose(gradient, channels_last(expected), **TOLERANCE)


def test_weights():
    layer = ka.layers.SANBlock()
    layer.build([(None, 8, 8, 3), (None, 8, 8, 4)])
    assert [weight.shape for weight in layer.get_weights()] == [(3, 3, 4, 4), (4,)]
    thin = ka.layers.SANBlock(5, smoothing="depthwise", use_bias=False)
    thin.build([(None, 8, 3), (None, 8, 4)])
    assert [weight.shape for weight in thin.get_weights()] == [(5, 4, 1)]
    none = ka.layers.SANBlock(smoothing=None)
    none.build([(None, 8, 8, 3), (None, 8, 8, 4)])
    assert none.weights == []


def test_a_larger_previous_map_is_pooled(rng):
    y_prev = rng.normal(size=(2, 12, 8, 3)).astype("float32")
    y = rng.normal(size=(2, 6, 4, 5)).astype("float32")
    layer = ka.layers.SANBlock()
    expected = layer([y_prev.reshape(2, 6, 2, 4, 2, 3).mean((2, 4)), y])
    np.testing.assert_allclose(layer([y_prev, y]), expected, atol=1e-5)


def test_intermediates(rng):
    pair = [rng.normal(size=(2, 6, 5, 3)).astype("float32") for _ in range(2)]
    layer = ka.layers.SANBlock()
    _, mask = layer(pair, return_attention=True)
    maps = {name: numpy(value) for name, value in layer.intermediates(pair).items()}
    assert list(maps) == ["difference", "extrema", "smoothed", "mask"]
    np.testing.assert_allclose(maps["mask"], mask, atol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-maps["smoothed"])), mask, atol=1e-6)
    share = numpy(ka.ops.soft_extrema(maps["difference"]))
    np.testing.assert_allclose(maps["extrema"], share * maps["difference"], atol=1e-6)


def test_masks_of_sequences_pass(rng):
    inputs = keras.Input((6, 3))
    masked = keras.layers.Masking()(inputs)
    outputs = ka.layers.SANBlock()([masked, masked])
    assert outputs._keras_mask is not None


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModel needs TensorFlow")
def test_served_at_any_size(rng, tmp_path):
    import tensorflow as tf

    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    model = keras.Model(inputs, ka.layers.SANBlock()([inputs, x]))
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    for shape in ((1, 8, 12, 3), (3, 9, 7, 3)):  # pooled, and resized bilinearly
        x = rng.normal(size=shape).astype("float32")
        np.testing.assert_allclose(served.serve(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": "gaussian"}, "Received: smoothing='gaussian'"),
        ({"kernel_size": 0}, "Received: kernel_size=0"),
        ({"kernel_size": (3, 3, 3, 3)}, r"Received: kernel_size=\(3, 3, 3, 3\)"),
        ({"dilation_rate": -1}, "Received: dilation_rate=-1"),
        ({"absolute": "yes"}, "Received: absolute='yes'"),
        ({"data_format": "NHWC"}, "Received: data_format='NHWC'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ka.layers.SANBlock(**options)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((2, 8, 8, 3),), {}, r"list \[y_prev, y\]"),
        (((3, 8, 8, 3), (2, 8, 8, 4)), {}, "same batch size"),
        (((2, 8, 3), (2, 8, 8, 4)), {}, "both be sequences"),
        (((2, 3), (2, 4)), {}, "both be sequences"),
        (((2, 8, 8, 3), (2, 8, 8, 4)), {"channel_alignment": False}, "same number of channels"),
        (((2, 8, 3), (2, 8, 4)), {"kernel_size": (3, 3)}, r"Received: kernel_size=\(3, 3\)"),
    ],
    ids=str,
)
def test_incompatible_inputs(shapes, options, message):
    inputs = [np.zeros(shape, "float32") for shape in shapes]
    with pytest.raises(ValueError, match=message):
        ka.layers.SANBlock(**options)(inputs)


def test_a_built_layer_validates_its_inputs():
    layer, y = ka.layers.SANBlock(), np.zeros((2, 8, 8, 3), "float32")
    layer([y, y])
    with pytest.raises(ValueError, match="same batch size"):
        layer([y[:1], y])


def test_a_single_tensor_is_refused():
    with pytest.raises(ValueError, match=r"list \[y_prev, y\]"):
        ka.layers.SANBlock()(np.zeros((2, 8, 8, 3), "float32"))
