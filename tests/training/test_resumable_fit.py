"""Interrupted trainings end bit for bit like uninterrupted ones."""

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.training.training_state import DivergenceError, Terminated
from keras_attention.utils.io import folder_lock
from tests.harness import cross_section

STEPS, EPOCHS = 4, 4
FEATURES = np.random.default_rng(1).normal(size=(8, 6)).astype("float32")


EXAMPLES = tf.data.Dataset.from_tensor_slices((FEATURES, np.arange(8) % 3))


def batches(seed=1):
    return EXAMPLES.shuffle(8, seed=seed).batch(2)


def network(optimizer="adam", units=5):
    """Returns a model with a seed, moving statistics and lazily created metrics.

    So small a network takes longer to trace than to train.
    """
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(units), keras.layers.BatchNormalization()]
    layers += [keras.layers.Dropout(0.5), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=True)
    return model


class Do(keras.callbacks.Callback):
    """Callback that calls a function after a step, counted from 1."""

    def __init__(self, step, what):
        super().__init__()
        self.step, self.what = step, what

    def on_train_batch_end(self, batch, logs=None):
        if int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) == self.step:
            self.what()


def interrupt():
    raise KeyboardInterrupt


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def fit(model, folder, callbacks=(), data=batches, epochs=EPOCHS, **options):
    options = {"every_steps": 3, "verbose": 0, "validation_data": EXAMPLES.batch(4), **options}
    rows = ka.training.resumable_fit(
        model, data, folder, epochs=epochs, callbacks=callbacks, **options
    )
    return rows, [np.asarray(value) for value in model.get_weights()]


def averaged():
    return keras.optimizers.Adam(0.05, use_ema=True, ema_overwrite_frequency=None)


def falling():
    rate = keras.optimizers.schedules.CosineDecay(0.1, STEPS * EPOCHS)
    return keras.optimizers.SGD(rate, momentum=0.9)


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.RMSprop(0.01), 4.0)


def stopping():
    early = keras.callbacks.EarlyStopping(
        "loss", min_delta=10.0, patience=2, restore_best_weights=True
    )
    slower = keras.callbacks.ReduceLROnPlateau("loss", min_delta=10.0, patience=1)
    return [early, slower]


@pytest.mark.parametrize(
    ("optimizer", "callbacks", "stops", "policy"),
    cross_section(
        [
            (averaged, stopping, (6, 10), "float32"),
            (falling, list, (1, 3, 12), "mixed_bfloat16"),
            (scaled, list, (7,), "bfloat16"),
        ],
        fast=[averaged],
    ),
)
def test_resumes_bit_for_bit(tmp_path, optimizer, callbacks, stops, policy):
    keras.config.set_dtype_policy(policy)
    rows, weights = fit(network(optimizer()), tmp_path / "whole", callbacks())
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            fit(network(optimizer()), tmp_path / "cut", [*callbacks(), Do(stop, interrupt)])
    again, weights_again = fit(network(optimizer()), tmp_path / "cut", callbacks())
    assert again == rows
    assert len(rows) == (3 if callbacks is stopping else EPOCHS)
    for one, other in zip(weights, weights_again, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "cut" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_resumes_on_two_devices(tmp_path):
    """Where `fit` iterates over data before it begins.

    What is measured after an epoch is of statistics that each device has for itself.
    """

    def replicated():
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = network()
            model.compile(averaged(), "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model

    def learned(rows):
        return [(row["loss"], row["accuracy"]) for row in rows]

    rows, weights = fit(replicated(), tmp_path / "whole", epochs=3)
    with pytest.raises(KeyboardInterrupt):
        fit(replicated(), tmp_path / "cut", [Do(7, interrupt)], epochs=3)
    again, weights_again = fit(replicated(), tmp_path / "cut", epochs=3)
    np.testing.assert_allclose(learned(again), learned(rows), rtol=1e-6)
    for one, other in zip(weights, weights_again, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_sigterm_writes_a_checkpoint(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated, match="after step 2 of epoch 2") as raised:
        fit(network(), tmp_path, [Do(6, terminate)], every_steps=None)
    assert raised.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    kept = ["step-000000004.npz", "step-000000006.npz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    with pytest.raises(Terminated, match="after epoch 2;"):
        fit(network(), tmp_path, [Do(8, terminate)], every_steps=None)


@pytest.mark.parametrize(
    ("every_steps", "message"),
    cross_section(
        [
            (5, "dense/kernel is not finite after step 1 of epoch 2"),
            (6, "loss is nan after step 2"),
        ],
        fast=[6],
    ),
)
def test_nonfinite_values_are_not_saved(tmp_path, every_steps, message):
    model = network()
    spoil = Do(5, lambda: model.layers[0].kernel.assign(np.full((6, 5), np.inf)))
    with pytest.raises(DivergenceError, match=message):
        fit(model, tmp_path, [spoil], every_steps=every_steps)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000004.npz"]
    rows, _ = fit(network(), tmp_path, epochs=2)
    assert len(rows) == 2


def test_other_model_or_data_is_refused(tmp_path):
    fit(network(), tmp_path, epochs=1)
    for model, data in (
        (network(units=6), batches),
        (network("sgd"), batches),
        (network(), lambda: batches(seed=2)),
        (network(), lambda: batches().take(3)),
    ):
        with pytest.raises(ValueError, match="cannot resume"):
            fit(model, tmp_path, data=data)
    with folder_lock(tmp_path), pytest.raises(ValueError, match="in use"):
        fit(network(), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"every_steps": 0}, "every_steps=0"),
        ({"every_seconds": 0}, "every_seconds=0"),
        ({"keep": 0}, "keep=0"),
        ({"data": lambda: batches().repeat()}, "`steps_per_epoch` must be set"),
    ],
)
def test_errors(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fit(network(), tmp_path / "new", **options)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_checkpoint_schedule(tmp_path):
    """Checkpoints by time: here each step exceeds the interval."""
    seen = []

    def check():
        seen.append(sorted(int(path.stem[5:]) for path in tmp_path.glob("step-*")))

    steps = [Do(step, check) for step in range(1, 7)]
    fit(network(), tmp_path, steps, epochs=2, every_steps=None, every_seconds=1e-9, keep=1)
    assert seen == [[], [1], [2], [3], [4], [5]]


def test_infinite_data_and_rows(tmp_path):
    reported = []
    rows, _ = fit(
        network(),
        tmp_path,
        data=lambda: batches().repeat(),
        steps_per_epoch=3,
        epochs=2,
        report=lambda rows: reported.append(len(rows)),
    )
    assert [row["epoch"] for row in rows] == [1, 2]
    assert reported == [1, 2]
