"""All that a training changes outside of callbacks: variables and random states."""

import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_attention.training.resuming.callback_states import pack, unpack
from keras_attention.training.resuming.checkpoints import Arrays, Moment

VARIABLE, METRIC = "variable", "metric"


def of_training(model: keras.Model) -> list[Any]:
    """Weights, statistics, seeds of layers, and the optimizer's variables."""
    if not model.optimizer.built:  # one that scales the loss is built again and again
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def take(kind: str, variables: Sequence[Any]) -> Arrays:
    """Copies values by kind and number."""
    return {f"{kind}.{number}": _bits(_value(one)) for number, one in enumerate(variables)}


def put(kind: str, variables: Sequence[Any], moment: Moment) -> None:
    """Sets variables to what `take` copied."""
    for number, variable in enumerate(variables):
        value = moment.arrays[f"{kind}.{number}"]
        variable.assign(value.view(_value(variable).dtype))


def check_fits(kind: str, variables: Sequence[Any], moment: Moment) -> None:
    """Refuses a moment of other variables.

    Raises:
        ValueError: For another number of them, or another shape or type.
    """
    kept = {name: one for name, one in moment.arrays.items() if name.startswith(f"{kind}.")}
    fitting = take(kind, variables)
    if _shapes(kept) != _shapes(fitting):
        raise ValueError(
            f"It has {len(kept)} arrays of {kind}s, where the model has {len(fitting)}, or others "
            "in shape or type."
        )


def not_finite(variables: Sequence[Any]) -> list[str]:
    """The paths of variables with values that are infinite or no numbers."""
    return [
        one.path
        for one in variables
        if keras.backend.is_float_dtype(one.dtype)
        and not np.isfinite(_value(one).astype("float64")).all()
    ]


def take_random(arrays: Arrays) -> dict[str, Any]:
    """The states of Python's and NumPy's generators."""
    states = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}
    return pack(states, "random", arrays)


def put_random(states: dict[str, Any], arrays: Arrays) -> None:
    """Sets the generators to what `take_random` returned."""
    found = unpack(states, arrays)
    version, words, gauss = found["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(found["numpy"])


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _bits(value: np.ndarray) -> np.ndarray:
    """Types that are not NumPy's own, such as bfloat16, as integers of their size."""
    return value if value.dtype.isbuiltin == 1 else value.view(f"u{value.dtype.itemsize}")


def _shapes(arrays: Arrays) -> dict[str, Any]:
    return {name: (one.shape, one.dtype) for name, one in arrays.items()}
