"""Checks of every prebuilt model in the registry."""

import functools

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests import harness, model_cases

CASES = {str(case): case for case in model_cases.MODEL_CASES}
every_model = pytest.mark.parametrize("case", model_cases.PARAMETERS, ids=str)
every_image_model = pytest.mark.parametrize(
    "case", [each for each in model_cases.PARAMETERS if not each.values[0].is_sequence], ids=str
)

every_targeted_model = pytest.mark.parametrize(
    "name", harness.cross_section(["TKN6", "TDN10", "TDN40", "TSTN"], fast={"TKN6"})
)


def images(case, rng, count=4):
    return rng.uniform(size=(count, *case.input_shape)).astype("float32")


def values(model, x):
    """Returns the outputs of an eager call, several outputs concatenated."""
    return concatenated(model(x, training=False))


def concatenated(outputs):
    arrays = map(keras.ops.convert_to_numpy, keras.tree.flatten(outputs))
    return np.concatenate(list(arrays), axis=-1)


def check_probabilities(case, probabilities):
    assert probabilities.shape == (4, sum(case.num_classes))
    assert probabilities.dtype == np.float32
    for output in split(case, probabilities):
        np.testing.assert_allclose(output.sum(axis=-1), 1.0, rtol=1e-5)


def split(case, values):
    return np.split(values, np.cumsum(case.num_classes)[:-1], axis=-1)


@functools.cache
def _built(name, **options):
    keras.utils.set_random_seed(0)
    return CASES[name].make(**options)


def built(case, **options):
    """Returns a model that several tests share and none changes."""
    return _built(str(case), **options)


@harness.slow_on_jax
@every_model
def test_returns_probabilities(case, rng):
    model, x = built(case), images(case, rng)
    probabilities = values(model, x)
    called = concatenated(model(x))
    np.testing.assert_array_equal(called, probabilities, err_msg="calls default to inference")
    name = "sequences" if case.is_sequence else "images"
    assert model.inputs[0].name == name, "clients of a served model use this name"
    check_probabilities(case, probabilities)


@harness.slow_on_jax
@every_model
@pytest.mark.parametrize(
    "policy", harness.cross_section(["mixed_float16", "mixed_bfloat16"], fast={"mixed_float16"})
)
def test_probabilities_are_float32_under_every_policy(case, policy, rng):
    keras.config.set_dtype_policy(policy)
    model = case.make()
    assert model.layers[1].compute_dtype == policy.removeprefix("mixed_")
    check_probabilities(case, values(model, images(case, rng)))


@harness.slow_on_jax
@every_model
def test_without_top(case, rng):
    x = images(case, rng)
    features = case.make(include_top=False)
    assert len(features.output_shape) == len(case.input_shape) + 1
    assert features.output_shape[0] is None
    for pooling, reduce in (("avg", np.mean), ("max", np.max)):
        pooled = built(case, include_top=False, pooling=pooling)
        features.set_weights(pooled.get_weights())
        expected = reduce(values(features, x), axis=tuple(range(1, len(case.input_shape))))
        np.testing.assert_allclose(values(pooled, x), expected, atol=1e-4)


@harness.slow_on_jax
@every_model
def test_any_image_size_without_top(case, rng):
    free = (*(None for _ in case.input_shape[1:]), case.input_shape[-1])
    model = case.make(input_shape=free, include_top=False, pooling="avg")
    known = built(case, include_top=False, pooling="avg")
    model.set_weights(known.get_weights())
    x = images(case, rng)
    expected = values(known, x)
    np.testing.assert_allclose(values(model, x), expected, rtol=1e-4, atol=1e-5)


@harness.slow_on_jax
@every_model
def test_logits(case, rng):
    model, logits = built(case), case.make(classifier_activation=None)
    logits.set_weights(model.get_weights())
    x = images(case, rng)
    expected = [keras.ops.softmax(output) for output in split(case, values(logits, x))]
    np.testing.assert_allclose(values(model, x), concatenated(expected), atol=1e-5)


@every_model
def test_input_tensor_and_name(case):
    tensor = keras.Input(case.input_shape)
    model = case.make(input_shape=None, input_tensor=tensor * 2.0, name="mine")
    assert model.name == "mine"
    assert model.inputs[0] is tensor


@harness.slow_on_jax
@every_model
def test_file_and_weights_round_trip(case, rng, tmp_path):
    model, x = built(case), images(case, rng)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = values(model, x)
    np.testing.assert_array_equal(values(loaded, x), expected)
    read = case.make(weights=tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(values(read, x), expected)


@harness.slow_on_jax
@every_image_model
def test_channels_first_equals_channels_last(case, rng):
    x = images(case, rng)
    last = built(case)
    keras.config.set_image_data_format("channels_first")
    height, width, channels = case.input_shape
    first = case.make(input_shape=(channels, height, width))
    first.set_weights(last.get_weights())
    got = values(first, harness.to_channels_first(x))
    np.testing.assert_allclose(got, values(last, x), atol=1e-5)


@every_model
@harness.in_graphs_if_slow
def test_step_lowers_loss_and_reaches_every_weight(case, eagerly, rng):
    model = harness.without_dropout(case.make(weight_decay=0.0))  # decay would change all kernels
    harness.jitter(model)
    labels = tuple(np.arange(4) % classes for classes in case.num_classes)
    y = labels if len(labels) > 1 else labels[0]
    loss = "sparse_categorical_crossentropy"
    x, idle = images(case, rng), case.idle_weights
    harness.check_training_step(model, x, y, loss, case.rate, idle, eagerly)


@every_model
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, "Received: classes=0"),
        ({"input_shape": (12,)}, "Received: input_shape="),
        ({"input_shape": (12, -1)}, "Received: input_shape="),
        ({"input_shape": (12, 12, None)}, "Received: input_shape="),
        ({"input_shape": 28}, "Received: input_shape=28"),
        ({"weights": "imagenet"}, "Received: weights='imagenet'"),
        ({"pooling": "mean", "include_top": False}, "Received: pooling='mean'"),
        ({"weights": 5}, "Received: weights=5"),
        ({"weight_decay": -1}, "Received: weight_decay=-1"),
        ({"input_tensor": np.zeros((1, 12, 12, 1))}, "must be a Keras tensor"),
    ],
)
def test_bad_arguments(case, arguments, message):
    with pytest.raises(ValueError, match=message):
        case.make(**arguments)


@every_targeted_model
@pytest.mark.parametrize(
    "arguments",
    [
        {"window": "box"},
        {"roi": "crop"},
        {"roi_groups": 0},
        {"roi_groups": 1000},
        {"min_roi_size": 99},
        {"scale_l2": None},
        {"scale_l2": "1e-4"},
        {"beta": -1},
    ],
    ids=str,
)
def test_bad_options_of_targeted_models(name, arguments):
    with pytest.raises(ValueError, match=f"Received: {next(iter(arguments))}="):
        model_cases.ModelCase(name).make(**arguments)


@harness.slow_on_jax
@every_targeted_model
@pytest.mark.parametrize("roi", ["slice", "mask", "full"])
def test_roi_modes_share_weights(name, roi, rng):
    case = model_cases.ModelCase(name)
    sliced, other = case.make(), case.make(roi=roi)
    for layer in sliced.layers:
        if hasattr(layer, "rois"):
            layer.scale.assign(rng.uniform(0.3, 0.5, layer.scale.shape))
    other.set_weights(sliced.get_weights())
    x = images(case, rng)
    same = np.allclose(values(sliced, x), values(other, x), atol=1e-5)
    assert same == (roi != "full")


@harness.slow_on_jax
@pytest.mark.parametrize(
    ("name", "input_shape", "parameters"),
    harness.cross_section(
        [
            ("CNN6", (28, 28, 1), 4_586_642),
            ("CNN6", (56, 56, 1), 10_758_290),
            ("TKN6", (28, 28, 1), 4_589_202),
            ("DN10", (28, 28, 1), 44_746),
            ("TDN10", (56, 56, 1), 45_034),
            ("DN40", (32, 32, 3), 832_474),
            ("TDN40", (48, 48, 3), 835_066),
            ("STN", (32, 32, 3), 1_197_473),
            ("TSTN", (32, 32, 3), 1_199_521),
        ],
        fast={"CNN6", "TKN6"},
    ),
)
def test_parameters_of_the_paper(name, input_shape, parameters):
    model = ka.applications.build(name, input_shape=input_shape)
    assert ka.inspect.trainable_parameters(model) == parameters
    if name.endswith("STN"):  # the localization network is not specified in the paper
        assert parameters == pytest.approx(1.18e6, rel=0.02)


def test_penalty_of_the_scales_grows_by_beta():
    model = ka.applications.TKN6(input_shape=(12, 12, 1), scale_l2=0.1, beta=3, weight_decay=0)
    # All scales are 1 at first: the penalty is the weight times the number of scales.
    expected = 0.1 * (2 * 256 + 3 * 2 * 256 + 9 * 2 * 128)
    assert sum(float(loss) for loss in model.losses) == pytest.approx(expected, rel=1e-5)


def test_flattening_models_need_their_size():
    with pytest.raises(ValueError, match="must contain H and W"):
        ka.applications.CNN6(input_shape=(None, None, 1))


@harness.slow_on_jax
@pytest.mark.parametrize("name", harness.cross_section(["TDN10", "TDN40"], fast={"TDN10"}))
def test_one_set_of_weights_serves_every_size(name, rng):
    """A model with unknown sizes gives the values of a model built for the size."""
    learned = model_cases.ModelCase(name).make(input_shape=(16, 12, 2))
    harness.jitter(learned)
    every = model_cases.ModelCase(name).make(input_shape=(None, None, 2))
    every.set_weights(learned.get_weights())
    there = model_cases.ModelCase(name).make(input_shape=(24, 36, 2))
    there.set_weights(learned.get_weights())
    x = rng.uniform(size=(2, 24, 36, 2)).astype("float32")
    np.testing.assert_allclose(values(every, x), values(there, x), atol=1e-6)
    assert ka.inspect.count_macs(every, (24, 36, 2)) == ka.inspect.count_macs(there)


ATTENDED = {"width": 4, "stem": "imagenet", "attention": "san-c"}
FLATTENING = ("CNN6", "ClutteredCNN", "LeNet5", "STN", "TKN6", "TSTN", "VGG16", "VGG19")
ANY_SIZE = [model_cases.ModelCase("ResNet18", (40, 40, 3), ATTENDED)] + [
    case for case in model_cases.EVERY_CASE if not case.is_sequence and case.name not in FLATTENING
]


@harness.slow_on_jax
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("case", harness.cross_section(ANY_SIZE, fast=[]), ids=str)
def test_xla_with_unknown_sizes(case, rng):
    height, width, channels = case.input_shape
    model = case.make(input_shape=(None, None, channels))
    sizes = [(height, width), (height + 9, width + 4), (height + 3, width)]
    batches = [rng.uniform(size=(2, *size, channels)).astype("float32") for size in sizes]
    labels = [np.zeros((2, *output.shape[1:]), "float32") for output in model.outputs]
    labels = labels if len(labels) > 1 else labels[0]
    model.compile(keras.optimizers.SGD(1e-6), "mse", jit_compile=True)
    pairs = ((x, labels) for x in batches)
    history = model.fit(pairs, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for x in batches:
        compiled = keras.tree.flatten(model.predict_on_batch(x))
        for one, other in zip(compiled, keras.tree.flatten(model(x, training=False)), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_regions_scale_with_the_map(rng):
    model = model_cases.ModelCase("TDN40", (32, 32, 1)).make()
    layer = model.get_layer("block1_target1")
    layer.center.assign(rng.integers(2, 7, layer.center.shape) / 8)
    layer.scale.assign(np.full(layer.scale.shape, 0.25 * 2**0.5))  # a quarter of the side each way
    small, large = layer.rois(32, 16), layer.rois(64, 80)
    inside = (small > 0) & (small < [[32], [16]])
    np.testing.assert_allclose((large / [[2], [5]])[inside], small[inside], atol=1)


def test_regression_has_one_unit_without_activation(rng):
    case = model_cases.ModelCase("TDN40", (12, 10, 3))
    model = case.make(classes=1, classifier_activation=None)
    model.layers[-1].bias.assign([9.0])
    outputs = values(model, images(case, rng))
    assert outputs.shape == (4, 1)
    assert np.abs(outputs).max() > 1.0, "there is no activation"
