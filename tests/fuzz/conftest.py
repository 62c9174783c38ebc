import keras
import pytest


@pytest.fixture(autouse=True)
def _whole_tracebacks():
    """Errors as they are raised: Keras else hides where."""
    keras.config.disable_traceback_filtering()
    yield
    keras.config.enable_traceback_filtering()
