"""The keras-attention command."""

from keras_attention.cli.main import main

__all__ = ["main"]
