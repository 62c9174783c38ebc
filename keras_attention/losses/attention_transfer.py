"""What a student is taught by: a teacher's attention, its answers, or its features."""

from typing import Any

import keras
from keras import ops

from keras_attention.ops.attention_transfer import (
    LEAST_NORM,
    NORMALIZATIONS,
    REDUCTIONS,
    RESIZES,
    at_least_float32,
    distillation_divergence,
    normalized_map,
    paired_maps,
)
from keras_attention.utils.validation import (
    at_least_one,
    one_of,
    positive_number,
    same_shape,
    standard_data_format,
)

Tensor = Any

FORMS = ("mean_squared", "norm")


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionTransferLoss(keras.losses.Loss):
    """How far a student's attention map is from its teacher's (equation 2).

    Args:
        p: Power of the activations, 1 or more; 2 by default, the paper's choice after table 2.
        reduce: What is taken over the channels: `"mean"` (default, the authors' code), `"sum"` or
            `"max"`.
        form: `"mean_squared"` (default, the authors' code): the mean over positions of the squared
            difference of the maps, whose weight is 1e3. That is the text's "1e3 divided by the
            number of elements and the batch size": do not divide again. Or `"norm"` (equation 2):
            half the norm of the difference, whose weight is about 0.1.
        normalization: `"l2"` (default), `"l1"` or None: by what each example's map is divided.
        resize: Where sizes differ: `"average"` (default), means of the larger features; or
            `"bilinear"`, interpolation of the larger map.
        order: Of the norm of `form="norm"`, 1 or more; 2 by default, the paper's.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        reduction: As of `keras.losses.Loss`; `"sum_over_batch_size"` by default, the mean.
        name: The loss's name.
        dtype: As of `keras.losses.Loss`. Maps are computed in float32 at least.

    Call arguments:
        y_true: The teacher's features `(B, H, W, C)`; or other axes in the place of H and W.
        y_pred: The student's, with as many axes; channels and sides may differ.

    Raises:
        ValueError: For options that cannot be, or features of another number of axes.

    Example:
    >>> loss = AttentionTransferLoss()
    >>> teacher, student = ops.ones((2, 4, 4, 32)), ops.ones((2, 8, 8, 16))
    >>> float(loss(teacher, student)) < 1e-12
    True

    Reference:
        Zagoruyko and Komodakis, Paying More Attention to Attention (2017), section 3.1.
    """

    def __init__(
        self,
        p: float = 2,
        reduce: str = "mean",
        form: str = "mean_squared",
        normalization: str | None = "l2",
        resize: str = "average",
        *,
        order: float = 2,
        data_format: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "attention_transfer_loss",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.p = at_least_one("p", p)
        self.reduce = one_of("reduce", reduce, REDUCTIONS)
        self.form = one_of("form", form, FORMS)
        self.normalization = one_of("normalization", normalization, NORMALIZATIONS)
        self.resize = one_of("resize", resize, RESIZES)
        self.order = at_least_one("order", order)
        self.data_format = standard_data_format(data_format)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        teacher, student = paired_maps(
            ops.stop_gradient(y_true),
            y_pred,
            self.p,
            self.reduce,
            self.normalization,
            self.resize,
            self.data_format,
        )
        difference = student - teacher
        if self.form == "mean_squared":
            return ops.mean(ops.square(difference), axis=-1)
        return 0.5 * _norm(difference, self.order)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "p": self.p,
            "reduce": self.reduce,
            "form": self.form,
            "normalization": self.normalization,
            "resize": self.resize,
            "order": self.order,
            "data_format": self.data_format,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class KnowledgeDistillationLoss(keras.losses.Loss):
    """How far a student's softened answers are from its teacher's: `T^2 / B * sum KL`.

    Args:
        temperature: T, by which logits are divided, above 0; 4 by default, the paper's.
        reduction: As of `keras.losses.Loss`; `"sum_over_batch_size"` by default, the mean.
        name: The loss's name.
        dtype: As of `keras.losses.Loss`.

    Call arguments:
        y_true: The teacher's logits, `(B, classes)`.
        y_pred: The student's logits, `(B, classes)`.

    Raises:
        ValueError: For a temperature that is not above 0.

    Example:
    >>> loss = KnowledgeDistillationLoss()
    >>> round(float(loss([[4.0, 0.0]], [[0.0, 0.0]])), 4)
    1.7751

    Reference:
        Hinton et al., Distilling the Knowledge in a Neural Network (2015), as in the code of
        Zagoruyko and Komodakis, Paying More Attention to Attention (2017).
    """

    def __init__(
        self,
        temperature: float = 4.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "knowledge_distillation_loss",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = positive_number("temperature", temperature)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return distillation_divergence(ops.stop_gradient(y_true), y_pred, self.temperature)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="keras_attention")
class HintLoss(keras.losses.Loss):
    """How far a student's features are from its teacher's: F-ActT, full-activation transfer.

    The squared distance of both, each example's features divided by their L2 norm (section 4.1.2):
    0 to 4. A student of other channels needs a 1x1 convolution before, as in FitNets;
    `training.AttentionDistiller` makes it.

    Args:
        reduction: As of `keras.losses.Loss`; `"sum_over_batch_size"` by default, the mean.
        name: The loss's name.
        dtype: As of `keras.losses.Loss`. Distances are computed in float32 at least.

    Call arguments:
        y_true: The teacher's features, `(B, ...)`.
        y_pred: The student's features, of the same shape.

    Raises:
        ValueError: For features of different shapes.

    Example:
    >>> loss = HintLoss()
    >>> float(loss(ops.ones((1, 2, 2, 1)), -ops.ones((1, 2, 2, 1))))
    4.0

    References:
        Romero et al., FitNets: Hints for Thin Deep Nets (2014); Zagoruyko and Komodakis, Paying
        More Attention to Attention (2017), section 4.1.2 and table 1.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "hint_loss",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if not same_shape(*shapes) or len(shapes[0]) < 2 or 0 in shapes[0]:
            raise ValueError(
                "Features of teacher and student must have the same shape. "
                f"Received: {shapes[0]} and {shapes[1]}"
            )
        teacher, student = (
            normalized_map(ops.reshape(at_least_float32(x), (ops.shape(x)[0], -1)))
            for x in (ops.stop_gradient(y_true), y_pred)
        )
        return ops.sum(ops.square(student - teacher), axis=-1)


def _norm(values: Tensor, order: float) -> Tensor:
    """The norm along the last axis; its gradient is 0 where it is 0, not infinite."""
    if order == 2:
        return ops.sqrt(ops.maximum(ops.sum(ops.square(values), axis=-1), LEAST_NORM**2))
    sizes = ops.abs(values)
    if order == 1:
        return ops.sum(sizes, axis=-1)
    total = ops.sum(ops.power(sizes, order), axis=-1)
    return ops.power(ops.maximum(total, LEAST_NORM**2), 1.0 / order)
