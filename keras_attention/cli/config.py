"""Configuration of a training run, from options of the command line and files."""

import ast
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from keras_attention import applications, backend, datasets
from keras_attention.cli import parser
from keras_attention.utils import validation


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Arguments of `datasets.load`; the size is None if images have different sizes."""

    data: str
    size: int | None = None
    train_size: int | None = None
    seed: int = 0
    data_dir: str | None = None
    data_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunConfig(DataConfig):
    """Everything that determines the result of a training run.

    The fields are options of `keras-attention train`, which describes them with `--help`. The
    momentum is None for other optimizers than SGD.
    """

    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str = "sgd"
    momentum: float | None = parser.MOMENTUM
    schedule: str = "steps"
    model_options: dict[str, Any] = field(default_factory=dict)
    devices: int = 1
    backend: str = "tensorflow"


CONFIG_KEYS = tuple(entry.name for entry in fields(RunConfig))
# Options with several values, OPTION=VALUE, and their command-line options.
OPTION_FLAGS = {"model_options": "--model-option", "data_options": "--data-option"}
# Settings of a --config file that are ignored where an option replaces what they belong to.
DEPENDENT_KEYS = {
    "data": ("size", "data_dir", "data_options"),
    "model": ("model_options",),
    "optimizer": ("learning_rate", "momentum"),
}


def requested_config(options: Namespace) -> dict[str, Any]:
    """Collects the options of the command line, which take precedence, and the `--config` file."""
    values = {name: getattr(options, name, None) for name in CONFIG_KEYS}
    values |= {name: parse_options(name, getattr(options, name)) for name in OPTION_FLAGS}
    requested = {name: value for name, value in values.items() if value not in (None, {})}
    if options.config is None:
        return requested
    in_file = _read_config_file(options.config)
    for name, dependent in DEPENDENT_KEYS.items():
        if name in requested and requested[name] != in_file.get(name, requested[name]):
            in_file = {key: value for key, value in in_file.items() if key not in dependent}
    for name in OPTION_FLAGS:
        if name in requested and isinstance(in_file.get(name), dict):
            requested[name] = in_file[name] | requested[name]
    return in_file | requested


def parse_options(kind: str, texts: list[str] | None) -> dict[str, Any]:
    """Parses `OPTION=VALUE` texts; a value that is not a Python literal is a string."""
    values = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name.isidentifier() and equals):
            flag = OPTION_FLAGS[kind]
            raise ValueError(
                f"`{flag}` must be OPTION=VALUE, for example beta=4. Received: {flag} {text}"
            )
        try:
            values[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            values[name] = value
    return values


def _read_config_file(path: Path) -> dict[str, Any]:
    """Reads a .toml or .json file, or the config.json of a run folder."""
    path = path / parser.CONFIG_FILE if path.is_dir() else path
    if path.suffix not in (".toml", ".json") or not path.is_file():
        raise ValueError(
            "`--config` must be a .toml or .json file, or a run folder. "
            f"Received: --config={str(path)!r}"
        )
    try:
        content = parser.parse_config_file(path)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`--config` must be a valid {path.suffix} file. Received: {str(path)!r} ({error})"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"`--config` must contain a table of keys. Received: {str(path)!r}")
    for key in content:
        if key not in CONFIG_KEYS:
            raise ValueError(
                f"Keys of a --config file must be among {', '.join(CONFIG_KEYS)}. "
                f"Received: {key!r} in {str(path)!r}.{validation.did_you_mean(key, CONFIG_KEYS)}"
            )
    # A null value stands for the default.
    return {key: value for key, value in content.items() if value is not None}


def complete_config(requested: dict[str, Any]) -> RunConfig:
    """Adds default values to the requested ones and validates the configuration of a new run."""
    values = {**parser.TRAIN_DEFAULTS, "backend": backend.BACKEND, **requested}
    if "model" not in values:
        raise ValueError(
            "`train` needs a MODEL, as an argument or in the --config file: one of "
            f"{', '.join(applications.list_models())}. Received: none"
        )
    info = datasets.find(_string("--data", values["data"]))
    applications.builder(_string("MODEL", values["model"]))
    values.setdefault("size", info.size)
    validation.one_of("--optimizer", values["optimizer"], parser.OPTIMIZERS)
    sgd = values["optimizer"] == "sgd"
    learning_rate = parser.LEARNING_RATES[values["optimizer"]]
    if sgd and info.label_classes:
        learning_rate = parser.MULTI_OUTPUT_LEARNING_RATE
    values.setdefault("learning_rate", learning_rate)
    values.setdefault("momentum", parser.MOMENTUM if sgd else None)
    validate_values(values)
    values["devices"] = _device_count(values["devices"], values["batch_size"])
    require_backend(values["backend"])
    return RunConfig(**values)


def validate_values(values: dict[str, Any]) -> None:
    """Validates the numbers, tables and strings of a configuration."""
    if not (validation.is_integer(values["epochs"]) and values["epochs"] >= 0):
        raise ValueError(
            "`--epochs` must be a positive integer, or 0 to save the untrained model. "
            f"Received: --epochs={values['epochs']!r}"
        )
    validation.positive_integer("--batch-size", values["batch_size"])
    if values["size"] is not None:
        validation.positive_integer("--size", values["size"])
    validation.non_negative_number("--learning-rate", values["learning_rate"])
    validation.seed_number("--seed", values["seed"])
    validation.one_of("--schedule", values["schedule"], parser.SCHEDULES)
    if values["optimizer"] == "sgd":
        validation.fraction("--momentum", values["momentum"])
    elif values["momentum"] is not None:
        raise ValueError(
            "`--momentum` requires --optimizer sgd. "
            f"Received: --momentum={values['momentum']}, --optimizer={values['optimizer']}"
        )
    # The parser ensures the types below for options; files can contain anything.
    for name in OPTION_FLAGS:
        if not isinstance(values.get(name, {}), dict):
            raise ValueError(
                f"`{name}` must be a table of options. Received: {name}={values[name]!r}"
            )
    if values.get("data_dir") is not None:
        _string("--data-dir", values["data_dir"])


def _string(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"`{name}` must be a string. Received: {name}={value!r}")


def _device_count(devices: Any, batch_size: int) -> int:
    """Validates `--devices` and sets up as many logical CPU devices if there are no others."""
    if validation.is_integer(devices) and devices == 1:
        return 1
    available = backend.device_count()
    count = available if devices == parser.ALL_DEVICES else devices
    if not (validation.is_integer(count) and 1 <= count <= available):
        kind = "GPUs or TPUs" if backend.accelerators() else "CPU cores"
        raise ValueError(
            f"`--devices` must be {parser.ALL_DEVICES}, or from 1 to {available}, the number of "
            f"{kind} available to {backend.BACKEND}. Received: --devices={devices}"
        )
    if batch_size % count:
        raise ValueError(
            "`--batch-size` must be divisible by --devices, because the devices share each batch. "
            f"Received: --batch-size={batch_size}, --devices={count}"
        )
    backend.device_names(count)
    return int(count)


def require_backend(name: Any) -> None:
    """Raises a ValueError if a run needs another backend than the one Keras is using."""
    if name != backend.BACKEND:
        raise ValueError(
            f"The backend of the run must be {backend.BACKEND}, which Keras uses in this process. "
            f"Received: backend={name!r}. Use --backend or KERAS_BACKEND in a new process"
        )
