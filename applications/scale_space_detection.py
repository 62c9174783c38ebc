"""SAN's detection: VGG16 with attention under KerasHub's RetinaNet, on German traffic signs.

    pip install "keras-cnn-attention[detection]"
    python applications/scale_space_detection.py
    python applications/scale_space_detection.py --data FullIJCNN2013 --size 1024 --epochs 60 \
        --attention none cbam bam san-c san-d --placement bottleneck full

Without `--data` a small set in GTSDB's format is generated and trained on. The networks start from
random weights.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), table VIII.
"""

import argparse
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
from program_parts import files, markdown
from program_parts.arguments import positive, seed
from scale_space_detection_parts import table8
from scale_space_detection_parts.generated import Generated, write_set

from keras_attention.utils.io import write_whole

if TYPE_CHECKING:  # these parts need the extra
    from scale_space_detection_parts.average_precision import Boxes
    from scale_space_detection_parts.training import Protocol, Training

EXTRA = 'pip install "keras-cnn-attention[detection]"'
OUTPUT = Path("runs/scale_space_detection")
GENERATED, PUBLISHED = "generated", "gtsdb"
SIZES = {GENERATED: 96, PUBLISHED: 512}
# Of generated pictures: the smallest and the largest sign as parts of their sides.
SIGNS = (6, 2)


@dataclass(frozen=True)
class Plan:
    """What to train, how, and what the test pictures show."""

    rows: list[table8.Row]
    protocol: "Protocol"
    truth: list["Boxes"]


def main() -> int:
    """Trains each row with each seed and reports; returns the exit code: 2 for what cannot be."""
    options = read_options()
    missing = [name for name in ("keras_hub", "pycocotools") if find_spec(name) is None]
    if missing:
        print(f"error: {' and '.join(missing)} needed: {EXTRA}", file=sys.stderr)
        return 2
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    with files.logged(options.output / "log.txt"):
        try:
            plan = prepare(options)
        except (ValueError, OSError) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        finish(options, plan, run(options, plan))
    return 0


def read_options() -> argparse.Namespace:
    """The command line; by default a comparison on generated pictures that takes ten minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, allowed, default in (
        ("attention", table8.ATTENTIONS, ["none", "san-c"]),
        ("placement", table8.PLACEMENTS, ["bottleneck"]),
    ):
        parser.add_argument(f"--{name}", nargs="+", choices=allowed, default=default)
    parser.add_argument(
        "--data",
        default=GENERATED,
        help=f"folder of GTSDB, {PUBLISHED} for that of GTSDB_DIR, or generated (%(default)s)",
    )
    parser.add_argument("--size", type=positive, help=f"pixels ({SIZES[GENERATED]}, or 512)")
    parser.add_argument("--classes", type=int, choices=[4, 43], default=4, help="(%(default)s)")
    parser.add_argument("--train-size", type=positive, help="pictures (120, or all)")
    parser.add_argument("--test-size", type=positive, default=40, help="generated (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=15, help="(%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=8, help="(%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="(%(default)s)")
    parser.add_argument("--seeds", nargs="+", type=seed, default=[0], metavar="SEED")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder (%(default)s)")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> Plan:
    """Finds or generates the pictures and checks that the detectors can be built.

    Raises:
        ValueError: For options or pictures that cannot be.
    """
    from scale_space_detection_parts import training

    size = options.size or SIZES.get(options.data, SIZES[PUBLISHED])
    protocol = training.Protocol(
        folder=folder_of(options, size),
        size=size,
        classes=options.classes,
        train_size=None if options.data == GENERATED else options.train_size,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
    )
    plan = Plan(table8.rows(options.attention, options.placement), protocol, protocol.shown("test"))
    training.signs_of(plan.truth)
    for row in plan.rows:
        training.build(row, protocol)
    return plan


def folder_of(options: argparse.Namespace, size: int) -> Path | None:
    """Where the pictures are; generates them where none are given."""
    if options.data == PUBLISHED:
        return None
    if options.data != GENERATED:
        return Path(options.data)
    what = Generated(
        train=options.train_size or Generated.train,
        test=options.test_size,
        width=size,
        height=size,
        smallest=max(8, size // SIGNS[0]),
        largest=size // SIGNS[1],
    )
    folder = write_set(options.output / f"generated_{what.train}_{what.test}_{size}", what)
    print(f"wrote {folder}: {what}")
    return folder


def run(options: argparse.Namespace, plan: Plan) -> list["Training"]:
    """Trains all, writing what is known after each training."""
    from scale_space_detection_parts import report, training

    done = []
    for row in plan.rows:
        for number in options.seeds:
            one, detector = training.train(row, number, plan.protocol, plan.truth)
            done.append(one)
            print(report.line_of(one), flush=True)
            records = [report.record(each, options.data, plan.protocol) for each in done]
            files.write_csv(options.output / "results.csv", records)
        if one.scores is not None:
            keep(options.output, row, detector, plan.protocol)
    return done


def keep(output: Path, row: table8.Row, detector: keras.Model, protocol: "Protocol") -> None:
    """Writes the trained detector and a picture of what it finds."""
    from scale_space_detection_parts import detector as detectors
    from scale_space_detection_parts import picture, training

    name = row.label.replace(", ", "_")
    write_whole(output / f"{name}.keras", detectors.for_inference(detector).save)
    examples = picture.chosen(protocol.load("test"), protocol.batch_size)
    path = output / f"{name}_detections.png"
    found = training.find(detector, examples, protocol.batch_size)
    picture.draw(examples, found, path)
    print(f"wrote {output / name}.keras, {path}")


def finish(options: argparse.Namespace, plan: Plan, trainings: list["Training"]) -> None:
    """Prints the table and writes it as markdown."""
    from scale_space_detection_parts import report

    table = report.comparison(trainings)
    print(f"\n{table}\n")
    command = markdown.command("scale_space_detection.py")
    title = f"Scale-Space Attention Networks, table VIII (GTSDB) on {options.data}"
    notes = report.notes(options.data, plan.protocol, plan.truth)
    text = markdown.page(title, command, notes, table, report.every_training(trainings))
    for path in filter(None, (options.output / "table.md", options.markdown)):
        files.write_text(path, text)
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
