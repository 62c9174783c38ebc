"""Freezes the layers of a model that surgery did not insert."""

from typing import Any

import keras

from keras_attention.graph.classifier import classifier_layer
from keras_attention.graph.functional import functional_graph, is_functional
from keras_attention.layers import TargetLayer
from keras_attention.utils.validation import boolean


def freeze_backbone(model: keras.Model, *, frozen: bool = True) -> keras.Model:
    """Makes only what surgery inserted and the classifier trainable.

    Attention layers of this package and the last dense layer train; all other layers are frozen,
    also in nested models. Of a `TargetLayer` only the window trains. Frozen batch normalization
    uses its moving statistics. Train the new layers first, then the whole model with a smaller
    learning rate, after `freeze_backbone(model, frozen=False)`. Compile the model after each
    change.

    Args:
        model: Functional or sequential Keras model. It is changed.
        frozen: True (default) to freeze, False to make all layers trainable again.

    Returns:
        The same model.

    Raises:
        ValueError: If `model` is neither functional nor sequential, or nothing would train.

    Example:
    >>> import keras_attention as ka
    >>> network = ka.applications.LeNet5(classes=5)
    >>> model = freeze_backbone(ka.surgery.add_attention(network, "cbam", identity=True))
    >>> sorted({weight.path.split("/")[0] for weight in model.trainable_weights})[-1]
    'predictions'
    """
    graph = functional_graph(model)
    classifiers = [classifier_layer(graph, index) for index in range(len(graph.outputs))]
    _freeze(graph, {id(layer) for layer in classifiers}, boolean("frozen", frozen))
    if not model.trainable_weights:
        raise ValueError(
            "`model` must contain attention layers or a classifier, which remain trainable. "
            f"Received: model={model.name!r} without either"
        )
    return model


def _freeze(graph: keras.Model, classifiers: set[int], frozen: bool) -> None:
    for layer in graph.layers:
        if is_functional(layer):
            _freeze(functional_graph(layer), classifiers, frozen)
        elif isinstance(layer, TargetLayer):
            layer.train_kernel, layer.train_window = not frozen, True
            layer.trainable = True
        else:
            layer.trainable = not frozen or id(layer) in classifiers or _is_inserted(layer)


def _is_inserted(layer: Any) -> bool:
    """Returns True for layers of this package, and for what `add_attend_rectify` and RAN add."""
    inner = getattr(layer, "cell", layer)  # a recurrent layer around RecurrentAttention
    is_own = any(type(one).__module__.startswith("keras_attention.") for one in (layer, inner))
    return is_own or layer.name.startswith("rectify")
