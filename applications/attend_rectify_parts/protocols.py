"""How networks are trained: as the paper does, or in a small way on other data.

Reference: Rodriguez et al., Attend and Rectify (2018), sections 4.2 to 4.4.
"""

from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """A way to train, by SGD.

    Attributes:
        name: `"paper"` or `"small"`.
        batch_size: Examples of a step.
        epochs: How often errors are measured, at most.
        learning_rate: At first.
        momentum: Nesterov's.
        drops: Where the rate falls, as shares of the steps.
        factor: By which it falls.
        train_size: Examples for training; None for all.
        epoch_images: Images of an epoch; None for one pass. More are further passes.
        test_draws: How often every test image is drawn, where images are generated.
        size: Pixels along the sides; None for the data set's.
        patience: Epochs without a lower loss in training after which it stops; None for all.
    """

    name: str
    batch_size: int
    epochs: int
    learning_rate: float = 0.1
    momentum: float = 0.9
    drops: tuple[float, ...] = (0.3,)
    factor: float = 10.0
    train_size: int | None = None
    epoch_images: int | None = None
    test_draws: int = 1
    size: int | None = None
    patience: int | None = None

    def describe(self) -> str:
        """One line for a report."""
        examples = "all" if self.train_size is None else f"{self.train_size:,}"
        epoch = "" if self.epoch_images is None else f" of {self.epoch_images:,} images"
        momentum = f", Nesterov momentum {self.momentum:g}" if self.momentum else ""
        drops = "".join(f", /{self.factor:g} at {share:.0%}" for share in self.drops)
        stop = "" if self.patience is None else f", stops {self.patience} epochs after the best"
        return (
            f"{self.name}: {examples} training examples, batch {self.batch_size}, {self.epochs} "
            f"epochs{epoch}, SGD{momentum}, rate {self.learning_rate:g}{drops}{stop}"
        )


# 100,000 test images are ten draws of the 10,000 digits.
CLUTTERED = Protocol(
    "paper", batch_size=128, epochs=200, momentum=0.0, epoch_images=200_000, test_draws=10
)
CLUTTERED_SMALL = replace(
    CLUTTERED,
    name="small",
    batch_size=32,
    epochs=40,
    train_size=300,
    epoch_images=5120,
    test_draws=5,
)
WIDE = Protocol("paper", batch_size=128, epochs=200, drops=(0.3, 0.6, 0.8), factor=5.0)
WIDE_SMALL = replace(WIDE, name="small", batch_size=32, epochs=60, train_size=300)
FINE = Protocol(
    "paper", batch_size=64, epochs=100, learning_rate=1e-3, drops=(0.3, 0.6, 0.9), patience=10
)
FINE_SMALL = replace(FINE, name="small", batch_size=32, epochs=20, train_size=300)
OVERRIDES = (
    "batch_size",
    "epochs",
    "learning_rate",
    "momentum",
    "train_size",
    "epoch_images",
    "test_draws",
    "size",
)


def choose(paper: Protocol, small: Protocol, papers_data: bool, options: Namespace) -> Protocol:
    """The paper's protocol on the paper's data, else the small one, with what options override."""
    protocol = paper if papers_data else small
    changes: dict[str, Any] = {name: getattr(options, name) for name in OVERRIDES}
    return replace(
        protocol, **{name: value for name, value in changes.items() if value is not None}
    )
