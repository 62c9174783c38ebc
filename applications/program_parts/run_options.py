"""Options of every program that trains a paper's tables and figures."""

import argparse
import os
from pathlib import Path

import tensorflow as tf

from program_parts.arguments import positive


def add(parser: argparse.ArgumentParser, folders: str, note: str = "") -> None:
    """Adds `--processes`, `--output` and `--markdown`.

    Args:
        parser: Of the program.
        folders: Where results go by default, as help says it.
        note: What help says of the processes besides.
    """
    parser.add_argument(
        "--processes",
        type=positive,
        default=1 if tf.config.list_physical_devices("GPU") else os.cpu_count(),
        help=f"trainings at the same time (%(default)s){note}",
    )
    parser.add_argument("--output", type=Path, help=f"folder ({folders}, ...)")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")


def output(options: argparse.Namespace, base: Path) -> Path:
    """The folder that was asked for, or `base` with the number of the table or figure."""
    if options.output is not None:
        return options.output
    numbers = {kind: getattr(options, kind, None) for kind in ("table", "figure")}
    ending = "".join(f"_{kind}{number}" for kind, number in numbers.items() if number)
    return base.with_name(base.name + ending)
