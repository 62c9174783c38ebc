"""What every training does before it draws anything, and what it leaves behind."""

import json
import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_attention.utils.io import write_whole
from program_parts import files


def settle(seed: int, threads: int) -> None:
    """Makes a process ready for one network: what is drawn is drawn alike again."""
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def kept(path: Path) -> dict[str, Any] | None:
    """Returns what was measured of a network that an earlier run kept at `path`.

    None where there is none, or, with a warning, where a file is corrupt: then it is trained anew.
    """
    measured = path.with_suffix(".json")
    # Written last: where it is, the network was whole.
    if not (measured.is_file() and path.is_file()):
        return None
    try:
        found = json.loads(measured.read_text(encoding="utf-8"))
        with zipfile.ZipFile(path) as archive:
            torn = archive.testzip()
        if torn is None:
            return found
        fault = f"{torn} has another checksum"
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        fault = str(error)
    warnings.warn(f"{path.name} is corrupt ({fault}), so it is trained anew.", stacklevel=2)
    return None


def keep(training: Any, network: keras.Model) -> None:
    """Writes a network, then what was measured of it: where that is, the network is whole.

    Args:
        training: A dataclass with `path`, where the network goes, `job`, `kept` and what was
            measured.
        network: What was trained.
    """
    path = training.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, network.save)
    measured = asdict(training)
    for name in ("job", "path", "kept"):
        del measured[name]
    files.write_text(path.with_suffix(".json"), json.dumps(measured))
