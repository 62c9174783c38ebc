"""`fit` that survives kills, full disks and preemption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attention.backend import fit_looks_ahead
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
    check_fits,
    set_variables,
    termination_noticed,
    training_variables,
)
from keras_attention.utils.io import locked
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
    """Fits a model, or goes on from the last checkpoint in the folder, as if nothing had happened.

    Call it again after a kill, with the same model, data and callbacks: weights, optimizer,
    schedules, metrics, dropout, what callbacks count and the place in the data go on, and what
    comes out is equal to the bit to what one call would have brought, where the backend repeats
    itself (`keras.utils.set_random_seed` before the model is made, and with TensorFlow
    `tf.config.experimental.enable_op_determinism()`). What is drawn from a generator that belongs
    to no layer, such as by `tf.random.normal`, starts anew.

    Checkpoints are written at the end of each epoch, and in between as asked. They are whole
    whenever a process is killed, and verified when they are read: one that is corrupt, or of
    another model, is left for the one before it, with a warning. After SIGTERM there is one more
    at the end of the step, and `SystemExit` with code 143.

    Callbacks of Keras that stop early, lower the learning rate or keep the best model go on, and
    those of this package. Of your own, those that count something need `get_state()`, which returns
    a dictionary of numbers, texts, arrays and lists of such, and `set_state(state)`, called after
    `on_train_begin`. Within an epoch `fit` is called once for the rest of it and once for the
    others, so `on_train_begin` and `on_train_end` are called twice.

    Args:
        model: Compiled; a new one, or one trained elsewhere, as at the first call.
        batches: Makes the `tf.data.Dataset` of one epoch anew, in batches, with a seed for each
            order. It is called more than once: to iterate over a shuffled data set changes its
            order of the next time.
        folder: For checkpoints, made where there is none.
        epochs: Of the whole training; later calls may ask for more.
        every_steps: Steps from one checkpoint within epochs to the next; None, the default, for
            none.
        every_seconds: Seconds after which a step is followed by a checkpoint; 600 by default, None
            for none.
        keep: How many checkpoints to keep; 2 by default.
        callbacks: As of `fit`.
        report: Is given the rows that are kept, when it begins and after each epoch.
        **options: Others of `fit`, such as `validation_data`, in an order that stays; with
            `steps_per_epoch` the data may be endless.

    Returns:
        A row for each epoch: its number, from 1, and its logs.

    Raises:
        ValueError: For data or a model other than at the first call, a folder in use, checkpoints
            none of which is of use, or a loss or weights that are not finite: checkpoints from
            before stay.
        OSError: When the folder cannot be written to; checkpoints from before stay.

    Example:
    >>> import tempfile
    >>> import tensorflow as tf
    >>> def batches():
    ...     data = tf.data.Dataset.from_tensor_slices((tf.eye(8), tf.range(8)))
    ...     return data.shuffle(8, seed=1).batch(2)
    >>> def model():
    ...     keras.utils.set_random_seed(0)
    ...     made = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)])
    ...     made.compile("adam", "sparse_categorical_crossentropy")
    ...     return made
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
    facts = {"steps": steps, "first_batch": _digest(example)}
    folder = Path(folder)
    with locked(folder), termination_noticed() as notice:
        training = _Training(
            model=model,
            batches=batches,
            example=example,
            checkpoints=Checkpoints(folder, keep),
            schedule=Schedule(steps, every_steps, every_seconds),
            facts=facts,
            callbacks=list(callbacks),
            notice=notice,
            report=report,
            options={"shuffle": False, **options},
        )
        while not training.fit_on(epochs):
            pass
    return training.rows


class _Training:
    """One call of `resumable_fit`: a `fit` for what is left of an epoch, one for the others."""

    def __init__(
        self,
        model: keras.Model,
        batches: Batches,
        example: Any,
        checkpoints: Checkpoints,
        schedule: Schedule,
        facts: dict[str, Any],
        callbacks: list[Any],
        notice: PreemptionFlag,
        report: Callable[[Rows], Any],
        options: dict[str, Any],
    ):
        self.model, self.batches, self.example = model, batches, example
        self.checkpoints, self.schedule, self.facts = checkpoints, schedule, facts
        self.callbacks, self.notice, self.report = callbacks, notice, report
        self.options = options
        self.rows: Rows = []

    def fit_on(self, epochs: int) -> bool:
        """Goes on from the last checkpoint; returns whether all epochs are done."""
        moment = self.checkpoints.newest(self._check)
        at = Position() if moment is None else self._restore(moment)
        first = min(at.epoch, epochs)
        last = first if at.stopped else min(first + 1, epochs) if at.step else epochs
        recorder = CheckpointCallback(
            checkpoints=self.checkpoints,
            schedule=self.schedule,
            start=at,
            moment=moment,
            rows=self.rows,
            others=self.callbacks,
            facts=self.facts,
            notice=self.notice,
            report=self.report,
        )
        # Also where nothing is left: what callbacks do at the end may not have been done.
        self.model.fit(
            self._batches_after(at.epoch * self.schedule.steps + at.step),
            epochs=last,
            initial_epoch=first,
            steps_per_epoch=self.schedule.steps - at.step,
            callbacks=[*self.callbacks, recorder],
            **self.options,
        )
        return last == epochs or recorder.at.stopped

    def _batches_after(self, done: int) -> Any:
        """The data from a step on, in the same order whenever they are iterated over."""
        data = self.batches().repeat().skip(done)
        if not fit_looks_ahead(self.model):
            return data

        def anew() -> Any:
            return iter(self.batches().repeat().skip(done))

        return data.from_generator(anew, output_signature=data.element_spec)

    def _restore(self, moment: TrainingState) -> Position:
        set_variables(VARIABLE, training_variables(self.model), moment)
        self.rows = list(moment.facts["rows"])
        if self.rows:
            self.report(self.rows)
        return Position(**moment.facts["position"])

    def _check(self, moment: TrainingState) -> None:
        within = moment.facts["position"]["step"] > 0
        if within or not self.model.built:
            self._build()
        check_fits(VARIABLE, training_variables(self.model), moment)
        if within:
            check_fits(METRIC, self.model.metrics_variables, moment)
        for name, fact in self.facts.items():
            if moment.facts.get(name) != fact:
                raise ValueError(
                    f"It is of other data: {name} was {moment.facts.get(name)!r}, and is {fact!r}."
                )

    def _build(self) -> None:
        """Makes the variables that are made when a model and its metrics are first used."""
        example = self.example if isinstance(self.example, tuple) else (self.example,)
        self.model.test_on_batch(*example)


def _steps(batches: Batches, given: int | None) -> int:
    if given is not None:
        return positive_integer("steps_per_epoch", given)
    count = int(batches().cardinality())
    if count < 1:
        raise ValueError(
            "`steps_per_epoch` must be given for data whose batches cannot be counted. "
            f"Received: batches of cardinality {count}"
        )
    return count


def _digest(batch: Any) -> str:
    """Of the first batch: other data, or another order, have others."""
    digest = hashlib.sha256()
    for part in keras.tree.flatten(batch):
        digest.update(part.tobytes())
    return digest.hexdigest()
