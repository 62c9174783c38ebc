"""Outcomes that a call with invalid arguments may have."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_attention

PACKAGE = str(Path(keras_attention.__file__).parent)


class Refused:
    """Returned by `outcome` for a call that raised an acceptable error."""


def outcome(call: Callable[[], Any], description: Any = "") -> Any:
    """Returns the result of a call, or `Refused`; fails for any other outcome.

    An acceptable error is a ValueError or TypeError with a message. A message of the package itself
    must contain the value that was received.
    """
    try:
        return call()
    except (ValueError, TypeError) as error:
        message, frame = str(error), traceback.extract_tb(error.__traceback__)[-1]
        assert message.strip(), f"an error without a message, for {description}"
        if frame.filename.startswith(PACKAGE):
            assert "Received: " in message, f"{frame.name}: {message!r}, for {description}"
        return Refused
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise AssertionError(
            f"{type(error).__name__} in {frame.name}: {str(error)[:300]}, for {description}"
        ) from error
