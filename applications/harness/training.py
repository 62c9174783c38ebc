"""Training jobs: parallel processes, seeds, checkpoints, measurements."""

import hashlib
import json
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from harness import reports
from harness.protocols import Protocol
from keras_attention.datasets import DatasetInfo
from keras_attention.utils.io import write_atomically

AnyJob = TypeVar("AnyJob")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """Settings of a training.

    Attributes:
        row: Row of a table: a network, with a `label` and an `identity` for CSV files.
        seed: Random seed.
        protocol: Training protocol.
        data: Data set, by its name in `ka.datasets`.
    """

    row: Any
    seed: int
    protocol: Any
    data: str

    @property
    def label(self) -> str:
        """Name in reports."""
        return self.row.label

    @property
    def identity(self) -> dict[str, Any]:
        """First columns of CSV files."""
        return {**self.row.identity, "seed": self.seed}

    @property
    def info(self) -> DatasetInfo:
        """Description of the data set."""
        return ka.datasets.find(self.data)

    def load(self, split: str, **options: Any) -> tf.data.Dataset:
        """Loads a split, by default as single examples; the test split is that of seed 0."""
        options = {"seed": self.seed if split == "train" else 0, **options}
        sizes = {"size": self.protocol.size, "train_size": self.protocol.train_size}
        return ka.datasets.load(self.data, split, **sizes, **options)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Measurements of a trained network.

    Attributes:
        job: Settings of the training.
        seconds: Wall-clock time of the training, including the measurements after each epoch.
        parameters: Number of trainable parameters.
        macs: Multiply-accumulates per example; None if they cannot be counted.
        scores: Measurements by name, usually errors in percent; empty if the training diverged.
        steps: Number of executed steps.
        curve: Loss and errors after each epoch.
        path: Checkpoint of the network; None if it is not stored.
        loaded: If True, the result was loaded from an earlier run.
    """

    job: Any
    seconds: float
    parameters: int
    macs: int | None
    scores: dict[str, float]
    steps: int = 0
    curve: Sequence[dict[str, float]] = ()
    path: Path | None = None
    loaded: bool = False

    @property
    def diverged(self) -> bool:
        """True if the training ended with NaN or infinite weights."""
        return not self.scores

    @property
    def line(self) -> str:
        """Line that is printed after the training."""
        return reports.line_of(f"{self.job.label}, seed {self.job.seed}", self)

    def record(self) -> dict[str, Any]:
        """Returns the columns of `results.csv`: identity, scores and protocol."""
        file = {"file": self.path.name} if self.path else {}
        return {
            **self.job.identity,
            **reports.score_record(self),
            **self.job.protocol.record(),
            **file,
        }

    def network(self) -> keras.Model:
        """Loads the trained network from its checkpoint."""
        return keras.models.load_model(self.path, compile=False)


def digest(job: Any) -> str:
    """Returns a text for file names that is different for different settings."""
    return hashlib.sha256(repr(job).encode()).hexdigest()[:12]


def run_in_processes(
    function: Callable[[AnyJob, int], Result], jobs: Sequence[AnyJob], processes: int
) -> Iterator[Result]:
    """Calls `function(job, threads)` for each job in parallel; yields the results in order."""
    processes = max(1, min(processes, len(jobs)))
    threads = max(1, os.cpu_count() // processes)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        futures = [pool.submit(function, job, threads) for job in jobs]
        for future in futures:
            yield future.result()


def prepare_process(seed: int, threads: int) -> None:
    """Sets the seed and the number of threads, and makes TensorFlow deterministic."""
    # Training many networks in one process is intended: no warnings about retracing.
    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


class EpochTimer(keras.callbacks.Callback):
    """Records the times at which epochs end."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.ends = [time.perf_counter()]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Time of all epochs."""
        return self.ends[-1] - self.ends[0]

    def step_seconds(self, steps: int) -> float:
        """Returns the median time of a step, without the first epoch if there are more."""
        epochs = np.diff(self.ends)
        return float(np.median(epochs[1:] if len(epochs) > 1 else epochs)) / steps


class CurveRecorder(keras.callbacks.Callback):
    """Records the loss and further measurements after each epoch.

    Args:
        measure: Function of the model and the logs of an epoch that returns measurements by name.
    """

    def __init__(self, measure: Callable[[keras.Model, dict[str, Any]], dict[str, float]]):
        super().__init__()
        self.measure = measure
        self.curve: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        line = {"epoch": epoch + 1, "loss": float(logs["loss"])}
        self.curve.append(line | self.measure(self.model, logs))


def fit(
    model: keras.Model,
    batches: tf.data.Dataset,
    protocol: Protocol,
    steps_per_epoch: int | None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options: Any,
) -> tuple[dict[str, list[float]], float]:
    """Trains a compiled model; returns its history and the wall-clock time in seconds."""
    start = time.perf_counter()
    history = model.fit(
        batches.prefetch(tf.data.AUTOTUNE),
        epochs=protocol.epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=list(callbacks),
        shuffle=False,
        verbose=0,
        **options,
    ).history
    return history, time.perf_counter() - start


def is_finite(model: keras.Model) -> bool:
    """Returns True if no weight of the model is NaN or infinite."""
    return all(np.isfinite(values).all() for values in model.get_weights())


def counts(model: keras.Model, shape: Sequence[int] | None = None) -> dict[str, int | None]:
    """Returns the number of trainable parameters and of multiply-accumulates of a model.

    The second is None if a layer cannot be counted.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            macs = ka.inspect.count_macs(model, shape)
        except UserWarning:
            macs = None
    return {"parameters": ka.inspect.trainable_parameters(model), "macs": macs}


def moments(examples: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and variance of each channel over single images with labels."""
    batches = examples.batch(1024).as_numpy_iterator()
    pixels = [images.reshape(-1, images.shape[-1]) for images, _ in batches]
    count = sum(map(len, pixels))
    mean = sum(part.sum(axis=0, dtype="float64") for part in pixels) / count
    return mean, sum(np.square(part - mean).sum(axis=0) for part in pixels) / count


def error_percent(model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
    """Returns the classification error over all batches of all data sets, in percent."""
    wrong = [
        model.predict_on_batch(images).argmax(axis=-1) != labels.numpy()
        for batches in tests
        for images, labels in batches
    ]
    return 100 * float(np.mean(np.concatenate(wrong)))


def save_result(result: TrainingResult, network: keras.Model) -> None:
    """Writes the network to `result.path`, then the measurements to a JSON file next to it.

    Each file is written atomically, and the JSON file last: if it exists, the network is complete.
    """
    path = result.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, network.save)
    measured = asdict(result)
    for name in ("job", "path", "loaded"):
        del measured[name]
    reports.write_text(path.with_suffix(".json"), json.dumps(measured))


def load_result(path: Path) -> dict[str, Any] | None:
    """Returns the measurements that an earlier run stored for the network at `path`.

    Returns None if there are none or, with a warning, if a file is corrupt.
    """
    measured = path.with_suffix(".json")
    if not (measured.is_file() and path.is_file()):
        return None
    try:
        found = json.loads(measured.read_text(encoding="utf-8"))
        with zipfile.ZipFile(path) as archive:
            torn = archive.testzip()
        if torn is None:
            return found
        fault = f"the checksum of {torn} is wrong"
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        fault = str(error)
    warnings.warn(f"{path.name} is corrupt ({fault}) and is trained again.", stacklevel=2)
    return None


def inference_call(model: keras.Model, images: tf.Tensor) -> Callable[[], Any]:
    """Returns a function that runs the compiled model on a batch, for `interleaved_timing`."""
    # A concrete function each: TensorFlow warns if one function is traced for many networks.
    call = tf.function(lambda x: model(x, training=False)).get_concrete_function(images)
    return lambda: call(images).numpy()


def training_step_call(model: keras.Model, batch: Sequence[Any]) -> Callable[[], Any]:
    """Returns a function that trains the model for a step, for `interleaved_timing`."""
    return lambda: model.train_on_batch(*batch)
