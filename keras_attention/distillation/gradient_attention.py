"""Loss terms on the gradient of a student with respect to its input or to a layer's output."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention.ops.attention_transfer import SMALLEST_NORM, at_least_float32
from keras_attention.utils.tensor_validation import compatible_shapes
from keras_attention.utils.validation import non_negative_number, one_of

Tensor = Any
KINDS = ("transfer", "symmetry", "min_l2")
FORMS = ("squared", "norm")
Schedule = Callable[[Tensor], Tensor]


class Weight:
    """Weight of a loss term: a constant, or a schedule over training steps.

    Args:
        argument: Name of the user's argument, for error messages.
        value: A number of 0 or more, or a function from the number of completed batches to the
            weight, such as a `keras.optimizers.schedules.LearningRateSchedule`.
        largest: Largest constant allowed; None for no limit.

    Example:
    >>> Weight("beta", 1e3)(0)
    1000.0
    """

    def __init__(self, argument: str, value: float | Schedule, largest: float | None = None):
        self.value: Any = value if callable(value) else non_negative_number(argument, value)
        if largest is not None and not callable(self.value) and self.value > largest:
            raise ValueError(
                f"`{argument}` must be at most {largest}. Received: {argument}={value!r}"
            )

    @property
    def is_zero(self) -> bool:
        """True for the constant 0."""
        return not callable(self.value) and self.value == 0.0

    def __call__(self, step: Tensor) -> Any:
        return ops.cast(self.value(step), "float32") if callable(self.value) else self.value


class GradientAttention:
    """Gradient term for `AttentionDistiller`.

    J is the gradient of each example's cross-entropy with respect to the input (equation 3). The
    terms are:

    - `"transfer"`: the distance between the J of student and teacher (equation 4);
    - `"symmetry"`: the distance between J and the flipped J of the horizontally flipped images
      (equation 6); the student is called a second time;
    - `"min_l2"`: the norm of J (double backpropagation).

    Args:
        kind: `"transfer"` (default), `"symmetry"` or `"min_l2"`.
        weight: Beta in the equations; half of it times the squared distance is added to the loss. A
            number of 0 or more, or a schedule over completed batches, such as those of
            `keras.optimizers.schedules`. Defaults to 1; the paper gives no value.
        form: `"squared"` (default) is the squared L2 norm, whose derivative is equation 5; `"norm"`
            is the norm, as equations 4 and 6 are written. Both are averaged over the batch.
        layer: Name of the layer with respect to whose output J is computed, or a tuple of the names
            in student and teacher. None (default) for the images.

    Raises:
        ValueError: For invalid options.

    Example:
    >>> GradientAttention("symmetry", weight=0.1).layers
    (None, None)

    References:
        Zagoruyko and Komodakis, Paying More Attention to Attention (2017), section 3.2; Drucker and
        LeCun, Improving generalization performance using double backpropagation (1992).
    """

    def __init__(
        self,
        kind: str = "transfer",
        weight: float | Schedule = 1.0,
        form: str = "squared",
        layer: str | tuple[str | None, str | None] | None = None,
    ):
        self.kind = one_of("kind", kind, KINDS)
        self.weight = Weight("weight", weight)
        self.distance = HalfDistance(one_of("form", form, FORMS))
        self.layers = layer if isinstance(layer, tuple) else (layer, layer)
        if len(self.layers) != 2 or any(not isinstance(name, str | None) for name in self.layers):
            raise ValueError(
                "`layer` must be a layer name, a tuple of the names in student and teacher, or "
                f"None. Received: layer={layer!r}"
            )


class HalfDistance(keras.losses.Loss):
    """Half the distance between two tensors for each example; gradients flow into both.

    Args:
        form: `"squared"` or `"norm"`.

    Example:
    >>> float(HalfDistance("norm")(ops.zeros((1, 2)), ops.convert_to_tensor([[3.0, 4.0]])))
    2.5
    """

    def __init__(self, form: str):
        super().__init__(name="half_distance")
        self.form = form

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if not compatible_shapes(*shapes):
            raise ValueError(
                "The gradients of teacher and student must have the same shape. "
                f"Received: shapes {shapes[0]} and {shapes[1]}"
            )
        difference = at_least_float32(y_pred) - at_least_float32(y_true)
        difference = ops.reshape(difference, (ops.shape(difference)[0], -1))
        squares = ops.sum(ops.square(difference), axis=-1)
        if self.form == "squared":
            return 0.5 * squares
        # The gradient of the square root is infinite at zero.
        return 0.5 * ops.sqrt(ops.maximum(squares, SMALLEST_NORM**2))


def gradient_terms(gradient: Any) -> list[GradientAttention]:
    """Returns the list of terms in `gradient`: None, a name, a term, or a list of these.

    Example:
    >>> [term.kind for term in gradient_terms(["symmetry", GradientAttention("min_l2")])]
    ['symmetry', 'min_l2']
    """
    items = gradient if isinstance(gradient, (list, tuple)) else [gradient]
    terms = [GradientAttention(item) if isinstance(item, str) else item for item in items if item]
    if any(not isinstance(term, GradientAttention) for term in terms):
        raise ValueError(
            f"`gradient` must be one or a list of {', '.join(map(repr, KINDS))} and "
            f"GradientAttention(...), or None. Received: gradient={gradient!r}"
        )
    if len({term.layers for term in terms}) > 1:
        raise ValueError(
            "All terms of `gradient` must use the same layer. "
            f"Received: {', '.join(str(term.layers) for term in terms)}"
        )
    return terms


def flip_horizontally(images: Tensor) -> Tensor:
    """Flips maps left to right: `(B, H, W, C)`, or Keras's `channels_first` setting.

    Example:
    >>> images = ops.reshape(ops.arange(4, dtype="float32"), (1, 2, 2, 1))
    >>> [int(value) for value in ops.reshape(flip_horizontally(images), (-1,))]
    [1, 0, 3, 2]
    """
    return ops.flip(images, axis=2 if keras.config.image_data_format() == "channels_last" else 3)


def cross_entropies(y_true: Tensor, logits: Tensor, multi_label: bool = False) -> Tensor:
    """Computes the cross-entropy of each example in float32 or higher precision.

    Args:
        y_true: Class indices `(B,)` or `(B, 1)`, or class probabilities `(B, classes)`.
        logits: Tensor of shape `(B, classes)`.
        multi_label: If True, `y_true` are labels from 0 to 1 of the shape of the logits, or `(B,)`
            for one, and the binary cross-entropies of all labels are added.

    Example:
    >>> round(float(cross_entropies([1], ops.zeros((1, 2)))[0]), 4)
    0.6931
    """
    logits = at_least_float32(logits)
    y_true = ops.convert_to_tensor(y_true)
    classes = logits.shape[-1]
    if multi_label:
        labels = ops.cast(ops.reshape(y_true, (-1, classes)), logits.dtype)
        return ops.sum(ops.softplus(logits) - labels * logits, axis=-1)
    if len(y_true.shape) < 2 or (y_true.shape[-1] == 1 and classes != 1):
        y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes)
    return -ops.sum(ops.cast(y_true, logits.dtype) * ops.log_softmax(logits, axis=-1), axis=-1)
