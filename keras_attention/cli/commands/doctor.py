"""The `doctor` command: reports installed packages, devices and available data sets."""

import importlib.util
import platform
import re
import shutil
from argparse import Namespace
from importlib import metadata
from typing import Any

from rich.markup import escape
from rich.table import Table

from keras_attention import __version__, backend, datasets
from keras_attention.cli.commands import CommandResult

DISTRIBUTION = "keras-cnn-attention"
REPORTED = ("keras", "tensorflow", "jax", "torch", "numpy", "tensorflow-datasets", "keras-hub")
BACKENDS = ("tensorflow", "jax", "torch")
# Modules that the extras of setup.py install.
EXTRAS = {
    "export": ("tf2onnx", "onnx", "onnxruntime"),
    "jax": ("jax",),
    "detection": ("keras_hub", "pycocotools"),
}


def run(options: Namespace) -> CommandResult:
    """Reports without loading or downloading data; the exit code is 1 if package names conflict."""
    conflicting = conflicting_packages()
    accelerators = backend.accelerators()
    values: dict[str, Any] = {
        "keras_attention": __version__,
        "python": platform.python_version(),
        "versions": {name: version for name in REPORTED if (version := _version(name))},
        "backend": backend.BACKEND,
        "backends": [name for name in BACKENDS if _is_installed(name)],
        "accelerators": accelerators,
        "conflicting_packages": conflicting,
        "missing_for_extras": {
            extra: [name for name in names if not _is_installed(name)]
            for extra, names in EXTRAS.items()
        },
        "datasets": _datasets(),
        "advice": [*_conflict_advice(conflicting), *_driver_advice(accelerators)],
    }
    locations = {
        row["name"]: str(row["location"] or f"not available: {row['how_to_get']}")
        for row in values["datasets"]
    }
    tables = [_table("software", _software(values)), _table("data sets", locations)]
    return CommandResult(values, [*tables, *values["advice"]], int(bool(conflicting)))


def conflicting_packages() -> list[str]:
    """Lists other distributions that provide keras_attention, such as PyPI's keras-attention."""
    names = metadata.packages_distributions().get("keras_attention", [])
    return sorted({name for name in names if re.sub(r"[-_.]+", "-", name).lower() != DISTRIBUTION})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _datasets() -> list[dict[str, Any]]:
    rows = []
    for name, info in datasets.list_datasets().items():
        location = datasets.find_local(info)
        row = {"name": name, "available": location is not None, "location": location}
        rows.append({**row, "how_to_get": None if location else datasets.how_to_obtain(info)})
    return rows


def _conflict_advice(conflicting: list[str]) -> list[str]:
    return [
        f"{name} is another package that is imported as keras_attention; only one of the two can "
        f"be installed: pip uninstall {name}, then pip install --force-reinstall --no-deps "
        f"{DISTRIBUTION}"
        for name in conflicting
    ]


def _driver_advice(accelerators: list[str]) -> list[str]:
    if accelerators or shutil.which("nvidia-smi") is None:
        return []
    return [
        f"An NVIDIA driver is installed, but {backend.BACKEND} does not detect a GPU: "
        f'pip install "{DISTRIBUTION}[gpu]"'
    ]


def _software(values: dict[str, Any]) -> dict[str, str]:
    rows = {
        "keras_attention": values["keras_attention"],
        "python": values["python"],
        **values["versions"],
        "backend": f"{values['backend']} (installed: {', '.join(values['backends'])})",
        "accelerators": ", ".join(values["accelerators"]) or "none detected",
    }
    for extra, missing in values["missing_for_extras"].items():
        advice = f'missing {", ".join(missing)}: pip install "{DISTRIBUTION}[{extra}]"'
        rows[f"extra {extra}"] = advice if missing else "installed"
    return rows


def _table(title: str, rows: dict[str, str]) -> Table:
    table = Table(title=title, show_header=False)
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table
