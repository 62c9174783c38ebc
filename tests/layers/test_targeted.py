import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_attention import backend
from keras_attention.layers import TargetLayer
from keras_attention.ops.roi_grouping import ConvolutionCost
from tests import harness
from tests.golden import TOLERANCE, channels_last, golden

FILTERS = 5
# No cost per group, so that the plan with the fewest pixels is best.
FREE = ConvolutionCost(start=0.0, assembly=0.0, half_kernels=0.0, half_pixels=0.0)


def layers_alike(rng, modes, center, scale, sides=(6, 8), channels=2, **arguments):
    """Layers with the same weights, one per mode."""
    layers = [TargetLayer(FILTERS, roi=mode, **arguments) for mode in modes]
    for layer in layers:
        layer.build((None, *sides, channels))
    weights = [rng.normal(size=w.shape).astype("float32") for w in layers[0].get_weights()]
    weights[-2:] = center, scale
    for layer in layers:
        layer.set_weights(weights)
    return layers


def partitions(count):
    return st.lists(st.integers(0, count - 1), min_size=count, max_size=count).map(
        lambda labels: [
            [k for k, label in enumerate(labels) if label == g] for g in dict.fromkeys(labels)
        ]
    )


rois = st.tuples(
    st.lists(st.floats(0, 1, width=32), min_size=2 * FILTERS, max_size=2 * FILTERS),
    st.lists(st.floats(0.0625, 1, width=32), min_size=2 * FILTERS, max_size=2 * FILTERS),
)


def check_slice_equals_mask(roi, groups, sides, kernel_size, dilation, use_bias):
    rng = np.random.default_rng(0)
    center, scale = (np.array(values, "float32").reshape(2, FILTERS) for values in roi)
    masked, sliced = layers_alike(
        rng,
        ("mask", "slice"),
        center,
        scale,
        sides,
        kernel_size=kernel_size,
        dilation_rate=dilation,
        use_bias=use_bias,
        activation="tanh",
    )
    sliced.slice_groups = groups
    x = rng.normal(size=(2, *sides, 2)).astype("float32")
    loss_weights = rng.normal(size=(2, *sides, FILTERS)).astype("float32")
    expected = harness.value_and_gradients(masked, x, loss_weights)
    for actual, desired in zip(
        harness.value_and_gradients(sliced, x, loss_weights), expected, strict=True
    ):
        np.testing.assert_allclose(actual, desired, atol=1e-5 * max(1.0, np.abs(desired).max()))


@pytest.mark.parametrize(
    "count", harness.cross_section([8, 40], fast={8}) if harness.ON_TENSORFLOW else [10]
)
def test_slice_equals_mask(count):
    """Values and all gradients, for random regions, groups and sizes."""
    sides, kernel_size = (st.tuples(*[st.integers(1, most)] * 2) for most in (9, 4))
    dilation, use_bias = st.sampled_from([1, 2, (1, 3)]), st.booleans()
    strategies = rois, partitions(FILTERS), sides, kernel_size, dilation, use_bias
    with_settings = settings(deadline=None, max_examples=count)
    with_settings(given(*strategies)(check_slice_equals_mask))()


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
def test_slice_equals_mask_in_compiled_training(jit, rng):
    """Also with fixed rectangles, and if the regions leave them during training."""
    center = rng.uniform(0, 1, (2, FILTERS)).astype("float32")
    scale = rng.uniform(0.1, 0.4, (2, FILTERS)).astype("float32")
    layers = layers_alike(rng, ("mask", "slice", "slice", "slice"), center, scale, kernel_size=3)
    for layer, margin in zip(layers[1:], (None, 0, 2), strict=True):
        layer.slice_groups = [[0, 3], [1], [2, 4]]
        if margin is not None:
            layer.regroup(layer.plan_groups(cost=FREE, margin=margin))
            assert len(layer.slice_groups) > 1
    x = rng.normal(size=(4, 6, 8, 2)).astype("float32")
    y = rng.normal(size=(4, 6, 8, FILTERS)).astype("float32")
    trained = []
    for layer in layers:
        inputs = keras.Input((None, None, 2))
        model = keras.Model(inputs, layer(inputs))
        model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=jit)
        for _ in range(5):
            model.train_on_batch(x, y)
        trained.append(layer.get_weights())
    for sliced in trained[1:]:
        for actual, desired in zip(sliced, trained[0], strict=True):
            np.testing.assert_allclose(actual, desired, atol=1e-5)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("window", ["gaussian", "cauchy"])
def test_full_convolution_equals_the_authors_code(window, use_bias):
    data = golden("ar_original.npz")
    layer = TargetLayer(6, 3, window=window, roi="full", use_bias=use_bias)
    x = channels_last(data["t_x_nchw"])
    layer.build(x.shape)
    center = np.stack([data["t_clipped_mu1"], data["t_clipped_mu2"]])
    scale = np.stack([data["t_clipped_sig1"], data["t_clipped_sig2"]])
    kernel = data["t_kernel_oihw"].transpose(2, 3, 1, 0)
    layer.set_weights([kernel, *([data["t_bias"]] if use_bias else []), center, scale])
    name = f"t_{window}_full_out_nchw" if use_bias else f"t_{window}_full_nobias_out_nchw"
    np.testing.assert_allclose(layer(x), channels_last(data[name]), **TOLERANCE)


@pytest.mark.parametrize("roi", ["mask", "slice"])
def test_clipped_convolution_on_a_map_that_is_not_square(roi):
    data = golden("ar_tkn_independent.npz")
    x = channels_last(data["target_x"])
    layer = TargetLayer(5, 3, roi=roi)
    layer.build(x.shape)
    center, scale = np.stack([data["my"], data["mx"]]), np.stack([data["sy"], data["sx"]])
    layer.set_weights([data["target_kernel_oihw"].transpose(2, 3, 1, 0), center, scale])
    expected = channels_last(data["target_out_full_mask_cauchy"])
    np.testing.assert_allclose(layer(x), expected, **TOLERANCE)


def test_outside_the_region_is_zero_with_a_bias(rng):
    layer = TargetLayer(3, 3, use_bias=True, bias_initializer="ones", activation="sigmoid")
    x = rng.normal(size=(1, 9, 9, 2)).astype("float32")
    layer.build(x.shape)
    layer.center.assign(np.full((2, 3), 0.3))
    layer.scale.assign(np.full((2, 3), 0.2))
    (top, bottom), (left, right) = layer.rois(9, 9)[0]
    outputs = ops.convert_to_numpy(layer(x)).copy()
    outputs[:, top:bottom, left:right] = 0
    assert not outputs.any()


def test_an_empty_region_gives_zeros(rng):
    masked, sliced = layers_alike(
        rng,
        ("mask", "slice"),
        np.ones((2, FILTERS), "float32"),
        np.full((2, FILTERS), 1e-9, "float32"),
        kernel_size=3,
    )
    x = rng.normal(size=(1, 6, 8, 2)).astype("float32")
    np.testing.assert_array_equal(sliced(x), np.zeros((1, 6, 8, FILTERS)))
    np.testing.assert_array_equal(masked(x), np.zeros((1, 6, 8, FILTERS)))


def test_softmax_over_all_channels_for_any_groups(rng):
    center = rng.uniform(0.2, 0.8, (2, FILTERS)).astype("float32")
    scale = np.full((2, FILTERS), 0.2, "float32")
    masked, sliced = layers_alike(
        rng, ("mask", "slice"), center, scale, kernel_size=3, activation="softmax"
    )
    sliced.slice_groups = [[0, 3], [1], [2, 4]]
    x = rng.normal(size=(2, 6, 8, 2)).astype("float32")
    np.testing.assert_allclose(sliced(x), masked(x), atol=1e-6)


def test_constraints_hold_the_windows(rng):
    layer = TargetLayer(4, (3, 5))
    layer.build((None, 10, 20, 1))
    pushed = np.array([[-1.0, 0.2, 3.0, 0.5], [-2.0, 0.3, 2.0, 0.5]], "float32")
    clipped = np.asarray(layer.center.constraint(ops.convert_to_tensor(pushed)))
    np.testing.assert_allclose(clipped, pushed.clip(0, 1))
    clipped = np.asarray(layer.scale.constraint(ops.convert_to_tensor(pushed * 0.1)))
    np.testing.assert_allclose(clipped.min(axis=1), [3 / 20, 5 / 40], rtol=1e-6)


def test_regions_never_shrink_below_the_kernel_in_training(rng):
    layer = TargetLayer(4, 3, scale_regularizer=keras.regularizers.L2(1.0))
    model = keras.Sequential([keras.Input((12, 16, 1)), layer])
    model.compile(keras.optimizers.SGD(0.2), "mse")
    x = rng.normal(size=(4, 12, 16, 1)).astype("float32")
    model.fit(x, np.zeros((4, 12, 16, 4)), epochs=25, verbose=0)
    np.testing.assert_allclose(np.asarray(layer.scale), [[3 / 24] * 4, [3 / 32] * 4], rtol=1e-5)
    sizes = np.diff(layer.rois(12, 16), axis=-1)
    assert sizes.min() >= 2  # 3 pixels, less where the map ends


def test_contiguous_kernels_share_regions():
    layer = TargetLayer(7, 3, roi_groups=3)
    layer.build((None, 8, 8, 1))
    assert layer.center.shape == layer.scale.shape == (2, 3)
    layer.scale.assign([[0.2, 0.5, 1.0]] * 2)
    sizes = np.diff(layer.rois(8, 8), axis=-1)[:, 0, 0]
    assert sizes.tolist() == sorted(sizes)
    assert len(set(sizes.tolist())) == 3


def test_macs_of_the_regions():
    layer = TargetLayer(4, 3)
    layer.build((None, 8, 8, 2))
    assert layer.macs((1, 8, 8, 2)) == layer.macs((1, 8, 8, 2), executed=True) == 9 * 2 * 4 * 64
    layer.scale.assign(np.full((2, 4), 0.25))
    area = np.prod(np.diff(layer.rois(8, 8), axis=-1), axis=1).sum()
    assert layer.macs((1, 8, 8, 2)) == 9 * 2 * area
    layer.center.assign([[0.1, 0.1, 0.9, 0.9]] * 2)
    one_group = layer.macs((1, 8, 8, 2), executed=True)
    layer.slice_groups = [[0, 1], [2, 3]]
    two_groups = layer.macs((1, 8, 8, 2), executed=True)
    if backend.supports_dynamic_shapes():
        assert layer.macs((1, 8, 8, 2)) == two_groups < one_group


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "Received: filters=0"),
        ({"filters": 2.5}, "Received: filters=2.5"),
        ({"filters": True}, "Received: filters=True"),
        ({"kernel_size": 0}, "Received: kernel_size=0"),
        ({"kernel_size": (3, -1)}, "Received: kernel_size=\\(3, -1\\)"),
        ({"kernel_size": (3, 3, 3)}, "Received: kernel_size"),
        ({"kernel_size": "3"}, "Received: kernel_size='3'"),
        ({"window": "cauchi"}, "Did you mean 'cauchy'"),
        ({"window": None}, "Received: window=None"),
        ({"roi": "slices"}, "Did you mean 'slice'"),
        ({"roi_groups": 0}, "Received: roi_groups=0"),
        ({"roi_groups": 9}, "at most `filters`, 4"),
        ({"min_roi_size": 0}, "Received: min_roi_size=0"),
        ({"dilation_rate": 0}, "Received: dilation_rate=0"),
        ({"data_format": "nhwc"}, "Received: data_format='nhwc'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TargetLayer(**{"filters": 4, "kernel_size": 3, **arguments})


def test_min_roi_size_larger_than_the_map():
    with pytest.raises(ValueError, match=r"8 x 6 pixels.*Received: min_roi_size=\(7, 7\)"):
        TargetLayer(4, 3, min_roi_size=7).build((None, 8, 6, 1))


def test_kernels_may_be_larger_than_the_map(rng):
    layer = TargetLayer(4, 5)
    assert layer(rng.normal(size=(1, 2, 3, 1)).astype("float32")).shape == (1, 2, 3, 4)


def test_regroup_needs_sides():
    layer = TargetLayer(4, 3)
    layer.build((None, None, 8, 1))
    with pytest.raises(ValueError, match=r"Received: sides=None.*Pass `sides`"):
        layer.plan_groups()
    layer(np.zeros((1, 12, 8, 1), "float32"))
    assert layer.map_sides == (12, 8)
    layer.regroup()


def test_regroup_computes_less():
    layer = TargetLayer(8, 3)
    layer.build((None, 24, 24, 4))
    layer.scale.assign(np.full((2, 8), 0.1))
    layer.center.assign(np.tile([0.2, 0.8], (2, 4)))
    one_group = layer.macs((1, 24, 24, 4), executed=True)
    plan = layer.plan_groups(cost=FREE)
    assert layer.slice_groups == (tuple(range(8)),)
    layer.regroup(plan)
    assert layer.slice_groups == ((0, 2, 4, 6), (1, 3, 5, 7))
    assert layer.macs((1, 24, 24, 4), executed=True) < one_group / 2
    assert plan.seconds < plan.seconds_before


def test_rectangles_for_fixed_shapes():
    """One group is best; with fixed shapes it needs a rectangle to be smaller than the map."""
    layer = TargetLayer(8, 3)
    layer.build((None, 24, 24, 4))
    layer.center.assign(np.full((2, 8), 0.3))
    layer.scale.assign(np.full((2, 8), 0.2))
    dynamic, plan = (layer.plan_groups(fixed_shapes=fixed) for fixed in (False, True))
    assert dynamic.seconds == dynamic.seconds_before < plan.seconds_before
    assert plan.seconds < 0.5 * plan.seconds_before
    layer.regroup(plan)
    assert layer.plan_groups(fixed_shapes=True).seconds_before == plan.seconds
    layer.center.assign(np.full((2, 8), 0.7))  # out of the rectangle
    assert layer.plan_groups(fixed_shapes=True).seconds_before == plan.seconds_before


@pytest.mark.parametrize("groups", [[[0, 1]], [[0, 1, 2, 3], []], [[0, 1], [1, 2, 3]]])
def test_slice_groups_must_be_a_partition(groups):
    with pytest.raises(ValueError, match="each of the 4 kernels once"):
        TargetLayer(4, 3).slice_groups = groups


def test_regions_before_build():
    with pytest.raises(ValueError, match="must be built before"):
        TargetLayer(4, 3).rois(8, 8)


def test_unknown_channels():
    with pytest.raises(ValueError, match="known number of channels"):
        TargetLayer(4, 3).build((None, 8, 8, None))
