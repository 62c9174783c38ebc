"""The command line of the program."""

import argparse
from pathlib import Path

from program_parts import run_options
from program_parts.arguments import count, positive, positive_number, seed, share

from attention_transfer_parts import methods, networks, plan, sources, tables
from keras_attention.distillation.gradient_attention import KINDS

OUTPUT = Path("runs/attention_transfer")
# The tables that an option is for, where not for all.
BELONGS = {
    "teacher_train_size": (1, 2, 3),
    "distractors": (1, 2, 3),
    "test_draws": (1, 2, 3),
    "augmentation": (1, 2, 3),
    "alpha": (1, 3, 4),
    "temperature": (1, 3, 4),
    "schedule": (1,),
    "hint_weight": (1,),
    "gradient_weights": (3,),
    "student_weights": (4,),
    "teacher_weights": (4,),
    "start": (5,),
}


def read(about: str) -> argparse.Namespace:
    """Reads it, refuses what does not go together, fills in the output folder."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--table", type=int, choices=list(tables.TABLES), required=True)
    parser.add_argument(
        "--rows", nargs="+", metavar="STUDENT/TEACHER", help=f"(the paper's) of {networks.ALLOWED}"
    )
    parser.add_argument("--columns", nargs="+", metavar="NAME", help="of the table (all)")
    parser.add_argument("--data", nargs="+", metavar="NAME", help="data sets (the paper's)")
    parser.add_argument(
        "--seeds", nargs="+", type=seed, metavar="SEED", help="(0 1 2 3 4; 0 for tables 3 to 5)"
    )
    _add_images(parser)
    _add_methods(parser)
    _add_protocol(parser)
    parser.add_argument(
        "--export", action="store_true", help="also write the first seed's students as SavedModels"
    )
    parser.add_argument(
        "--networks",
        type=Path,
        help="folder of what is trained, which tables may share (networks in that of the output)",
    )
    run_options.add(parser, f"{OUTPUT}_table1", "; all teachers come first")
    options = parser.parse_args()
    _check(parser, options)
    options.output = run_options.output(options, OUTPUT)
    options.networks = options.networks or options.output / "networks"
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    for name, owners in BELONGS.items():
        if getattr(options, name) is not None and options.table not in owners:
            flag, numbers = f"--{name.replace('_', '-')}", ", ".join(map(str, owners))
            parser.error(f"{flag} needs --table {numbers}. Received: --table {options.table}")
    if options.table == 4 and None in (options.student_weights, options.teacher_weights):
        parser.error(
            "--table 4 needs --student-weights and --teacher-weights: files of networks that were "
            f"trained on ImageNet, such as --table 5 writes, or {plan.NO_FILE}"
        )


def _add_images(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("images", "in brackets: on other data than the paper's")
    group.add_argument("--size", type=positive, help=f"pixels along the sides ({plan.SMALL_SIZE})")
    group.add_argument(
        "--train-size",
        type=positive,
        help=f"images that a student learns from ({plan.SMALL_TRAIN_SIZE})",
    )
    group.add_argument(
        "--teacher-train-size",
        type=positive,
        help="images that a teacher learns from, the student's among them "
        f"({plan.SMALL_TEACHER_TRAIN_SIZE})",
    )
    group.add_argument("--distractors", type=count, help=f"in clutter ({sources.DISTRACTORS})")
    group.add_argument("--test-draws", type=positive, help="images made of a test image (1)")
    group.add_argument(
        "--augmentation",
        choices=sources.AUGMENTATIONS,
        help="of photographs crop, or flip for table 3; of gray images none",
    )


def _add_methods(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("methods")
    group.add_argument("--beta", type=positive_number, help=f"of attention ({tables.BETA:g})")
    group.add_argument("--alpha", type=_share, help=f"of distillation ({tables.ALPHA})")
    group.add_argument("--temperature", type=positive_number, help=f"({tables.TEMPERATURE:g})")
    group.add_argument(
        "--hint-weight", type=positive_number, help=f"of F-ActT ({tables.HINT_WEIGHT:g})"
    )
    group.add_argument(
        "--schedule", choices=methods.SCHEDULES, help="of beta in F-ActT and AT+KD (linear, to 0)"
    )
    group.add_argument(
        "--gradient-weights",
        nargs="+",
        type=_gradient_weight,
        metavar="KIND=NUMBER",
        help=f"of table 3, KIND of {', '.join(KINDS)} (1 each)",
    )
    group.add_argument(
        "--start", type=share, help=f"share of table 5's training before attention ({tables.START})"
    )
    for name in ("student", "teacher"):
        group.add_argument(
            f"--{name}-weights", metavar="FILE", help=f"of ImageNet, or {plan.NO_FILE} (table 4)"
        )


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "protocol", "by default the paper's on its data, else a small one"
    )
    group.add_argument("--epochs", type=positive, help="how often errors are measured")
    group.add_argument("--steps", type=positive, help="in all; without, an epoch is a pass")
    group.add_argument("--batch-size", type=positive, help="images of a step")
    group.add_argument(
        "--learning-rate", type=positive_number, help="at first; of table 3's students"
    )
    group.add_argument("--momentum", type=share)
    group.add_argument("--weight-decay", type=share, help="likewise, in the gradients")
    group.add_argument("--steps-per-execution", type=positive, help="of Keras's compile (1)")


def _share(text: str) -> float:
    number = positive_number(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"must be at most 1. Received: {text!r}")
    return number


def _gradient_weight(text: str) -> tuple[str, float]:
    kind, _, number = text.partition("=")
    if kind not in KINDS:
        raise argparse.ArgumentTypeError(
            f"must be KIND=NUMBER, KIND of {', '.join(KINDS)}. Received: {text!r}"
        )
    return kind, positive_number(number)
