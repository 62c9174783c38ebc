"""The command line of the program."""

import argparse
from pathlib import Path

from program_parts import run_options
from program_parts.arguments import count, positive, positive_number, seed, share

from attend_rectify_parts import clutter, fine_tuning, protocols, wide

OUTPUT = Path("runs/attend_rectify")
WEIGHTS = ("imagenet", "none")
# What an option belongs to, where not to all.
FIGURE, WIDE, CLOCK, FINE = "--figure 4", "--table 1 or 2", "--table 2", "--table 3"
BELONGS = {
    "part": FIGURE,
    "distractors": FIGURE,
    "test_distractors": FIGURE,
    "epoch_images": FIGURE,
    "test_draws": FIGURE,
    "depths": WIDE,
    "width": WIDE,
    "dropouts": WIDE,
    "rounds": CLOCK,
    "forward_batch": CLOCK,
    "trained": CLOCK,
    "backbone": FINE,
    "weights": FINE,
    "attention_depth": FINE,
    "attention_width": FINE,
    "gradient_scale": FINE,
}


def read(about: str) -> argparse.Namespace:
    """Reads it, refuses what does not go together, fills in the output folder."""
    parser = argparse.ArgumentParser(description=about)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--figure", type=int, choices=[4], help="ablations, and more distractors")
    what.add_argument(
        "--table", type=int, choices=[1, 2, 3], help="errors; sizes and times; fine-tuning"
    )
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets (see each below)")
    parser.add_argument("--seeds", nargs="+", type=seed, default=[0, 1, 2], metavar="SEED")
    _add_figure(parser)
    _add_wide(parser)
    _add_fine_tuning(parser)
    _add_protocol(parser)
    run_options.add(parser, f"{OUTPUT}_figure4")
    options = parser.parse_args()
    _check(parser, options)
    options.output = run_options.output(options, OUTPUT)
    return options


def belongs(options: argparse.Namespace) -> set[str]:
    """What the options of this run may belong to."""
    if options.figure:
        return {FIGURE}
    return {1: {WIDE}, 2: {WIDE, CLOCK}, 3: {FINE}}[options.table]


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    for name, owner in BELONGS.items():
        if getattr(options, name) is not None and owner not in belongs(options):
            flag = f"--{name.replace('_', '-')}"
            parser.error(f"{flag} needs {owner}. Received: {flag}={getattr(options, name)}")


def _add_figure(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(FIGURE, f"--data {clutter.DATA[0]} or {clutter.DATA[1]}")
    group.add_argument("--part", choices=[*clutter.PARTS, "all"], help="panel (all)")
    group.add_argument("--distractors", type=count, help=f"in training ({clutter.DISTRACTORS})")
    group.add_argument(
        "--test-distractors",
        nargs="+",
        type=count,
        metavar="NUMBER",
        help=f"({' '.join(map(str, clutter.TESTED))})",
    )
    small, paper = protocols.CLUTTERED_SMALL, protocols.CLUTTERED
    group.add_argument(
        "--epoch-images", type=positive, help=f"({small.epoch_images}; {paper.epoch_images})"
    )
    group.add_argument(
        "--test-draws",
        type=positive,
        help=f"images made of a test digit ({small.test_draws}; {paper.test_draws})",
    )


def _add_wide(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(WIDE, f"--data {' '.join(wide.DATA)}, or other images")
    for name, kind, default in (
        ("depths", positive, wide.DEPTHS),
        ("dropouts", share, wide.DROPOUTS),
    ):
        text = " ".join(map(str, default))
        group.add_argument(f"--{name}", nargs="+", type=kind, metavar="NUMBER", help=f"({text})")
    group.add_argument("--width", type=positive_number, help=f"({wide.PAPER_WIDTH})")
    clock = parser.add_argument_group(CLOCK)
    clock.add_argument("--rounds", type=positive, help="timed batches (9)")
    clock.add_argument("--forward-batch", type=positive, help="images of a timed batch (256)")
    clock.add_argument("--trained", type=Path, help="results.csv of table 1, for the errors")


def _add_fine_tuning(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(FINE, f"--data {' '.join(fine_tuning.TABLE3)}, or others")
    group.add_argument("--backbone", help=f"of keras.applications ({fine_tuning.BACKBONE})")
    group.add_argument("--weights", choices=WEIGHTS, help=f"({WEIGHTS[0]})")
    group.add_argument("--attention-depth", type=positive, help=f"({fine_tuning.DEPTH})")
    group.add_argument("--attention-width", type=positive, help=f"({fine_tuning.HEADS})")
    group.add_argument("--gradient-scale", type=float, help="from the modules (1)")


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    """What overrides the protocol."""
    group = parser.add_argument_group(
        "protocol", "by default the paper's on its data, else a small one"
    )
    for name, about in (
        ("train-size", "images"),
        ("epochs", "at most"),
        ("batch-size", "images of a step"),
        ("size", "pixels along the sides"),
    ):
        group.add_argument(f"--{name}", type=positive, help=about)
    group.add_argument("--learning-rate", type=positive_number, help="at first")
    group.add_argument("--momentum", type=share, help="Nesterov's")
