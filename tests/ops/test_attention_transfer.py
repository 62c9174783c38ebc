import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_attention as ka
from keras_attention import backend
from keras_attention.ops.attention_transfer import (
    adaptive_average_pool,
    attach_activity,
    paired_attention_maps,
)
from tests.golden import TOLERANCE, channels_last, golden
from tests.harness import examples

SIDES = st.integers(1, 7)


def random_normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("index", [0, 1, 2])
def test_maps_equal_the_authors_code(index):
    data = golden("at_losses.npz")
    for role in ("student", "teacher"):
        maps = ka.ops.attention_map(channels_last(data[f"{role}_act{index}"]))
        np.testing.assert_allclose(maps, data[f"{role}_map{index}"], **TOLERANCE)


@pytest.mark.parametrize(("reduce", "p"), [("sum", 1), ("sum", 2), ("sum", 4), ("max", 1)])
def test_maps_equal_the_paper(reduce, p):
    data = golden("at_paper_maps_gradat_independent.npz")
    features, case = channels_last(data["student_act"]), f"{reduce}_p{p}"
    whole = ka.ops.attention_map(features, p, reduce, normalization=None)
    expected = data[f"{case}/student_map_unnormalised"].reshape(3, -1)
    np.testing.assert_allclose(whole, expected, **TOLERANCE)
    normalized = ka.ops.attention_map(features, p, reduce)
    np.testing.assert_allclose(normalized, data[f"{case}/student_q_normalised"], **TOLERANCE)


@examples(20)
@given(st.integers(0, 99), SIDES, SIDES, st.sampled_from(["mean", "sum", "max"]), st.floats(1, 4))
def test_maps_are_invariant_to_scale_and_order_of_channels(seed, height, width, reduce, p):
    features = random_normal(seed, 2, height, width, 3)
    maps = np.asarray(ka.ops.attention_map(features, p, reduce))
    other = ka.ops.attention_map(-2.0 * features[..., ::-1], p, reduce)
    np.testing.assert_allclose(other, maps, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(maps, axis=-1), 1.0, rtol=1e-5)
    normalized = np.asarray(ka.ops.attention_map(features, p, reduce, normalization="l1"))
    np.testing.assert_allclose(normalized.sum(axis=-1), 1.0, rtol=1e-5)


def test_channels_first_is_the_same(rng):
    features = rng.normal(size=(2, 5, 4, 3)).astype("float32")
    first = ka.ops.attention_map(np.moveaxis(features, -1, 1), data_format="channels_first")
    np.testing.assert_allclose(first, ka.ops.attention_map(features), rtol=1e-6)


@pytest.mark.parametrize("axes", [1, 3])
def test_maps_of_any_rank(rng, axes):
    features = rng.normal(size=(2, *[3] * axes, 4)).astype("float32")
    expected = np.square(features).mean(-1).reshape(2, -1)
    maps = ka.ops.attention_map(features, normalization=None)
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


@examples(15)
@given(st.integers(0, 99), SIDES, SIDES, st.integers(1, 4), st.integers(1, 4))
def test_adaptive_pooling_averages_equal_shares(seed, height, width, rows, columns):
    features = random_normal(seed, 1, height, width, 2)
    pooled = np.asarray(adaptive_average_pool(features, (rows, columns)))
    for row in range(rows):
        for column in range(columns):
            inside = features[
                :,
                row * height // rows : -(-(row + 1) * height // rows),
                column * width // columns : -(-(column + 1) * width // columns),
            ]
            np.testing.assert_allclose(pooled[:, row, column], inside.mean((1, 2)), atol=1e-5)


@pytest.mark.parametrize("resize", ["average", "bilinear"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_maps_are_resized_to_the_smaller_sides(rng, resize, data_format):
    teacher, student = rng.normal(size=(2, 8, 3, 5)), rng.normal(size=(2, 5, 7, 4))
    options = {"resize": resize, "normalization": None}
    expected = paired_attention_maps(teacher, student, data_format="channels_last", **options)
    if data_format == "channels_first":
        teacher, student = np.moveaxis(teacher, -1, 1), np.moveaxis(student, -1, 1)
    maps = paired_attention_maps(teacher, student, data_format=data_format, **options)
    for actual, desired in zip(maps, expected, strict=True):
        assert actual.shape == (2, 15)
        np.testing.assert_allclose(actual, desired, rtol=1e-5)


def test_average_pools_features_and_bilinear_resizes_maps():
    """Opposite activations cancel in the mean of features, but not in the mean of squares."""
    features = ops.convert_to_tensor([[[[1.0]], [[-1.0]]]])
    for resize, expected in (("average", 0.0), ("bilinear", 1.0)):
        maps = paired_attention_maps(
            features, ops.ones((1, 1, 1, 1)), resize=resize, normalization=None
        )
        assert float(maps[0][0, 0]) == expected


@pytest.mark.skipif(backend.BACKEND != "tensorflow", reason="unknown sizes need TensorFlow")
@pytest.mark.parametrize("resize", ["average", "bilinear"])
def test_unknown_sizes(rng, resize):
    import tensorflow as tf

    unknown = tf.TensorSpec((None, None, None, 3))
    compiled = tf.function(
        lambda teacher, student: paired_attention_maps(teacher, student, resize=resize),
        input_signature=[unknown, unknown],
    )
    for sides in ((4, 6), (5, 3)):
        pair = rng.normal(size=(2, *sides, 3)), rng.normal(size=(2, 4, 4, 3))
        pair = [array.astype("float32") for array in pair]
        for one, other in zip(
            compiled(*pair), paired_attention_maps(*pair, resize=resize), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-5)


def test_features_of_different_ranks():
    with pytest.raises(ValueError, match=r"as many axes.*\(2, 3, 4\)"):
        paired_attention_maps(np.zeros((2, 3, 3, 4)), np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    "options", [{"reduce": "median"}, {"normalization": "max"}, {"data_format": "nhwc"}]
)
def test_unknown_options(options):
    with pytest.raises(ValueError, match="must be one of"):
        ka.ops.attention_map(np.zeros((1, 2, 2, 1)), **options)


def test_divergence_equals_its_definition(rng):
    teacher, student = rng.normal(size=(2, 4, 5))
    softmax = [np.exp(z / 3.0) / np.exp(z / 3.0).sum(-1, keepdims=True) for z in (teacher, student)]
    expected = 9.0 * (softmax[0] * np.log(softmax[0] / softmax[1])).sum(-1)
    divergence = ka.ops.distillation_divergence(teacher, student, 3.0)
    np.testing.assert_allclose(divergence, expected, rtol=1e-4)


def test_gradient_by_the_input():
    x = ops.convert_to_tensor([[1.0, 2.0], [3.0, -1.0]])
    gradient = ka.ops.input_gradient(lambda values: ops.sum(values**3, axis=-1), x)
    np.testing.assert_allclose(gradient, 3 * np.square(x), rtol=1e-6)
    np.testing.assert_array_equal(ka.ops.input_gradient(lambda values: ops.ones(3), x), 0 * x)


def test_gradient_of_a_gradient():
    x = ops.convert_to_tensor([2.0, -1.0])

    def slope(values):
        return ka.ops.input_gradient(lambda inner: inner**3, values)

    np.testing.assert_allclose(ka.ops.input_gradient(slope, x), 6 * np.asarray(x), rtol=1e-6)


def test_gradient_through_a_model(rng):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = ops.convert_to_tensor(rng.normal(size=(4, 3)).astype("float32"))
    gradient = ka.ops.input_gradient(model, x)
    expected = np.tile(np.asarray(model.get_weights()[0]).sum(axis=1), (4, 1))
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_vjp_keeps_state_updates(rng):
    layer = keras.layers.BatchNormalization(momentum=0.5)
    x = ops.convert_to_tensor(rng.normal(1.0, 1.0, size=(8, 3)).astype("float32"))
    layer.build(x.shape)
    (outputs, twice), pullback = backend.vjp(
        lambda values: (layer(values, training=True), 2 * values), x, layer.variables
    )
    np.testing.assert_allclose(layer.moving_mean, 0.5 * np.mean(x, axis=0), rtol=1e-5)
    np.testing.assert_allclose(twice, 2 * np.asarray(x), rtol=1e-6)
    np.testing.assert_allclose(pullback(ops.ones_like(outputs)), 0 * x, atol=1e-5)


def test_attach_activity_adds_both_gradients(rng):
    x = ops.convert_to_tensor(rng.normal(size=(2, 3, 2, 4)).astype("float32"))

    def value(features, attach):
        features, activity = attach(features)
        return ops.sum(features**3) + ops.sum(ops.sin(activity))

    def reference(features):
        return features, ops.mean(ops.square(features), axis=-1, keepdims=True)

    gradient, expected = (
        ka.ops.input_gradient(lambda features, attach=attach: value(features, attach), x)
        for attach in (attach_activity, reference)
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)
