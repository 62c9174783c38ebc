import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_attention import backend
from keras_attention.ops import bounding_range, pad_to_map
from keras_attention.ops.grouped_convolution import sliced_convolution


@st.composite
def rectangles(draw):
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    return (height, width), (top, bottom), (left, right)


kernel_sizes = st.tuples(st.integers(1, 5), st.integers(1, 5))
dilations = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(rectangles(), kernel_sizes, dilations)
@settings(deadline=None, max_examples=60)
def test_a_rectangle_equals_that_of_the_whole_convolution(rectangle, kernel_size, dilation):
    (height, width), rows, columns = rectangle
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, 2)).astype("float32")
    kernel = rng.normal(size=(*kernel_size, 2, 3)).astype("float32")
    whole = np.asarray(ops.conv(x, kernel, padding="same", dilation_rate=dilation))
    part = sliced_convolution(ops.convert_to_tensor(x), kernel, rows, columns, dilation)
    np.testing.assert_allclose(part, whole[:, slice(*rows), slice(*columns)], atol=1e-5)
    padded = np.asarray(pad_to_map(part, rows, columns, (height, width)))
    assert padded.shape == whole.shape
    mask = np.zeros((height, width, 1))
    mask[slice(*rows), slice(*columns)] = 1
    np.testing.assert_allclose(padded, whole * mask, atol=1e-5)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_bounding_range_contains_all_ranges_and_a_pixel(pairs):
    bounds = np.sort(np.array(pairs), axis=1)
    start, stop = (int(v) for v in bounding_range(ops.convert_to_tensor(bounds, "int32"), 9))
    assert 0 <= start < stop <= 9
    full = bounds[bounds[:, 0] < bounds[:, 1]]
    assert np.all(start <= full[:, 0])
    assert np.all(stop >= full[:, 1])


@pytest.mark.skipif(
    backend.supports_dynamic_shapes(), reason="this backend supports dynamic shapes"
)
def test_sizes_from_tensors_need_dynamic_shapes():
    start = ops.convert_to_tensor(1, "int32")
    with pytest.raises(RuntimeError, match="TensorFlow backend"):
        backend.crop(ops.ones((1, 4, 4, 1)), {1: (start, start + 1)})
