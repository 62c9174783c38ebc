"""Which backend a command runs on, said before Keras is imported."""

import json
import os
import sys
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BACKENDS = ("tensorflow", "jax")
CONFIG = "config.json"


def choose_backend(options: Namespace) -> None:
    """Sets Keras's backend to the one asked for, or to that of the run that is continued.

    Raises:
        ValueError: Where Keras is imported already, with another.
    """
    name = getattr(options, "backend", None) or _of_run(options)
    if name not in BACKENDS:
        return  # of the environment, or a mistake in a file, which its reader explains
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = name
        return
    running = _running()
    if running != name:
        raise ValueError(
            f"`--backend` must be that of Keras, which is imported and runs on {running}; a new "
            f"process can choose, or KERAS_BACKEND={name} before it. Received: --backend={name}"
        )


def _running() -> str:
    import keras

    return str(keras.backend.backend())


def _of_run(options: Namespace) -> Any:
    """What the run to continue, or the file of `--config`, says; None where it says nothing."""
    if getattr(options, "resume", False):
        return _said(options.output)
    return _said(getattr(options, "config", None))


def _said(path: Path | None) -> Any:
    if path is None:
        return None
    path = path / CONFIG if path.is_dir() else path
    # What is wrong with the file, its reader says later.
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        text = path.read_text(encoding="utf-8")
        return (tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)).get("backend")
    return None
