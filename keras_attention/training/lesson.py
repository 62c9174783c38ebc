"""What a student is taught with one batch: the parts of the loss besides the task's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_attention.losses.attention_transfer import AttentionTransferLoss
from keras_attention.training.gradient_attention import GradientAttention, mirrored
from keras_attention.training.observed import Observation
from keras_attention.training.once import Once

Tensor = Any
Loss = Callable[..., Tensor]


@dataclass
class Lesson:
    """A batch, and what both networks show on it.

    Attributes:
        student: What the student showed.
        teacher: What the teacher showed; None where no part asks.
        again: Calls the student once more, on other images.
        x: The images.
        y: The labels.
        weights: Of the examples, `(B,)`; None for 1 each.
        batches: How many the student learned from before.
    """

    student: Observation
    teacher: Any
    again: Callable[[Any], Observation]
    x: Any
    y: Any
    weights: Tensor | None
    batches: Tensor

    @Once
    def gradient(self) -> Tensor:
        """The student's J."""
        return self.student.gradient(self.y)


Part = Callable[[Lesson], Tensor]


def attention_part(loss: Loss, pairs: Sequence[tuple[str, str]]) -> Part:
    """The sum over pairs of the distance of attention maps (equation 2)."""

    def part(lesson: Lesson) -> Tensor:
        student, teacher = lesson.student.maps, lesson.teacher.maps
        return sum(loss(teacher[other], student[own], lesson.weights) for own, other in pairs)

    return part


def of_activity(loss: Loss) -> tuple[Loss, str | None]:
    """The loss of maps whose mean squares over the channels are known already.

    Returns:
        The same loss of maps with one channel, and the data format of the maps; or the given one
        and None, where it asks for something else than mean squares.

    Example:
    >>> import keras_attention as ka
    >>> of_activity(ka.losses.AttentionTransferLoss())[0].p
    1
    """
    if type(loss) is not AttentionTransferLoss or (loss.p, loss.reduce) != (2, "mean"):
        return loss, None
    return AttentionTransferLoss.from_config({**loss.get_config(), "p": 1}), loss.data_format


def distillation_part(loss: Loss) -> Part:
    """Knowledge distillation."""

    def part(lesson: Lesson) -> Tensor:
        return loss(lesson.teacher.logits, lesson.student.logits, lesson.weights)

    return part


def hint_part(
    loss: Loss, pairs: Sequence[tuple[str, str]], regressors: Sequence[keras.layers.Layer]
) -> Part:
    """The sum over pairs of the distance of whole features, the student's regressed."""

    def part(lesson: Lesson) -> Tensor:
        student, teacher = lesson.student.maps, lesson.teacher.maps
        return sum(
            loss(teacher[other], regressor(student[own]), lesson.weights)
            for (own, other), regressor in zip(pairs, regressors, strict=True)
        )

    return part


def gradient_part(terms: Sequence[GradientAttention]) -> Part:
    """The sum of the terms of gradients (equations 4 to 6)."""

    def part(lesson: Lesson) -> Tensor:
        return sum(
            term.weight(lesson.batches)
            * term.distance(_wanted(term, lesson), lesson.gradient, lesson.weights)
            for term in terms
        )

    return part


def _wanted(term: GradientAttention, lesson: Lesson) -> Tensor:
    """What the student's J is to be like."""
    if term.kind == "transfer":
        return ops.stop_gradient(lesson.teacher.gradient(lesson.y))
    if term.kind == "min_l2":
        return ops.zeros_like(lesson.gradient)
    return mirrored(lesson.again(mirrored(lesson.x)).gradient(lesson.y))


def example_weights(sample_weight: Any) -> Tensor | None:
    """One weight for each example: the mean where an example has several.

    None for those of several outputs, of which none is the example's own.

    Example:
    >>> [float(weight) for weight in example_weights([[1.0, 3.0], [0.0, 0.0]])]
    [2.0, 0.0]
    """
    if sample_weight is None or isinstance(sample_weight, (dict, tuple)):
        return None
    weights = ops.convert_to_tensor(sample_weight)
    return ops.mean(ops.reshape(weights, (ops.shape(weights)[0], -1)), axis=-1)
