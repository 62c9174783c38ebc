"""Attention for convolutional networks, as Keras layers, losses and models."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

# The command answers --help without Keras, and imports these when it does something.
_COMMAND = ("keras-attention", "keras-attention.exe")
if not (sys.argv and Path(sys.argv[0]).name in _COMMAND):
    from keras_attention import applications, layers, losses, ops, surgery, training

__version__ = "0.1.0"

# Loaded on first use: they bring in TensorFlow's data pipelines and exporters.
_LAZY = ("datasets", "export", "inspect")

__all__ = ["applications", "layers", "losses", "ops", "surgery", "training", *_LAZY]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return _room(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _room(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tensorflow":
            raise
        raise ImportError(
            f"`keras_attention.{name}` needs TensorFlow, whatever backend runs: pip install "
            f"tensorflow. Received: {error}"
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
