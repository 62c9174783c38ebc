"""Timing on a machine with other load: interleaved calls, medians and ratios."""

import statistics
import time
from collections.abc import Callable, Mapping


def interleaved_timing(
    calls: Mapping[str, Callable[[], object]], rounds: int = 15, warm_up: int = 3
) -> dict[str, float]:
    """Measures the median wall-clock time of functions that are called in turn.

    Each round calls every function once, so that a slow phase of the machine affects all of them
    alike, and ratios of the medians are comparable.

    Args:
        calls: Functions without arguments by name. Each must wait for its result, for example by
            converting it to NumPy.
        rounds: Number of measured rounds.
        warm_up: Number of rounds before the first measured one, which trace the functions and fill
            caches.

    Returns:
        Dictionary from name to median time in seconds.

    Example:
    >>> calls = {"short": lambda: time.sleep(0), "long": lambda: time.sleep(0.01)}
    >>> times = interleaved_timing(calls, rounds=3)
    >>> times["short"] < times["long"]
    True
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(warm_up + rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_ >= warm_up:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
