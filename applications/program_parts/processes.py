"""Several trainings at a time, each in one process with a thread or more."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Job, int], Result], jobs: Sequence[Job], processes: int
) -> Iterator[Result]:
    """Calls `function(job, threads)` for each job; yields what it returns, in order."""
    processes = min(processes, len(jobs))
    threads = max(1, os.cpu_count() // processes)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        futures = [pool.submit(function, job, threads) for job in jobs]
        for future in futures:
            yield future.result()
