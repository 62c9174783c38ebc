"""Trains a model into a run folder, epoch by epoch, so that a killed run can go on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attention import backend, datasets
from keras_attention.cli import data, run_folder
from keras_attention.cli.building import build
from keras_attention.cli.devices import check_backend
from keras_attention.cli.learners import compile_for_training, learner
from keras_attention.cli.run_config import RunConfig
from keras_attention.cli.training_state import RunRecorder, load_state
from keras_attention.files import write_whole


def train(
    config: RunConfig,
    folder: Path,
    resume: bool = False,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Trains as the configuration says, from the start or from the last whole epoch.

    Args:
        config: What to train.
        folder: The run's folder, with its config.json.
        resume: Whether to go on from the state in the folder.
        watchers: Callbacks that change nothing.

    Returns:
        The trained model, which is also in the folder.
    """
    check_backend(config.backend)
    backend.make_deterministic(config.seed)
    with backend.together(config.devices):
        batches = data.load_training(config, config.batch_size)
        model = build(config, batches)
        if config.epochs:
            with backend.normalized_together(model):
                _fit(model, batches, config, folder, resume, watchers)
    write_whole(folder / run_folder.MODEL, model.save)
    return model


def _fit(
    model: keras.Model,
    batches: Any,
    config: RunConfig,
    folder: Path,
    resume: bool,
    watchers: Sequence[keras.callbacks.Callback],
) -> None:
    steps = int(batches.cardinality())
    regression = datasets.find(config.data).regression
    fitted, loss = learner(model, regression)
    compile_for_training(fitted, loss, config, steps, regression)
    rows = load_state(folder / run_folder.STATE, fitted) if resume else []
    done = len(rows)
    if done:
        run_folder.write_history(folder, rows)  # a kill may have come between the two files
    if done < config.epochs:
        fitted.fit(
            data.after_passes(batches, done).repeat(),
            steps_per_epoch=steps,
            epochs=config.epochs,
            initial_epoch=done,
            validation_data=data.load_watched(config),
            callbacks=[RunRecorder(folder, rows), *watchers],
            shuffle=False,
        )
