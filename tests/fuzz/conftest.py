import keras
import pytest


@pytest.fixture(autouse=True)
def _complete_tracebacks():
    """Keeps complete tracebacks, whose last frame shows where an error was raised."""
    keras.config.disable_traceback_filtering()
    yield
    keras.config.enable_traceback_filtering()
