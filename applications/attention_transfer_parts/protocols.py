"""How networks are trained: as the paper does, or in a small way on other data.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), section 4, and the
authors' code.
"""

from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """A way to train, by SGD.

    Attributes:
        name: `"paper"`, `"small"`, or `"ours"` where the paper says nothing.
        batch_size: Examples of a step.
        epochs: How often errors are measured.
        steps: Of the whole training; None for as many passes as epochs.
        learning_rate: At first.
        momentum: Not Nesterov's.
        drops: Where the rate falls, as shares of the steps.
        factor: By which it falls.
        weight_decay: In the gradients of the weights.
        steps_per_execution: Of Keras's `compile`.
    """

    name: str
    batch_size: int
    epochs: int
    steps: int | None = None
    learning_rate: float = 0.1
    momentum: float = 0.9
    drops: tuple[float, ...] = (0.3, 0.6, 0.8)
    factor: float = 5.0
    weight_decay: float = 5e-4
    steps_per_execution: int = 1

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps % self.epochs:
            raise ValueError(
                f"--steps must be a multiple of the epochs, {self.epochs}. "
                f"Received: --steps={self.steps}"
            )

    def steps_of_epoch(self, images: int) -> int:
        """Steps between measurements, for so many images of a pass.

        Raises:
            ValueError: Where several steps are executed together and do not make up an epoch.
        """
        steps = max(1, images // self.batch_size)
        if self.steps is not None:
            steps = self.steps // self.epochs
        if steps % self.steps_per_execution:
            raise ValueError(
                f"--steps-per-execution must divide the {steps} steps of an epoch. "
                f"Received: --steps-per-execution={self.steps_per_execution}"
            )
        return steps

    def describe(self) -> str:
        """One line for a report."""
        taken = "" if self.steps is None else f" of {self.steps // self.epochs} steps"
        drops = "".join(f", /{self.factor:g} at {share:.0%}" for share in self.drops)
        return (
            f"{self.name}: batch {self.batch_size}, {self.epochs} epochs{taken}, SGD, momentum "
            f"{self.momentum:g}, rate {self.learning_rate:g}{drops}, weight decay "
            f"{self.weight_decay:g}"
        )


CIFAR = Protocol("paper", batch_size=128, epochs=200)
CIFAR_SMALL = replace(CIFAR, name="small", batch_size=32, epochs=5, steps=800)
# Section 4.1.3 has no weight decay for the students. Its rate is not published: at 0.1, the rate
# of the networks with normalization, those without learn nothing.
PLAIN = replace(CIFAR, learning_rate=0.01, weight_decay=0.0)
PLAIN_SMALL = replace(CIFAR_SMALL, learning_rate=0.01, weight_decay=0.0)
# The paper says nothing of how it fine-tunes but what is frozen.
FINE = Protocol(
    "ours", batch_size=64, epochs=60, learning_rate=0.01, drops=(0.5, 0.75), factor=10.0
)
FINE_SMALL = replace(FINE, name="small", batch_size=32, epochs=10)
IMAGENET = Protocol(
    "paper", batch_size=256, epochs=100, drops=(0.3, 0.6, 0.9), factor=10.0, weight_decay=1e-4
)
IMAGENET_SMALL = replace(IMAGENET, name="small", batch_size=50, epochs=20, steps=400)
OVERRIDES = (
    "batch_size",
    "epochs",
    "steps",
    "learning_rate",
    "momentum",
    "weight_decay",
    "steps_per_execution",
)


def changed(protocol: Protocol, given: Namespace, but: tuple[str, ...] = ()) -> Protocol:
    """A protocol with what options override, but for some of them."""
    values: dict[str, Any] = {name: getattr(given, name) for name in OVERRIDES if name not in but}
    return replace(protocol, **{name: value for name, value in values.items() if value is not None})
