"""Targeted Kernel Networks on digits: train, compare with the paper's tables, plot, export, serve.

    python applications/targeted_kernels.py
    python applications/targeted_kernels.py --models CNN6 TKN6 --data digits --epochs 80

Reference: Chitta, Targeted Kernel Networks (2018), tables 2 and 3, figure 4.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

import keras_attention as ka

# Error in percent and MACs in millions: the paper's tables 2 (MNIST) and 3 (tlMNIST), Cauchy
# windows, L2 1e-4, beta 2; for TKN6 on MNIST beta 4.
PAPER = {
    ("digits", "CNN6"): (0.42, 368.0),
    ("digits", "TKN6"): (0.43, 28.6),
    ("digits", "DN10"): (0.48, 11.3),
    ("digits", "TDN10"): (0.38, 6.26),
    ("top_left_digits", "CNN6"): (0.83, 1470.0),
    ("top_left_digits", "TKN6"): (0.48, 125.0),
    ("top_left_digits", "DN10"): (0.50, 45.2),
    ("top_left_digits", "TDN10"): (0.38, 25.6),
}
# What the scales' L2 weight and the number of steps multiply to: the paper's 1e-4 for 9,375 steps
# shrinks the regions about as far as 2e-3 for 240, half of what plain proportion would say.
PAPER_SCALE_L2 = 1e-4
L2_TIMES_STEPS = 0.48


def main() -> None:
    """Trains each model with each seed, prints the table, and shows the attentive ones."""
    options = read_options()
    sizes = {"size": options.size, "train_size": options.train_size}
    test = ka.datasets.load(options.data, "test", 256, **sizes)
    images = np.concatenate([batch.numpy() for batch, _ in test])
    labels = np.concatenate([batch.numpy() for _, batch in test])

    models: dict[str, keras.Model] = {}
    errors: dict[str, list[float]] = {name: [] for name in options.models}
    for name, seed, model, seconds in train_all(options, images.shape[1:]):
        predicted = model.predict(images, batch_size=256, verbose=0).argmax(axis=-1)
        models[name] = model
        errors[name].append(100 * float(np.mean(predicted != labels)))
        print(
            f"{name} seed {seed}: error {errors[name][-1]:.2f} %, "
            f"{ka.inspect.count_macs(model) / 1e6:.2f}M MACs, trained in {seconds:.0f} s",
            flush=True,
        )

    Console(width=100).print(table(models, errors, options, images))
    for name, model in models.items():
        if ka.inspect.has_attention(model):
            finish(name, model, images, labels, options.output)


def read_options() -> argparse.Namespace:
    """The command line; its defaults are a small protocol in which the methods come apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["DN10", "TDN10"], metavar="NAME")
    parser.add_argument("--data", default="top_left_digits", help="data set (%(default)s)")
    parser.add_argument("--size", type=int, default=28, help="pixels (%(default)s)")
    parser.add_argument("--train-size", type=int, default=300, help="images (%(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--epochs", type=int, default=40, help="(%(default)s)")
    parser.add_argument("--batch-size", type=int, default=50, help="(%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=0.1, help="(%(default)s)")
    parser.add_argument("--window", default="cauchy", help="cauchy or gaussian (%(default)s)")
    parser.add_argument("--roi", default="mask", help="slice, mask or full (%(default)s)")
    parser.add_argument("--beta", type=float, default=2.0, help="(%(default)s)")
    parser.add_argument(
        "--scale-l2",
        type=float,
        help=f"L2 weight of the scales; by default {L2_TIMES_STEPS} divided by the steps, and at "
        f"least the paper's {PAPER_SCALE_L2:g}",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1 if tf.config.list_physical_devices("GPU") else os.cpu_count(),
        help="trainings at the same time (%(default)s): networks this small keep one core busy",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/targeted_kernels"))
    options = parser.parse_args()
    if ka.datasets.find(options.data).regression:
        parser.error(f"--data must have classes for labels. Received: --data={options.data}")
    return options


def train_all(
    options: argparse.Namespace, input_shape: tuple[int, ...]
) -> Iterator[tuple[str, int, keras.Model, float]]:
    """Trains every model with every seed, some at a time; yields each with its seconds."""
    jobs = [(name, seed) for name in options.models for seed in options.seeds]
    processes = min(options.processes, len(jobs))
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(processes, get_context("spawn")) as pool,
    ):
        paths = [Path(folder) / f"{name}_{seed}.keras" for name, seed in jobs]
        threads = max(1, os.cpu_count() // processes)
        seconds = [
            pool.submit(train, name, seed, options, input_shape, threads, path)
            for (name, seed), path in zip(jobs, paths, strict=True)
        ]
        for (name, seed), path, future in zip(jobs, paths, seconds, strict=True):
            took = future.result()
            yield name, seed, keras.saving.load_model(path), took


def train(
    name: str,
    seed: int,
    options: argparse.Namespace,
    input_shape: tuple[int, ...],
    threads: int,
    path: Path,
) -> float:
    """Trains one model in a process of its own and writes it; returns the seconds it took."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    data = ka.datasets.load(
        options.data,
        "train",
        options.batch_size,
        seed=seed,
        size=options.size,
        train_size=options.train_size,
    )
    steps = options.epochs * int(data.cardinality())
    own = {"classes": ka.datasets.find(options.data).classes}
    if name.startswith("T"):
        scale_l2 = options.scale_l2
        if scale_l2 is None:
            scale_l2 = max(PAPER_SCALE_L2, L2_TIMES_STEPS / steps)
        own |= {
            "window": options.window,
            "roi": options.roi,
            "scale_l2": scale_l2,
            "beta": options.beta,
        }
    model = ka.applications.build(name, input_shape=input_shape, **own)
    rate = options.learning_rate
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [int(0.6 * steps), int(0.8 * steps)], [rate, rate / 10, rate / 100]
    )
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        "sparse_categorical_crossentropy",
    )
    start = time.perf_counter()
    model.fit(data, epochs=options.epochs, verbose=0, shuffle=False)
    seconds = time.perf_counter() - start
    model.save(path)
    return seconds


def table(
    models: dict[str, keras.Model],
    errors: dict[str, list[float]],
    options: argparse.Namespace,
    images: np.ndarray,
) -> Table:
    """Our figures beside the paper's; MACs are those of the last seed."""
    times = time_per_batch(models, images)
    first = next(iter(times.values()))
    paper = [PAPER.get((options.data, name), (None, None)) for name in models]
    return ka.inspect.summary_table(
        models,
        columns={
            "error %": [
                f"{statistics.mean(errors[name]):.2f} +- {deviation(errors[name]):.2f}"
                for name in models
            ],
            "ms, batch 64": [
                f"{1e3 * value:.1f} ({value / first:.2f}x)" for value in times.values()
            ],
            "paper MACs": ["-" if macs is None else f"{macs:g}M" for _, macs in paper],
            "paper error %": ["-" if error is None else f"{error:.2f}" for error, _ in paper],
        },
        title=(
            f"{options.data}, {options.size} pixels, {options.train_size} training images, seeds "
            f"{options.seeds}; the paper's columns: MNIST at 28 or 56 pixels, 60,000 images"
        ),
    )


def deviation(values: list[float]) -> float:
    """The standard deviation over the seeds."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def time_per_batch(
    models: dict[str, keras.Model], images: np.ndarray, batch: int = 64, rounds: int = 25
) -> dict[str, float]:
    """Median seconds of inference on a batch; the models take turns."""
    batch_of_images = tf.constant(images[:batch])
    calls = {
        name: tf.function(lambda x, model=model: model(x, training=False))
        for name, model in models.items()
    }
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call(batch_of_images).numpy()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[3:]) for name, values in times.items()}


def finish(
    name: str, model: keras.Model, images: np.ndarray, labels: np.ndarray, output: Path
) -> None:
    """Draws the attention, says where it went, exports, and classifies with the export."""
    picture = output / f"{name.lower()}_attention.png"
    ka.inspect.plot_attention(model, images[:1], picture)
    print(f"{name}: wrote {picture}")
    for layer in model.layers:
        if hasattr(layer, "rois"):
            row, column = keras.ops.convert_to_numpy(layer.center).mean(axis=1)
            print(f"{name} {layer.name}: mean center at ({row:.2f}, {column:.2f}) of the map")

    path = output / f"{name.lower()}_saved_model"
    ka.export.export_saved_model(
        model, path, inputs=images[:32], tolerance=1e-6, overwrite=path.exists()
    )
    served = tf.saved_model.load(path)
    probabilities = served.serve(tf.constant(images)).numpy()
    difference = np.abs(probabilities - model.predict(images, batch_size=256, verbose=0)).max()
    print(f"{name}: wrote {path}; its outputs differ from the model's by {difference:.1e} at most")
    print(f"{name}: it reads {probabilities[:10].argmax(axis=-1)}; the digits are {labels[:10]}")


if __name__ == "__main__":
    main()
