"""SIGTERM, by which machines that are lent for a while are taken back."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Terminated(SystemExit):
    """Ends a process with the exit code of one that SIGTERM has ended.

    Example:
    >>> Terminated("stopped after step 7").code
    143
    """

    def __init__(self, message: str):
        super().__init__(message)
        self.code = 128 + signal.SIGTERM


class Notice:
    """Whether SIGTERM has come."""

    received = False


@contextlib.contextmanager
def termination_noticed() -> Iterator[Notice]:
    """Notes that SIGTERM came, instead of ending there; threads other than the main one cannot."""
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return
    before = signal.signal(signal.SIGTERM, lambda *_: setattr(notice, "received", True))
    try:
        yield notice
    finally:
        signal.signal(signal.SIGTERM, before)
