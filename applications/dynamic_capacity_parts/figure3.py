"""Figure 3: the error by the number of patches, and where they are.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), figure 3.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
from matplotlib.figure import Figure
from program_parts import files, markdown
from program_parts.processes import in_processes

import keras_attention as ka
from dynamic_capacity_parts import cluttered, report
from dynamic_capacity_parts.cluttered import ClutteredJob
from dynamic_capacity_parts.training import ERROR, Training, settle
from keras_attention.utils.io import write_atomically

served = cluttered.served
TITLE = "figure 3"
PATCHES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24)
IMAGES = 6


def jobs(given: Namespace) -> list[ClutteredJob]:
    """The network with hints, with each seed."""
    return cluttered.jobs_of(given, [cluttered.WITH_HINTS])


def finish(given: Namespace, planned: Sequence[ClutteredJob], done: Sequence[Training]) -> str:
    """Measures with other numbers of patches and draws; returns the errors."""
    found = [one for one in done if not one.diverged]
    if not found:
        return "All networks diverged."
    numbers = given.patches or PATCHES
    measured: list[dict[str, Any]] = []
    for lines in in_processes(partial(by_patches, tuple(numbers)), found, given.processes):
        measured += lines
        files.write_csv(given.output / "figure3.csv", measured)
    files.write_csv(given.output / "patches.csv", chosen(found[0]))
    draw(measured, numbers, planned[0].data, given.output / "figure3.png")
    look(found[0], given.output / "figure3_patches.png")
    for name in ("figure3.png", "figure3_patches.png"):
        print(f"wrote {given.output / name}")
    return errors(measured, numbers)


def by_patches(numbers: Sequence[int], training: Training, threads: int) -> list[dict[str, Any]]:
    """The error of a trained network that looks at other numbers of patches."""
    job = training.job
    settle(job.seed, threads)
    return [
        {
            "seed": job.seed,
            "patches": number,
            "error_percent": round(job.error(model, job.tests()), 5),
            "macs": ka.inspect.count_macs(model, job.counted),
        }
        for number in numbers
        for model in [with_patches(training, number)]
    ]


def with_patches(training: Training, number: int) -> keras.Model:
    """The same weights with another number of patches."""
    model = training.job.model(patches=number)
    model.set_weights(training.network().get_weights())
    return model


def chosen(training: Training) -> list[dict[str, int]]:
    """Where the patches of some test images are, the most salient first: pixels of their rims."""
    images, labels = _first_images(training)
    refiner = training.network().get_layer("refiner")
    _, _, positions = refiner(images, return_attention=True)
    place = refiner.patch_grid
    records = []
    for image, label in enumerate(labels):
        for rank, position in enumerate(keras.ops.convert_to_numpy(positions[image]).tolist()):
            top, left = (
                step * stride - offset
                for step, stride, offset in zip(position, place.stride, place.offset, strict=True)
            )
            sides = {"height": place.size[0], "width": place.size[1]}
            where = {"rank": rank + 1, "top": top, "left": left, **sides}
            records.append({"image": image, "label": int(label), **where})
    return records


def look(training: Training, path: Path) -> None:
    """Draws the patches of some test images."""
    images, _ = _first_images(training)
    ka.inspect.plot_attention(training.network(), images, path)


def draw(measured: Sequence[dict[str, Any]], numbers: Sequence[int], data: str, path: Path) -> None:
    """Mean and deviation over the seeds by the number of patches."""
    values = [_errors_at(measured, number) for number in numbers]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    means = [sum(of_number) / len(of_number) for of_number in values]
    bars = [markdown.deviation(of_number) for of_number in values]
    axes.errorbar(numbers, means, bars, marker="o", capsize=3)
    axes.set(title=f"Figure 3 on {data}", xlabel="patches", ylabel="test error %")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))


def errors(measured: Sequence[dict[str, Any]], numbers: Sequence[int]) -> str:
    """The errors by the number of patches, as a markdown table."""
    lines = []
    for number in numbers:
        found = _errors_at(measured, number)
        macs = next(line["macs"] for line in measured if line["patches"] == number)
        spread = markdown.over_seeds(found, len(found))
        lines.append([str(number), spread, ka.inspect.short_number(macs)])
    return markdown.table(["patches", ERROR, "MACs"], lines)


def notes(given: Namespace, planned: Sequence[ClutteredJob]) -> list[str]:
    """What a reader of the figure has to know."""
    return [
        *report.notes(planned),
        "Trained with 8 patches, tested with other numbers on the same weights.",
    ]


def _errors_at(measured: Sequence[dict[str, Any]], number: int) -> list[float]:
    return [line["error_percent"] for line in measured if line["patches"] == number]


def _first_images(training: Training) -> tuple[Any, Any]:
    images, labels = next(iter(next(training.job.images.tests())))
    return images[:IMAGES].numpy(), labels[:IMAGES].numpy()
