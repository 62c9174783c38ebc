"""The callback that writes checkpoints, and sets what `fit` resets when it begins."""

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

from keras_attention.utils.io import remove_partial, write_whole
from keras_attention.utils.validation import positive_integer

Rows = list[dict[str, float]]
VARIABLE, METRIC = "variable", "metric"
Arrays = dict[str, np.ndarray]
# What is not an array, as JSON, and the SHA-256 of everything else in the file.
FACTS, DIGEST = "facts", "sha256"
# Of those in Keras: what they reset when training begins. Others have `get_state`.
KERAS_STATES = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}
# The key of what stands for an array.
ARRAY = "__array__"


class DivergenceError(ValueError):
    """A loss or weights that are infinite or no numbers."""


@dataclass(frozen=True)
class Schedule:
    """When checkpoints are written, other than at the end of each epoch.

    Attributes:
        steps: Of an epoch.
        every_steps: Steps of the whole training from one to the next, None for none.
        every_seconds: Seconds after which there is one, None for none.
    """

    steps: int
    every_steps: int | None
    every_seconds: float | None

    def is_due(self, done: int, seconds: float) -> bool:
        """Whether to write one after so many steps, so long after the last one."""
        by_steps = self.every_steps is not None and done % self.every_steps == 0
        return by_steps or (self.every_seconds is not None and seconds >= self.every_seconds)


@dataclass(frozen=True)
class Position:
    """A place in a training.

    Attributes:
        epoch: Epochs that are done.
        step: Steps that are done of the next one.
        stopped: Whether a callback has ended the training.
    """

    epoch: int = 0
    step: int = 0
    stopped: bool = False

    def __str__(self) -> str:
        return f"step {self.step} of epoch {self.epoch + 1}" if self.step else f"epoch {self.epoch}"


class CheckpointCallback(keras.callbacks.Callback):
    """Writes checkpoints of one `fit`; it comes last, so that the others have counted.

    Args:
        checkpoints: Where they go.
        schedule: When.
        start: Where this `fit` begins.
        moment: What is restored there, or None.
        rows: The logs of epochs that are done; those of this `fit` are added.
        others: The callbacks whose states are kept.
        facts: What is true of all checkpoints of this training.
        notice: Says that the process is to end.
        report: Is given the rows after each epoch that is kept.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        schedule: Schedule,
        start: Position,
        moment: TrainingState | None,
        rows: Rows,
        others: Sequence[Any],
        facts: dict[str, Any],
        notice: PreemptionFlag,
        report: Callable[[Rows], Any],
    ):
        super().__init__()
        self.checkpoints, self.schedule = checkpoints, schedule
        self.at, self.moment, self.rows = start, moment, rows
        self.others, self.facts, self.notice, self.report = others, facts, notice, report
        # Keras counts the steps of this `fit`.
        self._before = start.step
        self._written = time.monotonic()

    def on_train_begin(self, logs: Any = None) -> None:
        """The other callbacks have reset themselves just now."""
        if self.moment is not None:
            states = self.moment.facts["callbacks"]
            set_callback_states(self.others, states, self.moment.arrays)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keras has reset the metrics just now."""
        if self.moment is not None:
            if self._before:
                set_variables(METRIC, self.model.metrics_variables, self.moment)
            set_random_states(self.moment.facts["random"], self.moment.arrays)
        self.moment = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        steps = self.schedule.steps
        self.at = Position(self.at.epoch, self._before + batch + 1)
        self._check_loss(logs)
        if self.at.step >= steps:
            return  # the end of the epoch writes
        done, seconds = self.at.epoch * steps + self.at.step, time.monotonic() - self._written
        if self.notice.received or (
            self.schedule.is_due(done, seconds) and not self._model.stop_training
        ):
            self._write()
        self._end_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check_loss(logs)
        values = {name: float(value) for name, value in logs.items()}
        rows = [*self.rows, {"epoch": epoch + 1, **values}]
        self.at = Position(epoch + 1, 0, bool(self.model.stop_training))
        self._before = 0
        self._write(rows)
        self.rows.append(rows[-1])
        self.report(self.rows)
        self._end_if_asked()

    def _write(self, rows: Rows | None = None) -> None:
        self._check_weights()
        arrays: Arrays = get_variables(VARIABLE, training_variables(self.model))
        if self.at.step:
            arrays |= get_variables(METRIC, self.model.metrics_variables)
        facts = {
            **self.facts,
            "position": asdict(self.at),
            "rows": rows or self.rows,
            "callbacks": get_callback_states(self.others, arrays),
            "random": get_random_states(arrays),
        }
        done = self.at.epoch * self.schedule.steps + self.at.step
        self.checkpoints.write(done, TrainingState(arrays, facts))
        self._written = time.monotonic()

    def _check_loss(self, logs: Any) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            self._refuse(f"The loss is {loss}")

    def _check_weights(self) -> None:
        paths = nonfinite_variables(training_variables(self.model))
        if paths:
            self._refuse(f"{paths[0]} is not finite")

    def _refuse(self, what: str) -> None:
        raise DivergenceError(
            f"{what} after {self.at}, so training stopped; a lower learning rate may help. "
            "What was kept before is as it was."
        )

    def _end_if_asked(self) -> None:
        if self.notice.received:
            raise Terminated(f"stopped by SIGTERM after {self.at}, which is kept")


def training_variables(model: keras.Model) -> list[Any]:
    """Weights, statistics, seeds of layers, and the optimizer's variables."""
    if not model.optimizer.built:  # one that scales the loss is built again and again
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def get_variables(kind: str, variables: Sequence[Any]) -> Arrays:
    """Copies values by kind and number."""
    return {f"{kind}.{number}": _bits(_value(one)) for number, one in enumerate(variables)}


def set_variables(kind: str, variables: Sequence[Any], moment: TrainingState) -> None:
    """Sets variables to what `take` copied."""
    for number, variable in enumerate(variables):
        value = moment.arrays[f"{kind}.{number}"]
        variable.assign(value.view(_value(variable).dtype))


def check_fits(kind: str, variables: Sequence[Any], moment: TrainingState) -> None:
    """Refuses a moment of other variables.

    Raises:
        ValueError: For another number of them, or another shape or type.
    """
    kept = {name: one for name, one in moment.arrays.items() if name.startswith(f"{kind}.")}
    fitting = get_variables(kind, variables)
    if _shapes(kept) != _shapes(fitting):
        raise ValueError(
            f"It has {len(kept)} arrays of {kind}s, where the model has {len(fitting)}, or others "
            "in shape or type."
        )


def nonfinite_variables(variables: Sequence[Any]) -> list[str]:
    """The paths of variables with values that are infinite or no numbers."""
    return [
        one.path
        for one in variables
        if keras.backend.is_float_dtype(one.dtype)
        and not np.isfinite(_value(one).astype("float64")).all()
    ]


def get_random_states(arrays: Arrays) -> dict[str, Any]:
    """The states of Python's and NumPy's generators."""
    states = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}
    return pack(states, "random", arrays)


def set_random_states(states: dict[str, Any], arrays: Arrays) -> None:
    """Sets the generators to what `take_random` returned."""
    found = unpack(states, arrays)
    version, words, gauss = found["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(found["numpy"])


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _bits(value: np.ndarray) -> np.ndarray:
    """Types that are not NumPy's own, such as bfloat16, as integers of their size."""
    return value if value.dtype.isbuiltin == 1 else value.view(f"u{value.dtype.itemsize}")


def _shapes(arrays: Arrays) -> dict[str, Any]:
    return {name: (one.shape, one.dtype) for name, one in arrays.items()}


class TrainingState(NamedTuple):
    """What a training needs to go on.

    Attributes:
        arrays: By name, of types that NumPy has by itself.
        facts: What JSON can hold.
    """

    arrays: Arrays
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints in a folder.

    A file is an .npz without pickles, which holds the SHA-256 of what is in it.

    Args:
        folder: Where they are; other files in it are left alone.
        keep: How many of the last ones to keep; 2 by default, so that one may break.

    Example:
    >>> import tempfile
    >>> checkpoints = Checkpoints(Path(tempfile.mkdtemp()))
    >>> for step in (10, 20, 30):
    ...     checkpoints.write(step, TrainingState({"weights": np.zeros(3)}, {"step": step}))
    >>> [path.name for path in checkpoints.paths()]
    ['step-000000020.npz', 'step-000000030.npz']
    >>> checkpoints.newest().facts
    {'step': 30}
    """

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, positive_integer("keep", keep)
        self._good: list[Path] = []

    def paths(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(self.folder.glob("step-*.npz"))

    def write(self, step: int, moment: TrainingState) -> None:
        """Writes a checkpoint, and removes those before the last `keep`."""
        path = self.folder / f"step-{step:09d}.npz"
        write_whole(path, lambda temporary: write_moment(temporary, moment))
        self._good = [*(good for good in self._good if good != path), path][-self.keep :]
        for other in self.paths():
            if other not in self._good:
                other.unlink()

    def newest(
        self, check: Callable[[TrainingState], None] = lambda moment: None
    ) -> TrainingState | None:
        """Reads the last checkpoint that is whole and fits; None where there is no file.

        Args:
            check: Raises ValueError for a moment that does not fit.

        Raises:
            ValueError: When there are files, and none is of use.
        """
        remove_partial(self.folder)
        faults = []
        for place, path in reversed(list(enumerate(self.paths()))):
            try:
                moment = read_moment(path)
                check(moment)
            except ValueError as error:
                faults.append(str(error))
                continue
            # Those after it are not of use: the next one that is written replaces them.
            self._good = self.paths()[: place + 1]
            if faults:
                warnings.warn(
                    f"{' '.join(faults)} Going on from the one before: {path.name}.", stacklevel=2
                )
            return moment
        if faults:
            raise ValueError(
                f"No checkpoint in {str(self.folder)!r} is of use, so this training cannot go on: "
                "put back a copy of one, or train anew into another folder. "
                f"Received: {' '.join(faults)}"
            )
        return None


def write_moment(path: Path, moment: TrainingState) -> None:
    """Writes a moment under exactly this name."""
    arrays = {**moment.arrays, FACTS: np.array(json.dumps(moment.facts))}
    with path.open("wb") as file:
        np.savez(file, **arrays, **{DIGEST: np.array(_digest(arrays))})


def read_moment(path: Path) -> TrainingState:
    """Reads what `write_moment` wrote, to the bit.

    Raises:
        ValueError: When the file is anything else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        if arrays.pop(DIGEST).item() != _digest(arrays):
            raise ValueError("its checksum is of other content")
        return TrainingState(arrays, json.loads(arrays.pop(FACTS).item()))
    except Exception as error:  # whatever a broken zip happens to raise
        raise ValueError(f"The checkpoint {path.name} is corrupt ({error}).") from error


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class Terminated(SystemExit):
    """Ends a process with the exit code of one that SIGTERM has ended.

    Example:
    >>> Terminated("stopped after step 7").code
    143
    """

    def __init__(self, message: str):
        super().__init__(message)
        self.code = 128 + signal.SIGTERM


class PreemptionFlag:
    """Whether SIGTERM has come."""

    received = False


@contextlib.contextmanager
def termination_noticed() -> Iterator[PreemptionFlag]:
    """Notes that SIGTERM came, instead of ending there; threads other than the main one cannot."""
    notice = PreemptionFlag()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    before = signal.signal(signal.SIGTERM, lambda *_: setattr(notice, "received", True))
    try:
        yield notice
    finally:
        signal.signal(signal.SIGTERM, before)


def get_callback_states(callbacks: Sequence[Any], arrays: Arrays) -> dict[str, Any]:
    """Returns the states of callbacks for JSON; what are arrays in them it adds to `arrays`."""
    return {
        name: pack(_state_of(callback), name, arrays)
        for name, callback in _named(callbacks)
        if _keeps(callback)
    }


def set_callback_states(callbacks: Sequence[Any], states: dict[str, Any], arrays: Arrays) -> None:
    """Gives callbacks the states of those of the same class, the first to the first."""
    for name, callback in _named(callbacks):
        if name in states:
            state = unpack(states[name], arrays)
            if hasattr(callback, "set_state"):
                callback.set_state(state)
            else:
                vars(callback).update(state)


def pack(value: Any, name: str, arrays: Arrays) -> Any:
    """Makes JSON of numbers, texts, lists and dictionaries; arrays go to `arrays`, by name.

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
        return [pack(one, f"{name}.{place}", arrays) for place, one in enumerate(value)]
    if isinstance(value, np.ndarray) and value.ndim:
        arrays[name] = value
        return {ARRAY: name}
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


def unpack(value: Any, arrays: Arrays) -> Any:
    """Makes of what `pack` returned what it was given, with lists in place of tuples."""
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


def _keeps(callback: Any) -> bool:
    return hasattr(callback, "get_state") or isinstance(callback, tuple(KERAS_STATES))


def _state_of(callback: Any) -> dict[str, Any]:
    if hasattr(callback, "get_state"):
        return callback.get_state()
    names = next(names for kind, names in KERAS_STATES.items() if isinstance(callback, kind))
    return {name: getattr(callback, name) for name in names}
