"""Makes a trained model fast to answer, by what it holds."""

import keras

from keras_attention import surgery
from keras_attention.layers import TargetLayer


def compacted(model: keras.Model) -> keras.Model:
    """A model for inference alone, equal to rounding.

    Where there are target layers only their regions are computed; of others the batch
    normalization that the weights before it can take over is put into them.

    Raises:
        ValueError: For a model of which the graph is not known.
    """
    if any(isinstance(layer, TargetLayer) for layer in model._flatten_layers()):
        return surgery.compact(model)
    return surgery.fold_batch_normalization(model)
