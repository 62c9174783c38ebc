"""The state of a training in its run folder: whole after every epoch, whatever happens."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.cli import run_folder
from keras_attention.files import write_whole


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
