import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import backend
from tests.golden import TOLERANCE, channels_last, golden
from tests.harness import ON_TENSORFLOW, slow_on_jax

AttentionDistiller = ka.training.AttentionDistiller
GradientAttention = ka.training.GradientAttention
layers = keras.layers
PAIRS = ["first", ("second", "deep")]
TASK = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(channels, name, seed=0, side=8, activation=None, normalized=True, **options):
    """Two maps of 8x8 and 4x4, named as in PAIRS: `deep` is the teacher's second."""
    keras.utils.set_random_seed(seed)
    is_last = keras.config.image_data_format() == "channels_last"
    images = keras.Input((side, side, 2) if is_last else (2, side, side))
    x = layers.Conv2D(channels, 3, padding="same", name="first", **options)(images)
    if normalized:
        x = layers.BatchNormalization(-1 if is_last else 1, name="norm", momentum=0.5)(x)
    x = layers.AveragePooling2D(2)(layers.Activation("tanh")(x))
    x = layers.Conv2D(channels, 3, padding="same", name=name)(x)
    x = layers.GlobalAveragePooling2D()(layers.Activation("tanh")(x))
    return keras.Model(images, layers.Dense(3, activation=activation, name="top")(x))


def student_of(**options):
    return network(3, "second", **options)


def teacher_of(**options):
    return network(5, "deep", seed=1, **options)


def batch(rng, count=8):
    return rng.normal(size=(count, 8, 8, 2)).astype("float32"), rng.integers(0, 3, count)


def ready(distiller, rate=0.1, loss=TASK, **options):
    distiller.compile(keras.optimizers.SGD(rate), loss, **{"jit_compile": False, **options})
    return distiller


def expected_parts(student, teacher, x, y):
    """Parts of the loss in inference, from what is public."""
    maps = {
        (model, layer): keras.Model(model.input, model.get_layer(layer).output)(x)
        for model, layer in (
            (student, "first"),
            (student, "second"),
            (teacher, "first"),
            (teacher, "deep"),
        )
    }
    loss = ka.losses.AttentionTransferLoss()
    attention = loss(maps[teacher, "first"], maps[student, "first"])
    attention += loss(maps[teacher, "deep"], maps[student, "second"])
    distillation = ka.losses.KnowledgeDistillationLoss()(teacher(x), student(x))
    return float(attention), float(distillation), float(TASK(y, student(x)))


def test_loss_is_the_sum_of_its_parts(rng):
    student, teacher = student_of(), teacher_of()
    x, y = batch(rng)
    distiller = ready(AttentionDistiller(student, teacher, PAIRS, beta=50.0, alpha=0.9))
    attention, distillation, task = expected_parts(student, teacher, x, y)
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)
    expected = {
        "attention_loss": 50.0 * attention,
        "distillation_loss": 0.9 * distillation,
        "task_loss": 0.1 * task,
    }
    assert {part: found[part] for part in expected} == pytest.approx(expected, rel=1e-4)
    assert found["loss"] == pytest.approx(sum(expected.values()), rel=1e-4)


SEVERAL = {"pairs": PAIRS, "alpha": 0.9, "hints": ["first"], "gradient": "min_l2"}
KINDS = {
    "attention": {"pairs": PAIRS},
    "distillation": {"alpha": 0.5},
    "hints": {"hints": PAIRS},
    "transfer": {"gradient": "transfer"},
    "symmetry": {"gradient": "symmetry"},
    "min_l2": {"gradient": "min_l2"},
    "all": {
        "pairs": PAIRS,
        "alpha": 0.9,
        "hints": ["first"],
        "gradient": ["transfer", GradientAttention("symmetry", 0.1, "norm"), "min_l2"],
    },
    "at a layer": {
        "pairs": PAIRS,
        "gradient": [
            GradientAttention("symmetry", layer="second"),
            GradientAttention("min_l2", layer="second"),
        ],
    },
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[slow_on_jax] * (kind not in ("attention", "all")))
        for kind in KINDS
    ],
)
def test_training_teaches_and_touches_nothing_else(rng, kind):
    student, teacher = student_of(), teacher_of()
    x, y = batch(rng)
    distiller = ready(AttentionDistiller(student, teacher, **KINDS[kind]), rate=1e-3)
    taught = [weight.copy() for weight in teacher.get_weights()]
    first = distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    state = [weight.copy() for weight in distiller.get_weights()]
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"] == first
    for now, before in zip(distiller.get_weights(), state, strict=True):
        np.testing.assert_array_equal(now, before)
    before = [weight.numpy().copy() for weight in distiller.trainable_weights]
    losses = distiller.fit(x, y, epochs=4, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for weight, old in zip(distiller.trainable_weights, before, strict=True):
        # A bias before a normalization, as `first` has, gets no gradient from behind it.
        assert not np.array_equal(weight.numpy(), old) or weight.path.startswith("first/bias")
    for now, old in zip(teacher.get_weights(), taught, strict=True):
        np.testing.assert_array_equal(now, old)
    np.testing.assert_allclose(
        distiller.predict(x, verbose=0), student.predict(x, verbose=0), rtol=1e-5
    )


def test_the_student_is_called_once_a_step(rng):
    """Its normalization moves once, as in training without a teacher."""
    alone, taught = student_of(), student_of()
    x, y = batch(rng)
    alone.compile(keras.optimizers.SGD(0.0), TASK, jit_compile=False)
    alone.fit(x, y, epochs=2, verbose=0)
    options = {"pairs": PAIRS, "alpha": 0.5, "gradient": ["transfer", "min_l2"]}
    ready(AttentionDistiller(taught, teacher_of(), **options), rate=0.0).fit(
        x, y, epochs=2, verbose=0
    )
    for one, other in zip(alone.get_weights(), taught.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_losses_of_the_student_are_kept(rng):
    """Weight decay, and what layers add in a call, once each."""
    options = {"kernel_regularizer": "l2", "activity_regularizer": keras.regularizers.L2(0.1)}
    alone, taught = student_of(**options), student_of(**options)
    x, y = batch(rng)
    alone.compile("sgd", TASK, jit_compile=False)
    plain = alone.evaluate(x, y, verbose=0)
    distiller = ready(AttentionDistiller(taught, teacher_of(**options), PAIRS, beta=0.0))
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(plain)
    distiller = ready(
        AttentionDistiller(taught, None, gradient=GradientAttention("symmetry", weight=0.0))
    )
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(plain)


def test_examples_of_weight_0_teach_nothing(rng):
    x, y = batch(rng)
    other = x.copy()
    other[4:] = rng.normal(size=other[4:].shape)
    weights = np.repeat([1.0, 0.0], 4)
    for options in KINDS["all"], {"pairs": PAIRS, "attention": ka.losses.HintLoss()}:
        if "attention" in options:
            continue
        distiller = ready(AttentionDistiller(student_of(), teacher_of(), **options))
        found = [
            distiller.evaluate(images, y, sample_weight=weights, verbose=0) for images in (x, other)
        ]
        assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_metrics_are_the_students(rng):
    x, y = batch(rng)
    student = student_of()
    distiller = ready(AttentionDistiller(student, teacher_of(), PAIRS), metrics=["accuracy"])
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]
    assert found == pytest.approx(np.mean(student.predict(x, verbose=0).argmax(-1) == y))


def test_weights_follow_schedules(rng):
    """Beta halves with every batch learned from, not with those of evaluations."""
    x, y = batch(rng)
    halves = keras.optimizers.schedules.ExponentialDecay(8.0, 1, 0.5, staircase=True)
    distiller = ready(
        AttentionDistiller(student_of(), teacher_of(), PAIRS, beta=halves, alpha=lambda step: 0.25),
        rate=0.0,
    )
    first = distiller.evaluate(x, y, verbose=0, return_dict=True)
    distiller.fit(x, y, batch_size=4, epochs=1, verbose=0)
    distiller.student.set_weights(student_of().get_weights())
    later = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert later["attention_loss"] == pytest.approx(first["attention_loss"] / 4, rel=1e-4)
    assert later["distillation_loss"] == pytest.approx(first["distillation_loss"], rel=1e-4)


def test_probabilities_distil_as_logits_do(rng):
    x, y = batch(rng)
    found = []
    for activation in (None, "softmax"):
        student, teacher = student_of(activation=activation), teacher_of(activation=activation)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
        distiller = AttentionDistiller(student, teacher, alpha=0.9, gradient="transfer")
        distiller = ready(distiller, loss=loss)
        found.append(distiller.evaluate(x, y, verbose=0))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_labels_may_be_one_hot_or_missing(rng):
    x, y = batch(rng)
    student, teacher = student_of(), teacher_of()
    sparse = ready(AttentionDistiller(student, teacher, gradient="transfer"))
    hot = ready(
        AttentionDistiller(student, teacher, gradient="transfer"),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    found = sparse.evaluate(x, y, verbose=0), hot.evaluate(x, np.eye(3)[y], verbose=0)
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    unlabeled = ready(AttentionDistiller(student, teacher, PAIRS, alpha=1.0), loss=None)
    losses = unlabeled.fit(x, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def linear_pair(data):
    """The networks of the derivation: a convolution, ReLU, means and a dense layer."""
    models = []
    for kernel, top in (("w1_oihw", "w2_out_in"), ("teacher_w1", "teacher_w2")):
        kernel = data[f"grad_at/{kernel}"].transpose(2, 3, 1, 0)
        images = keras.Input((5, 5, 2))
        convolution = layers.Conv2D(
            kernel.shape[-1], 3, padding="same", activation="relu", use_bias=False, name="map"
        )
        means = layers.GlobalAveragePooling2D()(convolution(images))
        dense = layers.Dense(4, use_bias=False, name="top")
        models.append(keras.Model(images, dense(means)))
        models[-1].set_weights([kernel, data[f"grad_at/{top}"].T])
    return models


@pytest.mark.parametrize(("form", "name"), [("squared", "sqnorm"), ("norm", "norm")])
def test_gradient_transfer_is_the_papers(form, name):
    data = golden("at_paper_maps_gradat_independent.npz")
    student, teacher = linear_pair(data)
    x, y = channels_last(data["grad_at/x"]), data["grad_at/labels"]
    before = [weight.copy() for weight in student.get_weights()]
    term = GradientAttention("transfer", 0.7, form)
    distiller = ready(AttentionDistiller(student, teacher, gradient=term), rate=1.0)
    found = distiller.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(
        found[0] if isinstance(found, list) else found, data[f"grad_at/total_{name}"], **TOLERANCE
    )
    distiller.train_on_batch(x, y)
    steps = [old - new for old, new in zip(before, student.get_weights(), strict=True)]
    kernel = data[f"grad_at/dw1_{name}"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(steps[0], kernel, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(steps[1], data[f"grad_at/dw2_{name}"].T, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("form", "name"), [("squared", "sqnorm"), ("norm", "norm")])
def test_symmetry_is_the_papers(form, name):
    data = golden("at_paper_maps_gradat_independent.npz")
    student, _ = linear_pair(data)
    x, y = channels_last(data["grad_at/x"]), data["grad_at/labels"]
    term = GradientAttention("symmetry", 2.0, form)
    distiller = ready(AttentionDistiller(student, None, gradient=term))
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)["gradient_loss"]
    np.testing.assert_allclose(found, data[f"grad_at/sym_{name}_mean"], **TOLERANCE)


def test_a_gradient_by_a_layer_is_that_of_what_follows(rng):
    """By the map before the mean, a dense layer's J is the same at all places."""
    student = student_of()
    x, y = batch(rng)
    term = GradientAttention("min_l2", 2.0, layer="second")
    distiller = ready(AttentionDistiller(student, None, gradient=term))
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)["gradient_loss"]
    kernel, bias = student.get_layer("top").get_weights()
    maps = keras.Model(student.input, student.get_layer("second").output).predict(x, verbose=0)
    activated = np.tanh(maps)
    logits = activated.mean((1, 2)) @ kernel + bias
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    upstream = (shares - np.eye(3)[y]) @ kernel.T / 16
    expected = np.square(upstream[:, None, None] * (1 - activated**2)).sum((1, 2, 3)).mean()
    assert found == pytest.approx(expected, rel=1e-3)


class SameLoss(ka.losses.AttentionTransferLoss):
    """Of another class, it is given whole maps and not their activities."""


def test_activities_teach_as_maps_do(rng):
    x, y = batch(rng)
    found = []
    for loss in (ka.losses.AttentionTransferLoss(), SameLoss()):
        distiller = ready(AttentionDistiller(student_of(), teacher_of(), PAIRS, loss))
        history = distiller.fit(x, y, epochs=3, shuffle=False, verbose=0).history
        found.append([history["loss"], *distiller.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="convolutions of CPU in JAX have channels last")
def test_channels_first_is_the_same(rng):
    x, y = batch(rng)
    found = []
    for data_format in ("channels_last", "channels_first"):
        keras.config.set_image_data_format(data_format)
        images = x if data_format == "channels_last" else np.moveaxis(x, -1, 1)
        student, teacher = student_of(), teacher_of()
        options = {"hints": ["first"], "gradient": ["transfer", "symmetry"]}
        for more in ({}, options):
            distiller = ready(AttentionDistiller(student, teacher, PAIRS, **more))
            for layer in distiller.regressors:
                layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
            found.append(distiller.evaluate(images, y, verbose=0, return_dict=True))
    for one, other in zip(found[:2], found[2:], strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_files_are_the_students(rng, tmp_path):
    x, y = batch(rng)
    student = student_of()
    distiller = ready(AttentionDistiller(student, teacher_of(), PAIRS))
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "each.keras")
    distiller.fit(x, y, verbose=0, callbacks=[checkpoint])
    distiller.save(tmp_path / "saved.keras")
    expected = student.predict(x, verbose=0)
    for name in ("each.keras", "saved.keras"):
        loaded = keras.models.load_model(tmp_path / name)
        np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, rtol=1e-5)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModels are TensorFlow's")
def test_exports_are_the_students(rng, tmp_path):
    import tensorflow as tf

    x, _ = batch(rng)
    student = student_of()
    AttentionDistiller(student, teacher_of(), PAIRS).export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(x), student.predict(x, verbose=0), rtol=1e-4)


def test_a_training_goes_on_where_it_stopped(rng, tmp_path):
    """With momentum, regressors and the step of the schedule; the new teacher stays its own."""
    x, y = batch(rng)
    options = {
        "beta": keras.optimizers.schedules.PolynomialDecay(100.0, 4, 0.0),
        "hints": ["first"],
    }

    def made(teacher):
        distiller = AttentionDistiller(student_of(), teacher, PAIRS, **options)
        distiller.compile(keras.optimizers.SGD(0.01, 0.9), TASK, jit_compile=False)
        return distiller

    whole = made(teacher_of())
    whole.fit(x, y, epochs=4, shuffle=False, verbose=0)
    first, second = made(teacher_of()), made(teacher_of())
    first.fit(x, y, epochs=2, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "state.weights.h5")
    other = teacher_of()
    other.set_weights([0 * weight for weight in other.get_weights()])
    unlike = made(other)
    for distiller in (second, unlike):
        distiller.optimizer.build(distiller.trainable_variables)
        distiller.load_weights(tmp_path / "state.weights.h5")
    assert not any(weight.any() for weight in other.get_weights())
    second.fit(x, y, epochs=2, shuffle=False, verbose=0)
    for one, two in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)


def test_callbacks_that_keep_weights(rng, tmp_path):
    x, y = batch(rng)
    distiller = ready(AttentionDistiller(student_of(), teacher_of(), PAIRS))
    callbacks = [
        keras.callbacks.EarlyStopping("loss", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    ]
    history = distiller.fit(x, y, epochs=3, verbose=0, callbacks=callbacks).history
    assert len(history["loss"]) > 1


@pytest.mark.skipif(not ON_TENSORFLOW, reason="JAX always compiles")
@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_compiled_or_step_by_step_is_the_same(rng, options):
    x, y = batch(rng)
    found = []
    for more in ({}, options):
        distiller = AttentionDistiller(student_of(), teacher_of(), **SEVERAL)
        ready(distiller, **more).fit(x, y, epochs=2, shuffle=False, verbose=0)
        found.append(distiller.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@slow_on_jax
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_learns(rng, policy):
    x, y = batch(rng)
    keras.config.set_dtype_policy(policy)
    try:
        student, teacher = student_of(), teacher_of()
        distiller = AttentionDistiller(student, teacher, **SEVERAL)
        distiller.compile("adam", TASK, jit_compile=False)
    finally:
        keras.config.set_dtype_policy("float32")
    assert ("LossScale" in type(distiller.optimizer).__name__) is (policy == "mixed_float16")
    history = distiller.fit(x, y, epochs=6, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    assert all(weight.dtype == "float32" for weight in student.weights)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="strategies are TensorFlow's")
def test_replicas_learn_as_one(rng):
    import tensorflow as tf

    x, y = batch(rng)
    found = []
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
        with tf.distribute.MirroredStrategy(devices).scope():
            # Each replica's normalization would see its own images only.
            networks = [
                make(normalized=False, kernel_regularizer="l2", activity_regularizer="l2")
                for make in (student_of, teacher_of)
            ]
            options = {"hints": ["first"], "alpha": 0.5, "gradient": "min_l2"}
            distiller = ready(AttentionDistiller(*networks, PAIRS, **options), metrics=["accuracy"])
        history = distiller.fit(x, y, epochs=2, shuffle=False, verbose=0).history
        found.append([*history.values(), *distiller.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@slow_on_jax
def test_networks_of_keras_of_different_sizes(rng):
    options = {"weights": None, "input_shape": (64, 64, 3), "classes": 4}
    teacher = keras.applications.MobileNet(**options)
    student = keras.applications.VGG16(**options)
    pairs = [("block3_conv3", "conv_pw_3_relu"), ("block5_conv3", "conv_pw_13_relu")]
    x, y = rng.uniform(size=(2, 64, 64, 3)).astype("float32"), np.array([0, 3])
    distiller = AttentionDistiller(student, teacher, pairs, alpha=0.9)
    distiller.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    history = distiller.fit(x, y, verbose=0).history
    assert np.isfinite([values[0] for values in history.values()]).all()


@pytest.mark.skipif(not hasattr(keras, "distillation"), reason="of Keras 3.13")
@pytest.mark.filterwarnings("ignore:.*structure of `inputs`:UserWarning")
def test_the_loss_works_in_keras_own_distiller(rng):
    x, y = batch(rng)
    features = keras.distillation.FeatureDistillation(
        ka.losses.AttentionTransferLoss(), teacher_layer_name="deep", student_layer_name="second"
    )
    student = student_of(activation="softmax")
    distiller = keras.distillation.Distiller(
        teacher=teacher_of(activation="softmax"), student=student, distillation_losses=features
    )
    distiller.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    losses = distiller.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


class Own(keras.Model):
    """A subclassed network of the layers of a functional one."""

    def __init__(self, network):
        super().__init__()
        self.parts = [layer for layer in network.layers if layer.weights]

    def call(self, inputs, training=None):
        first, norm, second, top = self.parts
        x = keras.ops.tanh(norm(first(inputs), training=training))
        x = keras.ops.tanh(second(keras.ops.average_pool(x, 2, 2)))
        return top(keras.ops.mean(x, axis=(1, 2)))


def test_subclassed_models_learn_as_functional_ones(rng):
    x, y = batch(rng)
    found = []
    for subclassed in (False, True):
        student, teacher = student_of(), teacher_of()
        if subclassed:
            student, teacher = Own(student), Own(teacher)
            with pytest.raises(ValueError, match="called on its one input"):
                AttentionDistiller(student, teacher, PAIRS)
            student(x), teacher(x)
        distiller = ready(AttentionDistiller(student, teacher, PAIRS, alpha=0.5))
        history = distiller.fit(x, y, epochs=2, shuffle=False, verbose=0).history
        assert distiller.teacher is teacher
        found.append([history["loss"], *student.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def images_of(side=8, channels=2):
    return keras.Input((side, side, channels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "something to teach"),
        ({"pairs": ["frist"]}, "Did you mean 'first'"),
        ({"pairs": [("first", "deeep")]}, "Did you mean 'deep'"),
        ({"pairs": ["top"]}, r"must make maps.*'top' of \(None, 3\)"),
        ({"pairs": "first"}, "`pairs` must be a list"),
        ({"pairs": [("first", "deep", "x")]}, "`pairs` must be a list"),
        ({"hints": [("first", "deep")]}, "same sides"),
        ({"pairs": PAIRS, "beta": -1.0}, "`beta` must be"),
        ({"pairs": PAIRS, "beta": "high"}, "`beta` must be"),
        ({"alpha": 1.5}, "`alpha` must be at most 1"),
        ({"alpha": 0.5, "temperature": 0}, "`temperature` must be"),
        ({"gradient": "transform"}, "Did you mean 'transfer'"),
        ({"gradient": 3}, "`gradient` must be"),
        (
            {"gradient": [GradientAttention(), GradientAttention("min_l2", layer="first")]},
            "by the same layer",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        AttentionDistiller(student_of(), teacher_of(), **options)


def test_a_teacher_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="take the same images"):
        AttentionDistiller(student_of(), teacher_of(side=10), PAIRS)
    with pytest.raises(ValueError, match="`model` must be a functional or sequential"):
        AttentionDistiller("student", teacher_of(), PAIRS)
    with pytest.raises(ValueError, match="`teacher` must be a Keras model"):
        AttentionDistiller(student_of(), None, PAIRS)
    classes = keras.Sequential([images_of(), layers.Flatten(), layers.Dense(7)])
    with pytest.raises(ValueError, match="same classes"):
        AttentionDistiller(student_of(), classes, alpha=0.5)


def test_a_distiller_is_not_copied():
    distiller = AttentionDistiller(student_of(), teacher_of(), PAIRS)
    with pytest.raises(NotImplementedError, match=r"distiller\.student"):
        distiller.get_config()


def test_replicas_are_counted():
    assert backend.replicas() == 1
