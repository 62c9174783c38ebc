"""Training protocols: optimizer, learning rate schedule and duration of a training."""

from argparse import Namespace
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import keras

AnyProtocol = TypeVar("AnyProtocol", bound="Protocol")


@dataclass(frozen=True)
class Protocol:
    """Settings of a training.

    Attributes:
        name: `"paper"` for the published settings, `"small"` for a short training on other data,
            `"usual"` or `"ours"` where the paper gives no settings.
        batch_size: Number of examples per step.
        epochs: Number of epochs. Errors are measured after each.
        steps: Number of steps of the whole training; None for one pass over the data per epoch.
        optimizer: `"sgd"` or `"adam"`.
        learning_rate: Initial learning rate.
        momentum: Momentum of SGD.
        nesterov: If True, SGD uses Nesterov momentum.
        drops: Fractions of the training after which the learning rate is divided by `drop_factor`.
        drop_factor: Divisor of the learning rate at each drop.
        decay: Factor of the learning rate at the end of an exponential decay; None for no decay.
        weight_decay: Weight decay of the network; None for the default of its builder.
        size: Side of the images in pixels, or length of sequences; None for that of the data set.
        train_size: Number of training examples; None for all.
    """

    name: str
    batch_size: int
    epochs: int
    steps: int | None = None
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    drops: tuple[float, ...] = ()
    drop_factor: float = 10.0
    decay: float | None = None
    weight_decay: float | None = None
    size: int | None = None
    train_size: int | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps % self.epochs:
            raise ValueError(
                f"--steps must be a multiple of the epochs, {self.epochs}. "
                f"Received: --steps={self.steps}"
            )

    def override(self: AnyProtocol, options: Namespace, *excluded: str) -> AnyProtocol:
        """Returns a copy in which options replace the fields of the same names, if not excluded."""
        names = {field.name for field in fields(self)} - set(excluded)
        values = {name: getattr(options, name, None) for name in names}
        return replace(self, **{name: value for name, value in values.items() if value is not None})

    def steps_per_epoch(self, examples: int) -> int:
        """Returns the number of steps between two measurements.

        Args:
            examples: Number of training examples.
        """
        if self.steps is not None:
            return self.steps // self.epochs
        return max(1, examples // self.batch_size)

    def schedule(self, steps: int, learning_rate: float | None = None) -> Any:
        """Returns the learning rate of a training with `steps` steps: a number or a schedule."""
        rate = self.learning_rate if learning_rate is None else learning_rate
        schedules = keras.optimizers.schedules
        if self.decay is not None:
            return schedules.ExponentialDecay(rate, steps, self.decay)
        if not self.drops:
            return rate
        boundaries = [int(share * steps) for share in self.drops]
        rates = [rate / self.drop_factor**power for power in range(len(boundaries) + 1)]
        return schedules.PiecewiseConstantDecay(boundaries, rates)

    def make_optimizer(
        self, steps: int, learning_rate: float | None = None
    ) -> keras.optimizers.Optimizer:
        """Returns the optimizer of a training with `steps` steps."""
        rate = self.schedule(steps, learning_rate)
        if self.optimizer == "adam":
            return keras.optimizers.Adam(rate)
        nesterov = self.nesterov and self.momentum > 0
        return keras.optimizers.SGD(rate, self.momentum, nesterov=nesterov)

    def describe(self) -> str:
        """Returns the settings as one line of a report."""
        parts = [f"batch size {self.batch_size}", f"{self.epochs} epochs"]
        if self.train_size is not None:
            parts.insert(0, f"{self.train_size:,} training examples")
        if self.steps is not None:
            parts[-1] += f" of {self.steps // self.epochs} steps"
        parts.append("Adam" if self.optimizer == "adam" else "SGD")
        if self.optimizer == "sgd" and self.momentum:
            kind = "Nesterov momentum" if self.nesterov else "momentum"
            parts[-1] += f" with {kind} {self.momentum:g}"
        parts.append(f"learning rate {self.learning_rate:g}")
        if self.decay is not None:
            parts[-1] += f", decaying exponentially to {self.decay:g} times that"
        if self.drops:
            shares = " and ".join(f"{share:.0%}" for share in self.drops)
            parts.append(f"divided by {self.drop_factor:g} after {shares} of the steps")
        if self.weight_decay is not None:
            parts.append(f"weight decay {self.weight_decay:g}")
        return f"{self.name}: {', '.join(parts)}"

    def record(self) -> dict[str, Any]:
        """Returns the settings as columns of `results.csv`."""
        fields = asdict(self)
        # Results have the number of steps that were actually executed.
        del fields["steps"]
        fields["protocol"] = fields.pop("name")
        if self.optimizer == "adam":
            fields["momentum"] = fields["nesterov"] = None
        fields["drops"] = " ".join(f"{share:g}" for share in self.drops)
        return fields
