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
    logarithms = _sum_of_logarithms(model)
    if logarithms is None:
        return model, "sparse_categorical_crossentropy"
    return keras.Model(model.input, logarithms, name=model.name), NegativeLogLikelihood()


def _sum_of_logarithms(model: keras.Model) -> Any:
    """What the model's only head returns, where the last layer makes it probabilities, or None."""
    heads = [layer for layer in model.layers if isinstance(layer, AttendRectifyHead)]
    last = model.layers[-1]
    if len(heads) == 1 and heads[0].space == "log" and isinstance(last, keras.layers.Activation):
        return last.input if last.input is heads[0].output else None
    return None
