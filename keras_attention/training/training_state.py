"""State of a training: checkpoints, callbacks, random generators and SIGTERM."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attention.utils.io import remove_partial_files, write_atomically
from keras_attention.utils.validation import positive_integer

Rows = list[dict[str, float]]
Arrays = dict[str, np.ndarray]
VARIABLE, METRIC = "variable", "metric"
# Attributes of Keras's callbacks that `fit` resets. Other callbacks provide `get_state`.
KERAS_STATES = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}
# Keys in a checkpoint: the JSON metadata, and the SHA-256 of everything else.
METADATA, DIGEST = "metadata", "sha256"
# Key that replaces an array in JSON.
ARRAY = "__array__"


class DivergenceError(ValueError):
    """A loss or weights that are not finite."""


class Terminated(SystemExit):
    """Exit with the code of a process that was ended by SIGTERM.

    Example:
    >>> Terminated("stopped after step 7").code
    143
    """

    def __init__(self, message: str):
        super().__init__(message)
        self.code = 128 + signal.SIGTERM


class PreemptionFlag:
    """Flag that is set when the process receives SIGTERM."""

    received = False


@contextlib.contextmanager
def preemption_flag() -> Iterator[PreemptionFlag]:
    """Sets a flag on SIGTERM instead of ending the process; in the main thread only."""
    flag = PreemptionFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: setattr(flag, "received", True))
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, previous)


@dataclass(frozen=True)
class Schedule:
    """Times of checkpoints within epochs; there is one at the end of each epoch in any case.

    Attributes:
        steps: Number of steps in an epoch.
        every_steps: Number of steps of the training between checkpoints, or None.
        every_seconds: Number of seconds between checkpoints, or None.
    """

    steps: int
    every_steps: int | None
    every_seconds: float | None

    def is_due(self, done: int, seconds: float) -> bool:
        """Returns True if a checkpoint is due.

        Args:
            done: Number of completed steps.
            seconds: Seconds since the last checkpoint.
        """
        by_steps = self.every_steps is not None and done % self.every_steps == 0
        return by_steps or (self.every_seconds is not None and seconds >= self.every_seconds)


@dataclass(frozen=True)
class Position:
    """Progress of a training.

    Attributes:
        epoch: Number of completed epochs.
        step: Number of completed steps in the next epoch.
        stopped: True if a callback has stopped the training.
    """

    epoch: int = 0
    step: int = 0
    stopped: bool = False

    def __str__(self) -> str:
        return f"step {self.step} of epoch {self.epoch + 1}" if self.step else f"epoch {self.epoch}"


class TrainingState(NamedTuple):
    """Contents of a checkpoint.

    Attributes:
        arrays: Arrays by name, with NumPy's own dtypes.
        metadata: JSON-compatible values.
    """

    arrays: Arrays
    metadata: dict[str, Any]


class CheckpointCallback(keras.callbacks.Callback):
    """Callback that writes checkpoints and restores what `fit` resets when it starts.

    It must be the last callback, so that it saves the other callbacks after they have been updated.

    Args:
        checkpoints: Folder of the checkpoints.
        schedule: Times of checkpoints.
        start: Progress at the start of this `fit`.
        state: State to restore, or None.
        rows: Logs of completed epochs; the epochs of this `fit` are appended.
        callbacks: Other callbacks, whose states are saved.
        metadata: Metadata of all checkpoints of this training.
        preemption: Flag that SIGTERM sets.
        report: Receives the rows after each epoch whose checkpoint is written.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        schedule: Schedule,
        start: Position,
        state: TrainingState | None,
        rows: Rows,
        callbacks: Sequence[Any],
        metadata: dict[str, Any],
        preemption: PreemptionFlag,
        report: Callable[[Rows], Any],
    ):
        super().__init__()
        self.checkpoints, self.schedule = checkpoints, schedule
        self.position, self.state, self.rows = start, state, rows
        self.callbacks, self.metadata = callbacks, metadata
        self.preemption, self.report = preemption, report
        # Keras counts the steps of this `fit` only.
        self._previous_steps = start.step
        self._last_written = time.monotonic()

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the other callbacks, which have reset themselves before this call."""
        if self.state is not None:
            states = self.state.metadata["callbacks"]
            set_callback_states(self.callbacks, states, self.state.arrays)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restores the metrics, which Keras has reset before this call."""
        if self.state is not None:
            if self._previous_steps:
                set_variables(METRIC, self.model.metrics_variables, self.state)
            set_random_states(self.state.metadata["random"], self.state.arrays)
        self.state = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        steps = self.schedule.steps
        self.position = Position(self.position.epoch, self._previous_steps + batch + 1)
        self._check_loss(logs)
        if self.position.step >= steps:
            return  # on_epoch_end writes the checkpoint
        done = self.position.epoch * steps + self.position.step
        seconds = time.monotonic() - self._last_written
        if self.preemption.received or (
            self.schedule.is_due(done, seconds) and not self._model.stop_training
        ):
            self._write()
        self._exit_if_preempted()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check_loss(logs)
        values = {name: float(value) for name, value in logs.items()}
        rows = [*self.rows, {"epoch": epoch + 1, **values}]
        self.position = Position(epoch + 1, 0, bool(self.model.stop_training))
        self._previous_steps = 0
        self._write(rows)
        self.rows.append(rows[-1])
        self.report(self.rows)
        self._exit_if_preempted()

    def _write(self, rows: Rows | None = None) -> None:
        self._check_weights()
        arrays: Arrays = get_variables(VARIABLE, training_variables(self.model))
        if self.position.step:
            arrays |= get_variables(METRIC, self.model.metrics_variables)
        metadata = {
            **self.metadata,
            "position": asdict(self.position),
            "rows": rows or self.rows,
            "callbacks": get_callback_states(self.callbacks, arrays),
            "random": get_random_states(arrays),
        }
        done = self.position.epoch * self.schedule.steps + self.position.step
        self.checkpoints.write(done, TrainingState(arrays, metadata))
        self._last_written = time.monotonic()

    def _check_loss(self, logs: Any) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            self._raise_divergence(f"The loss is {loss}")

    def _check_weights(self) -> None:
        paths = nonfinite_variables(training_variables(self.model))
        if paths:
            self._raise_divergence(f"{paths[0]} is not finite")

    def _raise_divergence(self, reason: str) -> None:
        raise DivergenceError(
            f"{reason} after {self.position}, so training stopped. A lower learning rate may help. "
            "Earlier checkpoints are unchanged."
        )

    def _exit_if_preempted(self) -> None:
        if self.preemption.received:
            raise Terminated(f"stopped by SIGTERM after {self.position}; its checkpoint is written")


class Checkpoints:
    """Checkpoints in a folder.

    A checkpoint is an .npz file without pickles that contains the SHA-256 of its contents.

    Args:
        folder: The folder; other files in it are not touched.
        keep: Number of checkpoints to keep. Defaults to 2, so that one may be corrupt.

    Example:
    >>> import tempfile
    >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()))
    >>> for step in (10, 20, 30):
    ...     checkpoints.write(step, TrainingState({"weights": np.zeros(3)}, {"step": step}))
    >>> [path.name for path in checkpoints.paths()]
    ['step-000000020.npz', 'step-000000030.npz']
    >>> checkpoints.newest().metadata
    {'step': 30}
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, positive_integer("keep", keep)
        self._valid: list[Path] = []

    def paths(self) -> list[Path]:
        """Returns the paths of the checkpoints, oldest first."""
        return sorted(self.folder.glob("step-*.npz"))

    def write(self, step: int, state: TrainingState) -> None:
        """Writes a checkpoint and removes all but the last `keep`."""
        path = self.folder / f"step-{step:09d}.npz"
        write_atomically(path, lambda temporary: write_state(temporary, state))
        self._valid = [*(valid for valid in self._valid if valid != path), path][-self.keep :]
        for other in self.paths():
            if other not in self._valid:
                other.unlink()

    def newest(
        self, check: Callable[[TrainingState], None] = lambda _: None
    ) -> TrainingState | None:
        """Reads the newest valid checkpoint; returns None if there is no checkpoint.

        Args:
            check: Raises a ValueError for a state that does not fit the training.
        """
        remove_partial_files(self.folder)
        errors = []
        for index, path in reversed(list(enumerate(self.paths()))):
            try:
                state = read_state(path)
                check(state)
            except ValueError as error:
                errors.append(str(error))
                continue
            # The next checkpoint replaces the invalid ones after this.
            self._valid = self.paths()[: index + 1]
            if errors:
                warnings.warn(
                    f"{' '.join(errors)} Resuming from the previous checkpoint: {path.name}.",
                    stacklevel=2,
                )
            return state
        if errors:
            raise ValueError(
                f"No checkpoint in {str(self.folder)!r} is valid, so this training cannot resume: "
                "restore a copy of one, or train from the start in another folder. "
                f"Received: {' '.join(errors)}"
            )
        return None


def write_state(path: Path, state: TrainingState) -> None:
    """Writes a training state to exactly this path."""
    arrays = {**state.arrays, METADATA: np.array(json.dumps(state.metadata))}
    with path.open("wb") as file:
        np.savez(file, **arrays, **{DIGEST: np.array(_digest(arrays))})


def read_state(path: Path) -> TrainingState:
    """Reads a training state, equal bit for bit to the one that `write_state` received."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        if arrays.pop(DIGEST).item() != _digest(arrays):
            raise ValueError("the checksum does not match")
        return TrainingState(arrays, json.loads(arrays.pop(METADATA).item()))
    except Exception as error:  # broken zip files raise many kinds of exceptions
        raise ValueError(f"The checkpoint {path.name} is corrupt ({error}).") from error


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def training_variables(model: keras.Model) -> list[Any]:
    """Returns weights, moving statistics, seeds of layers and variables of the optimizer."""
    if not model.optimizer.built:  # a LossScaleOptimizer is built more than once
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def get_variables(kind: str, variables: Sequence[Any]) -> Arrays:
    """Copies the values of variables under numbered names."""
    return {f"{kind}.{number}": _to_builtin(_value(one)) for number, one in enumerate(variables)}


def set_variables(kind: str, variables: Sequence[Any], state: TrainingState) -> None:
    """Assigns the values that `get_variables` returned."""
    for number, variable in enumerate(variables):
        value = state.arrays[f"{kind}.{number}"]
        variable.assign(value.view(_value(variable).dtype))


def check_variables(kind: str, variables: Sequence[Any], state: TrainingState) -> None:
    """Checks that a state belongs to these variables."""
    saved = {name: one for name, one in state.arrays.items() if name.startswith(f"{kind}.")}
    current = get_variables(kind, variables)
    if _shapes_and_dtypes(saved) != _shapes_and_dtypes(current):
        raise ValueError(
            f"It has {len(saved)} arrays of {kind}s and the model has {len(current)}, or their "
            "shapes or dtypes differ."
        )


def nonfinite_variables(variables: Sequence[Any]) -> list[str]:
    """Returns the paths of variables with infinite or NaN values."""
    return [
        one.path
        for one in variables
        if keras.backend.is_float_dtype(one.dtype)
        and not np.isfinite(_value(one).astype("float64")).all()
    ]


def get_callback_states(callbacks: Sequence[Any], arrays: Arrays) -> dict[str, Any]:
    """Returns the JSON-compatible states of callbacks; arrays in them are added to `arrays`."""
    return {
        name: pack(_callback_state(callback), name, arrays)
        for name, callback in _named(callbacks)
        if hasattr(callback, "get_state") or isinstance(callback, tuple(KERAS_STATES))
    }


def set_callback_states(callbacks: Sequence[Any], states: dict[str, Any], arrays: Arrays) -> None:
    """Restores callbacks by their class and their order among callbacks of the same class."""
    for name, callback in _named(callbacks):
        if name in states:
            state = unpack(states[name], arrays)
            if hasattr(callback, "set_state"):
                callback.set_state(state)
            else:
                vars(callback).update(state)


def get_random_states(arrays: Arrays) -> dict[str, Any]:
    """Returns the states of the random generators of Python and NumPy."""
    states = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}
    return pack(states, "random", arrays)


def set_random_states(states: dict[str, Any], arrays: Arrays) -> None:
    """Restores what `get_random_states` returned."""
    unpacked = unpack(states, arrays)
    version, words, gauss = unpacked["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(unpacked["numpy"])


def pack(value: Any, name: str, arrays: Arrays) -> Any:
    """Converts numbers, strings, lists and dictionaries to JSON; arrays are added to `arrays`.

    Example:
    >>> arrays = {}
    >>> packed = pack({"best": np.float64(0.5), "weights": [np.ones(2)]}, "stop", arrays)
    >>> packed, list(arrays)
    ({'best': 0.5, 'weights': [{'__array__': 'stop.weights.0'}]}, ['stop.weights.0'])
    >>> unpack(packed, arrays)
    {'best': 0.5, 'weights': [array([1., 1.])]}
    """
    if keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, dict):
        return {key: pack(one, f"{name}.{key}", arrays) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [pack(one, f"{name}.{index}", arrays) for index, one in enumerate(value)]
    if isinstance(value, np.ndarray) and value.ndim:
        arrays[name] = value
        return {ARRAY: name}
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


def unpack(value: Any, arrays: Arrays) -> Any:
    """Reverses `pack`, with lists in place of tuples."""
    if isinstance(value, dict):
        if ARRAY in value:
            return arrays[value[ARRAY]]
        return {key: unpack(one, arrays) for key, one in value.items()}
    return [unpack(one, arrays) for one in value] if isinstance(value, list) else value


def _named(callbacks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, 0) + 1
        yield f"{kind}-{counts[kind]}", callback


def _callback_state(callback: Any) -> dict[str, Any]:
    if hasattr(callback, "get_state"):
        return callback.get_state()
    names = next(names for kind, names in KERAS_STATES.items() if isinstance(callback, kind))
    return {name: getattr(callback, name) for name in names}


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _to_builtin(value: np.ndarray) -> np.ndarray:
    """Views dtypes that are not NumPy's own, such as bfloat16, as integers of their size."""
    return value if value.dtype.isbuiltin == 1 else value.view(f"u{value.dtype.itemsize}")


def _shapes_and_dtypes(arrays: Arrays) -> dict[str, Any]:
    return {name: (one.shape, one.dtype) for name, one in arrays.items()}
