"""Dynamic Capacity Networks: digits in clutter and house numbers, compared with the paper.

    python applications/dynamic_capacity.py --table 1 --data cluttered_digits
    python applications/dynamic_capacity.py --figure 2 --data cluttered_digits
    python applications/dynamic_capacity.py --figure 3 --data cluttered_digits
    python applications/dynamic_capacity.py --table 2 --data number_photographs --width 0.25
    python applications/dynamic_capacity.py --figure 5

Without `--data`, the paper's data sets and training protocols are used. Other data sets use a short
protocol (dynamic_capacity_experiment/training.py). Trained networks are stored, by default in the
folder `checkpoints` of the output, and loaded by later runs: table 1 and figures 2 and 3 can share
them with `--checkpoint-dir`.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), tables 1 and 2, figures 2, 3 and 5.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dynamic_capacity_experiment import cluttered, numbers, training
from harness import options as cli

OUTPUT = Path("runs/dynamic_capacity")
TABLES = {1: cluttered.Table1(), 2: numbers.Table2()}
FIGURES = {2: cluttered.Figure2(), 3: cluttered.Figure3(), 5: cluttered.Figure5()}
CLUTTERED = ("table 1", "figure 2", "figure 3")
# Options that do not apply to all tables and figures.
EXPERIMENTS = {
    CLUTTERED: ("size", "test_draws", "validation"),
    ("table 1",): ("rounds",),
    ("figure 3",): ("patches",),
    ("table 2", "figure 5"): ("width",),
    ("table 2",): ("test_size", "momentum"),
    (*CLUTTERED, "table 2"): (
        *("data", "train_size", "batch_size", "epochs", "steps"),
        *("learning_rate", "weight_decay", "export", "checkpoint_dir"),
    ),
}


def main() -> int:
    """Trains each network with each seed and reports; returns the exit code."""
    options = read_options()
    experiment = TABLES[options.table] if options.table else FIGURES[options.figure]
    return experiment.main(options, partial(training.train, options.checkpoint_dir))


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--table", type=int, choices=[1, 2], help="digits in clutter; numbers")
    kinds.add_argument(
        "--figure",
        type=int,
        choices=list(FIGURES),
        help="effect of hints; error by number of patches; multiply-accumulates by image size",
    )
    parser.add_argument("--data", metavar="NAME", help="data set (the paper's)")
    cli.add_options(
        parser.add_argument_group("digits in clutter", "--table 1, --figure 2, --figure 3"),
        size=(cli.positive_int, "side of the images in pixels (100)"),
        test_draws=(cli.positive_int, "number of images generated from each test digit"),
        rounds=(cli.positive_int, "number of timed batches, --table 1 (9)"),
        validation=(
            {"action": "store_true", "default": None},
            "hold out a fifth of the training digits and test on these, for model selection",
        ),
        patches=(cli.several(cli.positive_int), "numbers of patches, --figure 3 (1 to 24)"),
    )
    cli.add_options(
        parser.add_argument_group("numbers", "--table 2; --width also for --figure 5"),
        width=(cli.positive_float, "factor of the channels (1)"),
        test_size=(cli.positive_int, "number of generated test images (1,000)"),
    )
    names = ("train_size", "epochs", "steps", "batch_size", "learning_rate", "momentum")
    cli.add_protocol_options(parser, *names, "weight_decay")
    cli.add_checkpoint_options(parser)
    cli.add_run_options(parser, f"{OUTPUT}_table1")
    options = cli.parse(parser, OUTPUT, arguments, EXPERIMENTS)
    options.validation = bool(options.validation)
    return options


if __name__ == "__main__":
    sys.exit(main())
