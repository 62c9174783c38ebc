"""Arguments that models share, checked before anything is built."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_attention.arguments import (
    flag,
    non_negative_number,
    one_of,
    positive_integer,
    share,
)

# More than in any data set of pictures; a top of 1,024 channels then has a weight of 1 GiB.
MOST_CLASSES = 2**18
POOLINGS = (None, "avg", "max")


def check_common(model: str, arguments: Mapping[str, Any]) -> None:
    """Checks what has one meaning in all models.

    Args:
        model: Its name, for the errors.
        arguments: All arguments of a builder, by name.

    Raises:
        ValueError: For a value that no model takes.
    """
    _check_classes(arguments["classes"])
    _check_options(arguments.get("attention_options"))
    keras.activations.get(arguments["classifier_activation"])
    flag("include_top", arguments["include_top"])
    one_of("pooling", arguments["pooling"], POOLINGS)
    _check_tensor(arguments["input_tensor"])
    _check_name(arguments["name"])
    _check_weights(model, arguments["weights"])
    non_negative_number("weight_decay", arguments["weight_decay"])
    for rate in ("dropout", "hidden_dropout"):
        share(rate, arguments.get(rate, 0.0))


def _check_classes(classes: Any) -> None:
    if positive_integer("classes", classes) > MOST_CLASSES:
        raise ValueError(f"`classes` must be at most {MOST_CLASSES}. Received: classes={classes!r}")


def _check_options(options: Any) -> None:
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(
            "`attention_options` must be a dictionary of arguments, or None. "
            f"Received: attention_options={options!r}"
        )


def _check_tensor(tensor: Any) -> None:
    if tensor is not None and not keras.backend.is_keras_tensor(tensor):
        raise ValueError(
            "`input_tensor` must be a Keras tensor, as `keras.Input` makes. "
            f"Received: input_tensor={tensor!r}"
        )


def _check_name(name: Any) -> None:
    if not (name is None or (isinstance(name, str) and name and "/" not in name)):
        raise ValueError(f"`name` must be a text without '/', or None. Received: name={name!r}")


def _check_weights(model: str, weights: Any) -> None:
    is_path = isinstance(weights, (str, os.PathLike))
    if weights is not None and not (is_path and _is_file(Path(weights))):
        raise ValueError(
            "`weights` must be None (random) or the path of a file that `save_weights` or `save` "
            f"wrote; none are published for {model}. Received: weights={weights!r}"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file system takes
        return False
