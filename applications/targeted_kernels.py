"""Targeted Kernel Networks on digits: train, compare with the paper's tables, plot, export, serve.

    python applications/targeted_kernels.py --demo
    python applications/targeted_kernels.py --models CNN6 TKN6 --data digits --epochs 80

Reference: Attentive Regularization and Targeted Kernel Networks, tables 2 and 3, figure 4.
"""

import argparse
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import rich
import tensorflow as tf

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
PAPER_STEPS = 20 * 60_000 // 128
PAPER_SCALE_L2 = 1e-4


@dataclass
class Result:
    """What came of training one model over several seeds."""

    model: keras.Model
    errors: list[float] = field(default_factory=list)
    macs: list[int] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    """Trains each model with each seed, prints the table, and shows the attentive ones."""
    options = read_options()
    sizes = {"size": options.size, "train_size": options.train_size}
    test = ka.datasets.load(options.data, "test", 256, **sizes)
    images = np.concatenate([batch.numpy() for batch, _ in test])
    labels = np.concatenate([batch.numpy() for _, batch in test])

    results = {}
    for name in options.models:
        for seed in options.seeds:
            model, seconds = train(name, seed, options, images.shape[1:])
            result = results.setdefault(name, Result(model))
            predicted = model.predict(images, batch_size=256, verbose=0).argmax(axis=-1)
            result.model = model
            result.errors.append(100 * float(np.mean(predicted != labels)))
            result.macs.append(ka.inspect.count_macs(model))
            result.seconds += seconds
            print(
                f"{name} seed {seed}: error {result.errors[-1]:.2f} %, "
                f"{result.macs[-1] / 1e6:.2f}M MACs, trained in {seconds:.0f} s",
                flush=True,
            )

    rich.print(table(results, options, images))
    for name, result in results.items():
        if any(hasattr(layer, "rois") for layer in result.model.layers):
            finish(name, result.model, images, labels, options.output)


def read_options() -> argparse.Namespace:
    """The command line; its defaults are a small protocol in which the methods come apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", action="store_true", help="what `make demo` runs: the defaults")
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
        help=f"L2 weight of the scales; by default the paper's {PAPER_SCALE_L2:g} for its "
        f"{PAPER_STEPS:,} steps, more in proportion for fewer",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/targeted_kernels"))
    return parser.parse_args()


def train(
    name: str, seed: int, options: argparse.Namespace, input_shape: tuple[int, ...]
) -> tuple[keras.Model, float]:
    """Trains one model; returns it and the seconds that it took."""
    keras.utils.set_random_seed(seed)
    data = ka.datasets.load(
        options.data,
        "train",
        options.batch_size,
        seed=seed,
        size=options.size,
        train_size=options.train_size,
    )
    steps = options.epochs * int(data.cardinality())
    own = {}
    if name.startswith("T"):
        scale_l2 = options.scale_l2
        if scale_l2 is None:
            scale_l2 = PAPER_SCALE_L2 * max(1.0, PAPER_STEPS / steps)
        own = {
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
    return model, time.perf_counter() - start


def table(
    results: dict[str, Result], options: argparse.Namespace, images: np.ndarray
) -> rich.table.Table:
    """Our figures beside the paper's."""
    times = time_per_batch({name: result.model for name, result in results.items()}, images)
    first = next(iter(times.values()))
    paper = [PAPER.get((options.data, name), (None, None)) for name in results]
    errors = [result.errors for result in results.values()]
    return ka.inspect.summary_table(
        {name: result.model for name, result in results.items()},
        columns={
            "mean MACs": [
                ka.inspect.short_number(statistics.mean(result.macs)) for result in results.values()
            ],
            "error %": [f"{statistics.mean(e):.2f} +- {deviation(e):.2f}" for e in errors],
            "ms a batch": [f"{1e3 * value:.1f} ({value / first:.2f}x)" for value in times.values()],
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
