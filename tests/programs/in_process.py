"""Runs the training jobs of the programs in this process; new processes take seconds to start."""

import pickle

import tensorflow as tf
from harness import training


def run_in_this_process(patch):
    """Replaces the worker processes; jobs and results are pickled as if sent to them.

    `test_scale_space.py` uses real processes.
    """
    for module, name in (
        (tf.config.threading, "set_intra_op_parallelism_threads"),
        (tf.config.experimental, "enable_op_determinism"),
    ):
        # These settings would affect later tests.
        patch.setattr(module, name, lambda *settings: None)

    def one_by_one(function, jobs, processes):
        for job in jobs:
            there, sent = pickle.loads(pickle.dumps((function, job)))
            yield pickle.loads(pickle.dumps(there(sent, 1)))

    patch.setattr(training, "run_in_processes", one_by_one)
