"""Attention for convolutional networks, as Keras layers, losses and models."""

import importlib
from types import ModuleType

from keras_attention import applications, layers, losses, ops, surgery, training

__version__ = "0.1.0"

# Loaded on first use: they bring in TensorFlow's data pipelines and exporters.
_LAZY = ("datasets", "export", "inspect")

__all__ = ["applications", "layers", "losses", "ops", "surgery", "training", *_LAZY]


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
