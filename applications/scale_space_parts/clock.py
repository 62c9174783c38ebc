"""Training by the clock: networks that take turns in one process, medians.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), figures 9 and 10.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras_attention as ka
from scale_space_parts.training import Job, macs_of


@dataclass(frozen=True)
class Timing:
    """A step of training of a job.

    Attributes:
        job: What was trained.
        step_seconds: The median.
        steps: Of the whole training.
        parameters: Numbers that training changes.
        macs: Multiply-accumulates of an example; None where no rule counts them.
    """

    job: Job
    step_seconds: float
    steps: int
    parameters: int
    macs: int | None

    @property
    def seconds(self) -> float:
        """Of the whole training."""
        return self.steps * self.step_seconds


def time_steps(jobs: Sequence[Job], rounds: int, warm_up: int = 3) -> list[Timing]:
    """Times a step of each job; they take turns."""
    prepared = [_prepared(job) for job in jobs]
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(warm_up + rounds):
        for (step, *_), values in zip(prepared, times, strict=True):
            start = time.perf_counter()
            step()
            values.append(time.perf_counter() - start)
    return [
        Timing(job, statistics.median(values[warm_up:]), *facts)
        for job, values, (_, *facts) in zip(jobs, times, prepared, strict=True)
    ]


def _prepared(job: Job) -> tuple[Callable[[], Any], int, int, int | None]:
    """A call that trains for one step, the number of steps, the parameters and the MACs."""
    data = job.load("train")
    model, (examples, labels) = job.compiled(data), next(iter(data))
    steps = job.protocol.epochs * int(data.cardinality())
    facts = (steps, ka.inspect.trainable_parameters(model), macs_of(model))
    return lambda: model.train_on_batch(examples, labels), *facts
