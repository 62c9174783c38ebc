"""The folder of a training run: written whole or not at all, file by file."""

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import keras

# A file may hold any class of these.
from keras_attention import layers, losses, surgery, training  # noqa: F401
from keras_attention.cli.asked import CONFIG
from keras_attention.cli.run_config import RunConfig, check_values
from keras_attention.utils.io import LOCK, PARTIAL, remove_partial, write_whole

CHECKPOINTS = "checkpoints"
HISTORY = "history.csv"
MODEL = "model.keras"
FIGURES = "figures"
MOST_EXPANSION = 20


def check_new(folder: Path) -> None:
    """Refuses the folder of a run, or one with anything else than a killed start has left.

    Raises:
        FileExistsError: For these.
    """
    if (folder / CONFIG).exists():
        raise FileExistsError(
            "`--output` must be a new folder, or pass --resume to continue the run in it. "
            f"Received: {str(folder)!r}, which holds a run"
        )
    if folder.exists() and (not folder.is_dir() or any(map(_is_others, folder.iterdir()))):
        raise FileExistsError(
            f"`--output` must be a new or empty folder. Received: {str(folder)!r}"
        )


def create(folder: Path, config: RunConfig) -> None:
    """Makes a locked folder that of a new run.

    Raises:
        FileExistsError: When the folder holds a run, or anything else.
    """
    check_new(folder)
    remove_partial(folder)
    write_text(folder / CONFIG, json.dumps(asdict(config), indent=2) + "\n")


def take_up(folder: Path) -> None:
    """Makes a locked folder of a run ready to go on.

    Raises:
        ValueError: When its checkpoints are gone, so that it would start anew.
    """
    remove_partial(folder)
    if (folder / HISTORY).exists() and not any((folder / CHECKPOINTS).glob("step-*")):
        raise ValueError(
            f"`--resume` needs the checkpoints of the run: put {CHECKPOINTS}/ back, or train anew "
            f"into another folder. Received: {str(folder)!r}, which has none"
        )


def read_config(folder: Path) -> RunConfig:
    """Reads what a run was started with.

    Raises:
        ValueError: When the folder holds no run, or its configuration cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(
            "Expected the folder of a run, with a config.json, or a .keras file. "
            f"Received: {str(folder)!r}"
        )
    try:
        config = RunConfig(**json.loads(path.read_text(encoding="utf-8")))
        check_values(asdict(config))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected a config.json that `train` wrote. Received: {str(path)!r} ({error})"
        ) from error
    return config


def load_model(path: Path) -> keras.Model:
    """Loads a run's model, or any .keras file.

    Raises:
        ValueError: When there is none, or the file is corrupt or of another project.
    """
    if path.is_dir():
        read_config(path)
        path = path / MODEL
    if not path.is_file():
        raise ValueError(
            "Expected a .keras file, or the folder of a run that has finished. "
            f"Received: {str(path)!r}, which does not exist"
        )
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(
            "Expected a whole .keras file, as `model.save` writes. "
            f"Received: {str(path)!r}, which is corrupt or of another format"
        )
    _check_expansion(path)
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises whatever the broken part happens to raise
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(
            "Expected a .keras file of Keras and keras_attention layers. "
            f"Received: {str(path)!r}, which does not load: {reason[0]}"
        ) from error


def _check_expansion(path: Path) -> None:
    """`save` packs without compressing: what expands much was made to fill the memory."""
    with zipfile.ZipFile(path) as file:
        held = sum(part.file_size for part in file.infolist())
    if held > MOST_EXPANSION * path.stat().st_size:
        raise ValueError(
            f"Expected a .keras file that expands to at most {MOST_EXPANSION} times its size. "
            f"Received: {str(path)!r}, which holds {held} bytes"
        )


def folder_of(path: Path) -> Path:
    """Where what belongs to a run, or to a .keras file, is written."""
    return path if path.is_dir() else path.parent


def write_history(folder: Path, rows: Sequence[dict[str, float]]) -> None:
    """Writes one line an epoch, in full precision."""
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / HISTORY, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Writes a text file in one step."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _is_others(path: Path) -> bool:
    return path.name != LOCK and PARTIAL not in path.name
