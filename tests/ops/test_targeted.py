import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_attention.ops import (
    cauchy_window,
    gaussian_window,
    roi_bounds,
    roi_indicator,
    roi_rectangles,
    separable_window,
)
from tests.golden import TOLERANCE, channels_last, golden

windows = pytest.mark.parametrize("window", ["gaussian", "cauchy"])
SAMPLERS = {"gaussian": gaussian_window, "cauchy": cauchy_window}

lengths = st.integers(1, 40)
positions = st.floats(0.0, 1.0, width=32)
scales = st.floats(0.015625, 1.0, width=32)


@windows
def test_windows_equal_the_authors_code(window):
    data = golden("ar_original.npz")
    center = np.stack([data["mu1"], data["mu2"]])
    scale = np.stack([data["sig1"], data["sig2"]])
    expected = channels_last(data[f"ar2d_{window}_F_nchw"])
    np.testing.assert_allclose(
        separable_window((8, 8), center, scale, window), expected, **TOLERANCE
    )
    first = separable_window((8, 8), np.full((2, 6), 0.5), np.ones((2, 6)), window)
    expected = channels_last(data[f"ar2d_{window}_F_init_nchw"])
    np.testing.assert_allclose(first, expected, **TOLERANCE)


@windows
def test_sequence_windows_equal_the_authors_code(window):
    data = golden("ar_original.npz")
    expected = data[f"ar1d_{window}_F_cl"].T
    sampled = SAMPLERS[window](8, data["mu1"], data["sig1"])
    np.testing.assert_allclose(sampled, expected, **TOLERANCE)


@windows
def test_windows_on_a_map_that_is_not_square(window):
    data = golden("ar_tkn_independent.npz")
    center = np.stack([data["my"], data["mx"]])
    scale = np.stack([data["sy"], data["sx"]])
    expected = channels_last(data[f"index_over_L/{window}/half/F_att"])
    np.testing.assert_allclose(
        separable_window((7, 10), center, scale, window), expected, **TOLERANCE
    )


def test_regions_on_a_map_that_is_not_square():
    data = golden("ar_tkn_independent.npz")
    center = np.stack([data["my"], data["mx"]])
    scale = np.stack([data["sy"], data["sx"]])
    left, top, right, bottom = data["roi_int_floor_ceil_halfopen_x1y1x2y2"].T
    expected = np.stack([np.stack([top, bottom], -1), np.stack([left, right], -1)], 1)
    np.testing.assert_array_equal(roi_rectangles((7, 10), center, scale), expected)
    mask = separable_window((7, 10), center, scale, "cauchy", clip=True)
    np.testing.assert_array_equal(np.asarray(mask) > 0, channels_last(data["roi_mask"]) > 0)


@given(lengths, positions, scales)
@settings(deadline=None, max_examples=60)
def test_bounds_are_inside_the_map_and_contain_the_region(length, center, scale):
    start, stop = (int(v) for v in np.asarray(roi_bounds(length, [center], [scale]))[0])
    assert 0 <= start <= stop <= length
    distance = np.abs(np.arange(length) / length - center)
    # Pixels within the rounding error of the border may be inside or outside.
    inside = np.flatnonzero(distance < scale / np.sqrt(2) - 1e-5)
    outside = np.flatnonzero(distance > scale / np.sqrt(2) + 1.0 / length + 1e-5)
    assert all(start <= i < stop for i in inside)
    assert not any(start <= i < stop for i in outside)


@given(lengths)
@settings(deadline=None, max_examples=20)
def test_the_initial_region_is_the_whole_map(length):
    assert np.asarray(roi_bounds(length, [0.5], [1.0]))[0].tolist() == [0, length]


@given(lengths, positions, scales, st.sampled_from(sorted(SAMPLERS)))
@settings(deadline=None, max_examples=60)
def test_windows_decrease_from_their_center(length, center, scale, window):
    values = np.asarray(SAMPLERS[window](length, [center], [scale]))[:, 0]
    assert values.shape == (length,)
    assert np.all((values >= 0) & (values <= 1))
    by_distance = values[np.argsort(np.abs(np.arange(length) - center * length))]
    assert np.all(np.diff(by_distance) <= 1e-6)


@windows
def test_border_values_at_one_standard_deviation(window):
    value = float(SAMPLERS[window](4, [0.5], [1.0])[0, 0])
    assert value == pytest.approx({"gaussian": np.exp(-0.5), "cauchy": 0.5}[window])


@windows
def test_permuting_kernels_permutes_windows(window, rng):
    center, scale = rng.uniform(0, 1, (2, 5)), rng.uniform(0.1, 1, (2, 5))
    order = rng.permutation(5)
    whole = np.asarray(separable_window((6, 9), center, scale, window))
    permuted = separable_window((6, 9), center[:, order], scale[:, order], window)
    np.testing.assert_array_equal(permuted, whole[..., order])


def test_three_axes_are_a_product(rng):
    center, scale = rng.uniform(0, 1, (3, 4)), rng.uniform(0.1, 1, (3, 4))
    axes = [np.asarray(cauchy_window(n, center[i], scale[i])) for i, n in enumerate((3, 4, 5))]
    product = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None]
    np.testing.assert_allclose(separable_window((3, 4, 5), center, scale), product, rtol=1e-6)


def test_indicator_of_regions():
    bounds = ops.convert_to_tensor([[0, 5], [2, 3], [4, 4]])
    np.testing.assert_array_equal(np.asarray(roi_indicator(5, bounds)).sum(axis=0), [5, 1, 0])


def test_unknown_window():
    with pytest.raises(ValueError, match="Did you mean 'gaussian'"):
        separable_window((4,), [[0.5]], [[1.0]], "gausian")
