import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import backend
from keras_attention.distillation.distiller import _have_same_sides
from tests.distillation.models import (
    KINDS,
    PAIRS,
    TASK,
    batch,
    ready,
    student_of,
    teacher_of,
)
from tests.harness import ON_TENSORFLOW, cross_section, in_graphs_if_slow

AttentionDistiller = ka.training.AttentionDistiller
GradientAttention = ka.training.GradientAttention
layers = keras.layers


def expected_terms(student, teacher, x, y):
    """Computes the terms of the loss in inference with public functions."""
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


def test_loss_is_the_sum_of_its_terms(rng):
    student, teacher = student_of(), teacher_of()
    x, y = batch(rng)
    distiller = ready(AttentionDistiller(student, teacher, PAIRS, beta=50.0, alpha=0.9))
    attention, distillation, task = expected_terms(student, teacher, x, y)
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)
    expected = {
        "attention_loss": 50.0 * attention,
        "distillation_loss": 0.9 * distillation,
        "task_loss": 0.1 * task,
    }
    assert {term: found[term] for term in expected} == pytest.approx(expected, rel=1e-4)
    assert found["loss"] == pytest.approx(sum(expected.values()), rel=1e-4)


@pytest.mark.parametrize(
    "kind",
    cross_section(KINDS, fast={"attention", "all"}) if ON_TENSORFLOW else ["attention", "all"],
)
@in_graphs_if_slow
def test_training_changes_only_the_student(rng, kind, eagerly):
    student, teacher = student_of(), teacher_of()
    x, y = batch(rng)
    distiller = AttentionDistiller(student, teacher, **KINDS[kind])
    ready(distiller, rate=1e-3, run_eagerly=eagerly)
    teacher_weights = [weight.copy() for weight in teacher.get_weights()]
    first = distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    state = [weight.copy() for weight in distiller.get_weights()]
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"] == first
    for now, before in zip(distiller.get_weights(), state, strict=True):
        np.testing.assert_array_equal(now, before)
    before = [weight.numpy().copy() for weight in distiller.trainable_weights]
    losses = distiller.fit(x, y, epochs=4, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for weight, old in zip(distiller.trainable_weights, before, strict=True):
        # The bias of `first` gets no gradient, because batch normalization follows it.
        assert not np.array_equal(weight.numpy(), old) or weight.path.startswith("first/bias")
    for now, old in zip(teacher.get_weights(), teacher_weights, strict=True):
        np.testing.assert_array_equal(now, old)
    np.testing.assert_allclose(distiller(x, training=False), student(x, training=False), rtol=1e-5)


def test_student_is_called_once_per_step(rng):
    """Moving statistics are updated once, as in training without a teacher."""
    alone, distilled = student_of(), student_of()
    x, y = batch(rng)
    alone.compile(keras.optimizers.SGD(0.0), TASK, jit_compile=False)
    alone.fit(x, y, epochs=2, verbose=0)
    options = {"pairs": PAIRS, "alpha": 0.5, "gradient": ["transfer", "min_l2"]}
    ready(AttentionDistiller(distilled, teacher_of(), **options), rate=0.0).fit(
        x, y, epochs=2, verbose=0
    )
    for one, other in zip(alone.get_weights(), distilled.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_losses_of_the_student_are_kept(rng):
    """Weight decay and losses that layers add are counted once."""
    options = {"kernel_regularizer": "l2", "activity_regularizer": keras.regularizers.L2(0.1)}
    alone, distilled = student_of(**options), student_of(**options)
    x, y = batch(rng)
    alone.compile("sgd", TASK, jit_compile=False)
    plain = alone.evaluate(x, y, verbose=0)
    distiller = ready(AttentionDistiller(distilled, teacher_of(**options), PAIRS, beta=0.0))
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(plain)
    distiller = ready(
        AttentionDistiller(distilled, None, gradient=GradientAttention("symmetry", weight=0.0))
    )
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(plain)


def test_examples_with_weight_zero_do_not_count(rng):
    x, y = batch(rng)
    other = x.copy()
    other[4:] = rng.normal(size=other[4:].shape)
    weights = np.repeat([1.0, 0.0], 4)
    distiller = ready(AttentionDistiller(student_of(), teacher_of(), **KINDS["all"]))
    found = [
        distiller.evaluate(images, y, sample_weight=weights, verbose=0) for images in (x, other)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_metrics_are_those_of_the_student(rng):
    x, y = batch(rng)
    student = student_of()
    distiller = ready(AttentionDistiller(student, teacher_of(), PAIRS), metrics=["accuracy"])
    found = distiller.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]
    assert found == pytest.approx(np.mean(student.predict(x, verbose=0).argmax(-1) == y))


def test_weights_follow_schedules(rng):
    """Schedules count training batches, not batches of evaluations."""
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


def test_probabilities_give_the_same_loss_as_logits(rng):
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


class SameLoss(ka.losses.AttentionTransferLoss):
    """Subclass, for which the distiller extracts whole maps in place of mean squares."""


def test_mean_squares_train_like_maps(rng):
    x, y = batch(rng)
    found = []
    for loss in (ka.losses.AttentionTransferLoss(), SameLoss()):
        distiller = ready(AttentionDistiller(student_of(), teacher_of(), PAIRS, loss))
        history = distiller.fit(x, y, epochs=3, shuffle=False, verbose=0).history
        found.append([history["loss"], *distiller.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_sides_are_compared_in_the_data_format_of_the_loss():
    """The maps differ in the last axis: the channels, or the width with channels first."""
    models = [
        keras.Sequential([keras.Input((3, 4, side)), layers.Activation("tanh", name="map")])
        for side in (5, 6)
    ]
    student, teacher = models
    pairs = [("map", ("map",))]
    assert _have_same_sides(student, [teacher], pairs, "channels_last")
    assert not _have_same_sides(student, [teacher], pairs, "channels_first")


def images_of(side=8, channels=2):
    return keras.Input((side, side, channels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "At least one of `pairs`"),
        ({"pairs": ["frist"]}, "Did you mean 'first'"),
        ({"pairs": [("first", "deeep")]}, "Did you mean 'deep'"),
        ({"pairs": ["top"]}, r"must return maps.*'top' with shape \(None, 3\)"),
        ({"pairs": "first"}, "`pairs` must be a list"),
        ({"pairs": [("first", "deep", "x")]}, "`pairs` must be a list"),
        ({"hints": [("first", "deep")]}, "same spatial sizes"),
        ({"pairs": PAIRS, "beta": -1.0}, "`beta` must be"),
        ({"pairs": PAIRS, "beta": "high"}, "`beta` must be"),
        ({"alpha": 1.5}, "`alpha` must be at most 1"),
        ({"alpha": 0.5, "temperature": 0}, "`temperature` must be"),
        ({"gradient": "transform"}, "Did you mean 'transfer'"),
        ({"gradient": 3}, "`gradient` must be"),
        (
            {"gradient": [GradientAttention(), GradientAttention("min_l2", layer="first")]},
            "must use the same layer",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        AttentionDistiller(student_of(), teacher_of(), **options)


def test_teacher_must_match_the_student():
    gray = keras.Sequential([images_of(channels=1), layers.Conv2D(3, 1, name="first")])
    with pytest.raises(ValueError, match="inputs of the same shape"):
        AttentionDistiller(student_of(), gray, ["first"])
    with pytest.raises(ValueError, match="inputs of the same shape"):
        AttentionDistiller(student_of(), teacher_of(side=10), gradient="transfer")
    with pytest.raises(ValueError, match="`model` must be a functional or sequential"):
        AttentionDistiller("student", teacher_of(), PAIRS)
    with pytest.raises(ValueError, match="`teacher` must be a Keras model"):
        AttentionDistiller(student_of(), None, PAIRS)
    classes = keras.Sequential([images_of(), layers.Flatten(), layers.Dense(7)])
    with pytest.raises(ValueError, match="with the same classes"):
        AttentionDistiller(student_of(), classes, alpha=0.5)


def test_distiller_has_no_config():
    distiller = AttentionDistiller(student_of(), teacher_of(), PAIRS)
    with pytest.raises(NotImplementedError, match=r"distiller\.student"):
        distiller.get_config()


def test_number_of_replicas():
    assert backend.replicas() == 1
