"""Attention mechanisms for convolutional networks: Keras layers, losses, models and surgery."""

import importlib
import sys
from pathlib import Path
from types import ModuleType


def _is_command_line() -> bool:
    program = Path(sys.argv[0]).name if sys.argv else ""
    # `python -m keras_attention` imports this package under the program name "-m".
    is_module = program == "-m" and __name__ in sys.orig_argv
    return is_module or program in ("keras-attention", "keras-attention.exe")


# The command line prints its help without importing Keras; its commands import these modules.
if not _is_command_line():
    from keras_attention import applications, layers, losses, ops, surgery, training

__version__ = "0.1.0"

# Imported on first use, because they import data pipelines, exporters and plotting.
_LAZY = ("datasets", "export", "inspect")

__all__ = ["applications", "layers", "losses", "ops", "surgery", "training", *_LAZY]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return _import_module(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "tensorflow":
            raise
        raise ImportError(
            f"`keras_attention.{name}` needs TensorFlow, also with other backends. "
            f"Received: {error}. Install it with: pip install tensorflow"
        ) from error


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
