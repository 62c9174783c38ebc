import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_attention.ops.roi_grouping import (
    TRAINING_COST,
    ConvolutionCost,
    LayerCost,
    group_rois,
    union_rectangle,
)

SIDE = 12
spans = st.tuples(st.integers(0, SIDE), st.integers(0, SIDE)).map(sorted)
rectangle_lists = st.lists(st.tuples(spans, spans), min_size=1, max_size=20).map(np.array)
costs = st.sampled_from([ConvolutionCost(), TRAINING_COST, ConvolutionCost(start=1e-9)])


@given(rectangle_lists, costs, st.sampled_from([1, 64]))
@settings(deadline=None, max_examples=60)
def test_groups_are_a_partition_that_costs_no_more_than_one_group(rectangles, cost, batch):
    layer = LayerCost((SIDE, SIDE), (3, 3), 8, cost, batch)
    groups = group_rois(rectangles, layer)
    assert sorted(kernel for group in groups for kernel in group) == list(range(len(rectangles)))
    one = (tuple(range(len(rectangles))),)
    best, together = (layer.seconds(rectangles, which) for which in (groups, one))
    assert best <= together * (1 + 1e-9)


@given(rectangle_lists, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_kernels_does_not_matter(rectangles, random):
    order = list(range(len(rectangles)))
    random.shuffle(order)
    layer = LayerCost((SIDE, SIDE), (3, 3), 8)
    seconds = [
        layer.seconds(some, group_rois(some, layer)) for some in (rectangles, rectangles[order])
    ]
    assert np.isclose(*seconds)


def test_many_kernels_with_different_regions():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 100, (2000, 2))
    rectangles = np.stack([low, low + rng.integers(1, 12, (2000, 2))], axis=-1)
    groups = group_rois(rectangles, LayerCost((112, 112), (3, 3), 64))
    assert sorted(np.concatenate(groups).tolist()) == list(range(2000))
    assert 1 < len(groups) < 256


def test_kernels_with_the_same_region_are_in_one_group():
    rectangles = np.array([[[0, 4], [0, 4]], [[8, 12], [8, 12]]] * 32)
    groups = group_rois(rectangles, LayerCost((12, 12), (5, 5), 256))
    assert groups == (tuple(range(0, 64, 2)), tuple(range(1, 64, 2)))


def test_union():
    rectangles = np.array([[[1, 3], [2, 9]], [[0, 2], [4, 5]]])
    assert union_rectangle(rectangles).tolist() == [[0, 3], [2, 9]]
