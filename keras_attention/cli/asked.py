"""What a user asks for: options of the command line, and what a file says."""

import ast
import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from keras_attention.cli.run_config import RunConfig
from keras_attention.utils.validation import nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG = "config.json"
KEYS = tuple(entry.name for entry in fields(RunConfig))
OPTION_TABLES = ("model_options", "data_options")
# What a file says of one thing does not count for another: sizes are of a data set.
BELONG_TO = {
    "data": ("size", "data_dir", "data_options"),
    "model": ("model_options",),
    "optimizer": ("learning_rate", "momentum"),
}


def asked_of(options: Namespace) -> dict[str, Any]:
    """What the command line asks for, and the file of `--config` where it says nothing.

    Raises:
        ValueError: For a file that cannot be read or has unknown keys, or options in another form.
    """
    given = {name: getattr(options, name, None) for name in KEYS}
    given |= {name: parsed_options(name, getattr(options, name)) for name in OPTION_TABLES}
    asked = {name: value for name, value in given.items() if value not in (None, {})}
    if options.config is None:
        return asked
    said = read_file(options.config)
    for name, belonging in BELONG_TO.items():
        if name in asked and asked[name] != said.get(name, asked[name]):
            said = {key: value for key, value in said.items() if key not in belonging}
    for name in OPTION_TABLES:
        if name in asked and isinstance(said.get(name), dict):
            asked[name] = said[name] | asked[name]
    return said | asked


def parsed_options(kind: str, texts: list[str] | None) -> dict[str, Any]:
    """Reads `OPTION=VALUE`; a value that is no Python literal is a text.

    Example:
    >>> parsed_options("model_options", ["beta=4", "window=gaussian"])
    {'beta': 4, 'window': 'gaussian'}
    """
    flag = {"model_options": "--set", "data_options": "--data-option"}[kind]
    values = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            raise ValueError(
                f"`{flag}` must be OPTION=VALUE, such as beta=4. Received: {flag} {text}"
            )
        try:
            values[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            values[name] = value
    return values


def read_file(path: Path) -> dict[str, Any]:
    """Reads a .toml or .json file, or the config.json of a run folder.

    Raises:
        ValueError: For a file that cannot be read, or keys that a run does not have.
    """
    path = path / CONFIG if path.is_dir() else path
    if path.suffix not in (".toml", ".json") or not path.is_file():
        raise ValueError(
            "`--config` must be a .toml or .json file, or the folder of a run. "
            f"Received: --config={str(path)!r}"
        )
    text = path.read_text(encoding="utf-8")
    try:
        said = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`--config` must be a whole {path.suffix} file. Received: {str(path)!r} ({error})"
        ) from error
    if not isinstance(said, Mapping):
        raise ValueError(f"`--config` must hold a table of keys. Received: {str(path)!r}")
    for key in said:
        if key not in KEYS:
            raise ValueError(
                f"Keys of a --config are: {', '.join(KEYS)}. Received: {key!r} in {str(path)!r}."
                + nearest(key, KEYS)
            )
    # What is null has its default, other than a size that follows from the data set.
    return {key: value for key, value in said.items() if value is not None}
