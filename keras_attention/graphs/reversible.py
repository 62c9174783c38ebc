"""A model as steps that can be gone back by forward operations alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_attention.graphs.expansion import UnusualLayerError, steps_of_call
from keras_attention.graphs.gradients import NORMED, Rows
from keras_attention.graphs.nodes import functional, is_functional, nodes
from keras_attention.graphs.reductions import GlobalMaximum
from keras_attention.graphs.steps import Convolution, Gradient, Pointwise, Step

Tensor = Any
Wire = int
Values = dict[Wire, Tensor]

START: Wire = 0


class Reversible:
    """What a model computes in inference, step by step, and the gradient by its input.

    A gradient within a model is nothing that ONNX or LiteRT know. Convolution, batch normalization,
    usual activations, pooling and dense layers have gradients that are forward operations again.

    Args:
        model: A functional or sequential model of one input, built, whose layers each read one
            tensor.

    Raises:
        UnusualLayerError: For layers of other kinds.
        ValueError: For a model without a graph.

    Example:
    >>> from keras import ops
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Activation("tanh")])
    >>> reversible = Reversible(model)
    >>> values = reversible.forward(ops.zeros((1, 3)))
    >>> [float(g) for g in reversible.backward(values, [ops.ones((1, 3))])[0]]
    [1.0, 1.0, 1.0]
    """

    def __init__(self, model: keras.Model):
        self.steps: list[tuple[Step, Wire, Wire]] = []
        self._count = START
        self.outputs = self._lay_out(functional(model), START)
        self._put_maxima_first()

    def _lay_out(self, graph: keras.Model, source: Wire) -> list[Wire]:
        """Adds the steps of a model; returns the wires of its outputs."""
        wires = {id(graph.inputs[0]): source}
        for node in nodes(graph):
            if len(node.input_tensors) != 1:
                raise UnusualLayerError(f"{node.operation.name!r} reads several tensors.")
            wire = wires[id(node.input_tensors[0])]
            if is_functional(node.operation):
                made = self._lay_out(functional(node.operation), wire)
            else:
                made = [self._chain(steps_of_call(node), wire)]
            wires.update((id(tensor), end) for tensor, end in zip(node.outputs, made, strict=True))
        return [wires[id(tensor)] for tensor in graph.outputs]

    def _chain(self, chain: Sequence[Step], wire: Wire) -> Wire:
        for step in chain:
            self._count += 1
            self.steps.append((step, wire, self._count))
            wire = self._count
        return wire

    def _put_maxima_first(self) -> None:
        """A global maximum before ReLU instead of behind it: a pass over the map less."""
        readers = self._readers()
        for index, (step, source, made) in enumerate(self.steps):
            if not (isinstance(step, Pointwise) and step.keeps_maxima) or made in self.outputs:
                continue
            behind = readers[made]
            if len(behind) == 1 and isinstance(self.steps[behind[0]][0], GlobalMaximum):
                maximum, _, end = self.steps[behind[0]]
                self.steps[index] = maximum, source, made
                self.steps[behind[0]] = step, made, end

    def _readers(self) -> dict[Wire, list[int]]:
        readers: dict[Wire, list[int]] = {wire: [] for wire in range(self._count + 1)}
        for index, (_, source, _) in enumerate(self.steps):
            readers[source].append(index)
        return readers

    @property
    def first(self) -> tuple[Convolution, Wire] | None:
        """The convolution that alone reads the input, and the wire of its products."""
        reading = self._readers()[START]
        step, _, made = self.steps[reading[0]] if len(reading) == 1 else (None, 0, 0)
        return (step, made) if isinstance(step, Convolution) else None

    def forward(self, inputs: Tensor = None, known: Mapping[Wire, Tensor] | None = None) -> Values:
        """Computes what all wires hold.

        Args:
            inputs: What the model reads.
            known: What some wires hold, which is not computed then; in the stead of the inputs.
        """
        values: Values = {START: inputs} if known is None else dict(known)
        for step, source, made in self.steps:
            if made not in values:
                values[made] = step.forward(values[source])
        return values

    def answers(self, values: Values) -> list[Tensor]:
        """What the model returns, in a flat list."""
        return [values[wire] for wire in self.outputs]

    def backward(self, values: Values, gradients: Sequence[Gradient]) -> Tensor:
        """Computes the gradient by the input, a tensor of its shape; None where nothing counts.

        Args:
            values: What `forward` returned.
            gradients: By each of the answers; None for what does not count.
        """
        gradient = self.sparse_backward(values, gradients)
        return None if gradient is None else _whole(gradient, values[START])

    def sparse_backward(self, values: Values, gradients: Sequence[Gradient]) -> Gradient:
        """Computes the gradient by the input as it comes: a tensor or what stands for one.

        Args:
            values: What `forward` returned.
            gradients: By each of the answers; None for what does not count.
        """
        found: dict[Wire, Gradient] = {}
        for wire, gradient in zip(self.outputs, gradients, strict=True):
            _add(found, values, wire, gradient)
        for step, source, made in reversed(self.steps):
            if made in found:
                gradient = found.pop(made)
                if not (isinstance(gradient, Rows) and step.takes_rows):
                    gradient = _whole(gradient, values[made])
                gradient = step.backward(values[source], values[made], gradient)
                _add(found, values, source, gradient)
        return found.get(START)


def _add(found: dict[Wire, Gradient], values: Values, wire: Wire, gradient: Gradient) -> None:
    """Adds a gradient to what others brought to the same wire."""
    if gradient is None:
        return
    if wire not in found:
        found[wire] = gradient
        return
    found[wire] = _whole(found[wire], values[wire]) + _whole(gradient, values[wire])


def _whole(gradient: Gradient, like: Tensor) -> Tensor:
    if isinstance(gradient, Rows):
        return gradient.whole(like)
    return gradient.whole() if isinstance(gradient, NORMED) else gradient
