"""Fair timing on a noisy machine: alternate, take medians, report ratios."""

import statistics
import time
from collections.abc import Callable, Mapping


def alternated(
    calls: Mapping[str, Callable[[], object]], rounds: int = 15, warm_up: int = 3
) -> dict[str, float]:
    """Times calls that take turns.

    Args:
        calls: What to time, by name; each must wait for its result.
        rounds: How often each is timed.
        warm_up: First rounds that do not count: tracing, caches.

    Returns:
        Median seconds by name.

    Example:
    >>> times = alternated({"short": lambda: time.sleep(0), "long": lambda: time.sleep(0.01)}, 3)
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
