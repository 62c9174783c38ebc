"""Losses of the papers."""

from keras_attention.losses.attend_rectify import NegativeLogLikelihood

__all__ = ["NegativeLogLikelihood"]
