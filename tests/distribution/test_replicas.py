"""Replicas of TensorFlow learn what one device does, and none drifts away from the others."""

import numpy as np
import pytest

from keras_attention import backend
from tests.distribution import training_cases
from tests.harness import ON_TENSORFLOW

pytestmark = pytest.mark.skipif(not ON_TENSORFLOW, reason="strategies are TensorFlow's")
QUICK = ("cbam",)
DEVICES = 2
every_learner = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in training_cases.TRAINING_CASES
        if name != "DCN, normalizing"
    ],
)


def fit_on_replicas(name, count=training_cases.BATCH * training_cases.STEPS):
    """Returns the history of a training on replicas, and its model."""
    with backend.device_scope(DEVICES):
        model = training_cases.built(name)
        with backend.synchronized_batch_norm(model):
            return training_cases.fit(name, model, count), model


def assert_replicas_agree(model):
    for variable in [*model.variables, *model.optimizer.variables]:
        copies = [copy.numpy() for copy in variable.value.values]
        assert len(copies) == DEVICES
        np.testing.assert_array_equal(copies[1], copies[0], err_msg=variable.path)


@every_learner
def test_two_learn_as_one(name):
    alone = training_cases.built(name)
    expected = training_cases.fit(name, alone), training_cases.state(alone)
    history, model = fit_on_replicas(name)
    training_cases.assert_equal((history, training_cases.state(model)), expected)
    assert_replicas_agree(model)
    assert not any(layer.synchronized for layer in training_cases.normalizations(model))


@pytest.mark.slow
def test_losses_of_layers_count_once_with_replicas():
    """They wait for statistics, and each adds its hint, 8 % of this loss, to the same layer."""
    name = "DCN, normalizing"
    expected = training_cases.fit(name, training_cases.built(name))
    history, _ = fit_on_replicas(name)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-3)


@pytest.mark.slow
def test_a_last_batch_that_does_not_divide():
    """Of its 5 examples one replica has 3 and the other 2; Keras takes the mean of both means."""
    name, rows = "san-c", training_cases.BATCH + 5
    _, model = fit_on_replicas(name, rows)
    alone, (x, y) = training_cases.built(name), training_cases.TRAINING_CASES[name].data(rows)
    for _ in range(training_cases.EPOCHS):
        alone.train_on_batch(x[: training_cases.BATCH], y[: training_cases.BATCH])
        shares = np.array([5 / (2 * 3)] * 3 + [5 / (2 * 2)] * 2)
        alone.train_on_batch(
            x[training_cases.BATCH :], y[training_cases.BATCH :], sample_weight=shares
        )
    for got, expected in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
