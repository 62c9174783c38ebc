"""Puts a mechanism into any Keras model."""

from keras_attention.surgery.targeted import to_targeted

__all__ = ["to_targeted"]
