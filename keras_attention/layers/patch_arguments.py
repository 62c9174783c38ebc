"""Checks of what a patch refiner is made of."""

from typing import Any

import keras

from keras_attention.arguments import is_integer


def checked_model(argument: str, model: Any) -> keras.Model:
    """Returns a Keras model.

    Raises:
        ValueError: For anything else.
    """
    if isinstance(model, keras.Model):
        return model
    raise ValueError(f"`{argument}` must be a Keras model. Received: {argument}={model!r}")


def checked_count(argument: str, value: Any) -> int:
    """Returns an integer from 0 on.

    Raises:
        ValueError: For anything else.
    """
    if is_integer(value) and int(value) >= 0:
        return int(value)
    raise ValueError(f"`{argument}` must be an integer, 0 or more. Received: {argument}={value!r}")


def checked_outputs(outputs: Any) -> tuple[int, ...]:
    """Returns the places of answers that count.

    Raises:
        ValueError: For none, or the same one twice.
    """
    values = tuple(outputs) if isinstance(outputs, (list, tuple)) else ()
    if values and all(map(is_integer, values)) and len(set(values)) == len(values):
        return tuple(int(index) for index in values)
    raise ValueError(
        "`outputs` must be None or a list of different integers, the places of the answers that "
        f"count. Received: outputs={outputs!r}"
    )


def check_ways(
    combine: str, fine_top: keras.Model | None, convex: bool, hint_weight: float
) -> None:
    """Refuses arguments that do not go together."""
    if convex and hint_weight > 1.0:
        raise ValueError(
            "`hint_weight` must be from 0 to 1 where `convex` is True. "
            f"Received: hint_weight={hint_weight}"
        )
    if fine_top is not None and combine == "swap":
        raise ValueError(
            "`fine_top` is for combine='fine_only'; with 'swap' fine vectors go to `top`. "
            f"Received: fine_top={fine_top.name!r}"
        )
