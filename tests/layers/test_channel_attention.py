"""CBAM and BAM, compared with their authors' code."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.golden import TOLERANCE, channels_last, golden

CBAM_OPTIONS = {
    "default_r16": {},
    "r8_nospatial": {"reduction": 8, "spatial": False},
    "r4_avg_only": {"reduction": 4, "pools": ["avg"]},
    "r8_allpools": {"reduction": 8, "pools": ["avg", "max", "lp", "lse"]},
}


def dense(data, name):
    return [data[f"{name}.weight"].T, data[f"{name}.bias"]]


def convolution(data, name):
    return [np.transpose(data[f"{name}.weight"], (2, 3, 1, 0)), data[f"{name}.bias"]]


def normalization(data, name):
    return [data[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]


def cbam_weights(data, kind, spatial):
    name = f"{kind}/w/ChannelGate.mlp"
    weights = dense(data, f"{name}.1") + dense(data, f"{name}.3")
    if spatial:
        name = f"{kind}/w/SpatialGate.spatial"
        weights.append(np.transpose(data[f"{name}.conv.weight"], (2, 3, 1, 0)))
        weights += normalization(data, f"{name}.bn")
    return weights


def bam_weights(data):
    channel, spatial = "w/channel_att.gate_c.gate_c_", "w/spatial_att.gate_s.gate_s_"
    weights = dense(data, f"{channel}fc_0") + normalization(data, f"{channel}bn_1")
    weights += dense(data, f"{channel}fc_final")
    for part in ("reduce0", "di_0", "di_1"):
        weights += convolution(data, f"{spatial}conv_{part}")
        weights += normalization(data, f"{spatial}bn_{part}")
    return weights + convolution(data, f"{spatial}conv_final")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", list(CBAM_OPTIONS))
def test_golden_cbam(kind, data_format):
    data = golden("cbam.npz")
    to = channels_last if data_format == "channels_last" else np.asarray
    layer = ka.layers.CBAM(**CBAM_OPTIONS[kind], data_format=data_format)
    x = to(data["x"])
    layer.build(x.shape)
    layer.set_weights(cbam_weights(data, kind, layer.spatial))
    np.testing.assert_allclose(layer(x), to(data[f"{kind}/eval"]), **TOLERANCE)
    np.testing.assert_allclose(layer(x, training=True), to(data[f"{kind}/train"]), **TOLERANCE)
    if layer.spatial:
        mean = data[f"{kind}/train_new_running_mean"]
        np.testing.assert_allclose(layer.normalization.moving_mean, mean, **TOLERANCE)


def test_golden_bam():
    data = golden("bam.npz")
    layer, x = ka.layers.BAM(), channels_last(data["x"])
    layer.build(x.shape)
    layer.set_weights(bam_weights(data))
    np.testing.assert_allclose(layer(x), channels_last(data["eval"]), **TOLERANCE)
    outputs = layer(x, training=True)
    np.testing.assert_allclose(outputs, channels_last(data["train"]), **TOLERANCE)
    name = "train_new/channel_att.gate_c.gate_c_bn_1.running_mean"
    np.testing.assert_allclose(layer.channel_branch[1].moving_mean, data[name], **TOLERANCE)


def test_outputs_are_inputs_times_masks(rng):
    x = rng.normal(size=(2, 7, 4, 8)).astype("float32")
    outputs, mask = ka.layers.CBAM(reduction=4)(x, return_attention=True)
    np.testing.assert_allclose(outputs, x * keras.ops.convert_to_numpy(mask), atol=1e-6)
    outputs, mask = ka.layers.BAM(reduction=4)(x, return_attention=True)
    np.testing.assert_allclose(outputs, x * (1 + keras.ops.convert_to_numpy(mask)), atol=1e-5)


def test_bam_of_the_paper_adds_the_branches(rng):
    x = rng.normal(size=(2, 7, 4, 8)).astype("float32")
    product, total = ka.layers.BAM(reduction=4), ka.layers.BAM(reduction=4, merge="sum")
    product(x), total(x)
    # With a spatial branch of 1, the product is the channels' logits, and the sum is one more.
    weights = product.get_weights()
    weights[-2], weights[-1] = np.zeros_like(weights[-2]), np.ones_like(weights[-1])
    product.set_weights(weights)
    total.set_weights(weights)
    _, first = product(x, return_attention=True)
    _, second = total(x, return_attention=True)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    first, second = map(keras.ops.convert_to_numpy, (first, second))
    np.testing.assert_allclose(logit(second), logit(first) + 1, atol=1e-4)


@pytest.mark.parametrize("kind", ["CBAM", "BAM"])
@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (2, 8, 8, 15), "Received: reduction=16"),
        ({"reduction": 2}, (2, 8, 8), "expected ndim=4"),
        ({"reduction": 2}, (None, 8, 8, None), "must have a known number of channels"),
    ],
)
def test_bad_arguments(kind, options, shape, message):
    layer = getattr(ka.layers, kind)(**options)
    with pytest.raises(ValueError, match=message):
        layer(keras.KerasTensor(shape))


def test_unknown_options():
    with pytest.raises(ValueError, match="Received: reduction=0"):
        ka.layers.CBAM(reduction=0)
    with pytest.raises(ValueError, match="Received: merge='max'"):
        ka.layers.BAM(merge="max")
    with pytest.raises(ValueError, match="Received: pools='median'"):
        ka.layers.CBAM(pools=["avg", "median"])
    with pytest.raises(ValueError, match=r"Received: pools=\[\]"):
        ka.layers.CBAM(pools=[])
    with pytest.raises(ValueError, match="Received: spatial=1"):
        ka.layers.CBAM(spatial=1)
