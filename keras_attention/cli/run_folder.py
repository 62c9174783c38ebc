"""Files of a training run. Each file is written atomically, so that it is complete or absent."""

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras

# Importing these registers all layers, losses and optimizers that a file can contain.
from keras_attention import layers, losses, surgery, training  # noqa: F401
from keras_attention.cli.config import RunConfig, validate_values
from keras_attention.cli.parser import CONFIG_FILE
from keras_attention.utils.io import LOCK, PARTIAL, remove_partial_files, write_atomically

CHECKPOINTS = "checkpoints"
HISTORY = "history.csv"
MODEL = "model.keras"
FIGURES = "figures"
# Largest ratio of the size of a .keras file's contents to the size of the file.
MAX_COMPRESSION = 20


def require_new(folder: Path) -> None:
    """Checks that a folder is new, empty, or left by a process killed before training started."""
    if (folder / CONFIG_FILE).exists():
        raise FileExistsError(
            "`--output` must be a new folder. "
            f"Received: {str(folder)!r}, which contains a run. Pass --resume to resume that run"
        )
    if folder.exists() and (not folder.is_dir() or any(map(_is_foreign, folder.iterdir()))):
        raise FileExistsError(
            f"`--output` must be a new or empty folder. Received: {str(folder)!r}"
        )


def _is_foreign(path: Path) -> bool:
    return path.name != LOCK and PARTIAL not in path.name


def create(folder: Path, config: RunConfig) -> None:
    """Writes the configuration of a new run into a locked folder."""
    require_new(folder)
    remove_partial_files(folder)
    write_text(folder / CONFIG_FILE, json.dumps(asdict(config), indent=2) + "\n")


def prepare_to_resume(folder: Path) -> None:
    """Removes partially written files from the locked folder of a run."""
    remove_partial_files(folder)
    if (folder / HISTORY).exists() and not any((folder / CHECKPOINTS).glob("step-*")):
        raise ValueError(
            f"`--resume` needs the checkpoints of the run. Received: {str(folder)!r}, which has "
            f"none. Restore {CHECKPOINTS}/, or start a new run in another folder"
        )


def read_config(folder: Path) -> RunConfig:
    """Reads the configuration of a run."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"RUN must be a run folder, which contains {CONFIG_FILE}, or a .keras file. "
            f"Received: {str(folder)!r}"
        )
    try:
        config = RunConfig(**json.loads(path.read_text(encoding="utf-8")))
        validate_values(asdict(config))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{CONFIG_FILE} must be a file written by `train`. Received: {str(path)!r} ({error})"
        ) from error
    return config


def load_model(path: Path) -> keras.Model:
    """Loads the model of a run, or any .keras file."""
    if path.is_dir():
        read_config(path)
        path = path / MODEL
    if not path.is_file():
        raise ValueError(
            "RUN must be the folder of a finished run, or a .keras file. "
            f"Received: {str(path)!r}, which does not exist"
        )
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(
            "RUN must be a complete .keras file, as written by `model.save`. "
            f"Received: {str(path)!r}, which is corrupt or has another format"
        )
    _validate_size(path)
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises many kinds of errors for corrupt files
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            "RUN must be a .keras file with layers of Keras and keras_attention only. "
            f"Received: {str(path)!r}, which cannot be loaded: {reason[0]}"
        ) from error


def _validate_size(path: Path) -> None:
    """Rejects files crafted to exhaust memory: `model.save` does not compress weights."""
    with zipfile.ZipFile(path) as file:
        size = sum(part.file_size for part in file.infolist())
    if size > MAX_COMPRESSION * path.stat().st_size:
        raise ValueError(
            f"A .keras file must expand to at most {MAX_COMPRESSION} times its size. "
            f"Received: {str(path)!r}, which expands to {size} bytes"
        )


def compact_model(model: keras.Model) -> keras.Model:
    """Optimizes a model for inference; its outputs are equal up to rounding.

    Models with target layers compute their regions of interest only; in other models batch
    normalization is folded into the preceding weights where possible.
    """
    if any(isinstance(layer, layers.TargetLayer) for layer in model._flatten_layers()):
        return surgery.compact(model)
    return surgery.fold_batch_normalization(model)


def output_folder(path: Path) -> Path:
    """Returns the folder for outputs of a run, or of a .keras file."""
    return path if path.is_dir() else path.parent


def write_history(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes the metrics of each epoch as CSV, in full precision."""
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / HISTORY, text.getvalue())


def read_history(folder: Path) -> list[dict[str, str]]:
    """Reads the metrics of each completed epoch; an empty list if there are none."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
