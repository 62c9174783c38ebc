"""Fuzz tests of every loss, with invalid arguments and data."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import keras_attention as ka
from tests.fuzz.arguments import corrupted
from tests.fuzz.data import SIZES, array, arrays, is_finite
from tests.fuzz.examples import check_examples, few_or_many
from tests.fuzz.outcome import Refused, outcome

MAPS, VECTORS = (3, 5, 4, 2), (3, 4)
SHAPES = {
    "AttentionTransferLoss": (MAPS, MAPS),
    "HintLoss": (MAPS, MAPS),
    "KnowledgeDistillationLoss": (VECTORS, VECTORS),
    "NegativeLogLikelihood": ((3,), VECTORS),
}


def losses_and_gradients(loss, y_true, y_pred):
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return [value, tape.gradient(value, y_pred)]


def test_every_loss_has_a_shape():
    assert set(SHAPES) == set(ka.losses.__all__)


@few_or_many
@pytest.mark.parametrize("name", SHAPES)
def test_arguments(name, examples):
    loss_class = getattr(ka.losses, name)
    pair = [np.zeros(3, "int32") if len(shape) == 1 else array(shape) for shape in SHAPES[name]]

    def check(arguments):
        loss = outcome(lambda: loss_class(**arguments), arguments)
        if loss is not Refused:
            outcome(lambda: loss(*pair), arguments)

    check_examples(examples, check, arguments=corrupted(loss_class, {}, large=True))


@few_or_many
@pytest.mark.parametrize("name", SHAPES)
def test_data(name, examples):
    loss = getattr(ka.losses, name)()

    def check(y_true, y_pred):
        description = [(part.shape, part.dtype, part.max(initial=0)) for part in (y_true, y_pred)]
        outcome(lambda: loss(y_true, y_pred), description)

    first, second = (arrays(shape) for shape in SHAPES[name])
    check_examples(examples, check, y_true=first, y_pred=second)


@few_or_many
@pytest.mark.parametrize("name", SHAPES)
def test_gradients(name, examples):
    loss = getattr(ka.losses, name)()

    def check(sizes, constant):
        pair = [
            np.full(shape, size) if constant else array(shape, "float32", size)
            for shape, size in zip(SHAPES[name], sizes, strict=True)
        ]
        if len(SHAPES[name][0]) == 1:
            pair[0] = np.zeros(3, "int32")
        if name == "NegativeLogLikelihood":  # of log-probabilities
            pair[1] = -np.abs(pair[1])
        values = losses_and_gradients(loss, *[part.astype("float32") for part in pair])
        assert all(is_finite(part) for part in values), (sizes, constant)

    size = st.sampled_from(SIZES)
    check_examples(examples, check, sizes=st.tuples(size, size), constant=st.booleans())
