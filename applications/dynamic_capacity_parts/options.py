"""The command line of the program."""

import argparse
from pathlib import Path

from program_parts import run_options
from program_parts.arguments import positive, positive_number, seed, share

OUTPUT = Path("runs/dynamic_capacity")
CLUTTERED, NUMBERS = ("table 1", "figure 2", "figure 3"), ("table 2",)
# The tables and figures that an option is for, where not for all.
BELONGS = {
    "data": CLUTTERED + NUMBERS,
    "size": CLUTTERED,
    "train_size": CLUTTERED + NUMBERS,
    "test_draws": CLUTTERED,
    "validation": CLUTTERED,
    "rounds": ("table 1",),
    "patches": ("figure 3",),
    "width": (*NUMBERS, "figure 5"),
    "test_size": NUMBERS,
    "batch_size": CLUTTERED + NUMBERS,
    "epochs": CLUTTERED + NUMBERS,
    "steps": CLUTTERED + NUMBERS,
    "learning_rate": CLUTTERED + NUMBERS,
    "momentum": NUMBERS,
    "weight_decay": CLUTTERED + NUMBERS,
    "export": CLUTTERED + NUMBERS,
    "networks": CLUTTERED + NUMBERS,
}


def read(about: str) -> argparse.Namespace:
    """Reads it, refuses what does not go together, fills in the folders."""
    parser = argparse.ArgumentParser(description=about)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", type=int, choices=[1, 2], help="digits in clutter; numbers")
    what.add_argument(
        "--figure",
        type=int,
        choices=[2, 3, 5],
        help="distance of the hints; error by patches; multiplications",
    )
    parser.add_argument("--data", metavar="NAME", help="data set (the paper's)")
    parser.add_argument("--seeds", nargs="+", type=seed, default=[0, 1, 2], metavar="SEED")
    _add_cluttered(parser)
    _add_numbers(parser)
    _add_protocol(parser)
    parser.add_argument(
        "--export",
        action="store_true",
        default=None,
        help="also write the first seed's networks as SavedModels",
    )
    parser.add_argument(
        "--networks",
        type=Path,
        help="folder of what is trained, which table 1 and figures 2 and 3 may share "
        "(networks in that of the output)",
    )
    run_options.add(parser, f"{OUTPUT}_table1")
    options = parser.parse_args()
    _check(parser, options)
    options.output = run_options.output(options, OUTPUT)
    options.networks = options.networks or options.output / "networks"
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    kind = f"table {options.table}" if options.table else f"figure {options.figure}"
    for name, owners in BELONGS.items():
        if getattr(options, name) is not None and kind not in owners:
            flag = f"--{name.replace('_', '-')}"
            parser.error(f"{flag} needs --{', --'.join(owners)}. Received: --{kind}")
    options.validation = bool(options.validation)


def _add_cluttered(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("digits in clutter", "--table 1, --figure 2, --figure 3")
    group.add_argument("--size", type=positive, help="pixels along the sides (100)")
    group.add_argument("--test-draws", type=positive, help="images made of a test digit")
    group.add_argument(
        "--validation",
        action="store_true",
        default=None,
        help="leave out a fifth of the training digits and test on these, to choose by",
    )
    group.add_argument("--rounds", type=positive, help="timed batches, --table 1 (9)")
    group.add_argument(
        "--patches", nargs="+", type=positive, metavar="NUMBER", help="--figure 3 (1 to 24)"
    )


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("numbers", "--table 2; --width for --figure 5, too")
    group.add_argument("--width", type=positive_number, help="factor of the channels (1)")
    group.add_argument("--test-size", type=positive, help="generated test pictures (1,000)")


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "protocol", "by default the paper's on its data, else a small one"
    )
    for name, about in (
        ("train-size", "images"),
        ("epochs", "how often errors are measured"),
        ("steps", "in all; without, an epoch is a pass"),
        ("batch-size", "images of a step"),
    ):
        group.add_argument(f"--{name}", type=positive, help=about)
    group.add_argument("--learning-rate", type=positive_number, help="at first")
    group.add_argument("--momentum", type=share, help="of SGD, --table 2")
    group.add_argument("--weight-decay", type=share, help="in the gradients of the kernels")
