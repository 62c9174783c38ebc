"""Negative log-likelihood loss of Attend and Rectify."""

from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.utils.tensor_validation import compatible_shapes

Tensor = Any
# Rounding of half precision may give logarithms just above 0.
LARGEST_LOGARITHM = 1e-2


@keras.saving.register_keras_serializable(package="keras_attention")
class NegativeLogLikelihood(keras.losses.Loss):
    """Negative log-likelihood of models that return log-probabilities.

    `AttendRectifyHead` with `space="log"` returns a weighted sum of log-probabilities. As in the
    authors' code, the loss does not normalize it again. For models that return probabilities or
    logits use the cross-entropies of Keras.

    Args:
        reduction: See `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`, the mean.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`.

    Call arguments:
        y_true: Class indices of shape `(B,)` or `(B, 1)`, or class probabilities such as one-hot
            labels of shape `(B, classes)`.
        y_pred: Log-probabilities of shape `(B, classes)`.

    Raises:
        ValueError: If the shapes do not match, or if predictions are above 0, as probabilities are.
            Inside a graph of TensorFlow, the same message is a `tf.errors.InvalidArgumentError`;
            with XLA and JAX, which have no errors that depend on values, the loss is NaN.

    Example:
    >>> loss = NegativeLogLikelihood()
    >>> round(float(loss([1, 0], ops.log([[0.2, 0.8], [0.5, 0.5]]))), 4)
    0.4581

    Reference:
        Rodriguez et al., Attend and Rectify (2018), and the authors' code.
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
        _check_shapes(y_true.shape, y_pred.shape)
        y_pred = backend.require(
            y_pred,
            y_pred <= LARGEST_LOGARITHM,
            "`y_pred` must be log-probabilities, which are at most 0, as AttendRectifyHead returns "
            "with space='log'. Received: values above 0. For probabilities or logits, use the "
            "cross-entropies of Keras.",
        )
        classes = y_pred.shape[-1]
        if len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and classes != 1):
            labels = ops.reshape(ops.cast(y_true, "int32"), ops.shape(y_pred)[:-1])
            y_true = ops.one_hot(labels, classes)
        return -ops.sum(ops.cast(y_true, y_pred.dtype) * y_pred, axis=-1)


def _check_shapes(true: Any, predicted: Any) -> None:
    true, predicted = tuple(true), tuple(predicted)
    allowed = [predicted, predicted[:-1], (*predicted[:-1], 1)]
    is_valid = bool(predicted) and 0 not in predicted
    if not is_valid or not any(compatible_shapes(true, shape) for shape in allowed):
        raise ValueError(
            "`y_true` must be class indices or one-hot labels, one for each row of `y_pred`. "
            f"Received: y_true of shape {true}, y_pred of shape {predicted}"
        )
