"""Table 1 and figures 2 and 3 on digits in clutter, section 4.1, and figure 5."""

import statistics
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from harness import reports, training
from harness.options import choose_data
from harness.programs import Run

import keras_attention as ka
from dynamic_capacity_experiment import training as base

DATA = ("cluttered_mnist", "cluttered_digits")
PREFIX = "cluttered_"
HINT_WEIGHT = 0.01
# Number of images generated from each test digit, on the paper's data and on others.
TEST_DRAWS = {True: 1, False: 5}
# Test images have seeds from 0; those whose error is recorded after each epoch have another one.
CURVE_SEED = 1000
TEST_BATCH = 128
# For validation, every fifth digit in a fixed random order is held out.
HELD_OUT, HELD_OUT_SEED = 5, 0
# Sides of an image, of its digit and of a distractor, in pixels.
IMAGE, DIGIT, DISTRACTOR = 100, 28, 8
TABLE1 = base.PAPER[1]
# Margin in percent up to which an error counts as equal to that of the fine model.
MARGIN = 0.5
ROUNDS = 9
PATCHES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24)
SHOWN_IMAGES = 6
# Heights and widths, from the training crops to the largest test images of SVHN.
NUMBER_SIZES = tuple(
    tuple(map(int, side)) for side in np.round(np.linspace((54, 110), (442, 1083), 8)).astype(int)
)
CLUTTERED_SIZES = tuple((side, side) for side in (50, 75, 100, 150, 200, 300, 400))
PANELS = {
    "numbers": (NUMBER_SIZES, {"coarse": "SVHNCoarse", "fine": "SVHNFine", "DCN": "SVHNDCN"}),
    "digits in clutter": (
        CLUTTERED_SIZES,
        {"coarse": "DCNCoarse", "fine": "DCNFine", "DCN": "DCN"},
    ),
}


@dataclass(frozen=True)
class Row:
    """A network of table 1."""

    label: str  # Name in the paper
    builder: str  # Name in `ka.applications`
    options: tuple[tuple[str, Any], ...] = ()  # Arguments of the builder


WITH_HINTS = Row("DCN with hints", "DCN", (("hint_weight", HINT_WEIGHT),))
WITHOUT_HINTS = Row("DCN w/o hints", "DCN", (("hint_weight", 0.0),))
COARSE, FINE = Row("coarse", "DCNCoarse"), Row("fine", "DCNFine")
ROWS = (COARSE, FINE, WITHOUT_HINTS, WITH_HINTS)
# Networks of figure 2.
COMPARED = (WITHOUT_HINTS, WITH_HINTS)


@dataclass(frozen=True)
class ClutteredImages:
    """Digits among patches of other digits."""

    data: str  # Data set, by its name in `ka.datasets`
    size: int | None = None  # Side of the images in pixels; None for that of the data set
    train_size: int | None = None  # Number of training digits; None for all
    test_draws: int = 1  # Number of images generated from each test digit
    validation: bool = False  # If True, a fifth of the training digits replaces the test digits

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        side = self.size or ka.datasets.find(self.data).size
        return side, side, 1

    def training_data(self, seed: int) -> tf.data.Dataset:
        """Returns single images, which are generated again in every epoch."""
        if self.validation:
            return self._from_training_digits(seed, False, shuffle=True, augment=True)
        return self._load("train", seed)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """Yields test batches of each draw, the same for all networks and seeds."""
        return (self.test(seed) for seed in range(self.test_draws))

    def test(self, seed: int) -> tf.data.Dataset:
        """Returns test batches of one draw."""
        if self.validation:
            return self._from_training_digits(seed, True).batch(TEST_BATCH)
        return self._load("test", seed).batch(TEST_BATCH)

    def _load(self, split: str, seed: int) -> tf.data.Dataset:
        return ka.datasets.load(
            self.data, split, seed=seed, size=self.size, train_size=self.train_size
        )

    def _from_training_digits(self, seed: int, held_out: bool, **order: bool) -> tf.data.Dataset:
        """Returns cluttered images of the held-out training digits or of the others."""
        side = self.shape[0]
        digits = ka.datasets.load(
            self.data.removeprefix(PREFIX),
            "train",
            1024,
            size=round(side * DIGIT / IMAGE),
            train_size=self.train_size,
            shuffle=False,
        )
        images, labels = map(np.concatenate, zip(*digits.as_numpy_iterator(), strict=True))
        indices = np.random.default_rng(HELD_OUT_SEED).permutation(len(labels))
        count = len(labels) // HELD_OUT
        chosen = indices[:count] if held_out else indices[count:]
        sides = {"size": side, "patch_size": round(side * DISTRACTOR / IMAGE)}
        return ka.datasets.cluttered(images[chosen], labels[chosen], seed=seed, **sides, **order)


@dataclass(frozen=True)
class ClutteredJob(base.Job):
    """A training on digits in clutter."""

    row: Row  # Network
    images: ClutteredImages  # Images

    def model(self, **changes: Any) -> keras.Model:
        """Builds the untrained network; `changes` override options of its builder."""
        return ka.applications.build(
            self.row.builder,
            input_shape=self.images.shape,
            weight_decay=self.protocol.weight_decay,
            **dict(self.row.options) | changes,
        )

    def training_data(self) -> tf.data.Dataset:
        return self.images.training_data(self.seed)

    def curve_data(self) -> tf.data.Dataset:
        return self.images.test(CURVE_SEED)

    def tests(self) -> Iterator[tf.data.Dataset]:
        return self.images.tests()

    def error(self, model: keras.Model, tests: Iterable[tf.data.Dataset]) -> float:
        return training.error_percent(model, tests)

    @property
    def macs_shape(self) -> tuple[int, ...]:
        return self.images.shape

    def describe(self) -> str:
        images = self.images
        trained = "all" if images.train_size is None else f"{images.train_size:,}"
        tested = "a held-out fifth of these" if images.validation else "the test digits"
        return (
            f"{self.data}, {images.shape[0]} pixels, {trained} training digits, with clutter that "
            f"is generated again in every epoch; tested on {tested}, {images.test_draws} images "
            "per digit"
        )


def jobs_of(options: Namespace, rows: Sequence[Row]) -> list[ClutteredJob]:
    """Returns the training jobs of some rows with each seed."""
    data = choose_data([options.data or DATA[0]], DATA, "this table or figure")
    on_paper_data = ka.datasets.find(data).needs_network
    protocol = base.CLUTTERED if on_paper_data else base.CLUTTERED_SMALL
    protocol = protocol.override(options, "size", "train_size")
    draws = options.test_draws or TEST_DRAWS[on_paper_data]
    images = ClutteredImages(data, options.size, options.train_size, draws, options.validation)
    return [
        ClutteredJob(row.label, data, seed, protocol, row, images)
        for row in rows
        for seed in options.seeds
    ]


class Table1(base.DCNExperiment):
    """Errors, sizes and times of all networks."""

    title = TABLE1.title

    def jobs(self, options: Namespace) -> list[ClutteredJob]:
        return jobs_of(options, ROWS)

    def finish(self, run: Run) -> str:
        """Times the networks; returns our results next to the paper's."""
        first = [job for job in run.jobs if job.seed == run.jobs[0].seed]
        times = time_jobs(first, run.options.rounds or ROUNDS)
        records = [
            {"network": label, **{name: round(seconds, 5) for name, seconds in one.items()}}
            for label, one in times.items()
        ]
        reports.write_csv(run.options.output / "times.csv", records)
        headings = ["network", base.ERROR, "paper", "parameters", "MACs", "multiplications, paper"]
        headings += ["executed MACs", "ms per training step", "ms per inference batch"]
        lines = []
        for label, found in reports.grouped(run.results, "label").items():
            published = TABLE1.number(label, column="multiplications")
            cells = [label, reports.spread_of(found, base.ERROR)]
            cells += [reports.number(TABLE1.number(label, column="error"))]
            cells += reports.size_cells(found[0])
            cells += [reports.NONE if published is None else f"{published:g}M"]
            cells += [reports.short_number(found[0].executed_macs)]
            lines.append(cells + [f"{1e3 * seconds:.0f}" for seconds in times[label].values()])
        return f"{reports.table(headings, lines)}\n\n{verdict(run.results)}"

    def notes(self, run: Run) -> list[str]:
        return [
            *super().notes(run),
            "All networks are trained in the same way. The paper's errors are those on Cluttered "
            "MNIST. MACs are the multiply-accumulates per image that the method needs; executed "
            "MACs are those of this implementation. Times are medians of interleaved calls with "
            f"batches of {run.jobs[0].protocol.batch_size}, without folded batch normalization.",
        ]


def time_jobs(jobs: Sequence[base.Job], rounds: int) -> dict[str, dict[str, float]]:
    """Times training steps and inference of jobs on a batch of the first one.

    Returns:
        The median seconds `"training_step_seconds"` and `"forward_seconds"`, by label.
    """
    examples = jobs[0].training_data()
    batch = next(iter(examples.batch(jobs[0].protocol.batch_size)))
    models = {job.label: base.compiled(job, examples)[0] for job in jobs}
    steps = {label: training.training_step_call(model, batch) for label, model in models.items()}
    forward = {label: training.inference_call(model, batch[0]) for label, model in models.items()}
    times = {"training_step_seconds": steps, "forward_seconds": forward}
    times = {
        name: ka.inspect.interleaved_timing(calls, rounds, warm_up=2)
        for name, calls in times.items()
    }
    return {label: {name: times[name][label] for name in times} for label in models}


def verdict(results: Sequence[base.DCNResult]) -> str:
    """Compares the error of the DCN with hints with the others as the paper does."""
    by_label = reports.grouped(results, "label")
    means = {row.label: reports.mean_of(by_label[row.label], base.ERROR) for row in ROWS}
    ours = means[WITH_HINTS.label]
    lines = []
    for row, margin, claim in (
        (COARSE, 0.0, "at most the error of the coarse model"),
        (FINE, MARGIN, f"at most {MARGIN:g} above the error of the fine model"),
        (WITHOUT_HINTS, 0.0, "at most the error without hints"),
    ):
        other = means[row.label]
        if ours is None or other is None:
            lines.append(f"- DCN with hints, {claim}: no comparison, a network diverged.")
            continue
        word = "yes" if ours <= other + margin else "no"
        lines.append(f"- DCN with hints, {claim}: {word}, {ours:.2f} % and {other:.2f} %.")
    return "\n".join(lines)


class Figure2(base.DCNExperiment):
    """Effect of the hints on the distance between coarse and fine features."""

    title = "figure 2"

    def jobs(self, options: Namespace) -> list[ClutteredJob]:
        return jobs_of(options, COMPARED)

    def finish(self, run: Run) -> str:
        """Draws the distance between coarse and fine features; returns first and last values."""
        points, by_label = distances(run.results), reports.grouped(run.results, "label")
        if points:
            reports.write_csv(run.options.output / "figure2.csv", points)
        draw_distances(points, run.jobs[0].data, run.options.output / "figure2.png")
        lines = []
        for row in COMPARED:
            of_row = [point for point in points if point["network"] == row.label]
            ends = [f"{of_row[i]['distance']:.2f}" for i in (0, -1)] if of_row else ["-"] * 2
            lines.append([row.label, *ends, reports.spread_of(by_label[row.label], base.ERROR)])
        headings = ["network", "distance after the first epoch", "after the last", base.ERROR]
        return reports.table(headings, lines)

    def notes(self, run: Run) -> list[str]:
        return [
            *super().notes(run),
            "Squared distance between coarse and fine feature vectors at the selected patches: the "
            "mean over the training steps of an epoch.",
        ]


def distances(results: Sequence[base.DCNResult]) -> list[dict[str, Any]]:
    """Returns mean and deviation of the distance over the seeds, by network and epoch."""
    trained = reports.grouped((one for one in results if not one.diverged), "label")
    records = []
    for row in COMPARED:
        curves = [[line["distance"] for line in one.curve] for one in trained[row.label]]
        for epoch, values in enumerate(zip(*curves, strict=True), start=1):
            mean, deviation = statistics.mean(values), reports.deviation(values)
            record = {"distance": round(mean, 5), "deviation": round(deviation, 5)}
            records.append({"network": row.label, "epoch": epoch, **record})
    return records


def draw_distances(records: Sequence[dict[str, Any]], data: str, path: Path) -> None:
    """Draws a line for each network, with a band of the standard deviation."""
    with reports.figure(path) as (axes,):
        for row in COMPARED:
            line = [record for record in records if record["network"] == row.label]
            epochs, middle, spread = (
                np.array([record[name] for record in line], "float64")
                for name in ("epoch", "distance", "deviation")
            )
            axes.plot(epochs, middle, label=row.label)
            axes.fill_between(epochs, middle - spread, middle + spread, alpha=0.2)
        axes.set(title=f"Figure 2 on {data}", xlabel="epoch", ylabel="squared distance in training")
        axes.legend()


class Figure3(base.DCNExperiment):
    """Errors of the trained networks with other numbers of patches."""

    title = "figure 3"

    def jobs(self, options: Namespace) -> list[ClutteredJob]:
        return jobs_of(options, [WITH_HINTS])

    def finish(self, run: Run) -> str:
        """Measures the networks with each number of patches; draws and returns the errors."""
        options, found = run.options, [one for one in run.results if not one.diverged]
        if not found:
            return "All networks diverged."
        numbers = options.patches or PATCHES
        measured: list[dict[str, Any]] = []
        measure = partial(errors_by_patches, tuple(numbers))
        for lines in training.run_in_processes(measure, found, options.processes):
            measured += lines
            reports.write_csv(options.output / "figure3.csv", measured)
        reports.write_csv(options.output / "patches.csv", patch_positions(found[0]))
        errors = {
            number: [line["error_percent"] for line in measured if line["patches"] == number]
            for number in numbers
        }
        with reports.figure(options.output / "figure3.png") as (axes,):
            reports.draw_spreads(axes, numbers, list(errors.values()))
            title = f"Figure 3 on {run.jobs[0].data}"
            axes.set(title=title, xlabel="patches", ylabel="test error %")
        images, _ = _first_images(found[0])
        path = options.output / "figure3_patches.png"
        ka.inspect.plot_attention(found[0].network(), images, path)
        print(f"wrote {path}")
        macs = {line["patches"]: reports.short_number(line["macs"]) for line in measured}
        lines = [
            [str(number), reports.mean_and_deviation(values, len(values)), macs[number]]
            for number, values in errors.items()
        ]
        return reports.table(["patches", base.ERROR, "MACs"], lines)

    def notes(self, run: Run) -> list[str]:
        text = "The networks are trained with 8 patches and tested with other numbers of patches."
        return [*super().notes(run), text]


def errors_by_patches(
    numbers: Sequence[int], result: base.DCNResult, threads: int
) -> list[dict[str, Any]]:
    """Measures a trained network with other numbers of patches and the same weights."""
    job = result.job
    training.prepare_process(job.seed, threads)
    records = []
    for number in numbers:
        model = job.model(patches=number)
        model.set_weights(result.network().get_weights())
        records.append(
            {
                "seed": job.seed,
                "patches": number,
                "error_percent": round(job.error(model, job.tests()), 5),
                "macs": ka.inspect.count_macs(model, job.macs_shape),
            }
        )
    return records


def patch_positions(result: base.DCNResult) -> list[dict[str, int]]:
    """Returns the patches of some test images in pixels, the most salient first."""
    images, labels = _first_images(result)
    refiner = result.network().get_layer("refiner")
    _, _, positions = refiner(images, return_attention=True)
    grid = refiner.patch_grid
    records = []
    for image, label in enumerate(labels):
        for rank, position in enumerate(keras.ops.convert_to_numpy(positions[image]).tolist()):
            top, left = (
                index * stride - offset
                for index, stride, offset in zip(position, grid.stride, grid.offset, strict=True)
            )
            records.append(
                {
                    "image": image,
                    "label": int(label),
                    "rank": rank + 1,
                    "top": top,
                    "left": left,
                    "height": grid.size[0],
                    "width": grid.size[1],
                }
            )
    return records


def _first_images(result: base.DCNResult) -> tuple[Any, Any]:
    images, labels = next(iter(next(result.job.images.tests())))
    return images[:SHOWN_IMAGES].numpy(), labels[:SHOWN_IMAGES].numpy()


class Figure5(base.DCNExperiment):
    """Multiply-accumulates of untrained networks by image size."""

    title = "figure 5"

    def jobs(self, options: Namespace) -> list[base.Job]:
        return []

    def finish(self, run: Run) -> str:
        """Counts the multiply-accumulates of each network at each size; draws and returns them."""
        records = macs_by_size(run.options.width or 1.0)
        reports.write_csv(run.options.output / "figure5.csv", records)
        texts = []
        with reports.figure(run.options.output / "figure5.png", len(PANELS)) as all_axes:
            for axes, panel in zip(all_axes, PANELS, strict=True):
                shown = [record for record in records if record["networks"] == panel]
                names = list(PANELS[panel][1])
                pixels = [one["height"] * one["width"] for one in shown]
                for name in names:
                    axes.plot(pixels, [one[name] for one in shown], marker="o", label=name)
                axes.set(title=panel, xlabel="pixels", ylabel="multiply-accumulates", yscale="log")
                axes.legend()
                lines = [
                    [
                        f"{record['height']}x{record['width']}",
                        *(reports.short_number(record[name]) for name in names),
                        f"{record['fine'] / record['DCN']:.2f}",
                    ]
                    for record in shown
                ]
                table = reports.table(["size", *names, "fine / DCN"], lines)
                texts.append(f"{panel}:\n\n{table}")
        return "\n\n".join(texts)

    def notes(self, run: Run) -> list[str]:
        return [
            "Multiply-accumulates per image. The DCN refines 6 patches of numbers and 8 patches of "
            "digits in clutter. The patches of numbers have 54x110 pixels, as the smallest image.",
            f"Width of the networks for numbers: {run.options.width or 1.0:g}.",
        ]


def macs_by_size(width: float) -> list[dict[str, Any]]:
    """Returns the multiply-accumulates of each network at each size.

    Args:
        width: Factor of the channels of the networks for numbers.
    """
    records = []
    for panel, (sizes, builders) in PANELS.items():
        options = {"width": width} if panel == "numbers" else {}
        models = {
            name: ka.applications.build(builder, input_shape=(None, None, 1), **options)
            for name, builder in builders.items()
        }
        for rows, columns in sizes:
            record = {"networks": panel, "height": rows, "width": columns}
            for name, model in models.items():
                record[name] = ka.inspect.count_macs(model, (rows, columns, 1))
            records.append(record)
    return records
