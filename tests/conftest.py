import re

import keras
import numpy as np
import pytest

from keras_attention.training.layerwise_optimizer import HAS_MULTI_OPTIMIZER

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # Two of them, for strategies of several replicas; tests without a strategy run on the first.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


# Examples of the package that take seconds.
SLOW_EXAMPLES = (
    "applications/resnet.py::keras_attention.applications.resnet.ResNet34",
    "applications/resnet.py::keras_attention.applications.resnet.ResNet50",
    "applications/vgg.py",
    "distillation/distiller.py",
    "export/saved_model.py",
    "inspect/animation.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leaves out what this Keras does not have, and moves slow examples to `make test-slow`."""
    for item in items:
        if item.nodeid.startswith(tuple(f"keras_attention/{name}" for name in SLOW_EXAMPLES)):
            item.add_marker(pytest.mark.slow)
    if not HAS_MULTI_OPTIMIZER:
        for item in items:
            if "layerwise_optimizer" in item.nodeid:
                item.add_marker(pytest.mark.skip(reason="needs Keras 3.15"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Skips tests of channels first if TensorFlow lacks these kernels on the CPU.

    They are part of oneDNN, which TensorFlow enables on processors with AVX-512 only.
    """
    try:
        return (yield)
    except Exception as error:
        if re.search(r"only supports (the )?NHWC", str(error)):
            pytest.skip("TensorFlow has no channels-first kernels on this CPU")
        raise


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Every test starts from the same seed and Keras's own settings."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    if keras.backend.backend() == "tensorflow":
        # Trainings by the command line leave it on, and Keras then compiles nothing by XLA.
        from tensorflow.python.framework import config

        config.disable_op_determinism()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def reloads_here(monkeypatch):
    """Verifies exports without a new process, which takes seconds; `test_export.py` uses one."""
    from keras_attention.export import saved_model
    from tests.reloading import outputs_here

    monkeypatch.setattr(saved_model, "outputs_in_new_process", outputs_here)
