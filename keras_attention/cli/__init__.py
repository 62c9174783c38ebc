"""The command keras-attention."""

from keras_attention.cli.main import main

__all__ = ["main"]
