"""What is fitted, and to which loss, for a model that is to be served."""

from typing import Any

import keras

from keras_attention.layers import AttendRectifyHead
from keras_attention.losses import NegativeLogLikelihood


def learner(model: keras.Model, regression: bool) -> tuple[keras.Model, Any]:
    """A model of the same weights to fit, and its loss.

    Probabilities of classes are learned by their cross-entropy, numbers by their mean squared
    error. Where a head's sum of logarithms is made probabilities, that sum is what is learned, as
    it stands (Rodriguez et al., Attend and Rectify, 2018).

    Args:
        model: Any built model.
        regression: Whether it estimates numbers.
    """
    if regression:
        return model, "mean_squared_error"
    heads = [layer for layer in model.layers if isinstance(layer, AttendRectifyHead)]
    if len(heads) == 1 and heads[0].space == "log":
        last = model.layers[-1]
        if isinstance(last, keras.layers.Activation) and last.input is heads[0].output:
            return keras.Model(model.input, heads[0].output, name=model.name), (
                NegativeLogLikelihood()
            )
    return model, "sparse_categorical_crossentropy"
