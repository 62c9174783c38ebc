"""Weights of the parts of a loss, constant or changing while a model learns."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_attention.arguments import non_negative_number

Tensor = Any
Schedule = Callable[[Tensor], Tensor]


class Weight:
    """A number of 0 or more, or one for each step.

    Args:
        argument: What it is called where the user gives it.
        value: A number, or a schedule: a function from the number of batches learned from so far,
            such as a `keras.optimizers.schedules.LearningRateSchedule`.
        most: The largest number allowed; None for any.

    Raises:
        ValueError: For neither of both, or a number that cannot be.

    Example:
    >>> Weight("beta", 1e3)(0)
    1000.0
    """

    def __init__(self, argument: str, value: float | Schedule, most: float | None = None):
        self.value: Any = value if callable(value) else non_negative_number(argument, value)
        if most is not None and not callable(self.value) and self.value > most:
            raise ValueError(f"`{argument}` must be at most {most}. Received: {argument}={value!r}")

    @property
    def is_zero(self) -> bool:
        """Whether it stays 0."""
        return not callable(self.value) and self.value == 0.0

    def __call__(self, step: Tensor) -> Any:
        return ops.cast(self.value(step), "float32") if callable(self.value) else self.value
