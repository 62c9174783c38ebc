import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_attention as ka
from keras_attention import backend
from keras_attention.ops.scale_space import resize_like, same_convolution, weighted_extrema
from tests.golden import TOLERANCE, channels_last, golden
from tests.harness import ON_TENSORFLOW

numpy = keras.ops.convert_to_numpy
few_examples = settings(max_examples=15 if ON_TENSORFLOW else 5, deadline=None)


def shares(doc):
    """Equation 10, one position at a time."""
    result = np.zeros(doc.shape)
    ranges = [range(side) for side in doc.shape[1:-1]]
    for position in np.ndindex(*map(len, ranges)):
        count = 0
        for shift in np.ndindex(*[3] * len(position)):
            other = tuple(p + s - 1 for p, s in zip(position, shift, strict=True))
            inside = all(0 <= p < side for p, side in zip(other, doc.shape[1:-1], strict=True))
            neighbor = doc[(slice(None), *other)] if inside else 0.0
            count = count + (neighbor <= doc[(slice(None), *position)])
        result[(slice(None), *position)] = count / 3 ** len(position)
    return result


@pytest.mark.parametrize("config", ["a", "b", "c"])
def test_golden_numbers(config):
    data = golden("san_block_independent.npz")
    y_prev, y, doc = (channels_last(data[f"{config}/{n}"]) for n in ("y_prev", "y", "doc_eq8"))
    alpha = channels_last(data[f"{config}/zero/alpha_eq10"])
    change = ka.ops.difference_of_convolutions(y_prev, y)
    np.testing.assert_allclose(change, doc, **TOLERANCE)
    np.testing.assert_array_equal(numpy(ka.ops.soft_extrema(change)), alpha)
    np.testing.assert_allclose(ka.ops.weighted_extrema(y_prev, y), doc * alpha, **TOLERANCE)
    signed = ka.ops.difference_of_convolutions(y_prev, y, absolute=False)
    expected = channels_last(data[f"{config}/noabs_zero/alpha"])
    np.testing.assert_array_equal(numpy(ka.ops.soft_extrema(signed)), expected)


@few_examples
@given(st.integers(0, 99), st.lists(st.integers(1, 5), min_size=1, max_size=2), st.booleans())
def test_soft_extrema_equal_equation_10(seed, sides, tied):
    doc = np.random.default_rng(seed).normal(size=(2, *sides, 3)).astype("float32")
    doc = np.round(doc) if tied else doc  # equal neighbors count
    alpha = numpy(ka.ops.soft_extrema(doc))
    np.testing.assert_allclose(alpha, shares(doc), rtol=1e-6)
    assert alpha.min() > 0
    first = ka.ops.soft_extrema(np.moveaxis(doc, -1, 1), data_format="channels_first")
    np.testing.assert_array_equal(np.moveaxis(numpy(first), 1, -1), alpha)


def gradients(function, *tensors):
    """The value of a function, and the gradients of the sum of its squares."""
    if ON_TENSORFLOW:
        import tensorflow as tf

        tensors = [tf.constant(tensor) for tensor in tensors]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
            total = tf.reduce_sum(value**2)
        return [numpy(value), *map(numpy, tape.gradient(total, tensors))]
    import jax

    value = function(*tensors)
    arguments = tuple(range(len(tensors)))
    total = jax.grad(lambda *args: (function(*args) ** 2).sum(), arguments)
    return [numpy(value), *map(numpy, total(*map(jax.numpy.asarray, tensors)))]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("channel_alignment", [True, False])
@pytest.mark.parametrize("extrema", [True, False])
def test_weighted_extrema_and_their_gradient(
    absolute, channel_alignment, extrema, data_format, rng
):
    """Equals the difference times the share, through which no gradient flows."""
    y_prev, y = (rng.normal(size=(2, 5, 4, 3)).astype("float32") for _ in range(2))
    y_prev[0, 0], y[0, 0] = 0.5, 0.5  # a difference of 0
    if data_format == "channels_first":
        y_prev, y = np.moveaxis(y_prev, -1, 1), np.moveaxis(y, -1, 1)
    options = (absolute, channel_alignment)

    def product(y_prev, y):
        change = ka.ops.difference_of_convolutions(y_prev, y, *options, data_format)
        return change * (ka.ops.soft_extrema(change, data_format) if extrema else 1.0)

    def fused(y_prev, y):
        return ka.ops.weighted_extrema(y_prev, y, *options, extrema, data_format)

    pairs = zip(gradients(fused, y_prev, y), gradients(product, y_prev, y), strict=True)
    for actual, desired in pairs:
        np.testing.assert_allclose(actual, desired, rtol=1e-5, atol=1e-6)


def test_fusion_does_not_change_values(rng):
    y_prev, y = rng.normal(size=(2, 2, 6, 5, 3)).astype("float32")
    fused = gradients(ka.ops.weighted_extrema, y_prev, y)
    with backend.fusion_disabled():
        plain = gradients(ka.ops.weighted_extrema, y_prev, y)
    for value, want in zip(fused, plain, strict=True):
        np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_has_the_same_extrema(dtype, rng):
    """The gradient derives the shares from rounded outputs, and rounds them to ninths."""
    x = keras.ops.cast(rng.normal(size=(2, 1, 8, 7, 3)), dtype)
    exact = keras.ops.cast(x, "float32")
    half, full = ka.ops.weighted_extrema(x[0], x[1]), ka.ops.weighted_extrema(exact[0], exact[1])
    assert keras.backend.standardize_dtype(half.dtype) == dtype
    np.testing.assert_allclose(keras.ops.cast(half, "float32"), full, rtol=8e-3)
    if ON_TENSORFLOW:
        slopes = [
            gradients(lambda y, p=p: ka.ops.weighted_extrema(p, y), y)[1]
            / (2 * keras.ops.cast(ka.ops.weighted_extrema(p, y), "float32"))
            for p, y in ((x[0], x[1]), (exact[0], exact[1]))
        ]
        np.testing.assert_allclose(np.asarray(slopes[0], "float32"), slopes[1], rtol=2e-2)


@pytest.mark.parametrize(
    ("shape", "like", "reference"),
    [
        ((2, 8, 6, 3), (2, 4, 2, 5), lambda x: x.reshape(2, 4, 2, 2, 3, 3).mean((2, 4))),
        ((2, 9, 3), (2, 3, 4), lambda x: x.reshape(2, 3, 3, 3).mean(2)),
        ((2, 8, 6, 3), (2, 5, 4, 1), None),
        ((2, 9, 3), (2, 4, 3), None),
        ((2, 4, 4, 1), (2, 8, 8, 2), None),
        ((2, 4, 5, 1), (2, 4, 5, 2), lambda x: x),
    ],
)
def test_resizing(shape, like, reference, rng):
    x, other = rng.normal(size=shape).astype("float32"), np.zeros(like, "float32")
    resized = numpy(resize_like(x, other))
    assert resized.shape == (*like[:-1], shape[-1])
    if reference is not None:
        np.testing.assert_allclose(resized, reference(x), rtol=1e-5, atol=1e-6)
    first = resize_like(np.moveaxis(x, -1, 1), np.moveaxis(other, -1, 1), "channels_first")
    np.testing.assert_allclose(np.moveaxis(numpy(first), 1, -1), resized, atol=1e-6)
    if ON_TENSORFLOW:  # with unknown sizes
        import tensorflow as tf

        unknown_sizes = [
            tf.TensorSpec([*[None] * (x.ndim - 1), size[-1]]) for size in (shape, like)
        ]
        unknown = tf.function(lambda a, b: resize_like(a, b), input_signature=unknown_sizes)
        np.testing.assert_allclose(unknown(x, other), resized, atol=1e-6)


@few_examples
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=2),
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
)
def test_removed_taps_do_not_change_the_convolution(sides, size, step, depthwise):
    rng, rank = np.random.default_rng(0), len(sides)
    x = rng.normal(size=(2, *sides, 3)).astype("float32")
    kernel = rng.normal(size=(*[size] * rank, 3, 1 if depthwise else 2)).astype("float32")
    convolve = keras.ops.depthwise_conv if depthwise else keras.ops.conv
    expected = convolve(x, kernel, padding="same", dilation_rate=(step,) * rank)
    outputs = same_convolution(x, kernel, (step,) * rank, depthwise)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_differences_beyond_float16_stay_finite():
    y_prev = np.full((1, 4, 4, 2), -60000.0, "float16")
    y = np.full((1, 4, 4, 2), 60000.0, "float16")
    for function in (ka.ops.difference_of_convolutions, weighted_extrema):
        values = keras.ops.convert_to_numpy(function(y_prev, y))
        assert values.dtype == np.float16
        assert values.max() == 65504.0
    block = ka.layers.SANBlock(dtype="float16")
    outputs = keras.ops.convert_to_numpy(block([y_prev, y]))
    assert np.isfinite(outputs).all()


def test_extrema_of_volumes(rng):
    doc = rng.integers(0, 4, (2, 3, 4, 5, 2)).astype("float32")
    padded = np.pad(doc, [(0, 0), (1, 1), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), axis=(1, 2, 3))
    expected = (windows <= doc[..., None, None, None]).sum(axis=(-3, -2, -1))
    # The position itself always counts, also beside the border.
    np.testing.assert_allclose(ka.ops.soft_extrema(doc), expected / 27, rtol=1e-6)


@pytest.mark.parametrize("sides", [(2, 4, 3), (5, 3, 7)])
def test_volumes_are_resized(sides, rng):
    """Blocks are averaged, other sizes are interpolated along each axis."""
    x = rng.normal(size=(2, 4, 8, 6, 2)).astype("float32")
    got = keras.ops.convert_to_numpy(resize_like(x, np.ones((2, *sides, 3))))
    if sides == (2, 4, 3):
        expected = x.reshape(2, 2, 2, 4, 2, 3, 2, 2).mean(axis=(2, 4, 6))
    else:
        expected = x
        for axis, side in enumerate(sides, start=1):
            expected = interpolated(expected, axis, side)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def interpolated(x, axis, side):
    """Linear interpolation with half-pixel centers along one axis, in numpy."""
    old = x.shape[axis]
    position = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
    low = np.floor(position).astype(int)
    high, share = np.minimum(low + 1, old - 1), position - low
    share = share.reshape([-1 if index == axis else 1 for index in range(x.ndim)])
    return np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
