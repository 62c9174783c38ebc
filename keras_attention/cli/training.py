"""Trains a model into a run folder, from which a killed run can go on."""

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
from keras_attention.training import resumable_fit
from keras_attention.utils.io import write_whole


def train(
    config: RunConfig,
    folder: Path,
    watchers: Sequence[keras.callbacks.Callback] = (),
    checkpoint_steps: int | None = None,
) -> keras.Model:
    """Trains as the configuration says, from the start or from the folder's last checkpoint.

    Args:
        config: What to train.
        folder: The run's folder, with its config.json.
        watchers: Callbacks that change nothing.
        checkpoint_steps: Steps from one checkpoint within epochs to the next; None for none other
            than by time.

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
                _fit(model, batches, config, folder, watchers, checkpoint_steps)
    write_whole(folder / run_folder.MODEL, model.save)
    return model


def _fit(
    model: keras.Model,
    batches: Any,
    config: RunConfig,
    folder: Path,
    watchers: Sequence[keras.callbacks.Callback],
    checkpoint_steps: int | None,
) -> None:
    steps = int(batches.cardinality())
    regression = datasets.find(config.data).regression
    fitted, loss = learner(model, regression)
    compile_for_training(fitted, loss, config, steps, regression)
    resumable_fit(
        fitted,
        lambda: data.load_training(config, config.batch_size),
        folder / run_folder.CHECKPOINTS,
        epochs=config.epochs,
        every_steps=checkpoint_steps,
        callbacks=watchers,
        report=lambda rows: run_folder.write_history(folder, rows),
        validation_data=data.load_watched(config),
    )
