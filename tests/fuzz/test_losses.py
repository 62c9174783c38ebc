"""Every loss: arguments and data that nobody means."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import keras_attention as ka
from tests.fuzz.arguments import spoiled
from tests.fuzz.data import SIZES, array, arrays, is_finite
from tests.fuzz.hunt import hunt, tries
from tests.fuzz.verdict import Refused, taken

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


def test_every_loss_is_here():
    assert set(SHAPES) == set(ka.losses.__all__)


@tries
@pytest.mark.parametrize("name", SHAPES)
def test_arguments(name, examples):
    kind = getattr(ka.losses, name)
    pair = [np.zeros(3, "int32") if len(shape) == 1 else array(shape) for shape in SHAPES[name]]

    def check(arguments):
        loss = taken(lambda: kind(**arguments), arguments)
        if loss is not Refused:
            taken(lambda: loss(*pair), arguments)

    hunt(examples, check, arguments=spoiled(kind, {}))


@tries
@pytest.mark.parametrize("name", SHAPES)
def test_data(name, examples):
    loss = getattr(ka.losses, name)()

    def check(y_true, y_pred):
        about = [(part.shape, part.dtype, part.max(initial=0)) for part in (y_true, y_pred)]
        taken(lambda: loss(y_true, y_pred), about)

    first, second = (arrays(shape) for shape in SHAPES[name])
    hunt(examples, check, y_true=first, y_pred=second)


@tries
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
        found = losses_and_gradients(loss, *[part.astype("float32") for part in pair])
        assert all(is_finite(part) for part in found), (sizes, constant)

    size = st.sampled_from(SIZES)
    hunt(examples, check, sizes=st.tuples(size, size), constant=st.booleans())
