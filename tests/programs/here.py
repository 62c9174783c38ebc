"""Trainings of the programs without processes of their own, which take seconds to start."""

import pickle

import tensorflow as tf


def train_in_this_process(monkeypatch, program):
    """Replaces the processes of a module; jobs and results go as if to others and back.

    `test_scale_space.py` has true ones.
    """
    for module, name in (
        (tf.config.threading, "set_intra_op_parallelism_threads"),
        (tf.config.experimental, "enable_op_determinism"),
    ):
        monkeypatch.setattr(module, name, lambda *settings: None)  # they would stay

    def one_by_one(function, jobs, processes):
        for job in jobs:
            there, sent = pickle.loads(pickle.dumps((function, job)))
            yield pickle.loads(pickle.dumps(there(sent, 1)))

    monkeypatch.setattr(program, "in_processes", one_by_one)
