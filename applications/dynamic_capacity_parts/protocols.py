"""How networks are trained: as the paper does, or in a small way on other data.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), appendix 6.
"""

from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any

import keras

OVERRIDES = (
    "batch_size",
    "epochs",
    "steps",
    "learning_rate",
    "momentum",
    "weight_decay",
)


@dataclass(frozen=True)
class Protocol:
    """A way to train.

    Attributes:
        name: `"paper"` or `"small"`.
        batch_size: Examples of a step.
        epochs: How often the error is measured.
        steps: Of the whole training; None for as many passes as epochs.
        learning_rate: At first.
        momentum: Of SGD; None for Adam.
        drop: The share of the steps after which the rate is a tenth; None for never.
        decay: To which share of itself the rate falls exponentially by the end; None for not.
        weight_decay: In the gradients of the kernels.
    """

    name: str
    batch_size: int
    epochs: int
    steps: int | None = None
    learning_rate: float = 1e-3
    momentum: float | None = None
    drop: float | None = None
    decay: float | None = None
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps % self.epochs:
            raise ValueError(
                f"--steps must be a multiple of the epochs, {self.epochs}. "
                f"Received: --steps={self.steps}"
            )

    def steps_of_epoch(self, images: int) -> int:
        """Steps between measurements, for so many images of a pass."""
        if self.steps is not None:
            return self.steps // self.epochs
        return max(1, images // self.batch_size)

    def rate(self, steps: int) -> Any:
        """The rate of a training of so many steps: a number or a schedule."""
        schedules = keras.optimizers.schedules
        if self.decay is not None:
            return schedules.ExponentialDecay(self.learning_rate, steps, self.decay)
        if self.drop is None:
            return self.learning_rate
        rates = [self.learning_rate, self.learning_rate / 10]
        return schedules.PiecewiseConstantDecay([int(self.drop * steps)], rates)

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """For a training of so many steps."""
        if self.momentum is None:
            return keras.optimizers.Adam(self.rate(steps))
        return keras.optimizers.SGD(self.rate(steps), self.momentum)

    def describe(self) -> str:
        """One line for a report."""
        taken = "" if self.steps is None else f" of {self.steps // self.epochs} steps"
        kind = "Adam" if self.momentum is None else f"SGD, momentum {self.momentum:g}"
        falls = "" if self.drop is None else f", /10 at {self.drop:.0%}"
        if self.decay is not None:
            falls = f", exponentially to {self.decay:g} of it"
        return (
            f"{self.name}: batch {self.batch_size}, {self.epochs} epochs{taken}, {kind}, rate "
            f"{self.learning_rate:g}{falls}, weight decay {self.weight_decay:g}"
        )


# The paper does not say for how long; nor the rates and decay for SVHN.
CLUTTERED = Protocol("paper", batch_size=64, epochs=100)
CLUTTERED_SMALL = replace(CLUTTERED, name="small", epochs=20, steps=2000, drop=0.8)
NUMBERS = Protocol(
    "paper",
    batch_size=64,
    epochs=20,
    learning_rate=0.01,
    momentum=0.9,
    decay=0.01,
    weight_decay=0.0,
)
NUMBERS_SMALL = replace(NUMBERS, name="small", epochs=10, steps=4000)


def choose(paper: Protocol, small: Protocol, papers_data: bool, given: Namespace) -> Protocol:
    """The paper's on its data, else the small one, with what options override."""
    protocol = paper if papers_data else small
    values: dict[str, Any] = {name: getattr(given, name) for name in OVERRIDES}
    return replace(protocol, **{name: value for name, value in values.items() if value is not None})
