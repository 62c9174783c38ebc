"""What a call may do with arguments that nobody means."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_attention

PACKAGE = str(Path(keras_attention.__file__).parent)


class Refused:
    """What `taken` returns for a call that was refused as it should be."""


def taken(call: Callable[[], Any], about: Any = "") -> Any:
    """The result of a call, or `Refused`; another end than these is a failure.

    An error must be a ValueError or TypeError with a message, and one of the package itself must
    say what it has received.
    """
    try:
        return call()
    except (ValueError, TypeError) as error:
        message, place = str(error), traceback.extract_tb(error.__traceback__)[-1]
        assert message.strip(), f"an error without a message, for {about}"
        if place.filename.startswith(PACKAGE):
            assert "Received: " in message, f"{place.name}: {message!r}, for {about}"
        return Refused
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise AssertionError(
            f"{type(error).__name__} in {place.name}: {str(error)[:300]}, for {about}"
        ) from error
