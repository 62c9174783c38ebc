"""Entry point of the command line."""

import contextlib
import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_attention.cli.parser import BACKENDS, PROGRAM, command_parser, parse_config_file

if TYPE_CHECKING:
    from keras_attention.cli.commands import CommandResult

USER_ERRORS = (ValueError, OSError)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Arguments after the program's name; None for those of the process.

    Returns:
        The exit code: 0; 1 if `doctor` finds a problem; 2 after an error that the user can fix,
        which is printed as one line; 130 after Ctrl-C; 143 after SIGTERM during training.
    """
    options = command_parser().parse_args(arguments)
    try:
        result = _run(options)
        _print(result, options.json)
    except USER_ERRORS as error:
        print(f"{PROGRAM}: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        message = _one_line(interruption, default="interrupted")
        print(f"\n{PROGRAM}: {message}", file=sys.stderr)
        # SIGTERM during training is the cause of the interruption and has its own exit code.
        return getattr(interruption.__cause__, "code", INTERRUPTED)
    return result.exit_code


def _run(options: Namespace) -> "CommandResult":
    # With --json, standard output contains only the result; progress goes to standard error.
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        _select_backend(options)
        # Commands import Keras, which takes seconds, so only the requested one is imported.
        command = importlib.import_module(f"keras_attention.cli.commands.{options.command}")
        return command.run(options)


def _select_backend(options: Namespace) -> None:
    """Sets Keras's backend to that of `--backend`, of the resumed run or of the `--config` file."""
    path = options.output if getattr(options, "resume", False) else getattr(options, "config", None)
    backend = getattr(options, "backend", None) or _backend_in_file(path)
    if backend not in BACKENDS:
        return  # not specified, or invalid: reading the configuration reports that
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
        return
    import keras

    current = keras.backend.backend()
    if current != backend:
        raise ValueError(
            f"`--backend` must be {current}, because Keras is already imported with that backend. "
            f"Received: --backend={backend}. Start a new process, or set KERAS_BACKEND={backend} "
            "before importing Keras"
        )


def _backend_in_file(path: Path | None) -> Any:
    """Reads the backend from a configuration file or run folder, None if it has none."""
    # Errors of the file are reported when the whole configuration is read.
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        return None if path is None else parse_config_file(path).get("backend")
    return None


def _print(result: "CommandResult", as_json: bool) -> None:
    import rich

    if as_json:
        print(result.as_json())
        return
    for part in result.printed:
        # rich would interpret brackets in paths and names as markup.
        print(part) if isinstance(part, str) else rich.print(part)


def _one_line(error: BaseException, default: str = "") -> str:
    return " ".join(str(error).split()) or default or type(error).__name__
