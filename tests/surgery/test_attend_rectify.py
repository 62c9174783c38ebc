import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.graph.functional import flatten_nested
from tests.harness import EAGERLY, cross_section, in_graphs_if_slow, slow_on_jax

L = keras.layers
numpy = keras.ops.convert_to_numpy


def plain():
    """A classifier with a hidden layer behind a flat map."""
    return keras.Sequential(
        [
            keras.Input((12, 10, 2), name="pixels"),
            L.Conv2D(4, 3, padding="same", activation="relu", name="a"),
            L.MaxPooling2D(name="pool"),
            L.Conv2D(6, 3, padding="same", name="b"),
            L.BatchNormalization(name="b_bn"),
            L.ReLU(name="b_relu"),
            L.Flatten(),
            L.Dense(7, activation="relu", name="hidden"),
            L.Dense(3, activation="softmax", name="top"),
        ],
        name="plain",
    )


def on_means():
    """A 1x1 convolution in place of a dense layer, as in MobileNets."""
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(5, 3, strides=2, padding="same", name="a")(inputs)
    x = L.GlobalAveragePooling2D(keepdims=True)(x)
    x = L.Reshape((3,))(L.Conv2D(3, 1, name="top")(L.Dropout(0.1)(x)))
    return keras.Model(inputs, L.Activation("softmax")(x), name="on_means")


def nested():
    """A pre-trained network inside a classifier, as in Keras's guides."""
    inner = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            L.Conv2D(4, 3, name="low"),
            L.MaxPooling2D(),
            L.Conv2D(4, 3, name="high"),
        ],
        name="inner",
    )
    inputs = keras.Input((12, 12, 3), name="pixels")
    x = L.GlobalAveragePooling2D(name="mean")(inner(L.Rescaling(2.0)(inputs)))
    return keras.Model(inputs, L.Dense(3, name="top")(x), name="nested")


MODELS = {"plain": plain, "on_means": on_means, "nested": nested}
every_model = pytest.mark.parametrize(
    "make", cross_section(MODELS.values(), fast=[plain]), ids=MODELS
)


def head_of(model):
    return model.get_layer("rectify")


def read_by_head(model):
    """The model's tensors that its head reads: maps, logits, features."""
    return list(head_of(model)._inbound_nodes[0].input_tensors)


def names_read(model):
    return [tensor._keras_history.operation.name for tensor in read_by_head(model)]


def images(model, rng, count=4):
    return rng.uniform(size=(count, *model.input_shape[1:])).astype("float32")


@every_model
def test_old_weights_are_shared_and_the_old_output_is_one_hypothesis(make, rng):
    model = make()
    augmented = ka.surgery.add_attend_rectify(model, 1, 3, 2)
    x = images(model, rng)
    logits = keras.Model(augmented.input, read_by_head(augmented)[-2])
    old, new = numpy(model(x)), numpy(logits(x))
    if make is not nested:  # it returns probabilities
        old, new = numpy(keras.ops.log(old)), numpy(keras.ops.log_softmax(new))
    np.testing.assert_allclose(old, new, atol=1e-5)
    shared = {id(weight) for weight in augmented.weights}
    classifier = {id(weight) for weight in flatten_nested(model).get_layer("top").weights}
    assert all(id(weight) in shared | classifier for weight in model.weights)
    assert augmented.inputs[0].name == model.inputs[0].name


@every_model
def test_classes_of_another_number_are_refused(make):
    with pytest.raises(ValueError, match="Received: classes=5"):
        ka.surgery.add_attend_rectify(make(), 1, 5)


def test_new_classes_for_a_model_without_its_top(rng):
    model = ka.applications.LeNet5(include_top=False, input_shape=(20, 18, 2))
    augmented = ka.surgery.add_attend_rectify(model, 1, 5)
    probabilities = augmented.predict(images(model, rng), verbose=0)
    assert probabilities.shape == (4, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


@every_model
@in_graphs_if_slow
def test_trains_saves_and_loads(make, eagerly, rng, tmp_path):
    augmented = ka.surgery.add_attend_rectify(make(), 1, 3, 2, classifier_activation=None)
    x, y = images(augmented, rng), np.array([0, 1, 2, 0])
    loss = ka.losses.NegativeLogLikelihood()
    augmented.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=eagerly)
    first = augmented.train_on_batch(x, y)
    assert augmented.train_on_batch(x, y) < first
    augmented.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), augmented.predict(x, verbose=0))


def test_layers_are_sorted_from_the_deepest_up():
    wanted = ["b_relu", "a", "rectify_logits", "rectify_pool"]
    for layers in (["a", "b_relu"], ["b_relu", "a"], 2):
        assert names_read(ka.surgery.add_attend_rectify(plain(), layers, 3)) == wanted
    assert names_read(ka.surgery.add_attend_rectify(plain(), "b", 3))[0] == "b"


def test_layers_of_models_inside():
    model = nested()
    augmented = ka.surgery.add_attend_rectify(model, ["low", "high"], 3)
    assert names_read(augmented) == ["high", "low", "rectify_logits", "mean"]
    inside = model.get_layer("inner").get_layer("low")
    assert augmented.get_layer("low") is inside, "the same layer, not a copy"


def test_without_a_top(rng):
    whole = ka.applications.LeNet5((20, 18, 2), include_top=False)
    pooled = ka.applications.LeNet5((20, 18, 2), include_top=False, pooling="avg")
    for model in (whole, pooled):
        augmented = ka.surgery.add_attend_rectify(model, 2, 4)
        assert augmented.predict(images(model, rng), verbose=0).shape == (4, 4)
    assert names_read(augmented)[-1] == "avg_pool", "the mean that is there already"


@slow_on_jax
@pytest.mark.parametrize(
    ("name", "depth", "maps"),
    cross_section(
        [
            ("ResNet50", 3, ["conv5_block3_out", "conv4_block6_out", "conv3_block4_out"]),
            ("MobileNet", 2, ["conv_pw_13_relu", "conv_pw_11_relu"]),
        ],
        fast={"MobileNet"},
    ),
)
def test_networks_of_keras(name, depth, maps, rng):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=4)
    augmented = ka.surgery.add_attend_rectify(model, depth, 4, 2)
    assert names_read(augmented)[:depth] == maps
    x = images(model, rng)
    logits = keras.Model(augmented.input, read_by_head(augmented)[-2])
    np.testing.assert_allclose(
        keras.ops.softmax(logits(x, training=False)), model(x, training=False), atol=1e-5
    )


def test_gates_read_the_mean_of_a_last_map_of_one_pixel():
    model = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), classes=4)
    augmented = ka.surgery.add_attend_rectify(model, 1, 4)
    features = read_by_head(augmented)[-1]
    assert features.shape == (None, 1024), "those that the classifier reads"


def test_one_map_a_resolution_where_branches_meet():
    inputs = keras.Input((16, 16, 2))
    x = L.Conv2D(4, 3, padding="same", name="stem")(inputs)
    left = L.Conv2D(4, 3, strides=2, padding="same", name="left")(x)
    inner = L.Conv2D(4, 3, padding="same", name="inner")(x)
    right = L.Conv2D(4, 3, strides=2, padding="same", name="right")(inner)
    x = L.Concatenate(name="joined")([left, right])
    x = L.Dense(3)(L.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    assert names_read(ka.surgery.add_attend_rectify(model, 2, 3))[:2] == ["joined", "inner"]


@pytest.mark.parametrize("scale", cross_section([1.0, 0.1, 0.0], fast=[0.1]))
def test_gradients_into_the_backbone_are_scaled(scale, rng):
    """What the classifier alone sends back, and the factor times the rest."""

    def moves(scale):
        keras.utils.set_random_seed(3)
        augmented = ka.surgery.add_attend_rectify(
            on_means(), 1, 3, gradient_scale=scale, classifier_activation=None, gates="mean"
        )
        kernel = augmented.get_layer("a").kernel
        before = numpy(kernel)
        next(layer for layer in augmented.layers if isinstance(layer, L.Dropout)).rate = 0.0
        loss = ka.losses.NegativeLogLikelihood()
        augmented.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=EAGERLY)
        augmented.train_on_batch(x, np.array([0, 1, 2, 0]))
        return numpy(kernel) - before

    x = images(on_means(), rng)
    keras.utils.clear_session(free_memory=False)
    blocked, full, got = moves(0.0), moves(1.0), moves(scale)
    np.testing.assert_allclose(got, blocked + scale * (full - blocked), atol=1e-5)
    assert np.abs(full - blocked).max() > 1e-4


def test_half_precision_and_channels_first(rng):
    keras.config.set_dtype_policy("mixed_bfloat16")
    augmented = ka.surgery.add_attend_rectify(plain(), 2, 3)
    assert head_of(augmented).compute_dtype == "bfloat16"
    assert augmented.predict(images(augmented, rng), verbose=0).dtype == np.float32
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_first")
    first = keras.Sequential(
        [keras.Input((2, 12, 10)), L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(3)]
    )
    keras.config.set_image_data_format("channels_last")
    augmented = ka.surgery.add_attend_rectify(first, 1, 3)
    assert head_of(augmented).data_format == "channels_first"
    assert augmented.predict(images(first, rng), verbose=0).shape == (4, 3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (0, "must be from 1 to 2"),
        (3, "must be from 1 to 2.*a, b_relu.*Received: layers=3"),
        ([], "Received: layers="),
        (["a", "a"], "Received: layers="),
        (2.5, "Received: layers=2.5"),
        (["top"], "must name layers that return feature maps. Received: 'top'"),
        ("b_rlu", "Received: 'b_rlu'. Did you mean 'b_relu'"),
    ],
)
def test_bad_layers(layers, message):
    with pytest.raises(ValueError, match=message):
        ka.surgery.add_attend_rectify(plain(), layers, 3)


def test_bad_models():
    with pytest.raises(ValueError, match="must be a functional or sequential"):
        ka.surgery.add_attend_rectify("resnet", 1, 3)
    dense = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    with pytest.raises(ValueError, match="must have a feature map"):
        ka.surgery.add_attend_rectify(dense, 1, 3)
    inputs = keras.Input((8, 8, 3))
    two = keras.Model(inputs, [L.Conv2D(2, 3)(inputs), L.Conv2D(2, 3)(inputs)])
    with pytest.raises(ValueError, match="must have one output"):
        ka.surgery.add_attend_rectify(two, 1, 3)
    augmented = ka.surgery.add_attend_rectify(plain(), 1, 3)
    with pytest.raises(ValueError, match="must not contain attention modules"):
        ka.surgery.add_attend_rectify(augmented, 1, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: L.Dense(1, activation="sigmoid")(L.GlobalAveragePooling2D()(x)),
        lambda x: L.Activation("sigmoid")(L.Dense(3)(L.Flatten()(x))),
        lambda x: keras.ops.sigmoid(L.Dense(3)(L.GlobalMaxPooling2D()(x))),
        lambda x: L.Average()(
            [
                L.Dense(3, activation="softmax")(L.Flatten()(x)),
                L.Softmax()(L.Dense(3)(L.Flatten()(x))),
            ]
        ),
        lambda x: keras.ops.softmax(L.Dense(3)(L.Flatten()(x)) / 2.0),
        lambda x: L.Conv2D(3, 1, activation="softmax")(x),
        lambda x: L.Softmax()(L.Conv2D(3, 1)(x)),
    ],
)
def test_outputs_that_are_not_one_of_several_classes_are_refused(make):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, make(L.MaxPooling2D()(L.Conv2D(4, 3)(inputs))))
    with pytest.raises(
        ValueError, match=r"of which one is right.*Received: .*(sigmoid|position|dense)"
    ):
        ka.surgery.add_attend_rectify(model, 1, 3)


@pytest.mark.parametrize("mode", ["int8", "lora"])
def test_classifiers_that_were_changed_after_their_construction(mode, rng):
    model = plain()
    layer = model.layers[-1]
    kernel = numpy(layer.kernel).copy()
    if mode == "int8":
        layer.quantize("int8")
        tolerance = np.max(np.abs(kernel)) / 127  # half a step of the largest column, and rounding
    else:
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))
        scale = layer.lora_alpha / layer.lora_rank
        kernel = kernel + scale * numpy(layer.lora_kernel_a) @ numpy(layer.lora_kernel_b)
        tolerance = 1e-5
    augmented = ka.surgery.add_attend_rectify(model, 1, 3)
    found = augmented.get_layer("rectify_logits").get_weights()[0]
    np.testing.assert_allclose(found, kernel, atol=tolerance)


@pytest.mark.parametrize(
    "activate",
    [
        keras.ops.softmax,
        L.Lambda(lambda x: keras.ops.softmax(x)),
        lambda x: L.Identity()(keras.ops.softmax(x)),
    ],
)
def test_weights_of_a_classifier_behind_a_function_are_kept(activate):
    inputs = keras.Input((8, 8, 3))
    x = L.Flatten()(L.MaxPooling2D()(L.Conv2D(4, 3)(inputs)))
    model = keras.Model(inputs, activate(L.Dense(3, name="top")(x)))
    augmented = ka.surgery.add_attend_rectify(model, 1, 3)
    found = augmented.get_layer("rectify_logits").kernel
    np.testing.assert_array_equal(found, model.get_layer("top").kernel)
