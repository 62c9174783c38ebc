"""What a second device is worth, as far as two cores can say, and what to expect of more.

A device has one core, one thread and 32 images of each batch: one device on one core beside two on
two. Processes for both take turns. Efficiency is the time of one device's step over that of two.

Two devices and more add up their gradients in a ring: each sends and receives 2 (n - 1) / n times
the bytes of the trainable weights, 4 a weight. Where nothing of it hides behind computing, a step
of t seconds on one device takes t + bytes / bandwidth, and efficiency is t over that.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import ratios

SHARE, STEPS, ROUNDS = 32, 6, 5
BACKENDS = ("tensorflow", "jax")
NAMES = ("LeNet5, san-c", "WARN-10-1")
COUNTS = (2, 4, 8, 64)
WANTED = 0.9


def main() -> None:
    """Prints the measured table and the predicted one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", nargs=2, metavar=("DEVICES", "NAME"), help="one side, by pipes")
    parser.add_argument(
        "--bandwidth", type=float, default=1.25, help="GB/s to predict with (1.25: 10 Gb Ethernet)"
    )
    options = parser.parse_args()
    if options.worker:
        work(int(options.worker[0]), options.worker[1])
        return
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("Needs two cores, one for each device.")
    measured = {}
    print("| network | backend | 1 device, ms | 2 devices, ms | efficiency |")
    print("| --- | --- | --- | --- | --- |")
    for name in NAMES:
        for backend in BACKENDS:
            one, two, weights = by_turns(backend, name)
            measured[name, backend] = (one, weights)
            cells = f"{1e3 * one:.1f} | {1e3 * two:.1f} | {100 * one / two:.0f} %"
            print(f"| {name} | {backend} | {cells} |", flush=True)
            ratios.keep(f"1 device / 2 devices, {name}, {backend}", one / two)
    print(f"\nPredicted for {options.bandwidth} GB/s, nothing hidden:\n")
    print(predicted(measured, options.bandwidth * 1e9))


def predicted(measured: dict[tuple[str, str], tuple[float, int]], bandwidth: float) -> str:
    """What a ring makes of the measured steps."""
    heads = [f"{count} devices" for count in COUNTS]
    lines = [
        f"| network | backend | MB of 2 | {' | '.join(heads)} | GB/s for {WANTED:.0%} of 64 |",
        "| --- " * (len(COUNTS) + 4) + "|",
    ]
    for (name, backend), (seconds, weights) in measured.items():
        shares = [seconds / (seconds + ring(weights, n) / bandwidth) for n in COUNTS]
        needed = ring(weights, COUNTS[-1]) / (seconds * (1 / WANTED - 1))
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        sent = f"{ring(weights, 2) / 1e6:.2f}"
        lines.append(f"| {name} | {backend} | {sent} | {cells} | {needed / 1e9:.3f} |")
    return "\n".join(lines)


def ring(weights: int, devices: int) -> float:
    """Bytes that each device sends in a step."""
    return 4 * weights * 2 * (devices - 1) / devices


def by_turns(backend: str, name: str) -> tuple[float, float, int]:
    """Seconds of a step on one device and on two, and the weights that learn."""
    workers = [start(backend, count, name) for count in (1, 2)]
    weights, _ = (read(worker) for worker in workers)
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for worker, found in zip(workers, times, strict=True):
            print("go", file=worker.stdin, flush=True)
            found.append(read(worker))
    for worker in workers:
        worker.communicate()
    return statistics.median(times[0]), statistics.median(times[1]), int(weights)


def start(backend: str, devices: int, name: str) -> Any:
    """A process with as many cores as devices, and a thread for each."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": str(devices),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false "
        f"--xla_force_host_platform_device_count={devices}",
    }
    cores = sorted(os.sched_getaffinity(0))[:devices]
    return subprocess.Popen(
        [sys.executable, __file__, "--worker", str(devices), name],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )


def read(worker: Any) -> float:
    """The number that a process says next."""
    line = worker.stdout.readline()
    if not line:
        sys.exit(f"A process ended with {worker.wait()}.")
    return float(json.loads(line))


def work(devices: int, name: str) -> None:
    """Says the number of weights; then, as often as asked, the seconds of a step."""
    from keras_attention import backend

    with backend.device_scope(devices):
        model = network(name)
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile="auto")
        fit = fitting(model, devices)
        fit()  # is traced
        print(model.count_params() - untrained(model), flush=True)
        for _ in sys.stdin:
            begun = time.perf_counter()
            fit()
            print(json.dumps((time.perf_counter() - begun) / STEPS), flush=True)


def untrained(model: Any) -> int:
    """Values that no gradient reaches."""
    return sum(math.prod(weight.shape) for weight in model.non_trainable_weights)


def network(name: str) -> Any:
    """One that communicates little for what it computes, and one that communicates more."""
    import keras_attention as ka

    if name == NAMES[0]:
        return ka.applications.LeNet5((28, 28, 1), attention="san-c")
    return ka.applications.WARN(10, 1, input_shape=(32, 32, 3), classes=10)


def fitting(model: Any, devices: int) -> Callable[[], Any]:
    """A few steps of `fit`."""
    import numpy as np

    batch = SHARE * devices
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(batch * STEPS, *model.input_shape[1:])).astype("float32")
    y = rng.integers(0, 10, batch * STEPS)
    return lambda: model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)


if __name__ == "__main__":
    main()
