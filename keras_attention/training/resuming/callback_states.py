"""What callbacks count, as arrays and JSON, from one process to the next."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_attention.training.resuming.checkpoints import Arrays

# Of those in Keras: what they reset when training begins. Others have `get_state`.
KERAS_STATES = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}
# The key of what stands for an array.
ARRAY = "__array__"


def take(callbacks: Sequence[Any], arrays: Arrays) -> dict[str, Any]:
    """Returns the states of callbacks for JSON; what are arrays in them it adds to `arrays`."""
    return {
        name: pack(_state_of(callback), name, arrays)
        for name, callback in _named(callbacks)
        if _keeps(callback)
    }


def put(callbacks: Sequence[Any], states: dict[str, Any], arrays: Arrays) -> None:
    """Gives callbacks the states of those of the same class, the first to the first."""
    for name, callback in _named(callbacks):
        if name in states:
            state = unpack(states[name], arrays)
            if hasattr(callback, "set_state"):
                callback.set_state(state)
            else:
                vars(callback).update(state)


def pack(value: Any, name: str, arrays: Arrays) -> Any:
    """Makes JSON of numbers, texts, lists and dictionaries; arrays go to `arrays`, by name.

    Example:
    >>> arrays = {}
    >>> packed = pack({"best": np.float64(0.5), "weights": [np.ones(2)]}, "stop", arrays)
    >>> packed, list(arrays)
    ({'best': 0.5, 'weights': [{'__array__': 'stop.weights.0'}]}, ['stop.weights.0'])
    >>> unpack(packed, arrays)
    {'best': 0.5, 'weights': [array([1., 1.])]}
    """
    if keras.ops.is_tensor(value):
        value = keras.ops.convert_to_numpy(value)
    if isinstance(value, dict):
        return {key: pack(one, f"{name}.{key}", arrays) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [pack(one, f"{name}.{place}", arrays) for place, one in enumerate(value)]
    if isinstance(value, np.ndarray) and value.ndim:
        arrays[name] = value
        return {ARRAY: name}
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


def unpack(value: Any, arrays: Arrays) -> Any:
    """Makes of what `pack` returned what it was given, with lists in place of tuples."""
    if isinstance(value, dict):
        if ARRAY in value:
            return arrays[value[ARRAY]]
        return {key: unpack(one, arrays) for key, one in value.items()}
    return [unpack(one, arrays) for one in value] if isinstance(value, list) else value


def _named(callbacks: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, 0) + 1
        yield f"{kind}-{counts[kind]}", callback


def _keeps(callback: Any) -> bool:
    return hasattr(callback, "get_state") or isinstance(callback, tuple(KERAS_STATES))


def _state_of(callback: Any) -> dict[str, Any]:
    if hasattr(callback, "get_state"):
        return callback.get_state()
    names = next(names for kind, names in KERAS_STATES.items() if isinstance(callback, kind))
    return {name: getattr(callback, name) for name in names}
