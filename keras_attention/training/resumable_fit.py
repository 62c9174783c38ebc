"""Training that resumes after kills, full disks and preemption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.backend import fit_iterates_twice
from keras_attention.training.training_state import (
    METRIC,
    VARIABLE,
    CheckpointCallback,
    Checkpoints,
    Position,
    PreemptionFlag,
    Rows,
    Schedule,
    TrainingState,
    check_variables,
    preemption_flag,
    set_variables,
    training_variables,
)
from keras_attention.utils.io import folder_lock
from keras_attention.utils.validation import positive_integer, positive_number

Batches = Callable[[], Any]


def resumable_fit(
    model: keras.Model,
    batches: Batches,
    folder: str | Path,
    *,
    epochs: int,
    every_steps: int | None = None,
    every_seconds: float | None = 600.0,
    keep: int = 2,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    report: Callable[[Rows], Any] = lambda rows: None,
    **options: Any,
) -> Rows:
    """Fits a model, or resumes from the last checkpoint in the folder as if nothing had happened.

    After a kill, call it again with the same model, data and callbacks. Weights, optimizer state,
    schedules, metrics, dropout seeds, the state of callbacks and the position in the data are
    restored. The result is equal bit for bit to that of an uninterrupted call if operations are
    deterministic (`keras.utils.set_random_seed` before the model is built, and with TensorFlow
    `tf.config.experimental.enable_op_determinism()`). Random numbers from generators that belong to
    no layer, such as `tf.random.normal`, are not restored.

    A checkpoint is written at the end of each epoch, and within epochs as requested. A kill never
    leaves an incomplete checkpoint. Checkpoints are verified when they are read: a corrupt one, or
    one of another model, is skipped with a warning in favour of the previous one. After SIGTERM
    there is one more checkpoint at the end of the step, and `SystemExit` with code 143.

    The states of `EarlyStopping`, `ReduceLROnPlateau`, `ModelCheckpoint` and the callbacks of this
    package are restored. Other callbacks with a state need `get_state()`, which returns a
    dictionary of numbers, strings, arrays and lists of these, and `set_state(state)`, which is
    called after `on_train_begin`. After resuming within an epoch, `fit` is called once for the rest
    of this epoch and once for the others, so `on_train_begin` and `on_train_end` are called twice.

    Args:
        model: A compiled model, in the same state as at the first call: new, or trained elsewhere.
        batches: Function that returns the batched `tf.data.Dataset` of one epoch, with a fixed seed
            for each shuffle. It is called several times, because iterating over a shuffled dataset
            changes its next order.
        folder: Folder of the checkpoints; it is created if it does not exist.
        epochs: Total number of epochs; a later call may increase it.
        every_steps: Number of steps between checkpoints within epochs. None (default) writes none.
        every_seconds: Number of seconds after which a checkpoint is written within an epoch.
            Defaults to 600; None writes none.
        keep: Number of checkpoints to keep. Defaults to 2.
        callbacks: See `keras.Model.fit`.
        report: Receives the rows of completed epochs, at the start and after each epoch.
        **options: Other arguments of `keras.Model.fit`, such as `validation_data` (in a fixed
            order); with `steps_per_epoch` the dataset may be infinite.

    Returns:
        A row (dictionary) for each epoch: its number, from 1, and its logs.

    Raises:
        ValueError: For other data or another model than at the first call, a folder in use,
            unusable checkpoints, or a loss or weights that are not finite; earlier checkpoints
            stay.
        OSError: If the folder is not writable; earlier checkpoints stay.

    Example:
    >>> import tempfile
    >>> import tensorflow as tf
    >>> def batches():
    ...     data = tf.data.Dataset.from_tensor_slices((tf.eye(8), tf.range(8)))
    ...     return data.shuffle(8, seed=1).batch(2)
    >>> def model():
    ...     keras.utils.set_random_seed(0)
    ...     new = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])
    ...     new.compile("adam", "sparse_categorical_crossentropy")
    ...     return new
    >>> folder = tempfile.mkdtemp()
    >>> first = resumable_fit(model(), batches, folder, epochs=2, verbose=0)
    >>> rows = resumable_fit(model(), batches, folder, epochs=3, verbose=0)
    >>> [row["epoch"] for row in rows], rows[:2] == first
    ([1, 2, 3], True)
    """
    positive_integer("epochs", epochs)
    if every_steps is not None:
        positive_integer("every_steps", every_steps)
    if every_seconds is not None:
        positive_number("every_seconds", every_seconds)
    example = keras.tree.map_structure(np.asarray, next(iter(batches())))
    steps = _steps(batches, options.pop("steps_per_epoch", None))
    metadata = {"steps": steps, "first_batch": _digest(example)}
    folder = Path(folder)
    with folder_lock(folder), preemption_flag() as preemption:
        training = _Training(
            model=model,
            batches=batches,
            example=example,
            checkpoints=Checkpoints(folder, keep),
            schedule=Schedule(steps, every_steps, every_seconds),
            metadata=metadata,
            callbacks=list(callbacks),
            preemption=preemption,
            report=report,
            options={"shuffle": False, **options},
        )
        while not training.resume(epochs):
            pass
    return training.rows


@dataclass
class _Training:
    """One call of `resumable_fit`: `fit` for the rest of an epoch, then for the other epochs."""

    model: keras.Model
    batches: Batches
    example: Any
    checkpoints: Checkpoints
    schedule: Schedule
    metadata: dict[str, Any]
    callbacks: list[Any]
    preemption: PreemptionFlag
    report: Callable[[Rows], Any]
    options: dict[str, Any]
    rows: Rows = field(default_factory=list)

    def resume(self, epochs: int) -> bool:
        """Resumes from the last checkpoint; returns True if all epochs are done."""
        state = self.checkpoints.newest(self._check)
        start = Position() if state is None else self._restore(state)
        first = min(start.epoch, epochs)
        last = first if start.stopped else min(first + 1, epochs) if start.step else epochs
        checkpointing = CheckpointCallback(
            checkpoints=self.checkpoints,
            schedule=self.schedule,
            start=start,
            state=state,
            rows=self.rows,
            callbacks=self.callbacks,
            metadata=self.metadata,
            preemption=self.preemption,
            report=self.report,
        )
        # Called even if all epochs are done: on_train_end of the callbacks may be missing.
        self.model.fit(
            self._batches_after(start.epoch * self.schedule.steps + start.step),
            epochs=last,
            initial_epoch=first,
            steps_per_epoch=self.schedule.steps - start.step,
            callbacks=[*self.callbacks, checkpointing],
            **self.options,
        )
        return last == epochs or checkpointing.position.stopped

    def _batches_after(self, done: int) -> Any:
        """Returns the data from a step on, in the same order in each iteration."""
        data = self.batches().repeat().skip(done)
        if not fit_iterates_twice(self.model):
            return data

        def restart() -> Any:
            return iter(self.batches().repeat().skip(done))

        return data.from_generator(restart, output_signature=data.element_spec)

    def _restore(self, state: TrainingState) -> Position:
        set_variables(VARIABLE, training_variables(self.model), state)
        self.rows = list(state.metadata["rows"])
        if self.rows:
            self.report(self.rows)
        return Position(**state.metadata["position"])

    def _check(self, state: TrainingState) -> None:
        is_within_epoch = state.metadata["position"]["step"] > 0
        if is_within_epoch or not self.model.built:
            self._build()
        check_variables(VARIABLE, training_variables(self.model), state)
        if is_within_epoch:
            check_variables(METRIC, self.model.metrics_variables, state)
        for name, value in self.metadata.items():
            if state.metadata.get(name) != value:
                raise ValueError(
                    f"It was written with other data: {name} was {state.metadata.get(name)!r} and "
                    f"is now {value!r}."
                )

    def _build(self) -> None:
        """Creates the variables of the model and of its metrics by a first call."""
        example = self.example if isinstance(self.example, tuple) else (self.example,)
        self.model.test_on_batch(*example)


def _steps(batches: Batches, given: int | None) -> int:
    if given is not None:
        return positive_integer("steps_per_epoch", given)
    count = int(batches().cardinality())
    if count < 1:
        raise ValueError(
            "`steps_per_epoch` must be set for data with an unknown number of batches. "
            f"Received: batches of cardinality {count}"
        )
    return count


def _digest(batch: Any) -> str:
    """Returns the SHA-256 of the first batch, which differs for other data or another order."""
    digest = hashlib.sha256()
    for part in keras.tree.flatten(batch):
        digest.update(part.tobytes())
    return digest.hexdigest()
