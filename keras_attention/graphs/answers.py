"""Whether a model says probabilities or logits."""

from typing import Any

import keras

from keras_attention.graphs.nodes import functional, is_functional, nodes

# What returns the values that it reads, or means of them, by the names of layers and operations.
_KEEPS_PROBABILITIES = (
    "Activation",
    "Average",
    "AveragePooling2D",
    "Cast",
    "Dropout",
    "Flatten",
    "GetItem",
    "GlobalAveragePooling2D",
    "Identity",
    "Reshape",
    "Squeeze",
)


def says_probabilities(model: keras.Model, output: int = 0) -> bool:
    """Whether a softmax is the last that happens to what a model returns, or means of it.

    Args:
        model: A functional or sequential model.
        output: Which of several outputs.

    Example:
    >>> import keras_attention as ka
    >>> says_probabilities(ka.applications.DN10(classifier_activation=None))
    False
    """
    graph = functional(model)
    return _after_softmax(graph, graph.outputs[output]) is True


def _after_softmax(graph: keras.Model, tensor: Any) -> bool | None:
    """None where nothing happens to the model's input."""
    makers = {id(made): node for node in nodes(graph) for made in node.outputs}
    while (node := makers.get(id(tensor))) is not None:
        operation = node.operation
        if is_functional(operation):
            inner = functional(operation)
            place = [id(made) for made in node.outputs].index(id(tensor))
            found = _after_softmax(inner, inner.outputs[place])
            if found is not None:
                return found
        else:
            activation = getattr(operation, "activation", None)
            if type(operation).__name__ == "Softmax" or activation is keras.activations.softmax:
                return True
            keeps = getattr(operation, "keeps_probabilities", False)
            keeps = keeps or type(operation).__name__ in _KEEPS_PROBABILITIES
            if not keeps or activation not in (None, keras.activations.linear):
                return False
        tensor = node.input_tensors[0]
    return None
