"""What is asked of the gradient of a student's loss by its images, or by a layer's output."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention.ops.attention_transfer import LEAST_NORM, at_least_float32
from keras_attention.utils.validation import non_negative_number, one_of, same_shape

Tensor = Any
KINDS = ("transfer", "symmetry", "min_l2")
FORMS = ("squared", "norm")


Schedule = Callable[[Tensor], Tensor]


class Weight:
    """A number of 0 or more, or one for each step.

    Args:
        argument: What it is called where the user gives it.
        value: A number, or a schedule: a function from the number of batches learned from so far,
            such as a `keras.optimizers.schedules.LearningRateSchedule`.
        most: The largest number allowed; None for any.

    Raises:
        ValueError: For neither of both, or a number that cannot be.

    Example:
    >>> Weight("beta", 1e3)(0)
    1000.0
    """

    def __init__(self, argument: str, value: float | Schedule, most: float | None = None):
        self.value: Any = value if callable(value) else non_negative_number(argument, value)
        if most is not None and not callable(self.value) and self.value > most:
            raise ValueError(f"`{argument}` must be at most {most}. Received: {argument}={value!r}")

    @property
    def is_zero(self) -> bool:
        """Whether it stays 0."""
        return not callable(self.value) and self.value == 0.0

    def __call__(self, step: Tensor) -> Any:
        return ops.cast(self.value(step), "float32") if callable(self.value) else self.value


class GradientAttention:
    """A term for `AttentionDistiller` made of J, how each example's loss changes with its input.

    The loss that J is of is the cross-entropy of the answer (equation 3). With J go:

    - `"transfer"`: its distance from the teacher's (equation 4);
    - `"symmetry"`: its distance from that of the images mirrored left and right, mirrored back
      (equation 6), for which the student is called once more;
    - `"min_l2"`: its size (double backpropagation).

    Args:
        kind: `"transfer"` (default), `"symmetry"` or `"min_l2"`.
        weight: Beta of the equations; half of it times the squared distance is added. A number of
            0 or more, or a schedule, such as of `keras.optimizers.schedules`, of the batches
            learned from so far. 1 by default, ours: the paper gives none.
        form: `"squared"` (default), the squared L2 norm, whose derivative is equation 5; or
            `"norm"`, the norm as equations 4 and 6 are written. The mean over the batch is taken.
        layer: Whose output J is a gradient by: a name, or a tuple of the student's and the
            teacher's. None (default) for the images.

    Raises:
        ValueError: For options that cannot be.

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
                "`layer` must be the name of a layer, a tuple of the student's and the teacher's, "
                f"or None. Received: layer={layer!r}"
            )


class HalfDistance(keras.losses.Loss):
    """Half the distance of two tensors, of each example; neither is taken for constant.

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
        if not same_shape(*shapes):
            raise ValueError(
                "Gradients of teacher and student must have the same shape. "
                f"Received: {shapes[0]} and {shapes[1]}"
            )
        difference = at_least_float32(y_pred) - at_least_float32(y_true)
        difference = ops.reshape(difference, (ops.shape(difference)[0], -1))
        squares = ops.sum(ops.square(difference), axis=-1)
        if self.form == "squared":
            return 0.5 * squares
        # The maximum comes before the root, whose gradient at zero is infinite.
        return 0.5 * ops.sqrt(ops.maximum(squares, LEAST_NORM**2))


def gradient_terms(gradient: Any) -> list[GradientAttention]:
    """The terms that a user asks for: none, one or several, by name or whole.

    Raises:
        ValueError: For anything else, or terms of gradients by different layers.

    Example:
    >>> [term.kind for term in gradient_terms(["symmetry", GradientAttention("min_l2")])]
    ['symmetry', 'min_l2']
    """
    asked = gradient if isinstance(gradient, (list, tuple)) else [gradient]
    terms = [GradientAttention(term) if isinstance(term, str) else term for term in asked if term]
    if any(not isinstance(term, GradientAttention) for term in terms):
        raise ValueError(
            f"`gradient` must be one or a list of {', '.join(map(repr, KINDS))} and "
            f"GradientAttention(...), or None. Received: gradient={gradient!r}"
        )
    if len({term.layers for term in terms}) > 1:
        raise ValueError(
            "All terms of `gradient` must be of gradients by the same layer. "
            f"Received: {', '.join(str(term.layers) for term in terms)}"
        )
    return terms


def mirrored(images: Tensor) -> Tensor:
    """Flips maps `(B, H, W, C)` left and right; channels second where that is Keras's setting.

    Example:
    >>> images = ops.reshape(ops.arange(4, dtype="float32"), (1, 2, 2, 1))
    >>> [int(value) for value in ops.reshape(mirrored(images), (-1,))]
    [1, 0, 3, 2]
    """
    return ops.flip(images, axis=2 if keras.config.image_data_format() == "channels_last" else 3)


def cross_entropies(y_true: Tensor, logits: Tensor) -> Tensor:
    """The cross-entropy of each example, in float32 at least.

    Args:
        y_true: Integers `(B,)` or `(B, 1)`, or shares of the classes `(B, classes)`.
        logits: `(B, classes)`.

    Example:
    >>> round(float(cross_entropies([1], ops.zeros((1, 2)))[0]), 4)
    0.6931
    """
    logits = at_least_float32(logits)
    y_true = ops.convert_to_tensor(y_true)
    classes = logits.shape[-1]
    if len(y_true.shape) < 2 or (y_true.shape[-1] == 1 and classes != 1):
        y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes)
    return -ops.sum(ops.cast(y_true, logits.dtype) * ops.log_softmax(logits, axis=-1), axis=-1)
