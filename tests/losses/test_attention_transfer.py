import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_attention as ka
from tests.golden import TOLERANCE, channels_last, golden
from tests.harness import cross_section, examples

AttentionTransferLoss = ka.losses.AttentionTransferLoss
LOSSES = (AttentionTransferLoss, ka.losses.KnowledgeDistillationLoss, ka.losses.HintLoss)
OPTIONS = [
    {},
    {"form": "norm"},
    {"form": "norm", "order": 1},
    {"form": "norm", "order": 1.5},
    {"p": 1},
    {"p": 1.5},
    {"p": 4},
    {"reduce": "max"},
    {"normalization": "l1"},
]


def gradient(loss, teacher, student):
    teacher = ops.convert_to_tensor(teacher)
    return ka.ops.input_gradient(lambda x: loss(teacher, x), ops.convert_to_tensor(student))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_loss_and_gradient_equal_the_authors_code(index):
    data = golden("at_losses.npz")
    student, teacher = (channels_last(data[f"{who}_act{index}"]) for who in ("student", "teacher"))
    loss = AttentionTransferLoss()
    np.testing.assert_allclose(loss(teacher, student), data[f"at_loss{index}"], **TOLERANCE)
    expected = channels_last(data[f"grad_at_loss_sum_wrt_student_act{index}"])
    np.testing.assert_allclose(gradient(loss, teacher, student), expected, rtol=1e-4, atol=1e-8)


def test_distillation_equals_the_authors_code():
    data = golden("at_losses.npz")
    teacher, student, task = data["teacher_logits"], data["student_logits"], float(data["ce"])
    for temperature, alpha, expected in data["kd_T_alpha_loss"]:
        loss = ka.losses.KnowledgeDistillationLoss(float(temperature))
        total = alpha * float(loss(teacher, student)) + (1 - alpha) * task
        np.testing.assert_allclose(total, expected, **TOLERANCE)
    loss = ka.losses.KnowledgeDistillationLoss()
    np.testing.assert_allclose(loss(teacher, student), data["kl_only_T4"], **TOLERANCE)


def test_gradient_of_distillation_equals_the_authors_code():
    data = golden("at_losses.npz")
    teacher, student = data["teacher_logits"], data["student_logits"]
    distilled = gradient(ka.losses.KnowledgeDistillationLoss(4.0), teacher, student)
    task = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    labels = gradient(task, data["labels"], student)
    total = 0.9 * np.asarray(distilled) + 0.1 * np.asarray(labels)
    np.testing.assert_allclose(total, data["grad_kd_T4_a0.9_wrt_student_logits"], **TOLERANCE)


@pytest.mark.parametrize(
    ("reduce", "p"), [("sum", 1), ("sum", 2), ("sum", 4), ("max", 1), ("max", 2)]
)
def test_both_forms_equal_the_equations(reduce, p):
    data, case = golden("at_paper_maps_gradat_independent.npz"), f"{reduce}_p{p}"
    teacher, student = (channels_last(data[f"{who}_act"]) for who in ("teacher", "student"))
    squared = AttentionTransferLoss(p, reduce)(teacher, student)
    np.testing.assert_allclose(squared, data[f"{case}/code_style_mean_sq"], **TOLERANCE)
    half = AttentionTransferLoss(p, reduce, form="norm")(teacher, student)
    expected = data[f"{case}/eq2_norm_p2_mean_over_batch"]
    np.testing.assert_allclose(2 * half, expected, **TOLERANCE)


SHAPES = [(2, 1, 1, 1), (2, 3, 4, 1), (2, 1, 1, 5)]
DTYPES = ["float32", "float16", "bfloat16"]


@pytest.mark.parametrize(
    ("options", "shape", "dtype"),
    cross_section(
        itertools.product(OPTIONS, SHAPES, DTYPES),
        fast=[(options, SHAPES[0], "float16") for options in OPTIONS],
    ),
    ids=str,
)
def test_loss_and_gradient_are_finite(options, shape, dtype):
    loss = AttentionTransferLoss(**options)
    for value in (0.0, 1.0, 6e4):
        student = ops.cast(ops.full(shape, value), dtype)
        for teacher in (ops.zeros(shape, dtype), ops.ones(shape, dtype)):
            found = loss(teacher, student), gradient(loss, teacher, student)
            for values in found:
                assert np.isfinite(np.asarray(ops.cast(values, "float32"))).all()


@pytest.mark.parametrize("loss", [ka.losses.HintLoss(), AttentionTransferLoss(form="norm")])
def test_distance_of_equal_features_is_zero(loss):
    same = ops.ones((2, 3, 3, 2))
    assert float(loss(same, same)) < 1e-11
    np.testing.assert_array_equal(gradient(loss, same, same), np.zeros(same.shape))
    np.testing.assert_array_equal(gradient(loss, 0 * same, 0 * same), np.zeros(same.shape))


@examples(10)
@given(st.integers(0, 99), st.integers(2, 5), st.sampled_from(LOSSES))
def test_sample_weights(seed, batch, kind):
    rng = np.random.default_rng(seed)
    shape = (batch, 3) if "Knowledge" in kind.__name__ else (batch, 3, 2, 3)
    teacher, student = rng.normal(size=(2, *shape)).astype("float32")
    weights = rng.uniform(size=batch)
    each = np.asarray(kind(reduction=None)(teacher, student))
    assert each.shape == (batch,)
    found = float(kind()(teacher, student, weights))
    np.testing.assert_allclose(found, (each * weights).mean(), rtol=1e-5)


def test_range_of_the_hint_loss(rng):
    teacher = rng.normal(size=(3, 2, 2, 5))
    loss = ka.losses.HintLoss()
    assert float(loss(teacher, -3.0 * teacher)) == pytest.approx(4.0, rel=1e-5)
    assert float(loss(teacher, 3.0 * teacher)) == pytest.approx(0.0, abs=1e-5)


def test_hint_loss_needs_equal_shapes():
    with pytest.raises(ValueError, match="same shape"):
        ka.losses.HintLoss()(np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 4)))


@pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)
def test_losses_are_serialized(kind):
    loss = kind(p=4, reduce="max", order=1) if kind is AttentionTransferLoss else kind()
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert copy.get_config() == loss.get_config()


def test_no_gradient_for_the_teacher(rng):
    teacher, student = rng.normal(size=(2, 2, 3, 3, 4)).astype("float32")
    for kind in (AttentionTransferLoss, ka.losses.HintLoss):
        loss = kind()
        found = ka.ops.input_gradient(
            lambda x, loss=loss: loss(x, ops.convert_to_tensor(student)),
            ops.convert_to_tensor(teacher),
        )
        np.testing.assert_array_equal(found, np.zeros_like(teacher))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 0.5}, "`p` must be 1 or more"),
        ({"p": "two"}, "`p` must be a finite number"),
        ({"form": "l2"}, "`form` must be one of"),
        ({"reduce": "median"}, "`reduce` must be one of"),
        ({"resize": "nearest"}, "`resize` must be one of"),
        ({"normalization": "l3"}, "`normalization` must be one of"),
        ({"order": 0}, "`order` must be"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        AttentionTransferLoss(**options)


@pytest.mark.parametrize("temperature", [0, -1, "hot"])
def test_temperature_is_checked(temperature):
    with pytest.raises(ValueError, match="`temperature` must be"):
        ka.losses.KnowledgeDistillationLoss(temperature)
