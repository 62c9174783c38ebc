"""Replicas of TensorFlow learn what one device does, and none drifts away from the others."""

import numpy as np
import pytest

from keras_attention import backend
from tests.distribution import learners
from tests.harness import ON_TENSORFLOW

pytestmark = pytest.mark.skipif(not ON_TENSORFLOW, reason="strategies are TensorFlow's")
QUICK = ("san-c", "cbam")
DEVICES = 2
every_learner = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in learners.LEARNERS
        if name != "DCN, normalizing"
    ],
)


def learned_together(name, count=learners.BATCH * learners.STEPS):
    """What replicas say of each epoch, and their model."""
    with backend.device_scope(DEVICES):
        model = learners.built(name)
        with backend.synchronized_batch_norm(model):
            return learners.learn(name, model, count), model


def assert_replicas_agree(model):
    for variable in [*model.variables, *model.optimizer.variables]:
        copies = [copy.numpy() for copy in variable.value.values]
        assert len(copies) == DEVICES
        np.testing.assert_array_equal(copies[1], copies[0], err_msg=variable.path)


@every_learner
def test_two_learn_as_one(name):
    alone = learners.built(name)
    expected = learners.learn(name, alone), learners.state(alone)
    history, model = learned_together(name)
    learners.assert_equal((history, learners.state(model)), expected)
    assert_replicas_agree(model)
    assert not any(layer.synchronized for layer in learners.normalizations(model))


@pytest.mark.slow
def test_what_a_layer_adds_counts_once_where_replicas_take_turns():
    """They wait for statistics, and each adds its hint, 8 % of this loss, to the same layer."""
    name = "DCN, normalizing"
    expected = learners.learn(name, learners.built(name))
    history, _ = learned_together(name)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-3)


@pytest.mark.slow
def test_a_last_batch_that_does_not_divide():
    """Of its 5 examples one replica has 3 and the other 2; Keras takes the mean of both means."""
    name, rows = "san-c", learners.BATCH + 5
    _, model = learned_together(name, rows)
    alone, (x, y) = learners.built(name), learners.LEARNERS[name].data(rows)
    for _ in range(learners.EPOCHS):
        alone.train_on_batch(x[: learners.BATCH], y[: learners.BATCH])
        shares = np.array([5 / (2 * 3)] * 3 + [5 / (2 * 2)] * 2)
        alone.train_on_batch(x[learners.BATCH :], y[learners.BATCH :], sample_weight=shares)
    for got, expected in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
