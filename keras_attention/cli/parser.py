"""Command-line parser: the options, defaults and examples of all commands.

This module does not import Keras, so that `--help` and errors about options appear immediately.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from keras_attention import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROGRAM = "keras-attention"
BACKENDS = ("tensorflow", "jax")
SHELLS = ("bash", "zsh", "tcsh")
FORMATS = ("saved_model", "onnx", "litert")
CONFIG_FILE = "config.json"
# The value of --devices that stands for all devices of the machine.
ALL_DEVICES = "all"

# Training defaults: the MNIST experiments of Chitta, Targeted Kernel Networks (2018), section 4.2.
TRAIN_DEFAULTS = {
    "data": "digits",
    "epochs": 20,
    "batch_size": 128,
    "optimizer": "sgd",
    "schedule": "steps",
    "seed": 0,
    "devices": 1,
}
# Default learning rate of each optimizer: the paper's for SGD, Keras's for the others.
LEARNING_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001}
# SGD's learning rate for models with several outputs, whose losses are added up.
MULTI_OUTPUT_LEARNING_RATE = 0.01
MOMENTUM = 0.9
OPTIMIZERS = tuple(LEARNING_RATES)
SCHEDULES = ("steps", "cosine", "constant")

# Arguments in the examples at the end of each command's help. A test parses all of them.
EXAMPLES = {
    "models": ("", "DN10 TDN10 --json"),
    "train": (
        "TDN10 --data top_left_digits --size 28 --train-size 300 "
        "--epochs 40 --batch-size 50 --model-option scale_l2=2e-3 --output runs/tdn10",
        "TDN10 --data top_left_digits --animate",
        "LSTM4 --data digit_sequences --model-option attention=san "
        "--optimizer adam --schedule cosine",
        "SVHNCoarse --data number_photographs --model-option width=0.25 --output runs/coarse",
        "--config runs/tdn10 --seed 1 --output runs/tdn10-1",
        "TKN6 --devices 2 --backend jax",
        "--resume --output runs/tdn10",
    ),
    "evaluate": ("runs/tdn10", "model.keras --data digits --size 28 --json"),
    "plot": (
        "runs/tdn10",
        "runs/tdn10 --images 3 14 15 --output attention.pdf",
        "runs/student --teacher runs/teacher --layer group1 group2 group3",
    ),
    "export": (
        "runs/tdn10 --compact",
        "runs/tdn10 --format onnx --attention --output tdn10.onnx",
        "runs/tdn10 --format litert --quantize int8",
    ),
    "bench": ("TDN10 DN10 --batch-size 64", "runs/tdn10 DN10 --batch-size 1 64 --compact --json"),
    "doctor": ("", "--json"),
}
NOTES = {
    "train": (
        "The defaults are those of Targeted Kernel Networks for MNIST (section 4.2).",
        "A --config file has the keys of a run's config.json, for example",
        '  model = "TDN10"',
        "  epochs = 40",
        "  [model_options]",
        "  scale_l2 = 2e-3",
        "Options take precedence over the file. Where an option names another data set,",
        "model or optimizer than the file, the file's settings for it are ignored.",
        "",
    )
}


def command_parser() -> argparse.ArgumentParser:
    """Builds the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Train, evaluate, plot and export CNNs with attention."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help=f'print a completion script: eval "$({PROGRAM} --print-completion bash)"',
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary, add_options in (
        ("models", "list the models with their parameters and MACs", _add_models),
        ("train", "train a model into a new run folder", _add_train),
        ("evaluate", "measure a trained model on test data", _add_evaluate),
        ("plot", "plot the attention maps of a trained model", _add_plot),
        ("export", "export a model for serving and verify the export", _add_export),
        ("bench", "measure the latency of models on this machine", _add_bench),
        ("doctor", "check installed packages, devices and data sets", _add_doctor),
    ):
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=_epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(command)
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def parse_config_file(path: Path) -> Any:
    """Parses a .toml or .json file, or the config.json of a run folder."""
    path = path / CONFIG_FILE if path.is_dir() else path
    text = path.read_text(encoding="utf-8")
    return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)


def _epilog(command: str) -> str:
    """Formats the notes and examples of a command for the end of its help, 80 columns wide."""
    examples = [f"{PROGRAM} {command} {arguments}" for arguments in EXAMPLES[command]]
    lines = [f"  {line}" for example in examples for line in _wrap_example(example)]
    return "\n".join([*NOTES.get(command, ()), "examples:", *lines])


def _wrap_example(example: str, width: int = 74) -> list[str]:
    """Breaks an example into lines that a shell joins again."""
    lines = [""]
    for option in example.strip().replace(" --", "\n--").splitlines():
        if lines[-1] and len(lines[-1]) + len(option) > width:
            lines[-1] += " \\"
            lines.append(f"    {option}")
        else:
            lines[-1] += f" {option}" if lines[-1] else option
    return lines


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of models (default: all)")


def _add_train(parser: argparse.ArgumentParser) -> None:
    add, defaults = parser.add_argument, TRAIN_DEFAULTS
    flag = partial(add, action="store_true")
    add("model", nargs="?", metavar="MODEL", help="name of a model, see `keras-attention models`")
    add(
        "--config",
        type=Path,
        help=".toml or .json file, or a run folder, with values for options that are not passed",
    )
    add("--output", type=Path, help="run folder to create (default: runs/MODEL-DATA-SEED)")
    flag("--resume", help="resume the run in --output with its own options")
    flag("--animate", help="also write figures/attention.gif, the attention maps after each epoch")
    add(
        "--checkpoint-steps",
        type=int,
        metavar="STEPS",
        help="also save a checkpoint every STEPS steps (default: every epoch and every ten "
        "minutes)",
    )
    _add_data(parser, defaults["data"])
    add("--train-size", type=int, help="number of training examples (default: all)")
    add(
        "--model-option",
        action="append",
        metavar="OPTION=VALUE",
        dest="model_options",
        help="option of the model, for example beta=4; may be repeated. The value of an option "
        "that takes a model, for example coarse=, is a run folder",
    )
    add(
        "--epochs",
        type=int,
        help=f"number of epochs; 0 saves the untrained model (default: {defaults['epochs']})",
    )
    add(
        "--batch-size",
        type=int,
        help=f"examples in a training step (default: {defaults['batch_size']})",
    )
    add("--optimizer", choices=OPTIMIZERS, help=f"optimizer (default: {defaults['optimizer']})")
    add(
        "--learning-rate",
        type=float,
        help=f"initial learning rate (default: {LEARNING_RATES['sgd']} for sgd, "
        f"{MULTI_OUTPUT_LEARNING_RATE} for sgd and several outputs, {LEARNING_RATES['adam']} for "
        "the other optimizers)",
    )
    add(
        "--momentum",
        type=float,
        help=f"Nesterov momentum of sgd; 0 for no momentum (default: {MOMENTUM})",
    )
    add(
        "--schedule",
        choices=SCHEDULES,
        help="learning rate schedule. steps: divided by 10 after half of the training and again "
        f"after three quarters; cosine: decays to 0 (default: {defaults['schedule']})",
    )
    add(
        "--seed",
        type=int,
        help=f"seed of the weights and of the order of examples (default: {defaults['seed']})",
    )
    add(
        "--devices",
        type=_integer_or_all,
        metavar="N",
        help="number of GPUs that share every batch, or `all`; must divide the batch size. "
        "Without GPUs, cores of the CPU (default: 1)",
    )
    add("--backend", choices=BACKENDS, help="Keras backend (default: KERAS_BACKEND, or tensorflow)")


def _integer_or_all(text: str) -> int | str:
    return text if text == ALL_DEVICES else int(text)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_run(parser)
    _add_data(parser, "the run's")
    parser.add_argument(
        "--batch-size",
        type=int,
        help="images in a batch (default: 256, or 16 for photographs of house numbers)",
    )


def _add_plot(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _add_run(parser)
    _add_data(parser, "the run's")
    add(
        "--images",
        type=int,
        nargs="+",
        metavar="INDEX",
        help="indices of test images, from 0 (default: the first images)",
    )
    add(
        "--layer",
        nargs="+",
        help="layers whose feature maps to plot (default: the attention maps of the first "
        "attention layer); with --teacher, layers of the student",
    )
    add(
        "--teacher",
        type=Path,
        metavar="RUN",
        help="also plot the feature maps of this model, in the same layers",
    )
    _add_image_range(parser)
    add("--grad-cam", action="store_true", help="also plot the Grad-CAM heat map")
    add("--dpi", type=int, default=120, help="dots per inch of a .png file (default: 120)")
    add("--width", type=float, metavar="INCHES", help="width of the figure, such as 3.4")
    add(
        "--output",
        type=Path,
        help=".png, .pdf or .svg file to write (default: RUN/figures/attention.png)",
    )


def _add_image_range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values of black and white in the images (default: inferred from the model)",
    )


def _add_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    flag = partial(add, action="store_true")
    _add_run(parser)
    add(
        "--format",
        choices=FORMATS,
        default="saved_model",
        help="file format (default: saved_model)",
    )
    add(
        "--output",
        type=Path,
        help="path to write (default: saved_model, model.onnx or model.tflite in RUN)",
    )
    flag("--attention", help="also output the attention maps")
    flag("--no-image-bytes", help="omit the endpoint that takes PNG and JPEG files")
    _add_image_range(parser)
    add(
        "--quantize",
        choices=("int8",),
        help="quantize weights and activations of a litert export; prints the test error before "
        "and after",
    )
    _add_data(parser, "the run's; used by --quantize")
    _add_compact(parser)
    flag("--overwrite", help="replace an existing export")


def _add_bench(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "models",
        nargs="+",
        metavar="MODEL",
        help="names of models, run folders or .keras files; the last one is the baseline of the "
        "comparison",
    )
    add(
        "--batch-size",
        type=int,
        nargs="+",
        default=[1, 64],
        help="batch sizes for inference; training uses the largest (default: 1 64)",
    )
    add("--data", help="data set whose input shape to use (default: the models' input shape)")
    add("--size", type=int, help="image side in pixels, or steps of a sequence")
    add("--rounds", type=int, default=15, help="number of measurements of each model (default: 15)")
    add("--no-training", action="store_true", help="measure inference only")
    _add_compact(parser)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"{parser.description} The exit code is 1 if another installed package uses the name "
        "keras_attention."
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="RUN", help="run folder or .keras file")


def _add_data(parser: argparse.ArgumentParser, default: object) -> None:
    add = parser.add_argument
    add("--data", help=f"name of a data set (default: {default})")
    add(
        "--size",
        type=int,
        help="image side in pixels, or steps of a sequence (default: the data set's)",
    )
    add(
        "--data-dir",
        help="folder of the data set (default: that of tensorflow-datasets, or an environment "
        "variable)",
    )
    add(
        "--data-option",
        action="append",
        metavar="OPTION=VALUE",
        dest="data_options",
        help="option of the data set, for example distractors=4; may be repeated",
    )


def _add_compact(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compact",
        action="store_true",
        help="optimize for inference: compute regions of interest only, or fold batch "
        "normalization into weights",
    )


class _PrintCompletion(argparse.Action):
    """Prints a shell completion script and exits.

    The script contains the names of all models and data sets, so that completing them does not
    start Python.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        import shtab

        from keras_attention import applications, datasets

        commands = next(each for each in parser._actions if each.dest == "command").choices
        for command in commands.values():
            for action in command._actions:
                if action.metavar == "MODEL":
                    action.choices = applications.list_models()
                elif action.dest == "data":
                    action.choices = list(datasets.list_datasets())
                elif action.type is Path:
                    action.complete = shtab.FILE
                elif action.dest == "data_dir":
                    action.complete = shtab.DIRECTORY
        print(shtab.complete(parser, values))
        parser.exit()
