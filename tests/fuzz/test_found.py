"""What fuzzing has found, one line each; every one ended in the backend, in a hang or in NaN."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import datasets
from tests.fuzz.data import array, is_finite
from tests.fuzz.test_layers import gradients_of
from tests.layer_cases import LAYER_CASES

layers, ops, losses, build = ka.layers, ka.ops, ka.losses, ka.applications.build
MAPS, ONE_TAP = array((2, 6, 5, 3)), array((1, 1, 3, 4))
CASES = {case.name: case for case in reversed(LAYER_CASES)}


def on(layer, shape, then=None):
    """Builds a layer on a shape, and calls it on another."""
    layer(np.zeros(shape, "float32"))
    return layer(np.zeros(then, "float32")) if then else None


FOUND = {
    "empty sequence": lambda: on(layers.AttentiveRegularization(), (2, 0, 3)),
    "other channels": lambda: on(layers.AttentiveRegularization(), (2, 7, 3), (2, 7, 4)),
    "other rank": lambda: on(layers.AttentiveRegularization(), (2, 7, 3), (2, 7, 3, 3)),
    "empty batch": lambda: on(layers.TargetLayer(6, 3), (0, 6, 5, 3)),
    "kernels without end": lambda: on(layers.TargetLayer(10**9, 3), (2, 6, 5, 3)),
    "more kernels than integers": lambda: layers.TargetLayer(2**31, 3),
    "far taps": lambda: on(layers.TargetLayer(6, 3, dilation_rate=10**9), (2, 6, 5, 3)),
    "far taps of BAM": lambda: on(layers.BAM(2, 10**9), (2, 6, 5, 4)),
    "far taps of SAN": lambda: layers.SANBlock(3, 10**9)([MAPS, MAPS]),
    "an array as a flag": lambda: layers.TargetLayer(6, 3, use_bias=np.ones(3)),
    "a text as a flag": lambda: layers.TargetLayer(6, 3, use_bias="no"),
    "heads without end": lambda: on(layers.AttentionModule(3, 10**9), (2, 6, 5, 4)),
    "classes without end": lambda: on(layers.AttentionModule(10**9), (2, 6, 5, 4)),
    "taps without end": lambda: on(layers.CBAM(2, 10**9), (2, 6, 5, 4)),
    "another y": lambda: twice(layers.SANBlock(), [MAPS, MAPS], [MAPS, array((2, 6, 5, 4))]),
    "batches of two sizes": lambda: head_on(logits=array((3, 3))),
    "maps of a kind too few": lambda: head_on(feature_maps=[MAPS]),
    "logits with places": lambda: head_on(logits=array((2, 1, 3))),
    "an image too small to look at": lambda: refiner_on((3, 2, 8, 2)),
    "texts as a map": lambda: layers.BAM()(np.full((2, 6, 5, 4), "a")),
    "a window of no length": lambda: ops.gaussian_window(0, [0.5], [0.5]),
    "a window of a text": lambda: ops.cauchy_window("5", [0.5], [0.5]),
    "more sides than rows": lambda: ops.roi_rectangles((4, 3), [[0.5]], [[0.5]]),
    "a number for a function": lambda: ops.input_gradient(-1, MAPS),
    "other channels than the kernel's": lambda: ops.attend(MAPS, np.ones((3, 3, 4, 2))),
    "other taps than the kernel's": lambda: ops.head_outputs(
        array((2, 4, 9, 3)), np.ones((1, 1, 3, 4))
    ),
    "two sizes": lambda: ops.difference_of_convolutions(MAPS, array((2, 6, 4, 3))),
    "more patches than places": lambda: ops.top_positions(array((1, 2, 2)), 5),
    "a patch without end": lambda: ops.gather_patches(MAPS, np.zeros((2, 1, 2)), 10**6),
    "groups that miss a kernel": lambda: sliced(groups=[[0], [2]]),
    "a map of another batch": lambda: losses.AttentionTransferLoss()(MAPS, array((7, 6, 5, 3))),
    "features without examples": lambda: losses.HintLoss()(np.float32(1), np.float32(1)),
    "labels of other answers": lambda: losses.NegativeLogLikelihood()(np.zeros(2), array((3, 4))),
    "layers that are a number": lambda: ka.surgery.to_targeted(keras.Sequential([]), 1),
    "no model": lambda: ka.inspect.count_macs(-1),
    "no models": lambda: ka.inspect.summary_table(-1),
    "no name": lambda: build([]),
    "no data set": lambda: datasets.find([]),
    "a side without end": lambda: build("LeNet5", input_shape=(10**9, 10**9, 1)),
    "a vector without end": lambda: build("LeNet5", input_shape=(16000, 16000, 1)),
    "depth without end": lambda: build("WideResNet", depth=6 * 10**6 + 4),
    "width without end": lambda: build("WideResNet", width=2**31),
    "digits without end": lambda: build("SVHNCoarse", digits=10**9),
    "classes without end of a model": lambda: build("LeNet5", classes=10**9),
    "options that are none": lambda: build("LSTM4", attention_options=3),
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


@pytest.mark.parametrize("call", FOUND.values(), ids=FOUND)
def test_refused_with_what_was_received(call):
    with pytest.raises(ValueError, match=r"Received: |expected axis|expected ndim|dtype"):
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
    found = np.asarray(ops.attention_map(np.full((2, 4, 3, 2), size, "float32"), p=p))
    assert is_finite(found)
    if size == 1e30:
        np.testing.assert_allclose(found, 12**-0.5, rtol=1e-6)


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "AttendRectifyHead"])
def test_whole_numbers_are_numbers(name, kind):
    case = CASES[name]
    layer, shapes = case.make(), case.input_shape
    several = isinstance(shapes, list)
    data = [array(shape, kind) for shape in (shapes if several else [shapes])]
    exact = [part.astype("float32") for part in data]
    got, expected = (layer(parts if several else parts[0]) for parts in (data, exact))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_whole_numbers_of_numpy_are_sizes(kind):
    assert layers.TargetLayer(kind(6), kind(3), roi_groups=kind(2)).get_config()["filters"] == 6
    assert ops.gaussian_window(kind(4), [0.5], [0.5]).shape[0] == 4
    assert build("SVHNCoarse", width=kind(1), digits=kind(1), include_top=False)
