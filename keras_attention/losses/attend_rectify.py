"""The loss of aggregated logarithms of probabilities."""

from typing import Any

import keras
from keras import ops

from keras_attention.utils.validation import same_shape

Tensor = Any


@keras.saving.register_keras_serializable(package="keras_attention")
class NegativeLogLikelihood(keras.losses.Loss):
    """Minus what a model says of the right class, where it says logarithms of probabilities.

    What `AttendRectifyHead` returns in `space="log"` is a sum of these with shares; it is taken as
    it stands, not normalized again, as in the authors' code. For models of probabilities or of
    logits take Keras's cross-entropies.

    Args:
        reduction: As of `keras.losses.Loss`; `"sum_over_batch_size"` by default, the mean.
        name: The loss's name.
        dtype: As of `keras.losses.Loss`.

    Call arguments:
        y_true: Integers `(B,)` or `(B, 1)`, or shares of the classes `(B, classes)`, such as labels
            one-hot.
        y_pred: `(B, classes)`.

    Example:
    >>> loss = NegativeLogLikelihood()
    >>> round(float(loss([1, 0], ops.log([[0.2, 0.8], [0.5, 0.5]]))), 4)
    0.4581

    Reference:
        Rodriguez et al., Attend and Rectify (2018), and its code.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "negative_log_likelihood",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_pred = ops.convert_to_tensor(y_pred)
        y_true = ops.convert_to_tensor(y_true)
        _check(y_true.shape, y_pred.shape)
        classes = y_pred.shape[-1]
        if len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and classes != 1):
            labels = ops.reshape(ops.cast(y_true, "int32"), ops.shape(y_pred)[:-1])
            y_true = ops.one_hot(labels, classes)
        return -ops.sum(ops.cast(y_true, y_pred.dtype) * y_pred, axis=-1)


def _check(labels: Any, answers: Any) -> None:
    """Labels are one-hot, as the answers are, or classes, without their last axis."""
    labels, answers = tuple(labels), tuple(answers)
    allowed = [answers, answers[:-1], (*answers[:-1], 1)]
    fits = bool(answers) and 0 not in answers and any(same_shape(labels, one) for one in allowed)
    if not fits:
        raise ValueError(
            "`y_true` must be classes or one-hot, of the examples of `y_pred`. "
            f"Received: y_true of shape {labels}, y_pred of shape {answers}"
        )
