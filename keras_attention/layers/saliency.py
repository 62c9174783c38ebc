"""How much the entropy of a network's answer changes with each place of a map, in two ways."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graphs.answers import says_probabilities
from keras_attention.graphs.expansion import UnusualLayerError
from keras_attention.graphs.nodes import is_functional
from keras_attention.graphs.reversible import Reversible
from keras_attention.ops.dynamic_capacity import (
    chosen,
    entropy_gradient,
    entropy_saliency,
    saliency_of,
)

Tensor = Any

WAYS = ("auto", "derived", "autodiff")


class Saliency:
    """Looks through the layers above a map.

    Args:
        top: A built Keras model from the map to probabilities or logits.
        way: `"derived"` for a backward pass of forward operations, `"autodiff"` for the backend's
            gradients, `"auto"` for the first where the layers of `top` allow it.
        from_logits: Whether `top` returns logits; None finds out by its last layer.
        outputs: Which of several answers count; None for all.
        epsilon: Added to the squared norm.
        data_format: Of the map.

    Raises:
        ValueError: Where what is asked for cannot be.
    """

    def __init__(
        self,
        top: keras.Model,
        way: str,
        from_logits: bool | None,
        outputs: Sequence[int] | None,
        epsilon: float,
        data_format: str,
    ):
        self.top, self.outputs, self.epsilon = top, outputs, epsilon
        self.data_format = data_format
        self.from_logits = _says_logits(top, outputs) if from_logits is None else from_logits
        self.reversible = None if way == "autodiff" else self._reversible(way)

    def _reversible(self, way: str) -> Reversible | None:
        try:
            if self.data_format == "channels_first":
                raise UnusualLayerError("Channels are first.")
            return Reversible(self.top)
        except ValueError as error:
            if way == "auto":
                return None
            raise ValueError(
                "`saliency='derived'` needs a functional or sequential `top` of convolution, batch "
                "normalization, usual activations, pooling and dense layers, channels last; "
                f"'autodiff' takes any. Received: top={self.top.name!r}: {error}"
            ) from error

    def derived(self, features: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """The saliency, and what the steps of the top hold."""
        values = self.reversible.forward(features)
        answers = self.reversible.answers(values)
        gradients: list[Tensor] = [None] * len(answers)
        for index in range(len(answers)) if self.outputs is None else self.outputs:
            gradients[index] = entropy_gradient(answers[index], self.from_logits)
        gradient = self.reversible.backward(values, gradients)
        return saliency_of(gradient, self.epsilon, self.data_format), values

    def by_gradients(self, features: Tensor, training: bool = False) -> Tensor:
        """The saliency; in training by the statistics of the batch, which are not kept."""
        options: dict[str, Any] = {"from_logits": self.from_logits, "outputs": self.outputs}
        options |= {"epsilon": self.epsilon, "data_format": self.data_format}

        def top(values: Tensor) -> Any:
            return self.top(values, training=training)

        if not training:
            return entropy_saliency(top, features, **options)
        state = [(variable, variable.value) for variable in self.top.variables]
        with keras.StatelessScope(state):
            return entropy_saliency(top, features, **options)


def _says_logits(top: keras.Model, outputs: Sequence[int] | None) -> bool:
    if not is_functional(top):
        raise ValueError(
            "`from_logits` must be True or False where `top` is no functional or sequential "
            f"model: it does not say what it returns. Received: top={top.name!r}, from_logits=None"
        )
    every = range(len(top.outputs)) if outputs is None else outputs
    said = {says_probabilities(top, index) for index in every}
    if len(said) != 1:
        raise ValueError(
            "`top` must return probabilities only, or logits only. "
            f"Received: {top.name!r} with some of both"
        )
    return not said.pop()


def check_outputs(outputs: Sequence[int] | None, answers: Any) -> None:
    """Raises ValueError where chosen answers are not there, or have one class.

    Args:
        outputs: Which of several answers count.
        answers: What the top returns, as Keras tensors.
    """
    flat = keras.tree.flatten(answers)
    count = len(flat)
    if outputs is not None and not all(0 <= index < count for index in outputs):
        raise ValueError(
            f"`outputs` must be from 0 to {count - 1}, as `top` returns {count}. "
            f"Received: outputs={tuple(outputs)}"
        )
    if any(answer.shape[-1] == 1 for answer in chosen(answers, outputs)):
        raise ValueError(
            "`top` must return two classes or more: one alone has no entropy. "
            f"Received: {[tuple(ops.shape(answer)) for answer in flat]}"
        )
