"""Attend and Rectify: ablations on digits in clutter, wide residual networks, fine-tuning.

    python applications/attend_rectify.py --figure 4
    python applications/attend_rectify.py --figure 4 --part e --data cluttered_translated_mnist
    python applications/attend_rectify.py --table 1 --data cifar10 --depths 28
    python applications/attend_rectify.py --table 2 --forward-batch 32
    python applications/attend_rectify.py --table 3 --data stanford_dogs --backbone ResNet50

Without `--data`, the tables use the paper's data sets and the figure the bundled digits. Networks
are trained with the paper's protocols on its data sets, and with short ones on others
(attend_rectify_experiment/training.py).

Reference: Rodriguez et al., Attend and Rectify (2018), figure 4 and tables 1 to 3.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from attend_rectify_experiment import cluttered, fine_tuning, training, wide
from harness import options as cli

OUTPUT = Path("runs/attend_rectify")
TABLES = {1: wide.Table1(), 2: wide.Table2(), 3: fine_tuning.Table3()}
# Options that do not apply to all tables and the figure.
EXPERIMENTS = {
    ("figure 4",): ("part", "distractors", "test_distractors", "epoch_images", "test_draws"),
    ("table 1", "table 2"): ("depths", "width", "dropouts"),
    ("table 2",): ("rounds", "forward_batch", "errors"),
    ("table 3",): (
        *("backbone", "weights", "gradient_scale", "attention_depth", "attention_width"),
    ),
}


def main() -> int:
    """Trains each row with each seed, or times it; returns the exit code."""
    options = read_options()
    experiment = TABLES[options.table] if options.table else cluttered.Figure4()
    return experiment.main(options, training.train)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--figure", type=int, choices=[4], help="ablations; more distractors")
    kinds.add_argument(
        "--table", type=int, choices=list(TABLES), help="errors; sizes and times; fine-tuning"
    )
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets (see each below)")
    _add_figure_options(parser)
    _add_table_options(parser)
    names = ("train_size", "epochs", "batch_size", "size", "learning_rate", "momentum")
    cli.add_protocol_options(parser, *names)
    cli.add_run_options(parser, f"{OUTPUT}_figure4")
    return cli.parse(parser, OUTPUT, arguments, EXPERIMENTS)


def _add_figure_options(parser: argparse.ArgumentParser) -> None:
    tested = " ".join(map(str, cluttered.TEST_DISTRACTORS))
    small, paper = training.CLUTTERED_SMALL, training.CLUTTERED
    cli.add_options(
        parser.add_argument_group("--figure 4", f"--data {' or '.join(cluttered.DATA)}"),
        part=([*cluttered.PANELS, "all"], "panel (all)"),
        distractors=(cli.non_negative_int, f"number in training ({cluttered.DISTRACTORS})"),
        test_distractors=(cli.several(cli.non_negative_int), f"numbers in the tests ({tested})"),
        epoch_images=(
            cli.positive_int,
            f"images per epoch ({small.epoch_images}; paper: {paper.epoch_images})",
        ),
        test_draws=(
            cli.positive_int,
            "number of images generated from each test digit "
            f"({small.test_draws}; paper: {paper.test_draws})",
        ),
    )


def _add_table_options(parser: argparse.ArgumentParser) -> None:
    others = "or other data sets of images"
    depths, dropouts = (" ".join(map(str, values)) for values in (wide.DEPTHS, wide.DROPOUTS))
    cli.add_options(
        parser.add_argument_group("--table 1 or 2", f"--data {' '.join(wide.DATA)}, {others}"),
        depths=(cli.several(cli.positive_int), f"numbers of layers ({depths})"),
        dropouts=(cli.several(cli.fraction), f"dropout rates ({dropouts})"),
        width=(cli.positive_float, f"factor of the channels ({wide.PAPER_WIDTH})"),
    )
    cli.add_options(
        parser.add_argument_group("--table 2"),
        rounds=(cli.positive_int, f"number of timed batches ({wide.ROUNDS})"),
        forward_batch=(
            cli.positive_int,
            f"number of images of a timed batch ({wide.FORWARD_BATCH})",
        ),
        errors=(Path, "results.csv of table 1 with the errors to show"),
    )
    data = " ".join(fine_tuning.TABLE3.rows)
    cli.add_options(
        parser.add_argument_group("--table 3", f"--data {data}, {others}"),
        backbone=(str, f"name in keras.applications ({fine_tuning.BACKBONE})"),
        weights=(("imagenet", "none"), "initial weights (imagenet)"),
        attention_depth=(cli.positive_int, f"number of attention modules ({fine_tuning.DEPTH})"),
        attention_width=(cli.positive_int, f"number of heads of a module ({fine_tuning.HEADS})"),
        gradient_scale=(float, "factor of the gradients from the modules into the network (1)"),
    )


if __name__ == "__main__":
    sys.exit(main())
