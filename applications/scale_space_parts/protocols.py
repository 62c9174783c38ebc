"""How networks are trained; the paper does not say, so all of it is ours.

Rates and epochs of the small protocol were chosen on LeNet-5 and LSTM-4 without attention, by
examples held out of the training part; the others are the usual ones.
"""

from argparse import Namespace
from dataclasses import dataclass, replace
from typing import Any

# Without normalization VGG does not learn at the rate of ResNets.
VGG_SHARE = 0.1
# Its five poolings leave nothing of smaller images.
VGG_SIZE = 32


@dataclass(frozen=True)
class Protocol:
    """A way to train.

    Attributes:
        name: `"usual"` or `"small"`.
        batch_size: Examples of a step.
        epochs: Passes over the examples.
        learning_rate: At first.
        drops: Where the rate falls to a tenth, as shares of the steps.
        optimizer: `"sgd"` (Nesterov momentum 0.9) or `"adam"`.
        weight_decay: L2 weight of the kernels.
        size: Pixels along the sides of an image or steps of a sequence; None for the data set's.
        train_size: Examples for training; None for all.
    """

    name: str
    batch_size: int
    epochs: int
    learning_rate: float = 1e-3
    drops: tuple[float, ...] = ()
    optimizer: str = "adam"
    weight_decay: float = 0.0
    size: int | None = None
    train_size: int | None = None

    def describe(self) -> str:
        """One line for a report."""
        optimizer = "SGD, Nesterov momentum 0.9" if self.optimizer == "sgd" else "Adam"
        drops = "".join(f", /10 at {share:.0%}" for share in self.drops)
        examples = "all" if self.train_size is None else f"{self.train_size:,}"
        return (
            f"{self.name}: {examples} training examples, batch {self.batch_size}, "
            f"{self.epochs} epochs, {optimizer}, rate {self.learning_rate:g}{drops}, "
            f"weight decay {self.weight_decay:g}"
        )


_GRAY = Protocol("usual", batch_size=128, epochs=20)
_COLOR = Protocol(
    "usual",
    batch_size=128,
    epochs=100,
    learning_rate=0.1,
    drops=(0.5, 0.75),
    optimizer="sgd",
    weight_decay=5e-4,
)
USUAL = {
    "mnist": _GRAY,
    "fashion_mnist": _GRAY,
    **dict.fromkeys(("cifar10", "cifar20", "cifar100", "gtsrb"), _COLOR),
    "imagenet2012": replace(
        _COLOR, batch_size=256, epochs=90, drops=(1 / 3, 2 / 3), weight_decay=1e-4
    ),
    "mocap": Protocol("usual", batch_size=16, epochs=100),
    "flights": Protocol("usual", batch_size=256, epochs=20),
}
# LeNet-5 and LSTM-4 without attention fit all of 300 digits by then.
SMALL = Protocol("small", batch_size=32, epochs=60, train_size=300)
SMALL_LSTM = replace(SMALL, epochs=100)


def choose(network: str, data: str, options: Namespace) -> Protocol:
    """The usual protocol for the paper's data, else the small one, with what options override."""
    protocol = USUAL.get(data, SMALL_LSTM if network == "LSTM4" else SMALL)
    if network.startswith("VGG"):
        protocol = replace(protocol, learning_rate=VGG_SHARE * protocol.learning_rate)
        protocol = replace(protocol, size=None if protocol.name == "usual" else VGG_SIZE)
    names = ("batch_size", "epochs", "learning_rate", "size", "train_size")
    changes: dict[str, Any] = {name: getattr(options, name) for name in names}
    return replace(
        protocol, **{name: value for name, value in changes.items() if value is not None}
    )
