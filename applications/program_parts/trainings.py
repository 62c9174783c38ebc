"""What every training does before it draws anything, and what it leaves behind."""

import json
from dataclasses import asdict
from typing import Any

import keras
import tensorflow as tf

from keras_attention.files import write_whole
from program_parts import files


def settle(seed: int, threads: int) -> None:
    """Makes a process ready for one network: what is drawn is drawn alike again."""
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


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
