"""Loads SavedModels in the test process, because a new process takes seconds."""

import tensorflow as tf


def outputs_here(path, calls, folder):
    """Replaces `export.saved_model.outputs_in_new_process`."""
    served = tf.saved_model.load(path)
    return {
        endpoint: [tensor.numpy() for tensor in tf.nest.flatten(getattr(served, endpoint)(inputs))]
        for endpoint, inputs in calls.items()
    }
