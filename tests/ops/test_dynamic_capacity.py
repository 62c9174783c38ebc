"""Entropy, saliency, patches and swapped vectors, compared with reference values and NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_attention as ka
from keras_attention.ops.dynamic_capacity import (
    entropy_gradient,
    gather_vectors,
    gradient_norm,
    update_convolution,
)
from tests.golden import golden
from tests.harness import examples

layers = keras.layers


def golden_top():
    """The layers after the coarse map, with the weights of the golden file."""
    data = golden("dcn_saliency_independent.npz")
    top = keras.Sequential(
        [
            keras.Input((23, 23, 24)),
            layers.Conv2D(96, 4, 2, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    kernel = data["conv_w"].transpose(2, 3, 1, 0)
    top.set_weights([kernel, data["conv_b"], data["fc_w"].T, data["fc_b"]])
    return data, top, data["coarse"].transpose(0, 2, 3, 1)


def test_golden_saliency():
    data, top, coarse = golden_top()
    np.testing.assert_allclose(top(coarse), data["probs"], atol=1e-5)
    np.testing.assert_allclose(ka.ops.entropy(top(coarse)), data["entropy"], atol=1e-5)
    gradient = ka.ops.input_gradient(
        lambda c: ka.ops.entropy(top(c)), ops.convert_to_tensor(coarse)
    )
    np.testing.assert_allclose(gradient[0, :, :, 0], data["grad_entropy_sample0_ch0"], atol=1e-6)
    saliency = ka.ops.entropy_saliency(top, coarse)
    np.testing.assert_allclose(saliency, data["saliency_M"], atol=1e-6)


def test_golden_refinement():
    data, top, coarse = golden_top()
    indices = np.asarray(data["topk_flat_idx_sorted"])
    positions = np.stack([indices // 23, indices % 23], axis=-1)
    top_8 = ka.ops.top_positions(ops.convert_to_tensor(data["saliency_M"]), 8)
    flat = np.sort(np.asarray(top_8[..., 0] * 23 + top_8[..., 1]), axis=-1)
    np.testing.assert_array_equal(flat, indices)
    logits = keras.Model(top.inputs[0], top.layers[-2].output)
    kernel, bias = top.layers[-1].get_weights()
    refined = ka.ops.swap_vectors(coarse, positions, data["fine"])
    np.testing.assert_allclose(logits(refined) @ kernel + bias, data["logits_merged"], atol=1e-4)
    distance = ka.ops.hint_loss(gather_vectors(coarse, positions), data["fine"])
    assert float(distance) * 16 == pytest.approx(float(data["hint_eq6_sum"]), rel=1e-5)


def test_entropy_of_logits_is_that_of_their_probabilities(rng):
    logits = rng.normal(size=(5, 7)).astype("float32")
    expected = ka.ops.entropy(ops.softmax(logits))
    np.testing.assert_allclose(ka.ops.entropy(logits, from_logits=True), expected, atol=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_entropy_of_certain_predictions_is_finite(from_logits):
    values = ops.convert_to_tensor([[300.0, -300.0, 0.0]])
    values = values if from_logits else ops.softmax(values)
    gradient = ka.ops.input_gradient(lambda x: ka.ops.entropy(x, from_logits), values)
    assert float(ka.ops.entropy(values, from_logits)[0]) == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(np.asarray(gradient)).all()


@pytest.mark.parametrize("from_logits", [True, False])
def test_entropy_gradient_is_that_of_the_backend(from_logits, rng):
    values = ops.convert_to_tensor(rng.normal(size=(4, 6)).astype("float32"))
    values = values if from_logits else ops.softmax(values)
    expected = ka.ops.input_gradient(lambda x: ka.ops.entropy(x, from_logits), values)
    np.testing.assert_allclose(entropy_gradient(values, from_logits), expected, atol=1e-6)


def test_selected_outputs(rng):
    kernels = rng.normal(size=(3, 4, 5)).astype("float32")

    def top(features):
        return [ops.softmax(ops.mean(features, (1, 2)) @ kernel) for kernel in kernels]

    features = ops.convert_to_tensor(rng.normal(size=(2, 3, 2, 4)).astype("float32"))
    selected = ka.ops.entropy_saliency(top, features, outputs=[0, 2])
    expected = ka.ops.entropy_saliency(lambda x: [top(x)[0], top(x)[2]], features)
    np.testing.assert_allclose(selected, expected, atol=1e-7)
    assert np.abs(selected - ka.ops.entropy_saliency(top, features)).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_gradients_do_not_underflow_in_half_precision(dtype, rng):
    features = ops.cast(rng.normal(size=(1, 4, 4, 3)), dtype)
    kernel = ops.cast(1e-3 * rng.normal(size=(3, 5)), dtype)
    saliency = ka.ops.entropy_saliency(
        lambda x: ops.mean(x, (1, 2)) @ kernel, features, from_logits=True
    )
    assert saliency.dtype == "float32"
    assert float(ops.min(saliency)) > 0.0


def test_norm_of_zero_gradient_and_epsilon():
    zeros = ops.zeros((1, 2, 2, 3))
    assert float(ops.max(gradient_norm(zeros))) == 0.0
    assert float(ops.max(gradient_norm(zeros, 1e-8))) == pytest.approx(1e-4)


@given(seed=st.integers(0, 10**6), count=st.integers(1, 12))
@examples(20)
def test_top_positions_are_the_largest_and_ties_go_to_the_first(seed, count):
    saliency = np.random.default_rng(seed).integers(0, 4, (2, 3, 4)).astype("float32")
    positions = np.asarray(ka.ops.top_positions(ops.convert_to_tensor(saliency), count))
    expected = np.argsort(-saliency.reshape(2, -1), axis=-1, kind="stable")[:, :count]
    np.testing.assert_array_equal(positions[..., 0] * 4 + positions[..., 1], expected)


def patches_of(images, positions, size, stride, offset):
    """Reference: one patch at a time, from images padded with zeros."""
    margin = 40
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    patches = np.zeros((*positions.shape[:2], *size, images.shape[-1]), "float32")
    for image, image_positions in enumerate(positions):
        for index, (row, column) in enumerate(image_positions):
            top = row * stride[0] - offset[0] + margin
            left = column * stride[1] - offset[1] + margin
            patches[image, index] = padded[image, top : top + size[0], left : left + size[1]]
    return patches


@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    offset=st.tuples(st.integers(-3, 5), st.integers(-3, 5)),
)
@examples(15)
def test_patches_equal_those_of_padded_images(seed, size, stride, offset):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(2, 7, 9, 2)).astype("float32")
    positions = rng.integers(0, 4, (2, 3, 2))
    expected = patches_of(images, positions, size, stride, offset)
    patches = ka.ops.gather_patches(images, positions, size, stride, offset)
    np.testing.assert_array_equal(patches, expected)
    each = np.broadcast_to(offset, positions.shape)
    patches = ka.ops.gather_patches(images, positions, size, stride, ops.convert_to_tensor(each))
    np.testing.assert_array_equal(patches, expected)
    first = ka.ops.gather_patches(
        images.transpose(0, 3, 1, 2), positions, size, stride, offset, "channels_first"
    )
    np.testing.assert_array_equal(first, expected.transpose(0, 1, 4, 2, 3))


@pytest.mark.parametrize(
    "arguments",
    [{"patch_size": 0}, {"stride": (1, 2, 3)}, {"offset": "1"}, {"offset": (1, 2, 3)}],
    ids=str,
)
def test_invalid_patches(arguments):
    arguments = {"patch_size": 2, **arguments}
    with pytest.raises(ValueError, match="Received: "):
        ka.ops.gather_patches(ops.ones((1, 4, 4, 1)), ops.zeros((1, 1, 2), "int32"), **arguments)


def test_a_swapped_map_differs_at_the_positions_only(rng):
    features = rng.normal(size=(2, 4, 5, 3)).astype("float32")
    positions = np.array([[[0, 0], [3, 4]], [[2, 1], [1, 2]]])
    vectors = rng.normal(size=(2, 2, 3)).astype("float32")
    refined = ops.convert_to_numpy(ka.ops.swap_vectors(features, positions, vectors))
    changed = np.argwhere((refined != features).any(-1))
    assert {tuple(index) for index in changed} == {(0, 0, 0), (0, 3, 4), (1, 2, 1), (1, 1, 2)}
    np.testing.assert_array_equal(gather_vectors(refined, positions), vectors)


def test_replaced_vectors_get_no_gradient(rng):
    features = ops.convert_to_tensor(rng.normal(size=(1, 3, 3, 2)).astype("float32"))
    positions = ops.convert_to_tensor([[[1, 2], [0, 0]]])
    vectors = ops.zeros((1, 2, 2))
    gradient = ka.ops.input_gradient(
        lambda x: ops.sum(ka.ops.swap_vectors(x, positions, vectors)), features
    )
    expected = np.ones((3, 3, 2))
    expected[1, 2] = expected[0, 0] = 0.0
    np.testing.assert_array_equal(gradient[0], expected)


@given(
    seed=st.integers(0, 10**6),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["valid", "same"]),
)
@examples(15)
def test_updated_convolution_equals_the_convolution_of_the_swapped_map(
    seed, kernel, strides, padding
):
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    layer = layers.Conv2D(3, kernel, strides, padding=padding)
    features = rng.normal(size=(2, 6, 7, 2)).astype("float32")
    flat = np.stack([rng.permutation(42)[:4] for _ in range(2)])
    positions = np.stack([flat // 7, flat % 7], axis=-1)
    vectors = rng.normal(size=(2, 4, 2)).astype("float32")
    old, new = layer(features), layer(ka.ops.swap_vectors(features, positions, vectors))
    sides = zip((6, 7), kernel, strides, strict=True)
    before = [0, 0]
    if padding == "same":
        before = [max(window - (side % step or step), 0) // 2 for side, window, step in sides]
    change = vectors - gather_vectors(features, positions)
    updated = update_convolution(old, change, positions, layer.kernel, strides, before)
    np.testing.assert_allclose(updated, new, atol=1e-5)
