import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import backend
from tests.distillation.models import (
    PAIRS,
    SEVERAL,
    TASK,
    batch,
    ready,
    student_of,
    teacher_of,
)
from tests.harness import EAGERLY, ON_TENSORFLOW, slow_on_jax

AttentionDistiller = ka.training.AttentionDistiller
GradientAttention = ka.training.GradientAttention
layers = keras.layers


@pytest.mark.skipif(not ON_TENSORFLOW, reason="convolutions of CPU in JAX have channels last")
def test_channels_first_gives_the_same_losses(rng):
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


def test_saved_files_contain_the_student(rng, tmp_path):
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
def test_exports_contain_the_student(rng, tmp_path):
    import tensorflow as tf

    x, _ = batch(rng)
    student = student_of()
    AttentionDistiller(student, teacher_of(), PAIRS).export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(x), student.predict(x, verbose=0), rtol=1e-4)


def test_training_resumes_from_saved_weights(rng, tmp_path):
    """Momentum, regressors and the step of schedules are restored, the teacher is not."""
    x, y = batch(rng)
    terms = {
        "beta": keras.optimizers.schedules.PolynomialDecay(100.0, 4, 0.0),
        "hints": ["first"],
    }

    def made(teacher):
        distiller = AttentionDistiller(student_of(), teacher, PAIRS, **terms)
        options = {"jit_compile": False, "run_eagerly": EAGERLY}
        distiller.compile(keras.optimizers.SGD(0.01, 0.9), TASK, **options)
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


@pytest.mark.slow
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
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"jit_compile": True}, id="compiled", marks=pytest.mark.slow),
        pytest.param({"run_eagerly": True}, id="eager"),
    ],
)
def test_graph_and_eager_mode_give_the_same_losses(rng, options):
    x, y = batch(rng)
    found = []
    for more in ({}, options):
        distiller = AttentionDistiller(student_of(), teacher_of(), **SEVERAL)
        ready(distiller, **{"run_eagerly": False, **more}).fit(
            x, y, epochs=2, shuffle=False, verbose=0
        )
        found.append(distiller.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@slow_on_jax
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_learns(rng, policy):
    x, y = batch(rng)
    keras.config.set_dtype_policy(policy)
    try:
        student, teacher = student_of(), teacher_of()
        distiller = AttentionDistiller(student, teacher, **SEVERAL)
        distiller.compile("adam", TASK, jit_compile=False, run_eagerly=EAGERLY)
    finally:
        keras.config.set_dtype_policy("float32")
    assert ("LossScale" in type(distiller.optimizer).__name__) is (policy == "mixed_float16")
    history = distiller.fit(x, y, epochs=6, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    assert all(weight.dtype == "float32" for weight in student.weights)


@pytest.mark.slow
@pytest.mark.skipif(not ON_TENSORFLOW, reason="strategies are TensorFlow's")
def test_replicas_train_like_one_device(rng):
    x, y = batch(rng)
    found = []
    for count in (1, 2):
        with backend.device_scope(count):
            # Each replica would normalize with the statistics of its own images.
            networks = [
                make(normalized=False, kernel_regularizer="l2", activity_regularizer="l2")
                for make in (student_of, teacher_of)
            ]
            options = {"hints": ["first"], "alpha": 0.5, "gradient": "min_l2"}
            distiller = AttentionDistiller(*networks, PAIRS, **options)
            ready(distiller, metrics=["accuracy"], run_eagerly=False)
        history = distiller.fit(x, y, epochs=2, shuffle=False, verbose=0).history
        found.append([*history.values(), *distiller.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
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


@pytest.mark.slow
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


class SubclassedNetwork(keras.Model):
    """Subclassed model with the layers of a functional one."""

    def __init__(self, network):
        super().__init__()
        self.parts = [layer for layer in network.layers if layer.weights]

    def call(self, inputs, training=None):
        first, norm, second, top = self.parts
        x = keras.ops.tanh(norm(first(inputs), training=training))
        x = keras.ops.tanh(second(keras.ops.average_pool(x, 2, 2)))
        return top(keras.ops.mean(x, axis=(1, 2)))


@pytest.mark.slow
def test_subclassed_models_train_like_functional_ones(rng):
    x, y = batch(rng)
    found = []
    for subclassed in (False, True):
        student, teacher = student_of(), teacher_of()
        if subclassed:
            student, teacher = SubclassedNetwork(student), SubclassedNetwork(teacher)
            with pytest.raises(ValueError, match="must have been called on it"):
                AttentionDistiller(student, teacher, PAIRS)
            student(x), teacher(x)
        distiller = ready(AttentionDistiller(student, teacher, PAIRS, alpha=0.5))
        history = distiller.fit(x, y, epochs=2, shuffle=False, verbose=0).history
        assert distiller.teacher is teacher
        found.append([history["loss"], *student.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
