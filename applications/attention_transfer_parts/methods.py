"""What a student is taught by: the columns of the tables.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), sections 3 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

import keras_attention as ka

SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class Strength:
    """The weight of a part of the loss.

    Attributes:
        value: At first; 0 for none of that part.
        schedule: `"constant"`, or `"linear"` or `"cosine"`, down to 0 at the end of the training.
        start: The share of the training before which it is 0.
    """

    value: float = 0.0
    schedule: str = "constant"
    start: float = 0.0

    def of(self, steps: int) -> Any:
        """What `AttentionDistiller` takes, for a training of so many steps."""
        schedules = keras.optimizers.schedules
        if self.start:
            # The schedule changes after its boundary.
            return schedules.PiecewiseConstantDecay(
                [max(0, round(self.start * steps) - 1)], [0.0, self.value]
            )
        if self.schedule == "linear":
            return schedules.PolynomialDecay(self.value, steps, 0.0)
        return (
            self.value if self.schedule == "constant" else schedules.CosineDecay(self.value, steps)
        )

    def describe(self) -> str:
        """As a report says it."""
        text = f"{self.value:g}"
        if self.schedule != "constant":
            text += f" to 0, {self.schedule}"
        return text + (f" from {self.start:.0%} of the training on" if self.start else "")


@dataclass(frozen=True)
class Method:
    """How a student is taught beside its labels; by nothing else if nothing is set.

    Attributes:
        attention: Of the losses of attention maps.
        power: Of the activations in a map.
        reduce: What is taken over the channels.
        distillation: The share alpha of the teacher's answers.
        temperature: By which they are softened.
        hints: Of the losses of whole activations.
        gradient: A kind of `GradientAttention`, or None.
        gradient_weight: Its weight.
    """

    attention: Strength = Strength()
    power: int = 2
    reduce: str = "mean"
    distillation: float = 0.0
    temperature: float = 4.0
    hints: Strength = Strength()
    gradient: str | None = None
    gradient_weight: float = 1.0

    @property
    def name(self) -> str:
        """In the names of files."""
        parts = {
            "attention": self.attention.value,
            "hints": self.hints.value,
            "distillation": self.distillation,
            f"{self.gradient}": self.gradient,
        }
        return "+".join(name for name, weight in parts.items() if weight) or "alone"

    @property
    def needs_teacher(self) -> bool:
        """Whether there is no such lesson without a teacher."""
        parts = (self.attention.value, self.distillation, self.hints.value)
        return any(parts) or self.gradient == "transfer"

    def trainee(
        self, student: keras.Model, teacher: keras.Model | None, taps: Sequence[str], steps: int
    ) -> keras.Model:
        """What is compiled and fitted in the student's place, for so many steps."""
        if self == ALONE:
            # The student itself stays without an optimizer, as it is saved.
            return keras.Model(student.input, student.output)
        gradient = None
        if self.gradient:
            gradient = ka.training.GradientAttention(self.gradient, self.gradient_weight)
        return ka.training.AttentionDistiller(
            student,
            teacher,
            taps if self.attention.value else (),
            ka.losses.AttentionTransferLoss(self.power, self.reduce),
            self.attention.of(steps),
            self.distillation,
            self.temperature,
            taps if self.hints.value else None,
            gradient,
            hint_weight=self.hints.of(steps),
        )

    def describe(self) -> str:
        """As a report says it."""
        parts = {
            "beta": self.attention.value and self.attention.describe(),
            "alpha": self.distillation and f"{self.distillation:g}, T {self.temperature:g}",
            "hints": self.hints.value and self.hints.describe(),
            "gradient": self.gradient and f"{self.gradient}, weight {self.gradient_weight:g}",
        }
        return ", ".join(f"{name} {text}" for name, text in parts.items() if text)


ALONE = Method()
