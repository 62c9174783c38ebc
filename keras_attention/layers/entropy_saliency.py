"""The layers above a map: which places their answer hangs on, and what it is when few change."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graph.classifier import says_probabilities
from keras_attention.graph.functional import is_functional
from keras_attention.graph.symbolic_vjp import Reversible, UnusualLayerError, Values
from keras_attention.graph.vjp_rules import NORMED, Rows
from keras_attention.ops.dynamic_capacity import (
    chosen,
    entropy_gradient,
    entropy_saliency,
    saliency_of,
    swapped_convolution,
    vectors_at,
)

Tensor = Any
WAYS = ("auto", "derived", "autodiff")


class SalientTop:
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
        self.reversible: Any = None if way == "autodiff" else self._reversible(way)

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

    def look(self, features: Tensor) -> tuple[Tensor, Values | None]:
        """Computes the saliency in inference.

        Args:
            features: The map.

        Returns:
            The saliency, and what the steps of the top hold, where they are known.
        """
        if self.reversible is None:
            return self._by_gradients(features, training=False), None
        values = self.reversible.forward(features)
        answers = self.reversible.answers(values)
        gradients: list[Tensor] = [None] * len(answers)
        for index in range(len(answers)) if self.outputs is None else self.outputs:
            gradients[index] = entropy_gradient(answers[index], self.from_logits)
        gradient = self.reversible.sparse_backward(values, gradients)
        if isinstance(gradient, NORMED):
            return ops.stop_gradient(ops.sqrt(gradient.squares() + self.epsilon)), values
        if isinstance(gradient, Rows):
            gradient = gradient.whole(features)
        return saliency_of(gradient, self.epsilon, self.data_format), values

    def look_in_training(self, features: Tensor) -> Tensor:
        """Computes the saliency by the statistics of the batch, which are not kept."""
        state = [(variable, variable.value) for variable in self.top.variables]
        with keras.StatelessScope(state):
            return self._by_gradients(features, training=True)

    def _by_gradients(self, features: Tensor, training: bool) -> Tensor:
        return entropy_saliency(
            lambda values: self.top(values, training=training),
            features,
            from_logits=self.from_logits,
            outputs=self.outputs,
            epsilon=self.epsilon,
            data_format=self.data_format,
        )

    def updated(
        self, values: Values, maps: Tensor, positions: Tensor, vectors: Tensor
    ) -> Any | None:
        """The answer for a map with other vectors at some places, by what they change.

        Args:
            values: What `look` returned.
            maps: The map that it looked at.
            positions: `(B, k, 2)`.
            vectors: `(B, k, D)`.

        Returns:
            What the top would return; None where that is less work.
        """
        first = self.reversible.first
        if first is None:
            return None
        step, wire = first
        places, count = values[wire].shape[1:3], positions.shape[1]
        if None not in places and count is not None and self.saved(count, places) <= 0:
            return None
        change = ops.cast(vectors, maps.dtype) - vectors_at(maps, positions)
        products = swapped_convolution(
            values[wire],
            ops.cast(change, values[wire].dtype),
            positions,
            step.layer.kernel,
            step.layer.strides,
            step.before(ops.shape(maps)[1:3]),
        )
        answers = self.reversible.answers(self.reversible.forward(known={wire: products}))
        is_sequential = isinstance(self.top, keras.Sequential)
        structure = self.top.outputs[0] if is_sequential else self.top.output
        return keras.tree.pack_sequence_as(structure, answers)

    def saved(self, patches: int, places: Sequence[int]) -> int:
        """The multiply-accumulates that an update needs less than the first convolution.

        Args:
            patches: Vectors that change.
            places: Height and width of the convolution's output.
        """
        if self.reversible is None or self.reversible.first is None:
            return 0
        layer = self.reversible.first[0].layer
        kernel, height_width = math.prod(layer.kernel.shape), math.prod(places)
        pairs = zip(layer.kernel_size, layer.strides, strict=True)
        reads = math.prod(-(-size // step) for size, step in pairs)
        return height_width * (kernel - patches * reads * layer.filters) - patches * kernel

    def places_of(self, features: Any) -> Any:
        """Height and width of the first convolution's output for a map; of none of the map."""
        if self.reversible is None or self.reversible.first is None:
            return features[1:3]
        return self.reversible.first[0].layer.compute_output_shape(features)[1:3]


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
