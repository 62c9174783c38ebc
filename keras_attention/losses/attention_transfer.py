"""Losses between a student and its teacher: attention maps, soft labels, features."""

from typing import Any

import keras
from keras import ops

from keras_attention.ops.attention_transfer import (
    NORMALIZATIONS,
    REDUCTIONS,
    RESIZE_METHODS,
    SMALLEST_NORM,
    at_least_float32,
    distillation_divergence,
    normalize_map,
    paired_attention_maps,
)
from keras_attention.utils.data_format import standardize_data_format
from keras_attention.utils.tensor_validation import compatible_shapes
from keras_attention.utils.validation import at_least_one, boolean, one_of, positive_number

Tensor = Any

FORMS = ("mean_squared", "norm")


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionTransferLoss(keras.losses.Loss):
    """Distance between the attention maps of a student and its teacher (equation 2).

    Args:
        p: Power of the activations, 1 or more. Defaults to 2, the paper's choice after table 2.
        reduce: Reduction over the channels: `"mean"` (default, the authors' code), `"sum"` or
            `"max"`.
        form: `"mean_squared"` (default, the authors' code) is the mean over positions of the
            squared difference of the maps; its weight is 1e3, the paper's "1e3 divided by the
            number of elements and the batch size", so do not divide again. `"norm"` (equation 2) is
            half the norm of the difference; its weight is about 0.1.
        normalization: Norm by which each map is divided: `"l2"` (default), `"l1"` or None.
        resize: Method for maps of different sizes: `"average"` (default) averages the larger
            features, `"bilinear"` interpolates the larger map.
        order: Order of the norm for `form="norm"`, 1 or more. Defaults to 2, the paper's.
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        reduction: See `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`, the mean.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`. Maps are computed in float32 or higher precision.

    Call arguments:
        y_true: Features of the teacher, `(B, H, W, C)`, or with other spatial axes. For a list of
            features of several teachers with equal spatial sizes, the mean of their maps is used.
        y_pred: Features of the student, with as many axes; channels and spatial sizes may differ.

    Raises:
        ValueError: For invalid options, or features with different numbers of axes.

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
        self.resize = one_of("resize", resize, RESIZE_METHODS)
        self.order = at_least_one("order", order)
        self.data_format = standardize_data_format(data_format)

    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        teachers = y_true if isinstance(y_true, (list, tuple)) else [y_true]
        options = (self.p, self.reduce, self.normalization, self.resize, self.data_format)
        pairs = [
            paired_attention_maps(ops.stop_gradient(features), y_pred, *options)
            for features in teachers
        ]
        maps = [teacher for teacher, _ in pairs]
        if any(not compatible_shapes(tuple(maps[0].shape), tuple(one.shape)) for one in maps):
            raise ValueError(
                "The maps of several teachers must have the same spatial sizes. Received: "
                f"{', '.join(str(tuple(features.shape)) for features in teachers)}"
            )
        teacher, student = sum(maps) / len(maps), pairs[0][1]
        difference = student - teacher
        if self.form == "mean_squared":
            return ops.mean(ops.square(difference), axis=-1)
        return 0.5 * _norm(difference, self.order)

    def get_config(self) -> dict[str, Any]:
        names = ("p", "reduce", "form", "normalization", "resize", "order", "data_format")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="keras_attention")
class KnowledgeDistillationLoss(keras.losses.Loss):
    """Distance between the softened predictions of a student and its teacher: `T^2 / B * sum KL`.

    Args:
        temperature: T, by which logits are divided, above 0. Defaults to 4, the paper's.
        multi_label: If True, each logit is that of a label of its own, as before a sigmoid, and the
            divergences of all labels are added. Defaults to False: the classes exclude each other.
        reduction: See `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`, the mean.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`.

    Call arguments:
        y_true: Logits of the teacher, `(B, classes)`, or maps of logits `(B, ..., classes)`, over
            whose positions the mean is taken.
        y_pred: Logits of the student, of the same shape.

    Raises:
        ValueError: If the temperature is not above 0.

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
        *,
        multi_label: bool = False,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = positive_number("temperature", temperature)
        self.multi_label = boolean("multi_label", multi_label)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return distillation_divergence(
            ops.stop_gradient(y_true), y_pred, self.temperature, self.multi_label
        )

    def get_config(self) -> dict[str, Any]:
        own = {"temperature": self.temperature, "multi_label": self.multi_label}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_attention")
class HintLoss(keras.losses.Loss):
    """Distance between the features of student and teacher (F-ActT, full-activation transfer).

    The squared distance after each example's features are divided by their L2 norm (section 4.1.2),
    a value in `[0, 4]`. A student with another number of channels needs a 1x1 convolution first, as
    in FitNets; `training.AttentionDistiller` adds it.

    Args:
        reduction: See `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`, the mean.
        name: Name of the loss.
        dtype: See `keras.losses.Loss`. Distances are computed in float32 or higher precision.

    Call arguments:
        y_true: Features of the teacher, `(B, ...)`.
        y_pred: Features of the student, of the same shape.

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
        if not compatible_shapes(*shapes) or len(shapes[0]) < 2 or 0 in shapes[0]:
            raise ValueError(
                "The features of teacher and student must have the same shape. "
                f"Received: teacher features {shapes[0]}, student features {shapes[1]}"
            )
        teacher, student = (
            normalize_map(ops.reshape(at_least_float32(x), (ops.shape(x)[0], -1)))
            for x in (ops.stop_gradient(y_true), y_pred)
        )
        return ops.sum(ops.square(student - teacher), axis=-1)


def _norm(values: Tensor, order: float) -> Tensor:
    """Computes the norm along the last axis, with a gradient of 0 (not infinity) where it is 0."""
    if order == 2:
        return ops.sqrt(ops.maximum(ops.sum(ops.square(values), axis=-1), SMALLEST_NORM**2))
    sizes = ops.abs(values)
    if order == 1:
        return ops.sum(sizes, axis=-1)
    total = ops.sum(ops.power(sizes, order), axis=-1)
    return ops.power(ops.maximum(total, SMALLEST_NORM**2), 1.0 / order)
