"""Which packages are installed, by their metadata alone."""

import importlib.util
import re
from importlib import metadata

PACKAGE, OURS = "keras_attention", "keras-cnn-attention"
SHOWN = ("keras", "tensorflow", "jax", "torch", "numpy", "tensorflow-datasets", "keras-hub")
BACKENDS = ("tensorflow", "jax", "torch")
# Modules that the extras of setup.py bring, for what they are needed for.
EXTRAS = {
    "export": ("tf2onnx", "onnx", "onnxruntime"),
    "jax": ("jax",),
    "detection": ("keras_hub", "pycocotools"),
}


def versions() -> dict[str, str]:
    """The versions of what matters here, of those that are installed.

    Example:
    >>> sorted(versions())[0] <= "keras" and "tensorflow" in versions()
    True
    """
    found = {name: _version(name) for name in SHOWN}
    return {name: version for name, version in found.items() if version is not None}


def backends() -> list[str]:
    """Those of Keras's backends that are installed."""
    return [name for name in BACKENDS if _is_here(name)]


def missing_for_extras() -> dict[str, list[str]]:
    """What each extra would still bring."""
    return {
        extra: [name for name in names if not _is_here(name)] for extra, names in EXTRAS.items()
    }


def clashing_packages() -> list[str]:
    """Other distributions that import as keras_attention, such as PyPI's keras-attention."""
    names = metadata.packages_distributions().get(PACKAGE, [])
    return sorted({name for name in names if _normalized(name) != OURS})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_here(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
