"""The callback that writes checkpoints, and sets what `fit` resets when it begins."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from keras_attention.training.resuming import callback_states, variables
from keras_attention.training.resuming.checkpoints import Arrays, Checkpoints, Moment
from keras_attention.training.resuming.termination import Notice, Terminated

Rows = list[dict[str, float]]


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


class Recorder(keras.callbacks.Callback):
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
        moment: Moment | None,
        rows: Rows,
        others: Sequence[Any],
        facts: dict[str, Any],
        notice: Notice,
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
            callback_states.put(self.others, states, self.moment.arrays)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keras has reset the metrics just now."""
        if self.moment is not None:
            if self._before:
                variables.put(variables.METRIC, self.model.metrics_variables, self.moment)
            variables.put_random(self.moment.facts["random"], self.moment.arrays)
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
        arrays: Arrays = variables.take(variables.VARIABLE, variables.of_training(self.model))
        if self.at.step:
            arrays |= variables.take(variables.METRIC, self.model.metrics_variables)
        facts = {
            **self.facts,
            "position": asdict(self.at),
            "rows": rows or self.rows,
            "callbacks": callback_states.take(self.others, arrays),
            "random": variables.take_random(arrays),
        }
        done = self.at.epoch * self.schedule.steps + self.at.step
        self.checkpoints.write(done, Moment(arrays, facts))
        self._written = time.monotonic()

    def _check_loss(self, logs: Any) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            self._refuse(f"The loss is {loss}")

    def _check_weights(self) -> None:
        paths = variables.not_finite(variables.of_training(self.model))
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
