"""The mechanisms as Keras layers."""

from keras_attention.layers.attentive_regularization import AttentiveRegularization
from keras_attention.layers.spatial_transformer import SpatialTransformer
from keras_attention.layers.targeted import TargetLayer

__all__ = ["AttentiveRegularization", "SpatialTransformer", "TargetLayer"]
