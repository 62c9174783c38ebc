"""Outputs that are no softmax, several outputs, several teachers, and stored teacher outputs."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import ON_TENSORFLOW

AttentionDistiller = ka.training.AttentionDistiller
L = keras.layers


def model(ends, side=8, name="conv", seed=0):
    """A convolution, pooling, and layers at the end, or a dictionary of such layers."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((side, side, 2))
    features = L.GlobalAveragePooling2D()(
        L.Conv2D(4, 3, padding="same", activation="relu", name=name)(images)
    )
    outputs = keras.tree.map_structure(lambda end: end(features), ends)
    return keras.Model(images, outputs)


def images(rng, count=6, side=8):
    return rng.uniform(size=(count, side, side, 2)).astype("float32")


def distillation_loss(distiller, x, y, loss="mse"):
    distiller.compile("sgd", loss)
    return distiller.evaluate(x, y, verbose=0, return_dict=True)["distillation_loss"]


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, "float64")))


def log_odds(probabilities):
    probabilities = np.asarray(probabilities, "float64")
    return np.log(probabilities) - np.log1p(-probabilities)


def binary_divergence(teacher, student, temperature):
    """Computes `T^2` times the mean over examples of the sum over units of the binary KL."""
    p, q = sigmoid(teacher / temperature), sigmoid(student / temperature)
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return temperature**2 * divergence.sum(axis=-1).mean()


def test_divergence_of_labels_by_hand():
    loss = ka.losses.KnowledgeDistillationLoss(1.0, multi_label=True)
    # KL(0.75 || 0.5) + KL(0.5 || 0.5) = 0.75 log 1.5 + 0.25 log 0.5
    found = loss([[np.log(3.0), 0.0]], [[0.0, 0.0]])
    assert float(found) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), rel=1e-5)


@pytest.mark.parametrize("units", [1, 5])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_sigmoid_outputs(units, temperature, rng):
    student, teacher = (model(L.Dense(units, activation="sigmoid"), seed=seed) for seed in (0, 1))
    x = images(rng)
    distiller = AttentionDistiller(student, teacher, alpha=1.0, temperature=temperature)
    found = distillation_loss(distiller, x, np.zeros((6, units)))
    logits = (log_odds(one(x)) for one in (teacher, student))
    assert found == pytest.approx(binary_divergence(*logits, temperature), rel=1e-3)


def test_one_logit_is_binary(rng):
    student, teacher = model(L.Dense(1)), model(L.Dense(1, activation="sigmoid"), seed=1)
    x = images(rng)
    distiller = AttentionDistiller(student, teacher, alpha=1.0)
    expected = binary_divergence(log_odds(teacher(x)), np.asarray(student(x)), 4.0)
    assert distillation_loss(distiller, x, np.zeros(6)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("units", [1, 3])
def test_gradient_of_sigmoid_outputs(units, rng):
    student, x = model(L.Dense(units, activation="sigmoid")), images(rng)
    distiller = AttentionDistiller(student, None, gradient="min_l2")
    distiller.compile("sgd", "binary_crossentropy", run_eagerly=ON_TENSORFLOW)
    y = (np.arange(6 * units) % 2).reshape(6, units)
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["gradient_loss"] > 1e-6


def average(units):
    def end(features):
        parts = [L.Dense(units, activation="softmax")(features) for _ in range(2)]
        return L.Average()(parts)

    return end


@pytest.mark.parametrize(
    "end",
    [
        lambda x: L.Dense(3, activation=keras.ops.softmax)(x),
        lambda x: L.Lambda(lambda z: keras.ops.softmax(z))(L.Dense(3)(x)),
        average(3),
    ],
)
def test_probabilities_of_any_form(end, rng):
    student, teacher, x = model(end), model(end, seed=1), images(rng)
    found = distillation_loss(AttentionDistiller(student, teacher, alpha=1.0), x, np.zeros((6, 3)))
    logits = [np.log(np.asarray(one(x))) for one in (teacher, student)]
    expected = ka.losses.KnowledgeDistillationLoss()(*logits)
    assert found == pytest.approx(float(expected), rel=1e-3)


def half(parts):
    return (parts[0] + parts[1]) / 2.0


@pytest.mark.parametrize(
    ("ends", "options", "message"),
    [
        (
            (lambda x: half([L.Softmax()(x), L.Softmax()(x)]), L.Dense(4)),
            {},
            "`from_logits` must be True or False",
        ),
        ((L.Dense(3, activation="softmax"), L.Dense(3, activation="sigmoid")), {}, "both"),
        ((L.Dense(1, activation="softmax"),) * 2, {}, "does not show"),
        ((L.Dense(3, activation="softmax"),) * 2, {"multi_label": True}, "multi_label=True"),
    ],
)
def test_outputs_that_cannot_be_compared(ends, options, message):
    ends = [
        type(end).from_config(end.get_config()) if isinstance(end, L.Layer) else end for end in ends
    ]
    with pytest.raises(ValueError, match=message):
        AttentionDistiller(model(ends[0]), model(ends[1]), alpha=0.5, **options)


def test_several_outputs(rng):
    def make(seed):
        return model({"a": L.Dense(3, activation="softmax"), "b": L.Dense(2)}, seed=seed)

    student, teacher, x = make(0), make(1), images(rng)
    distiller = AttentionDistiller(student, teacher, ["conv"], alpha=1.0)
    labels = {"a": np.zeros((6, 3)), "b": np.zeros((6, 2))}
    found = distillation_loss(distiller, x, labels, {"a": "mse", "b": "mse"})
    ours, theirs = student(x), teacher(x)
    loss = ka.losses.KnowledgeDistillationLoss()
    expected = loss(np.log(theirs["a"]), np.log(ours["a"])) + loss(theirs["b"], ours["b"])
    assert found == pytest.approx(float(expected), rel=1e-3)


def test_segmentation_averages_over_pixels(rng):
    def make(seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((None, None, 2))
        return keras.Model(inputs, L.Conv2D(3, 1, activation="softmax", name="out")(inputs))

    student, teacher, x = make(0), make(1), images(rng)
    distiller = AttentionDistiller(student, teacher, alpha=1.0)
    found = distillation_loss(distiller, x, np.zeros((6, 8, 8, 3)))
    flat = [np.log(np.asarray(one(x))).reshape(-1, 3) for one in (teacher, student)]
    expected = float(ka.losses.KnowledgeDistillationLoss()(*flat))
    assert found == pytest.approx(expected, rel=1e-3)


def test_ensemble_of_teachers(rng):
    student = model(L.Dense(3))
    teachers = [model(L.Dense(3, activation="softmax"), seed=seed) for seed in (1, 2)]
    x = images(rng)
    distiller = AttentionDistiller(student, teachers, ["conv"], beta=10.0, alpha=0.5)
    assert distiller.teacher == teachers
    distiller.compile("sgd", "mse")
    found = distiller.evaluate(x, np.zeros((6, 3)), verbose=0, return_dict=True)
    temperature = 4.0
    soft = np.mean(
        [keras.ops.softmax(np.log(np.asarray(one(x))) / temperature) for one in teachers], axis=0
    )
    own = np.asarray(keras.ops.log_softmax(student(x) / temperature))
    expected = 0.5 * temperature**2 * np.sum(soft * (np.log(soft) - own), axis=-1).mean()
    assert found["distillation_loss"] == pytest.approx(expected, rel=1e-3)

    def attention(one):
        features = keras.Model(one.input, one.get_layer("conv").output)(x)
        return np.asarray(ka.ops.attention_map(features))

    difference = attention(student) - np.mean([attention(one) for one in teachers], axis=0)
    assert found["attention_loss"] == pytest.approx(10.0 * np.mean(difference**2), rel=1e-3)
    distiller.fit(x, np.zeros((6, 3)), verbose=0)


def test_names_of_each_teacher(rng):
    student = model(L.Dense(3))
    teachers = [model(L.Dense(3), name=name) for name in ("first", "second")]
    distiller = AttentionDistiller(student, teachers, [("conv", ["first", "second"])])
    distiller.compile("sgd", "mse")
    found = distiller.evaluate(images(rng), np.zeros((6, 3)), verbose=0, return_dict=True)
    assert found["attention_loss"] == pytest.approx(0.0, abs=1e-6)  # equal seeds
    with pytest.raises(ValueError, match="`pairs` must be"):
        AttentionDistiller(student, teachers, [("conv", ["first"])])


def test_members_of_an_ensemble_with_equal_layer_names(rng):
    def member(number):
        inner = model(L.Dense(3, activation="softmax"), seed=number)
        return keras.Model(inner.input, inner.output, name=f"member{number}")

    inputs = keras.Input((8, 8, 2))
    teacher = keras.Model(inputs, L.Average()([member(1)(inputs), member(2)(inputs)]))
    student = model(L.Dense(3))
    pairs = [("conv", "member2/conv")]
    distiller = AttentionDistiller(student, teacher, pairs, alpha=0.5)
    distiller.compile("sgd", "mse")
    x = images(rng)
    found = distiller.evaluate(x, np.zeros((6, 3)), verbose=0, return_dict=True)
    alone = AttentionDistiller(student, teacher.get_layer("member2"), ["conv"])
    alone.compile("sgd", "mse")
    expected = alone.evaluate(x, np.zeros((6, 3)), verbose=0, return_dict=True)
    assert found["attention_loss"] == pytest.approx(expected["attention_loss"], rel=1e-5)
    with pytest.raises(ValueError, match="'member1/conv', 'member2/conv'"):
        AttentionDistiller(student, teacher, ["conv"])


def test_teacher_of_another_input_size(rng):
    student, teacher = model(L.Dense(3)), model(L.Dense(3), side=12, seed=1)
    x = images(rng)
    distiller = AttentionDistiller(student, teacher, ["conv"], alpha=1.0)
    found = distillation_loss(distiller, x, np.zeros((6, 3)))
    large = keras.ops.image.resize(x, (12, 12))
    expected = ka.losses.KnowledgeDistillationLoss()(teacher(large), student(x))
    assert found == pytest.approx(float(expected), rel=1e-3)


def test_stored_outputs_equal_those_of_the_teacher(rng):
    student, teacher, x = model(L.Dense(3)), model(L.Dense(3), seed=1), images(rng)
    y = np.arange(6) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    live = AttentionDistiller(student, teacher, ["conv"], alpha=0.5)
    live.compile("sgd", loss, metrics=["accuracy"])
    expected = live.evaluate(x, y, verbose=0, return_dict=True)
    maps = np.asarray(keras.Model(teacher.input, teacher.get_layer("conv").output)(x))
    stored = AttentionDistiller(student, None, ["conv"], alpha=0.5, precomputed=True)
    stored.compile("sgd", loss, metrics=["accuracy"])
    labels = {
        "labels": y,
        "teacher_outputs": np.asarray(teacher(x)),
        "teacher_maps": {"conv": maps},
    }
    found = stored.evaluate(x, labels, verbose=0, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-4)
    stored.fit(x, labels, epochs=2, batch_size=3, verbose=0)
    with pytest.raises(ValueError, match="'teacher_maps'"):
        stored.evaluate(x, {"labels": y, "teacher_outputs": labels["teacher_outputs"]}, verbose=0)
    with pytest.raises(ValueError, match="`teacher` must be None"):
        AttentionDistiller(student, teacher, alpha=0.5, precomputed=True)
