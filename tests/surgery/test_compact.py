import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_attention as ka
from keras_attention.layers import TargetLayer
from keras_attention.layers.compacted import AssembleRegions
from keras_attention.surgery import compact
from keras_attention.surgery.compaction import regions
from tests.harness import cross_section, examples, slow_on_jax

L = keras.layers
FORMS = ("groups", "matrix", "cheapest")


@pytest.fixture(params=cross_section(FORMS, fast={"groups"}))
def form(request, monkeypatch):
    """Each way to compute regions, whether or not it is the cheaper one."""
    choose(request.param, monkeypatch)
    return request.param


def choose(form, monkeypatch):
    if form == "groups":
        monkeypatch.setattr(regions, "MAX_MATRIX_ELEMENTS", 0)
    if form == "matrix":
        monkeypatch.setattr(regions, "groups_seconds", lambda *args: float("inf"))


def randomize(model, rng, scales=(0.1, 0.6)):
    """Weights of any value, regions of any position and size."""
    for layer in model._flatten_layers():
        if isinstance(layer, (TargetLayer, L.BatchNormalization, L.Dense, L.Conv2D)):
            for weight in layer.weights:
                low, high = (0.5, 1.5) if "variance" in weight.path else (-0.5, 0.5)
                weight.assign(rng.uniform(low, high, weight.shape))
        if isinstance(layer, TargetLayer):
            layer.center.assign(rng.uniform(0, 1, layer.center.shape))
            layer.scale.assign(rng.uniform(*scales, layer.scale.shape))
    return model


def check(model, rng, **options):
    """The compacted model computes what the model does."""
    fast = compact(model, **options)
    shape = [2 if size is None else size for size in fast.input_shape]
    x = rng.normal(size=shape).astype("float32")
    wanted, got = model(x, training=False), fast(x, training=False)
    for want, have in zip(keras.tree.flatten(wanted), keras.tree.flatten(got), strict=True):
        want, have = keras.ops.convert_to_numpy(want), keras.ops.convert_to_numpy(have)
        assert have.shape == want.shape
        np.testing.assert_allclose(have, want, atol=1e-5 * max(1.0, np.abs(want).max()))
    return fast


@keras.saving.register_keras_serializable(package="tests")
def running_sum(x):
    return keras.ops.cumsum(x, axis=-1)


def two_layers(first, second, middle, side=9, channels=2):
    inputs = keras.Input((side, side, channels))
    x = first(inputs)
    for layer in middle:
        x = layer(x)
    x = L.Flatten()(second(x))
    return keras.Model(inputs, L.Dense(3)(x))


region_lists = st.lists(
    st.tuples(*[st.floats(0, 1, width=32)] * 2, *[st.floats(0.015625, 1, width=32)] * 2),
    min_size=6,
    max_size=6,
)


def check_compact_equals_mask(name, first, second, equal, kernel_size, dilation, side):
    rng = np.random.default_rng(0)
    layers = [
        TargetLayer(6, kernel_size, roi="mask", dilation_rate=dilation, activation="relu")
        for _ in range(2)
    ]
    model = randomize(two_layers(*layers, [], side), rng)
    for layer, windows in zip(layers, (first, second), strict=True):
        values = np.array([windows[0]] * 6 if equal else windows, "float32").T
        layer.center.assign(values[:2])
        layer.scale.assign(values[2:])
    with pytest.MonkeyPatch.context() as patch:
        choose(name, patch)
        check(model, rng)


@pytest.mark.parametrize(
    ("name", "count"),
    cross_section([("matrix", 4), *((form, 12) for form in FORMS)], fast=[("matrix", 4)]),
)
def test_compact_equals_mask(name, count):
    """Regions at borders, of one pixel, of the whole map, all equal or all different."""
    kernel_sizes = st.sampled_from([1, 2, 3, (2, 4)])
    strategies = st.just(name), region_lists, region_lists, st.booleans(), kernel_sizes
    strategies += st.sampled_from([1, 2]), st.integers(3, 9)
    examples(count)(given(*strategies)(check_compact_equals_mask))()


MIDDLES = {
    "relu, max pooling": lambda: [L.ReLU(), L.MaxPooling2D(2)],
    "normalisation, relu, pooling": lambda: [
        L.BatchNormalization(),
        L.ReLU(),
        L.MaxPooling2D(2),
        L.Dropout(0.5),
    ],
    "overlapping pooling of sigmoids": lambda: [
        L.Activation("sigmoid"),
        L.MaxPooling2D(3, 2),
        L.LeakyReLU(),
    ],
    "average pooling twice": lambda: [
        L.BatchNormalization(scale=False),
        L.AveragePooling2D(2),
        L.ELU(),
        L.AveragePooling2D((1, 2)),
    ],
    "pooling over the border": lambda: [L.MaxPooling2D(2, padding="same"), L.Softmax()],
    "padding between": lambda: [L.ZeroPadding2D(1), L.BatchNormalization()],
    "softmax as an activation": lambda: [L.Activation("softmax")],
}


@pytest.mark.parametrize("middle", MIDDLES)
def test_what_lies_between(middle, form, rng):
    layers = (
        TargetLayer(6, 3, use_bias=True, activation="tanh"),
        TargetLayer(5, (2, 3), window="gaussian", use_bias=True),
    )
    check(randomize(two_layers(*layers, MIDDLES[middle]()), rng), rng)


def test_dense_blocks(form, rng):
    """Concatenation and normalisation before the layer, as in TDN10."""
    check(randomize(ka.applications.TDN10(input_shape=(12, 16, 2), classes=3), rng), rng)


@pytest.mark.slow
def test_tkn6(form, rng):
    model = randomize(ka.applications.TKN6(input_shape=(12, 12, 1), roi_groups=4), rng)
    fast = check(model, rng)
    assert [tensor.name for tensor in fast.inputs] == [tensor.name for tensor in model.inputs]
    assert fast.name == model.name


@pytest.mark.slow
@slow_on_jax
def test_a_backbone_of_keras(rng):
    """Additions, strides, padding layers: whole maps where there is no rule."""
    backbone = keras.applications.ResNet50(
        weights=None, include_top=False, input_shape=(32, 40, 3), pooling="avg"
    )
    check(randomize(ka.surgery.to_targeted(backbone), rng, scales=(0.2, 0.5)), rng)


def test_branches_shared_layers_and_several_outputs(form, rng):
    inputs = keras.Input((8, 7, 3))
    shared = TargetLayer(3, 3)
    once = shared(inputs)
    twice = L.Activation("relu", name="act")(shared(once))
    added = L.Add()([once, twice])
    joined = L.Concatenate()([added, twice, L.Conv2D(2, 3, padding="same")(once)])
    outputs = {"map": TargetLayer(4, 3, name="last")(joined), "mean": twice + 1.0}
    outputs["pooled"] = L.GlobalAveragePooling2D()(twice)
    fast = check(randomize(keras.Model(inputs, outputs), rng), rng)
    assert set(fast.output) == {"map", "mean", "pooled"}


def test_models_in_models_and_sequential(form, rng):
    inner = keras.Sequential(
        [keras.Input((8, 8, 2)), TargetLayer(4, 3, roi="full"), L.ReLU()], name="inner"
    )
    model = keras.Sequential([keras.Input((8, 8, 2)), inner, TargetLayer(4, 3), L.Flatten()])
    check(randomize(model, rng), rng)


def test_attention_maps_in_the_graph(rng):
    inputs = keras.Input((6, 6, 1))
    x, attention = TargetLayer(2, 3)(inputs, return_attention=True)
    model = keras.Model(inputs, [TargetLayer(2, 3)(x), attention])
    check(randomize(model, rng), rng)


def test_what_is_not_pointwise_sees_all_channels(form, rng):
    """Softmax over channels, and functions that Keras does not know."""
    layers = (TargetLayer(6, 3, activation="softmax"), TargetLayer(5, 3))
    check(randomize(two_layers(*layers, [L.Activation(running_sum)]), rng), rng)


@pytest.mark.parametrize("model_format", ["channels_last", "channels_first"])
def test_global_average(model_format, form, rng):
    inputs = keras.Input((3, 8, 9) if model_format == "channels_first" else (8, 9, 3))
    x = TargetLayer(6, 3, data_format=model_format)(inputs)
    x = L.BatchNormalization(axis=1 if model_format == "channels_first" else -1)(x)
    model = keras.Model(inputs, L.GlobalAveragePooling2D(model_format)(L.ReLU()(x)))
    fast = check(randomize(model, rng), rng)
    assert not any(isinstance(layer, AssembleRegions) for layer in fast.layers[3:])


def test_layers_called_in_training_mode(rng):
    inputs = keras.Input((8, 8, 1))
    x = L.BatchNormalization()(TargetLayer(4, 3)(inputs), training=True)
    check(randomize(keras.Model(inputs, TargetLayer(2, 3)(x)), rng), rng)


@pytest.mark.parametrize("model_format", ["channels_last", "channels_first"])
def test_both_data_formats(model_format, form, rng):
    inputs = keras.Input((2, 8, 6) if model_format == "channels_first" else (8, 6, 2))
    axis = 1 if model_format == "channels_first" else -1
    x = TargetLayer(4, 3, data_format=model_format)(inputs)
    x = L.ReLU()(L.BatchNormalization(axis=axis)(x))
    x = L.MaxPooling2D(2, data_format=model_format)(x)
    x = TargetLayer(3, 3, data_format=model_format)(x)
    model = keras.Model(inputs, [L.Dense(2)(L.Flatten(data_format=model_format)(x)), x])
    check(randomize(model, rng), rng)


@pytest.mark.slow
def test_open_sizes_are_fixed_by_input_shape(rng):
    model = randomize(ka.applications.TDN10(input_shape=(None, None, 1), classes=2), rng)
    assert check(model, rng, input_shape=(8, 12, 1)).input_shape == (None, 8, 12, 1)
    with pytest.raises(ValueError, match="Pass `input_shape`"):
        compact(model)
    with pytest.raises(ValueError, match=r"Received: input_shape=\(8, 8, 3\)"):
        compact(model, (8, 8, 3))


@pytest.mark.slow
def test_half_precision_stays(rng):
    model = ka.applications.TKN6(input_shape=(8, 8, 1), classes=3)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = randomize(ka.applications.TKN6(input_shape=(8, 8, 1), classes=3), rng)
        fast = compact(half)
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(half.get_weights())
    x = rng.uniform(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(fast(x), compact(model)(x), atol=2e-2)
    assert fast.layers[1].compute_dtype == "float16"


def test_saves_and_loads(form, rng, tmp_path):
    model = randomize(ka.applications.TKN6(input_shape=(8, 8, 1), classes=3), rng)
    fast = compact(model)
    fast.save(tmp_path / "fast.keras")
    loaded = keras.saving.load_model(tmp_path / "fast.keras")
    x = rng.uniform(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(loaded(x), fast(x))


def test_computes_less(rng):
    """Input channels that are zero where a group reads are not read at all."""
    layers = (TargetLayer(64, 3), TargetLayer(64, 3))
    model = randomize(two_layers(*layers, [L.ReLU()], side=48, channels=1), rng)
    for layer in layers:  # half of the kernels in one corner, half in the other
        layer.center.assign(np.repeat([[0.15, 0.85]] * 2, 32, axis=1))
        layer.scale.assign(np.full((2, 64), 0.2))
    fast = check(model, rng)
    counts = ka.inspect.count_macs(fast, per_layer=True)
    second = sum(macs for name, macs in counts.items() if name.startswith(layers[1].name))
    assert second < 0.6 * layers[1].macs((1, 48, 48, 64))
    assert ka.inspect.count_macs(fast) < ka.inspect.count_macs(model)


def test_the_model_stays_as_it_was(rng):
    model = randomize(ka.applications.TKN6(input_shape=(8, 8, 1), classes=2), rng)
    before = [weight.copy() for weight in model.get_weights()]
    nodes = len(model.layers[2]._inbound_nodes)
    compact(model)
    assert len(model.layers[2]._inbound_nodes) == nodes
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "functional or sequential"),
        (keras.Sequential([TargetLayer(2, 3)]), "functional or sequential"),
        (ka.applications.CNN6((8, 8, 1)), "must contain a TargetLayer. Received: model='cnn6'"),
    ],
)
def test_bad_models(model, message):
    with pytest.raises(ValueError, match=message):
        compact(model)
