"""Calls that fuzzing found: each raised an error in the backend, hung or returned NaN."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention import datasets
from tests.fuzz.data import array, is_finite
from tests.fuzz.test_layers import gradients_of
from tests.harness import cross_section
from tests.layer_cases import LAYER_CASES

layers, ops, losses, build = ka.layers, ka.ops, ka.losses, ka.applications.build
MAPS, ONE_TAP = array((2, 6, 5, 3)), array((1, 1, 3, 4))
CASES = {case.name: case for case in reversed(LAYER_CASES)}


def on(layer, shape, then=None):
    """Builds a layer on a shape, and calls it on another one."""
    layer(np.zeros(shape, "float32"))
    return layer(np.zeros(then, "float32")) if then else None


INVALID = {
    "empty sequence": lambda: on(layers.AttentiveRegularization(), (2, 0, 3)),
    "other channels": lambda: on(layers.AttentiveRegularization(), (2, 7, 3), (2, 7, 4)),
    "other rank": lambda: on(layers.AttentiveRegularization(), (2, 7, 3), (2, 7, 3, 3)),
    "empty batch": lambda: on(layers.TargetLayer(6, 3), (0, 6, 5, 3)),
    "too many kernels for an integer": lambda: layers.TargetLayer(2**31, 3),
    "large dilation": lambda: on(layers.TargetLayer(6, 3, dilation_rate=10**9), (2, 6, 5, 3)),
    "large dilation of BAM": lambda: on(layers.BAM(2, 10**9), (2, 6, 5, 4)),
    "large dilation of SAN": lambda: layers.SANBlock(3, 10**9)([MAPS, MAPS]),
    "an array as a flag": lambda: layers.TargetLayer(6, 3, use_bias=np.ones(3)),
    "a string as a flag": lambda: layers.TargetLayer(6, 3, use_bias="no"),
    "another number of channels": lambda: twice(
        layers.SANBlock(), [MAPS, MAPS], [MAPS, array((2, 6, 5, 4))]
    ),
    "different batch sizes": lambda: head_on(logits=array((3, 3))),
    "too few maps": lambda: head_on(feature_maps=[MAPS]),
    "logits with spatial axes": lambda: head_on(logits=array((2, 1, 3))),
    "an image smaller than the receptive field": lambda: refiner_on((3, 2, 8, 2)),
    "strings as a map": lambda: layers.BAM()(np.full((2, 6, 5, 4), "a")),
    "a window of length 0": lambda: ops.gaussian_window(0, [0.5], [0.5]),
    "a string as a length": lambda: ops.cauchy_window("5", [0.5], [0.5]),
    "more sides than rows": lambda: ops.roi_rectangles((4, 3), [[0.5]], [[0.5]]),
    "a number as a function": lambda: ops.input_gradient(-1, MAPS),
    "other channels than the kernel's": lambda: ops.attend(MAPS, np.ones((3, 3, 4, 2))),
    "other taps than the kernel's": lambda: ops.head_outputs(
        array((2, 4, 9, 3)), np.ones((1, 1, 3, 4))
    ),
    "maps of different sizes": lambda: ops.difference_of_convolutions(MAPS, array((2, 6, 4, 3))),
    "more patches than positions": lambda: ops.top_positions(array((1, 2, 2)), 5),
    "a huge patch": lambda: ops.gather_patches(MAPS, np.zeros((2, 1, 2)), 10**6),
    "groups that miss a kernel": lambda: sliced(groups=[[0], [2]]),
    "maps of different batch sizes": lambda: losses.AttentionTransferLoss()(
        MAPS, array((7, 6, 5, 3))
    ),
    "features without examples": lambda: losses.HintLoss()(np.float32(1), np.float32(1)),
    "labels of another batch size": lambda: losses.NegativeLogLikelihood()(
        np.zeros(2), array((3, 4))
    ),
    "a number as layers": lambda: ka.surgery.to_targeted(keras.Sequential([]), 1),
    "a number as a model": lambda: ka.inspect.count_macs(-1),
    "a number as models": lambda: ka.inspect.summary_table(-1),
    "a list as a name": lambda: build([]),
    "a list as a data set": lambda: datasets.find([]),
    "a huge image": lambda: build("LeNet5", input_shape=(10**9, 10**9, 1)),
    "a huge depth": lambda: build("WideResNet", depth=6 * 10**6 + 4),
    "too many digits": lambda: build("SVHNCoarse", digits=10**9),
    "too many classes": lambda: build("LeNet5", classes=10**9),
    "a number as options": lambda: build("LSTM4", attention_options=3),
}


def twice(layer, first, second):
    layer(first)
    layer(second)


def head_on(**changed):
    head = layers.AttendRectifyHead(3, 2)
    data = {"feature_maps": [MAPS, MAPS], "logits": array((2, 3)), "features": array((2, 5))}
    head(**data)
    head(**{**data, **changed})


def refiner_on(shape):
    case = CASES["PatchRefiner"]
    twice(case.make(), np.zeros(case.input_shape, "float32"), np.zeros(shape, "float32"))


def sliced(groups):
    rectangles = np.tile(np.array([[[0, 3], [1, 4]]], "int32"), (3, 1, 1))
    window, kernel = array((6, 5, 3)), array((3, 3, 3, 3))
    ops.sliced_targeted_convolution(MAPS, kernel, window, rectangles, groups)


@pytest.mark.parametrize("call", INVALID.values(), ids=INVALID)
def test_refused_with_what_was_received(call):
    with pytest.raises(ValueError, match=r"Received: |expected axis|expected ndim|dtype"):
        call()


# Weights that do not fit into memory. TensorFlow waits for memory for ten seconds each.
TOO_LARGE = {
    "kernels": lambda: on(layers.TargetLayer(2**31 - 1, 3), (2, 6, 5, 3)),
    "heads": lambda: on(layers.AttentionModule(3, 2**31 - 1), (2, 6, 5, 4)),
    "classes": lambda: on(layers.AttentionModule(2**31 - 1), (2, 6, 5, 4)),
    "taps": lambda: on(layers.CBAM(2, 10**7), (2, 6, 5, 4)),
    "width": lambda: build("WideResNet", width=2**31),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", TOO_LARGE.values(), ids=TOO_LARGE)
def test_tensorflow_refuses_weights_larger_than_the_memory(call):
    with pytest.raises(tf.errors.ResourceExhaustedError):
        call()


@pytest.mark.parametrize("size", [1e30, -1e30, 1e-30, 0.0])
@pytest.mark.parametrize("pools", [["lp"], ["avg", "max"]], ids=str)
def test_norms_and_variances_stay_finite(pools, size):
    layer = layers.CBAM(1, pools=pools)
    outputs, gradients = gradients_of(layer, np.full((2, 6, 5, 3), size, "float32"))
    assert all(map(is_finite, [*outputs, *gradients]))
    assert all(is_finite(weight) for weight in layer.get_weights())


@pytest.mark.parametrize("size", [1e30, 1e-30, 0.0])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_attention_maps_stay_finite(p, size):
    maps = np.asarray(ops.attention_map(np.full((2, 4, 3, 2), size, "float32"), p=p))
    assert is_finite(maps)
    if size == 1e30:
        np.testing.assert_allclose(maps, 12**-0.5, rtol=1e-6)


@pytest.mark.parametrize("kind", cross_section(["uint8", "int32", "int64", "bool"], fast={"uint8"}))
@pytest.mark.parametrize("name", [name for name in CASES if name != "AttendRectifyHead"])
def test_integer_inputs_equal_floats(name, kind):
    case = CASES[name]
    layer, shapes = case.make(), case.input_shape
    is_list = isinstance(shapes, list)
    data = [array(shape, kind) for shape in (shapes if is_list else [shapes])]
    exact = [part.astype("float32") for part in data]
    outputs, expected = (layer(parts if is_list else parts[0]) for parts in (data, exact))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_numpy_integers_are_sizes(kind):
    assert layers.TargetLayer(kind(6), kind(3), roi_groups=kind(2)).get_config()["filters"] == 6
    assert ops.gaussian_window(kind(4), [0.5], [0.5]).shape[0] == 4
    assert build("SVHNCoarse", width=kind(1), digits=kind(1), include_top=False)
