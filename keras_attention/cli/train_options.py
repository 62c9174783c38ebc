"""The options of `train`, and those of data that other commands have too."""

import argparse
from pathlib import Path

from keras_attention.cli.backends import BACKENDS
from keras_attention.cli.defaults import (
    ALL_DEVICES,
    LEARNING_RATES,
    MOMENTUM,
    OPTIMIZERS,
    SCHEDULES,
    SEVERAL_ANSWERS_RATE,
    TRAIN_DEFAULTS,
)
from keras_attention.cli.examples import epilog

DEFAULT_FOLDER = "runs/MODEL-DATA-SEED"
FILE_HELP = (
    "The defaults are those of Targeted Kernel Networks for MNIST (section 4.2).\n"
    "A file for --config holds what config.json of a run does, such as\n"
    '  model = "TDN10"\n'
    "  epochs = 40\n"
    "  [model_options]\n"
    "  scale_l2 = 2e-3\n"
    "Options go before the file. What the file says of another data set, model or\n"
    "optimizer than the options name does not count."
)


def add_train(parser: argparse.ArgumentParser) -> None:
    """Adds all options of `train`."""
    parser.epilog = epilog("train", FILE_HELP)
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="name from `keras-attention models`"
    )
    parser.add_argument(
        "--config", type=Path, help=".toml or .json file, or run folder, to take the rest from"
    )
    parser.add_argument("--output", type=Path, help=f"run folder to make ({DEFAULT_FOLDER})")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --output with its own options"
    )
    parser.add_argument(
        "--animate",
        action="store_true",
        help="also write figures/attention.gif, how attention changes from epoch to epoch",
    )
    parser.add_argument(
        "--checkpoint-steps",
        type=int,
        metavar="STEPS",
        help="also keep the training's state every so many steps (each epoch, and each ten "
        "minutes)",
    )
    add_data_options(parser, TRAIN_DEFAULTS["data"])
    parser.add_argument("--train-size", type=int, help="images to train on (all)")
    parser.add_argument(
        "--set",
        action="append",
        metavar="OPTION=VALUE",
        dest="model_options",
        help="option of the model, such as beta=4; repeat for more. Where the model is made of "
        "others, such as coarse=, a run",
    )
    _add_training(parser)


def add_data_options(parser: argparse.ArgumentParser, default: object) -> None:
    """Adds what says which data to load."""
    parser.add_argument("--data", help=f"data set ({default})")
    parser.add_argument(
        "--size", type=int, help="pixels along the sides, or steps of sequences (the data set's)"
    )
    parser.add_argument(
        "--data-dir", help="folder of the data set (by tensorflow-datasets or the environment)"
    )
    parser.add_argument(
        "--data-option",
        action="append",
        metavar="OPTION=VALUE",
        dest="data_options",
        help="option of the data set, such as distractors=4; repeat for more",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    defaults = TRAIN_DEFAULTS
    parser.add_argument(
        "--epochs", type=int, help=f"passes; 0 saves the untrained model ({defaults['epochs']})"
    )
    parser.add_argument("--batch-size", type=int, help=f"images ({defaults['batch_size']})")
    parser.add_argument(
        "--optimizer", choices=OPTIMIZERS, help=f"of the weights ({defaults['optimizer']})"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        help=f"of the first steps (sgd {LEARNING_RATES['sgd']}, for several answers "
        f"{SEVERAL_ANSWERS_RATE}; others {LEARNING_RATES['adam']})",
    )
    parser.add_argument(
        "--momentum", type=float, help=f"of sgd, Nesterov's; 0 for none ({MOMENTUM})"
    )
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        help="steps: a tenth of the rate after half of the training, a hundredth after three "
        f"quarters; cosine: down to 0; constant ({defaults['schedule']})",
    )
    parser.add_argument("--seed", type=int, help=f"of weights and order ({defaults['seed']})")
    parser.add_argument(
        "--devices",
        type=number_or_all,
        metavar="N",
        help="GPUs that share every batch, which has to divide by N; `all` of them; where there "
        "are none, cores of the CPU (1)",
    )
    parser.add_argument(
        "--backend", choices=BACKENDS, help="of Keras (that of KERAS_BACKEND, or tensorflow)"
    )


def number_or_all(text: str) -> int | str:
    """Reads a number of devices; `all` stays as it is."""
    return text if text == ALL_DEVICES else int(text)
