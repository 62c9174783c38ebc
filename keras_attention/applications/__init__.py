"""Prebuilt models with the conventions of keras.applications."""

from keras_attention.applications.registry import build, builder, list_models
from keras_attention.applications.targeted_cnn import CNN6, TKN6
from keras_attention.applications.targeted_densenet import DN10, TDN10
from keras_attention.applications.targeted_densenet40 import DN40, TDN40
from keras_attention.applications.targeted_stn import STN, TSTN

__all__ = [
    "CNN6",
    "DN10",
    "DN40",
    "STN",
    "TDN10",
    "TDN40",
    "TKN6",
    "TSTN",
    "build",
    "builder",
    "list_models",
]
