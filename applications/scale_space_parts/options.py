"""The command line of the program."""

import argparse
from pathlib import Path

from program_parts import run_options
from program_parts.arguments import positive, seed

from scale_space_parts import paper, protocols, variants

OUTPUT = Path("runs/scale_space")
DETECTION = 8


def read(about: str) -> argparse.Namespace:
    """Reads it and fills in the output folder."""
    parser = argparse.ArgumentParser(description=about)
    what = parser.add_mutually_exclusive_group(required=True)
    tables = sorted([*paper.TABLES, DETECTION])
    what.add_argument("--table", type=int, choices=tables, help="the paper's, I to IX")
    what.add_argument("--figure", type=int, choices=list(paper.FIGURES), help="training time")
    _add_rows(parser)
    _add_protocol(parser)
    parser.add_argument("--rounds", type=positive, default=15, help="timed steps (%(default)s)")
    run_options.add(parser, f"{OUTPUT}_table4")
    options = parser.parse_args()
    options.output = run_options.output(options, OUTPUT)
    return options


def _add_rows(parser: argparse.ArgumentParser) -> None:
    """What takes the place of the table's headings."""
    parser.add_argument("--networks", nargs="+", metavar="NAME", help="(the table's)")
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets (the table's)")
    parser.add_argument(
        "--attentions",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(variants.VARIANTS)} (the table's)",
    )
    parser.add_argument("--placements", nargs="+", choices=paper.BOTH, help="(the table's)")
    parser.add_argument("--seeds", nargs="+", type=seed, default=[0, 1, 2], metavar="SEED")


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    """What overrides the protocol."""
    small = protocols.SMALL
    parser.add_argument("--size", type=positive, help="pixels or steps (the data set's)")
    for name, kind in (
        ("train-size", "examples"),
        ("epochs", "passes"),
        ("batch-size", "examples of a step"),
    ):
        value = getattr(small, name.replace("-", "_"))
        parser.add_argument(
            f"--{name}", type=positive, help=f"{kind} ({value}, other for the paper's data)"
        )
    parser.add_argument(
        "--learning-rate", type=float, help=f"({small.learning_rate}, or the protocol's)"
    )
