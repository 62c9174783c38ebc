"""Figures 2 and 3 on digits in clutter, and figure 5.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), figures 2, 3 and 5.
"""

import statistics
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from harness import reports, training
from harness.programs import Run
from matplotlib.axes import Axes

import keras_attention as ka
from dynamic_capacity_experiment import cluttered
from dynamic_capacity_experiment import training as base

COMPARED = (cluttered.WITHOUT_HINTS, cluttered.WITH_HINTS)
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


class Figure2(base.DCNExperiment):
    """Effect of the hints on the distance between coarse and fine features."""

    title = "figure 2"

    def jobs(self, options: Namespace) -> list[cluttered.ClutteredJob]:
        return cluttered.jobs_of(options, COMPARED)

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

    def jobs(self, options: Namespace) -> list[cluttered.ClutteredJob]:
        return cluttered.jobs_of(options, [cluttered.WITH_HINTS])

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
                _draw_macs(axes, panel, shown)
                names = list(PANELS[panel][1])
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


def _draw_macs(axes: Axes, panel: str, records: Sequence[dict[str, Any]]) -> None:
    pixels = [record["height"] * record["width"] for record in records]
    for name in PANELS[panel][1]:
        axes.plot(pixels, [record[name] for record in records], marker="o", label=name)
    axes.set(title=panel, xlabel="pixels", ylabel="multiply-accumulates", yscale="log")
    axes.legend()
