"""What decides the outcome of a run, and which values it may have."""

from dataclasses import dataclass, field
from typing import Any

from keras_attention import applications, datasets
from keras_attention.backend import BACKEND
from keras_attention.cli.defaults import (
    LEARNING_RATES,
    MOMENTUM,
    OPTIMIZERS,
    SCHEDULES,
    SEVERAL_ANSWERS_RATE,
    TRAIN_DEFAULTS,
)
from keras_attention.cli.devices import check_backend, checked_devices
from keras_attention.utils.validation import (
    is_integer,
    non_negative_number,
    one_of,
    positive_integer,
    seed_number,
    share,
)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data are loaded.

    Attributes:
        data: Name of the data set.
        size: Pixels along the sides of the images, or steps of the sequences; None where images
            have sides of their own.
        train_size: Examples to train on, None for all.
        seed: Of the weights, the order and what is drawn.
        data_dir: Folder of the data set, None for the usual one.
        data_options: What `datasets.load` takes for this data set alone.
    """

    data: str
    size: int | None = None
    train_size: int | None = None
    seed: int = 0
    data_dir: str | None = None
    data_options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunConfig(DataConfig):
    """What decides the outcome of a run.

    Attributes:
        model: Name of the model.
        epochs: Passes over the data.
        batch_size: Images of a step.
        learning_rate: Of the first steps.
        optimizer: `"sgd"`, `"adam"`, `"adamw"` or `"rmsprop"`.
        momentum: Of SGD, else None.
        schedule: `"steps"`, `"cosine"` or `"constant"`.
        model_options: Arguments of the model's function.
        devices: How many share each batch.
        backend: Keras's.
    """

    model: str
    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str = "sgd"
    momentum: float | None = MOMENTUM
    schedule: str = "steps"
    model_options: dict[str, Any] = field(default_factory=dict)
    devices: int = 1
    backend: str = "tensorflow"


def complete(asked: dict[str, Any]) -> RunConfig:
    """The configuration of a new run: what is asked for, and defaults.

    Raises:
        ValueError: For a name or a value that cannot be.
    """
    facts = {**TRAIN_DEFAULTS, "backend": BACKEND, **asked}
    if "model" not in facts:
        raise ValueError(
            "`train` needs a MODEL, by name or by --config: one of "
            f"{', '.join(applications.list_models())}. Received: none"
        )
    info = datasets.find(_text("--data", facts["data"]))
    applications.builder(_text("MODEL", facts["model"]))
    facts.setdefault("size", info.size)
    one_of("--optimizer", facts["optimizer"], OPTIMIZERS)
    sgd = facts["optimizer"] == "sgd"
    rate = SEVERAL_ANSWERS_RATE if sgd and info.label_classes else None
    facts.setdefault("learning_rate", rate or LEARNING_RATES[facts["optimizer"]])
    facts.setdefault("momentum", MOMENTUM if sgd else None)
    check_values(facts)
    facts["devices"] = checked_devices(facts["devices"], facts["batch_size"])
    check_backend(facts["backend"])
    return RunConfig(**facts)


def check_values(facts: dict[str, Any]) -> None:
    """Checks all that is no name: numbers, tables and texts.

    Raises:
        ValueError: For a value that cannot be.
    """
    _check_numbers(facts)
    _check_options(facts)


def _check_numbers(facts: dict[str, Any]) -> None:
    if not (is_integer(facts["epochs"]) and facts["epochs"] >= 0):
        raise ValueError(
            "`--epochs` must be a positive integer, or 0 to save the untrained model. "
            f"Received: --epochs={facts['epochs']!r}"
        )
    positive_integer("--batch-size", facts["batch_size"])
    if facts["size"] is not None:
        positive_integer("--size", facts["size"])
    non_negative_number("--learning-rate", facts["learning_rate"])
    seed_number("--seed", facts["seed"])
    one_of("--schedule", facts["schedule"], SCHEDULES)
    if facts["optimizer"] == "sgd":
        share("--momentum", facts["momentum"])
    elif facts["momentum"] is not None:
        raise ValueError(
            "`--momentum` is for --optimizer sgd. "
            f"Received: --momentum={facts['momentum']}, --optimizer={facts['optimizer']}"
        )


def _check_options(facts: dict[str, Any]) -> None:
    """What may come wrong from a file alone."""
    for name in ("model_options", "data_options"):
        if not isinstance(facts.get(name, {}), dict):
            raise ValueError(
                f"`{name}` must be a table of options. Received: {name}={facts[name]!r}"
            )
    if facts.get("data_dir") is not None:
        _text("--data-dir", facts["data_dir"])


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"`{name}` must be a text. Received: {name}={value!r}")
