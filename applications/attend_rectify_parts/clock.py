"""Table 2: sizes of the networks and the time to forward a batch, in alternation.

Reference: Rodriguez et al., Attend and Rectify (2018), table 2.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import keras_attention as ka
from attend_rectify_parts.wide import WideJob


@dataclass(frozen=True)
class Timing:
    """A network that was timed.

    Attributes:
        job: Of the network on its data.
        seconds: To forward a batch, the median.
        images: Of the batch.
        parameters: Numbers that training changes.
        macs: Multiply-accumulates of an image.
    """

    job: WideJob
    seconds: float
    images: int
    parameters: int
    macs: int


def time_forward(
    jobs: Sequence[WideJob], images: int, rounds: int, warm_up: int = 2
) -> list[Timing]:
    """Times the untrained networks on random images; they take turns."""
    models = [job.network("softmax") for job in jobs]
    generator = np.random.default_rng(0)
    batches = [generator.random((images, *model.input_shape[1:]), "float32") for model in models]
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(warm_up + rounds):
        for model, batch, values in zip(models, batches, times, strict=True):
            start = time.perf_counter()
            model.predict_on_batch(batch)
            values.append(time.perf_counter() - start)
    return [
        Timing(
            job,
            statistics.median(values[warm_up:]),
            images,
            ka.inspect.trainable_parameters(model),
            ka.inspect.count_macs(model),
        )
        for job, model, values in zip(jobs, models, times, strict=True)
    ]
