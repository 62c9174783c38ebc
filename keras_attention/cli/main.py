"""Reads the command line and calls a command; errors of the user are one line and exit code 2."""

import contextlib
import importlib
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_attention.cli.backends import choose_backend
from keras_attention.cli.parser import command_parser

if TYPE_CHECKING:
    from keras_attention.cli.answer import Answer

USER_ERRORS = (ValueError, OSError)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What follows the program's name; None takes the process's own.

    Returns:
        The exit code: 0; 1 where `doctor` has found a fault; 2 where the user can mend it; 130
        after Ctrl-C; 143 after SIGTERM in a training.
    """
    options = command_parser().parse_args(arguments)
    try:
        answer = _run(options)
        _print(answer, options.json)
    except USER_ERRORS as error:
        print(f"keras-attention: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"\nkeras-attention: {_one_line(interruption, 'interrupted')}", file=sys.stderr)
        return getattr(interruption, "code", INTERRUPTED)
    return answer.code


def _run(options: Namespace) -> "Answer":
    """Imports the command, which takes seconds: not for --help, nor for a mistyped option."""
    # With --json standard output is for the answer alone: progress goes elsewhere.
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        choose_backend(options)
        command = importlib.import_module(f"keras_attention.cli.commands.{options.command}")
        return command.run(options)


def _print(answer: "Answer", as_json: bool) -> None:
    import rich

    if as_json:
        print(answer.as_json())
        return
    for part in answer.shown:
        # Paths and names are no markup.
        print(part) if isinstance(part, str) else rich.print(part)


def _one_line(error: BaseException, otherwise: str = "") -> str:
    return " ".join(str(error).split()) or otherwise or type(error).__name__
