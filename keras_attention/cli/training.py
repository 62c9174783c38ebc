"""Trains a model into a run folder, epoch by epoch, so that a killed run can go on."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention import applications, backend, datasets
from keras_attention.cli import run_folder
from keras_attention.cli.learners import learner
from keras_attention.cli.run_folder import RunConfig
from keras_attention.files import write_whole

TEST_BATCH = 256


class RunRecorder(keras.callbacks.Callback):
    """Writes the history and all that training needs to go on, after every epoch.

    Args:
        folder: The run's folder.
        rows: The history so far.
    """

    def __init__(self, folder: Path, rows: list[dict[str, float]]):
        super().__init__()
        self.folder, self.rows = folder, rows

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(values["loss"]):
            raise ValueError(
                f"The loss is {values['loss']} after epoch {epoch + 1}, so training stopped; a "
                "lower --learning-rate may help. The run keeps the epoch before."
            )
        self.rows.append({"epoch": epoch + 1, **values})
        save_state(self.folder / run_folder.STATE, self.model, self.rows)
        run_folder.write_history(self.folder, self.rows)


def train(config: RunConfig, folder: Path, resume: bool = False) -> keras.Model:
    """Trains as the configuration says, from the start or from the last whole epoch.

    Args:
        config: What to train.
        folder: The run's folder, with its config.json.
        resume: Whether to go on from the state in the folder.

    Returns:
        The trained model, which is also in the folder.
    """
    backend.make_deterministic(config.seed)
    training, test = load_data(config, "train"), load_data(config, "test")
    steps = int(training.cardinality())
    model = build(config, training)
    fitted, loss = learner(model, datasets.find(config.data).regression)
    compile_for_training(fitted, loss, config, steps)
    rows = load_state(folder / run_folder.STATE, fitted) if resume else []
    done = len(rows)
    if done:
        run_folder.write_history(folder, rows)  # a kill may have come between the two files
    if done < config.epochs:
        fitted.fit(
            # The order of every pass follows from the seed, so passes done are skipped.
            training.repeat().skip(done * steps),
            steps_per_epoch=steps,
            epochs=config.epochs,
            initial_epoch=done,
            validation_data=test,
            callbacks=[RunRecorder(folder, rows)],
            shuffle=False,
        )
    write_whole(folder / run_folder.MODEL, model.save)
    return model


def build(config: RunConfig, data: Any) -> keras.Model:
    """Builds the untrained model of a run.

    Args:
        config: What to train.
        data: What `load_data` returned: its images, or sequences, say the input's shape.

    Raises:
        ValueError: For an unknown model, an option that it does not have, or a shape that it does
            not take, such as that of sequences.
    """
    info = datasets.find(config.data)
    builder = applications.builder(config.model)
    first = keras.config.image_data_format() == "channels_first"
    *sides, channels = data.element_spec[0].shape[1:]
    shape = (channels, *sides) if first else (*sides, channels)
    # Where the label is a number, one unit estimates it as it is.
    options = {"classifier_activation": None} if info.regression else {}
    options |= config.model_options
    try:
        model = builder(input_shape=shape, classes=info.classes, **options)
    except TypeError as error:
        raise ValueError(
            f"`--set` must name options of {config.model}, such as scale_l2=1e-3. "
            f"Received: {config.model_options} ({error})"
        ) from error
    if len(model.outputs) > 1:
        raise ValueError(
            "`MODEL` must give one answer for each image; for house numbers there is "
            f"applications/dynamic_capacity.py. Received: {config.model}"
        )
    return model


def load_data(config: RunConfig, split: str) -> Any:
    """Loads one part of a run's data, in batches."""
    return datasets.load(
        config.data,
        split,
        batch_size=config.batch_size if split == "train" else TEST_BATCH,
        seed=config.seed,
        size=config.size,
        train_size=config.train_size,
    )


def compile_for_training(model: keras.Model, loss: Any, config: RunConfig, steps: int) -> None:
    """Compiles with SGD, Nesterov momentum and two drops of the rate, as in section 4.2."""
    rate = config.learning_rate
    total = steps * config.epochs
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [total // 2, total * 3 // 4], [rate, rate / 10, rate / 100]
    )
    regression = datasets.find(config.data).regression
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        loss,
        metrics=["mean_absolute_error" if regression else "accuracy"],
    )


def save_state(path: Path, model: keras.Model, rows: list[dict[str, float]]) -> None:
    """Writes the history and every variable: weights, statistics, dropout seeds, optimizer's."""
    arrays = {f"variable_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_state(model))}
    names = list(rows[0])
    history = np.array([[row[name] for name in names] for row in rows], dtype="float64")
    write_whole(
        path,
        lambda temporary: np.savez(temporary, names=np.array(names), history=history, **arrays),
    )


def load_state(path: Path, model: keras.Model) -> list[dict[str, float]]:
    """Sets every variable to what `save_state` wrote; returns the history, empty without a file.

    Raises:
        ValueError: When the file is corrupt or of another model.
    """
    if not path.is_file():
        return []
    variables = _state(model)
    try:
        with np.load(path) as data:
            arrays = [data[f"variable_{index}"] for index in range(len(variables))]
            names, history = data["names"].tolist(), data["history"]
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
    except Exception as error:  # whatever a broken zip or a wrong shape raises
        raise ValueError(
            f"Expected the state of a run of {model.name!r}. Received: {str(path)!r} ({error})"
        ) from error
    return [dict(zip(names, _exact(row), strict=True)) for row in history]


def _exact(row: np.ndarray) -> list[float]:
    return [int(row[0]), *(float(value) for value in row[1:])]


def _state(model: keras.Model) -> list[Any]:
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
