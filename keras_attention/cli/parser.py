"""The options of all commands; nothing here imports Keras."""

import argparse
from pathlib import Path
from typing import Any

from keras_attention import __version__
from keras_attention.cli.examples import NAME, epilog
from keras_attention.cli.train_options import add_data_options, add_train

SHELLS = ("bash", "zsh", "tcsh")
FORMATS = ("saved_model", "onnx", "litert")
Parser = argparse.ArgumentParser


def command_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog=NAME, description="Train, measure, picture and export attentive CNNs.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help=f'print what completes words: eval "$({NAME} --print-completion bash)"',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about, add in (
        ("models", "list the models with their parameters and MACs", _add_models),
        ("train", "train a model into a new run folder", add_train),
        ("evaluate", "measure a trained model's error", _add_evaluate),
        ("plot", "draw where a trained model attends", _add_plot),
        ("export", "write a model for serving, run it and compare", _add_export),
        ("bench", "time models on this machine", _add_bench),
        ("doctor", "say what is installed, seen and at hand", _add_doctor),
    ):
        command = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(command)
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


class _PrintCompletion(argparse.Action):
    """Prints a shell's script, with the names of models and data sets, and leaves."""

    def __call__(self, parser: Parser, *given: Any) -> None:
        from keras_attention.cli.completion import script

        print(script(parser, given[1]))
        parser.exit()


def _add_models(parser: Parser) -> None:
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models (all)")


def _add_evaluate(parser: Parser) -> None:
    _add_run(parser)
    add_data_options(parser, "that of the run")
    parser.add_argument("--batch-size", type=int, help="images (256, of whole pictures 16)")


def _add_plot(parser: Parser) -> None:
    _add_run(parser)
    add_data_options(parser, "that of the run")
    parser.add_argument(
        "--images", type=int, nargs="+", metavar="N", help="test images, the first is 0 (the first)"
    )
    parser.add_argument(
        "--layer",
        nargs="+",
        help="layers to show, of any that make maps (the first mechanism's); with --teacher the "
        "student's",
    )
    parser.add_argument(
        "--teacher", type=Path, metavar="RUN", help="show its maps of the same layers beside"
    )
    parser.add_argument(
        "--output", type=Path, help=".png, .pdf or .svg to write (RUN/figures/attention.png)"
    )


def _add_export(parser: Parser) -> None:
    _add_run(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="saved_model", help="what to write (saved_model)"
    )
    parser.add_argument(
        "--output", type=Path, help="to make (RUN/saved_model, model.onnx or model.tflite)"
    )
    parser.add_argument("--attention", action="store_true", help="serve attention maps too")
    parser.add_argument(
        "--no-image-bytes", action="store_true", help="no endpoint for PNG and JPEG files"
    )
    parser.add_argument(
        "--quantize",
        choices=("int8",),
        help="weights and activations as bytes, for litert; prints the error before and after",
    )
    add_data_options(parser, "that of the run, for --quantize")
    _add_compact(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _add_bench(parser: Parser) -> None:
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="names, run folders or .keras files; others are compared with the last one",
    )
    parser.add_argument(
        "--batch-size", type=int, nargs="+", default=[1, 64], help="of the answers (1 64)"
    )
    parser.add_argument("--data", help="data set whose shapes to take (those of the models)")
    parser.add_argument("--size", type=int, help="pixels along the sides, or steps of sequences")
    parser.add_argument("--rounds", type=int, default=15, help="times each is timed (15)")
    parser.add_argument("--no-training", action="store_true", help="time answers only")
    _add_compact(parser)


def _add_doctor(parser: Parser) -> None:
    parser.description = f"{parser.description} Exits with 1 where another package has its name."


def _add_run(parser: Parser) -> None:
    parser.add_argument("model", type=Path, metavar="RUN", help="run folder or .keras file")


def _add_compact(parser: Parser) -> None:
    parser.add_argument(
        "--compact",
        action="store_true",
        help="for inference: learned regions only, or normalization put into weights",
    )
