"""Command-line options that the programs share, and types of their values."""

import argparse
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

import keras_attention as ka


def checked(
    convert: Callable[[str], Any], allowed: Callable[[Any], bool], requirement: str
) -> Callable[[str], Any]:
    """Returns a type of options whose values must fulfill a requirement.

    Args:
        convert: Function that converts the text.
        allowed: Function of the value that returns True if it is valid.
        requirement: Requirement for the error message.
    """

    def parse_value(text: str) -> Any:
        try:
            if allowed(value := convert(text)):
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"must be {requirement}. Received: {text!r}")

    return parse_value


positive_int = checked(int, lambda number: number > 0, "a positive integer")
non_negative_int = checked(int, lambda number: number >= 0, "an integer, 0 or more")
seed = checked(int, lambda number: 0 <= number < 2**31, "from 0 to 2**31 - 1")
positive_float = checked(float, lambda number: 0 < number < math.inf, "a positive number")
fraction = checked(float, lambda number: 0 <= number < 1, "a number from 0 to 1, without 1")


def several(kind: Callable[[str], Any]) -> dict[str, Any]:
    """Returns the settings of an option with several values of a type."""
    return {"type": kind, "nargs": "+", "metavar": "VALUE"}


def add_options(group: Any, **options: tuple[Any, str]) -> None:
    """Adds options by their names: `train_size` becomes `--train-size`.

    Args:
        group: Parser or group.
        **options: For each option its type, its choices or a dictionary of its settings, and its
            help text.
    """
    for name, (kind, text) in options.items():
        settings = {"type": kind} if callable(kind) else {"choices": kind}
        settings = kind if isinstance(kind, dict) else settings
        group.add_argument(f"--{name.replace('_', '-')}", help=text, **settings)


def add_run_options(
    parser: argparse.ArgumentParser,
    folder: str,
    seeds: Sequence[int] | None = (0, 1, 2),
    note: str = "",
) -> None:
    """Adds `--seeds`, `--processes`, `--output` and `--markdown`.

    Args:
        parser: Parser of the program.
        folder: Example of the default output folder, for the help text.
        seeds: Default seeds; None if they depend on the table.
        note: Text that is added to the help of `--processes`.
    """
    shown = "depending on the table" if seeds is None else " ".join(map(str, seeds))
    default = None if seeds is None else list(seeds)
    processes = 1 if tf.config.list_physical_devices("GPU") else os.cpu_count()
    add_options(
        parser,
        seeds=(
            {"nargs": "+", "type": seed, "default": default, "metavar": "SEED"},
            f"random seeds; every network is trained once with each ({shown})",
        ),
        processes=(
            {"type": positive_int, "default": processes},
            f"number of trainings at the same time (%(default)s){note}",
        ),
        output=(Path, f"output folder ({folder}, ...)"),
        markdown=(Path, "also write the report to this file"),
    )


PROTOCOL_OPTIONS = {
    "size": (positive_int, "side of images in pixels, or length of sequences"),
    "train_size": (positive_int, "number of training examples"),
    "epochs": (positive_int, "number of epochs; errors are measured after each"),
    "steps": (positive_int, "total number of steps (one pass over the data per epoch)"),
    "batch_size": (positive_int, "batch size"),
    "learning_rate": (positive_float, "initial learning rate"),
    "momentum": (fraction, "momentum of SGD"),
    "weight_decay": (fraction, "weight decay"),
    "steps_per_execution": (positive_int, "argument of Keras's compile (1)"),
}


def add_protocol_options(
    parser: argparse.ArgumentParser, *names: str, note: str = "otherwise those of a short training"
) -> None:
    """Adds options of `PROTOCOL_OPTIONS`, which override the settings of the protocol."""
    title = f"by default, the paper's settings on its data, {note}"
    group = parser.add_argument_group("protocol", title)
    add_options(group, **{name: PROTOCOL_OPTIONS[name] for name in names})


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--export` and `--checkpoint-dir`."""
    parser.add_argument(
        "--export",
        action="store_true",
        default=None,
        help="also write the networks of the first seed as SavedModels",
    )
    parser.add_argument(
        "--checkpoint-dir",
        type=Path,
        help="folder of the trained networks, which several runs can share "
        "(checkpoints in the output folder)",
    )


def experiment_name(options: argparse.Namespace) -> str:
    """Returns the requested table or figure, such as `"table 4"`; empty if there is none."""
    for kind in ("table", "figure"):
        if getattr(options, kind, None):
            return f"{kind} {getattr(options, kind)}"
    return ""


def parse(
    parser: argparse.ArgumentParser,
    base: Path,
    arguments: Sequence[str] | None = None,
    experiments: Mapping[Sequence[str], Sequence[str]] | None = None,
) -> argparse.Namespace:
    """Parses the command line, with default folders of the output and the checkpoints.

    Exits with a message if an option does not apply to the requested table or figure.

    Args:
        parser: Parser of the program.
        base: Default output folder, to which the table or figure is appended.
        arguments: Command line; None for that of the process.
        experiments: Options that only apply to some tables and figures, by the names of these.
    """
    options = parser.parse_args(arguments)
    requested = experiment_name(options)
    for allowed, names in (experiments or {}).items():
        for name in names:
            if getattr(options, name) is not None and requested not in allowed:
                flag, *rest = f"--{name.replace('_', '-')}", *(f"--{one}" for one in allowed)
                needed = " or ".join(filter(None, [", ".join(rest[:-1]), rest[-1]]))
                parser.error(f"{flag} needs {needed}. Received: --{requested}")
    options.output = output_folder(options, base)
    if "checkpoint_dir" in options:
        options.checkpoint_dir = options.checkpoint_dir or options.output / "checkpoints"
    return options


def choose_data(names: Sequence[str], allowed: Sequence[str], where: str) -> str:
    """Returns the only data set of an option, by default the first allowed one.

    Args:
        names: Requested data sets; empty if there are none.
        allowed: Allowed data sets.
        where: Table or figure for the error message.
    """
    data = " ".join(names) or allowed[0]
    if data not in allowed:
        raise ValueError(
            f"--data must be one of {', '.join(allowed)} with {where}. Received: --data={data}"
        )
    return data


def check_image_data(names: Iterable[str]) -> None:
    """Checks that data sets have images with one class label each."""
    for name in names:
        info = ka.datasets.find(name)
        if not info.single_label or info.kind != "images":
            raise ValueError(
                "--data must be data sets of images with one class label each. "
                f"Received: --data={name}"
            )


def output_folder(options: argparse.Namespace, base: Path) -> Path:
    """Returns `--output`, or `base` with the table or figure appended to its name."""
    if options.output is not None:
        return options.output
    name = experiment_name(options).replace(" ", "")
    return base.with_name(f"{base.name}_{name}") if name else base
