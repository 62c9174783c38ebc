"""Reads the command line and calls a command; errors of the user are one line and exit code 2."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_attention import __version__
from keras_attention.cli.defaults import TRAIN_DEFAULTS

USER_ERRORS = (ValueError, OSError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What follows the program's name; None takes the process's own.

    Returns:
        The exit code: 0, or 2 where the user can mend it.
    """
    options = _parser().parse_args(arguments)
    # Data pipelines and exporters take a second to import: not for a mistyped option.
    from keras_attention.cli import commands

    try:
        getattr(commands, options.command)(options)
    except USER_ERRORS as error:
        print(f"keras-attention: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keras-attention: interrupted; `--resume` continues a training", file=sys.stderr)
        return 130
    return 0


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-attention", description="Train, measure, picture and export attentive CNNs."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("models", help="list the models with their parameters and MACs")
    _add_train(commands.add_parser("train", help="train a model into a new run folder"))

    evaluate = commands.add_parser("evaluate", help="measure a trained model's error")
    _add_model(evaluate)
    _add_data(evaluate)
    evaluate.add_argument("--batch-size", type=int, default=256)

    export = commands.add_parser("export", help="write a SavedModel, reload it and compare")
    _add_model(export)
    export.add_argument("--output", type=Path, help="folder to make (RUN/saved_model)")
    export.add_argument("--overwrite", action="store_true", help="replace a SavedModel there")

    plot = commands.add_parser("plot", help="draw where a trained model attends")
    _add_model(plot)
    _add_data(plot)
    plot.add_argument("--output", type=Path, help="picture to write (RUN/figures/attention.png)")
    plot.add_argument("--layer", help="layer to show, of any that make maps (the first to attend)")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="RUN", help="run folder or .keras file")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", help="data set (that of the run)")
    parser.add_argument("--size", type=int, help="pixels along the sides, or steps of sequences")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "example: keras-attention train TDN10 --data top_left_digits --output runs/tdn10 "
        "--set scale_l2=1e-3. The defaults are the paper's for MNIST (section 4.2)."
    )
    defaults = TRAIN_DEFAULTS
    parser.add_argument("model", help="name from `keras-attention models`")
    parser.add_argument("--data", help=f"data set ({defaults['data']})")
    parser.add_argument("--output", type=Path, help="run folder to make (runs/MODEL-DATA-SEED)")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --output with its own options"
    )
    parser.add_argument("--epochs", type=int, help=f"passes ({defaults['epochs']})")
    parser.add_argument("--batch-size", type=int, help=f"images ({defaults['batch_size']})")
    parser.add_argument(
        "--learning-rate",
        type=float,
        help="of SGD with Nesterov momentum 0.9; a tenth after half of the epochs, a hundredth "
        f"after three quarters ({defaults['learning_rate']})",
    )
    parser.add_argument("--seed", type=int, help=f"of weights and order ({defaults['seed']})")
    parser.add_argument(
        "--size",
        type=int,
        help="pixels along the sides, or steps of sequences (the data set's own)",
    )
    parser.add_argument("--train-size", type=int, help="images to train on (all)")
    parser.add_argument(
        "--set",
        action="append",
        metavar="OPTION=VALUE",
        dest="model_options",
        help="option of the model, such as beta=4; repeat for more",
    )
