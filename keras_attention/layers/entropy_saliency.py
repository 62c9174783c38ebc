"""Entropy saliency of a classifier, and its output after a few features have changed.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), section 2.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention.graph.classifier import LOGITS, SIGMOID, require_output_kind
from keras_attention.graph.functional import functional_graph, is_functional
from keras_attention.graph.symbolic_vjp import SymbolicVJP, UnusualLayerError, Values
from keras_attention.graph.vjp_rules import GRADIENTS_WITH_NORMS, SparseRows
from keras_attention.ops.dynamic_capacity import (
    entropy_gradient,
    entropy_saliency,
    gather_vectors,
    gradient_norm,
    update_convolution,
)

Tensor = Any
SALIENCY_METHODS = ("auto", "derived", "autodiff")


class EntropySaliency:
    """Computes the saliency of feature maps for a classifier (equations 2, 3 and 10).

    Args:
        top: Built Keras model from a feature map to probabilities or logits.
        method: `"derived"` for a backward pass built from forward operations, `"autodiff"` for
            gradients of the backend, `"auto"` for the first if the layers of `top` support it.
        from_logits: If True, `top` returns logits; None determines it from its graph.
        outputs: Indices of the outputs whose entropy is used; None for all.
        epsilon: Added to the squared norm of the gradient.
        data_format: Data format of the map.
    """

    def __init__(
        self,
        top: keras.Model,
        method: str,
        from_logits: bool | None,
        outputs: Sequence[int] | None,
        epsilon: float,
        data_format: str,
    ):
        self.top, self.outputs, self.epsilon = top, outputs, epsilon
        self.data_format = data_format
        self.from_logits, self.multi_label = _form_of_outputs(top, from_logits, outputs)
        self.symbolic_vjp: Any = None if method == "autodiff" else self._derive(method)

    def _derive(self, method: str) -> SymbolicVJP | None:
        try:
            if self.data_format == "channels_first":
                raise UnusualLayerError("the data format is channels_first")
            return SymbolicVJP(self.top)
        except ValueError as error:
            if method == "auto":
                return None
            raise ValueError(
                "`top` must be a functional or sequential model of convolution, batch "
                "normalization, activation, pooling and dense layers with channels last if "
                f"`saliency` is 'derived'. Received: top={self.top.name!r} ({error}). Use "
                "saliency='autodiff' for other models."
            ) from error

    def compute(self, features: Tensor) -> tuple[Tensor, Values | None]:
        """Computes the saliency with `top` in inference mode, and intermediate values of `top`.

        The values are None with gradients of the backend.
        """
        if self.symbolic_vjp is None:
            return self._gradient_saliency(features, training=False), None
        values = self.symbolic_vjp.forward(features)
        predictions = self.symbolic_vjp.outputs(values)
        gradients: list[Tensor] = [None] * len(predictions)
        for index in range(len(predictions)) if self.outputs is None else self.outputs:
            gradients[index] = entropy_gradient(
                predictions[index], self.from_logits, self.multi_label
            )
        gradient = self.symbolic_vjp.sparse_backward(values, gradients)
        if isinstance(gradient, GRADIENTS_WITH_NORMS):
            return ops.stop_gradient(ops.sqrt(gradient.squared_norms() + self.epsilon)), values
        if isinstance(gradient, SparseRows):
            gradient = gradient.to_dense(features)
        return gradient_norm(gradient, self.epsilon, self.data_format), values

    def compute_in_training(self, features: Tensor) -> Tensor:
        """Computes the saliency with batch statistics; moving statistics are not updated."""
        state = [(variable, variable.value) for variable in self.top.variables]
        with keras.StatelessScope(state):
            return self._gradient_saliency(features, training=True)

    def _gradient_saliency(self, features: Tensor, training: bool) -> Tensor:
        return entropy_saliency(
            lambda values: self.top(values, training=training),
            features,
            from_logits=self.from_logits,
            multi_label=self.multi_label,
            outputs=self.outputs,
            epsilon=self.epsilon,
            data_format=self.data_format,
        )

    def updated_output(
        self, values: Values, maps: Tensor, positions: Tensor, vectors: Tensor
    ) -> Any | None:
        """Computes the output of `top` after some vectors of its input have changed.

        Only the effect of the change on the first convolution is computed. The result is None if
        computing the output from scratch takes fewer operations.

        Args:
            values: The intermediate values that `compute` returned.
            maps: The map that it was called on.
            positions: Positions of the new vectors, `(B, k, 2)`.
            vectors: The new vectors, `(B, k, D)`.
        """
        first = self.symbolic_vjp.first_convolution
        if first is None:
            return None
        rule, index = first
        sides, count = values[index].shape[1:3], positions.shape[1]
        if None not in sides and count is not None and self._saved(count, sides) <= 0:
            return None
        change = ops.cast(vectors, maps.dtype) - gather_vectors(maps, positions)
        products = update_convolution(
            values[index],
            ops.cast(change, values[index].dtype),
            positions,
            rule.layer.kernel,
            rule.layer.strides,
            rule.padding(ops.shape(maps)[1:3]),
        )
        predictions = self.symbolic_vjp.outputs(self.symbolic_vjp.forward(known={index: products}))
        return keras.tree.pack_sequence_as(functional_graph(self.top).output, predictions)

    def saved_macs(self, patches: int, features: Sequence[Any]) -> int:
        """Counts multiply-accumulates that an update of `patches` vectors saves for one image."""
        if self.symbolic_vjp is None or self.symbolic_vjp.first_convolution is None:
            return 0
        outputs = self.symbolic_vjp.first_convolution[0].layer.compute_output_shape(features)
        return self._saved(patches, outputs[1:3])

    def _saved(self, patches: int, sides: Sequence[int]) -> int:
        layer = self.symbolic_vjp.first_convolution[0].layer
        kernel, pixels = math.prod(layer.kernel.shape), math.prod(sides)
        pairs = zip(layer.kernel_size, layer.strides, strict=True)
        reads = math.prod(-(-size // step) for size, step in pairs)
        return pixels * (kernel - patches * reads * layer.filters) - patches * kernel


def _form_of_outputs(
    top: keras.Model, from_logits: bool | None, outputs: Sequence[int] | None
) -> tuple[bool, bool]:
    """Returns two flags: the outputs are logits, and they belong to independent labels.

    A binary classifier with one unit has no logit of its second class, so it is one of the latter.
    """
    count = len(top.outputs) if is_functional(top) else 1
    forms = set()
    for index in range(count) if outputs is None else outputs:
        kind = require_output_kind("top", top, from_logits, index)
        has_one_unit = is_functional(top) and top.outputs[index].shape[-1] == 1
        forms.add((kind == LOGITS, kind == SIGMOID or has_one_unit))
    if len(forms) != 1:
        raise ValueError(
            "The outputs of `top` must all be logits, all be softmax probabilities or all be "
            f"sigmoid probabilities. Received: top={top.name!r} with outputs of several kinds"
        )
    return forms.pop()


def validate_outputs(outputs: Sequence[int] | None, predictions: Any) -> None:
    """Raises a ValueError for indices that `top` does not have."""
    count = len(keras.tree.flatten(predictions))
    if outputs is not None and not all(0 <= index < count for index in outputs):
        raise ValueError(
            f"`outputs` must be indices from 0 to {count - 1}: `top` has {count} outputs. "
            f"Received: outputs={tuple(outputs)}"
        )
