"""Detection with Scale-Space Attention: KerasHub's RetinaNet on VGG16 with attention, on GTSDB.

    pip install "keras-cnn-attention[detection]"
    python applications/scale_space_detection.py
    python applications/scale_space_detection.py --data FullIJCNN2013 --size 1024 --epochs 60 \
        --attention none cbam bam san-c san-d --placement bottleneck full

Without `--data`, a small data set of traffic signs in the format of GTSDB is generated. The
networks start from random weights.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), table VIII.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from harness import reports
from harness.options import add_options, positive_int, seed
from harness.training import Job, TrainingResult
from scale_space_detection_experiment import report
from scale_space_detection_experiment.generated import GeneratedSet, write_set

from keras_attention.utils.io import write_atomically

EXTRA = 'pip install "keras-cnn-attention[detection]"'
OUTPUT = Path("runs/scale_space_detection")
GENERATED, PUBLISHED = "generated", "gtsdb"
SIZES = {GENERATED: 96, PUBLISHED: 512}
# The smallest and the largest generated signs have these fractions of the image side: 1/6 and 1/2.
SIGN_DIVISORS = (6, 2)


def main() -> int:
    """Trains each row with each seed and reports; returns the exit code."""
    options = read_options()
    missing = [name for name in ("keras_hub", "pycocotools") if find_spec(name) is None]
    if missing:
        print(f"error: {' and '.join(missing)} needed: {EXTRA}", file=sys.stderr)
        return 2
    tf.get_logger().setLevel("ERROR")
    with reports.logged(options.output / "log.txt"):
        try:
            jobs, truth = prepare(options)
        except (ValueError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        run(options, jobs, truth)
    return 0


def read_options() -> argparse.Namespace:
    """Reads the command line; the default run on generated images takes about ten minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, allowed, default in (
        ("attention", report.ATTENTIONS, ["none", "san-c"]),
        ("placement", report.PLACEMENTS, ["bottleneck"]),
    ):
        shown = f"({' '.join(default)})"
        parser.add_argument(f"--{name}", nargs="+", choices=allowed, default=default, help=shown)
    parser.add_argument(
        "--data",
        default=GENERATED,
        help=f"folder of GTSDB, {PUBLISHED} for that of GTSDB_DIR, or generated (%(default)s)",
    )
    sizes = f"({SIZES[GENERATED]} if generated, otherwise {SIZES[PUBLISHED]})"
    classes = {"type": int, "choices": [4, 43], "default": 4}
    add_options(
        parser,
        size=(positive_int, f"side of the images in pixels {sizes}"),
        train_size=(positive_int, "number of training images (120 if generated, otherwise all)"),
        classes=(classes, "categories or individual signs (%(default)s)"),
        test_size=(_count(40), "number of generated test images (%(default)s)"),
        epochs=(_count(15), "number of epochs (%(default)s)"),
        batch_size=(_count(8), "batch size (%(default)s)"),
        learning_rate=({"type": float, "default": 1e-4}, "learning rate of Adam (%(default)s)"),
    )
    parser.add_argument("--seeds", nargs="+", type=seed, default=[0], metavar="SEED")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (%(default)s)")
    parser.add_argument("--markdown", type=Path, help="also write the report to this file")
    return parser.parse_args()


def _count(default: int) -> dict[str, Any]:
    return {"type": positive_int, "default": default}


def prepare(options: argparse.Namespace) -> tuple[list[Job], list[report.Boxes]]:
    """Returns the training jobs and the annotated boxes of the test images.

    Finds or generates the images and checks that the detectors can be built.
    """
    from scale_space_detection_experiment import training

    size = options.size or SIZES.get(options.data, SIZES[PUBLISHED])
    protocol = training.DetectionProtocol(
        folder=image_folder(options, size),
        size=size,
        classes=options.classes,
        train_size=None if options.data == GENERATED else options.train_size,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
    )
    rows, truth = report.rows_of(options.attention, options.placement), protocol.annotations("test")
    jobs = [Job(row, seed, protocol, options.data) for row in rows for seed in options.seeds]
    training.signs_of(truth)
    for job in {job.row: job for job in jobs}.values():
        training.build(job)
    return jobs, truth


def image_folder(options: argparse.Namespace, size: int) -> Path | None:
    """Returns the folder of the images, which are generated if `--data` is not given."""
    if options.data == PUBLISHED:
        return None
    if options.data != GENERATED:
        return Path(options.data)
    settings = GeneratedSet(
        train=options.train_size or GeneratedSet.train,
        test=options.test_size,
        width=size,
        height=size,
        smallest=max(8, size // SIGN_DIVISORS[0]),
        largest=size // SIGN_DIVISORS[1],
    )
    name = f"generated_{settings.train}_{settings.test}_{size}"
    folder = write_set(options.output / name, settings)
    print(f"wrote {folder}: {settings}")
    return folder


def run(options: argparse.Namespace, jobs: Sequence[Job], truth: Sequence[report.Boxes]) -> None:
    """Trains all jobs; updates results.csv after each, then prints and writes the table."""
    from scale_space_detection_experiment import training

    results: list[TrainingResult] = []
    for job in jobs:
        result, detector = training.train(job, truth)
        results.append(result)
        print(result.line, flush=True)
        reports.write_csv(options.output / "results.csv", [one.record() for one in results])
        if job.seed == options.seeds[-1] and not result.diverged:
            save(options.output, job, detector)
    table, notes = report.comparison(results), report.notes(jobs[0], truth)
    print(f"\n{table}\n")
    title = f"Scale-Space Attention Networks, {report.TABLE8.title} on {options.data}"
    for path in (options.output / "table.md", options.markdown):
        reports.write_page(path, title, notes, table, report.all_trainings(results))


def save(output: Path, job: Job, detector: keras.Model) -> None:
    """Writes the trained detector and a figure of its detections."""
    from scale_space_detection_experiment import detector as detectors
    from scale_space_detection_experiment import training

    name, batch_size = job.label.replace(", ", "_"), job.protocol.batch_size
    write_atomically(output / f"{name}.keras", detectors.for_inference(detector).save)
    print(f"wrote {output / name}.keras")
    examples = report.examples_of(job.protocol.load("test"), batch_size)
    detected = training.detect(detector, examples, batch_size)
    report.draw(examples, detected, output / f"{name}_detections.png")


if __name__ == "__main__":
    sys.exit(main())
