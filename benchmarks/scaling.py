"""Efficiency of training on two devices, measured on two cores, and predictions for more devices.

Each device has one core, one thread and 32 images of each batch. One device on one core is
compared with two devices on two cores; the steps of both processes are interleaved. Efficiency is
the step time of one device divided by that of two.

Devices sum their gradients in a ring: each device sends and receives 2 (n - 1) / n times the bytes
of the trainable weights, 4 bytes per weight. If communication does not overlap with computation, a
step of t seconds on one device takes t + bytes / bandwidth, and efficiency is t divided by that.
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

IMAGES_PER_DEVICE, STEPS, ROUNDS = 32, 6, 5
BACKENDS = ("tensorflow", "jax")
NAMES = ("LeNet5, san-c", "WARN-10-1")
COUNTS = (2, 4, 8, 64)
TARGET_EFFICIENCY = 0.9


def main() -> None:
    """Prints the tables of measured and predicted efficiency."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--worker", nargs=2, metavar=("DEVICES", "NAME"), help="run as a worker process (internal)"
    )
    parser.add_argument(
        "--bandwidth",
        type=float,
        default=1.25,
        help="network bandwidth in GB/s for the prediction (default: 1.25, 10 Gb Ethernet)",
    )
    options = parser.parse_args()
    if options.worker:
        run_worker(int(options.worker[0]), options.worker[1])
        return
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("This benchmark needs two cores, one for each device.")
    measured = {}
    print("| network | backend | 1 device, ms | 2 devices, ms | efficiency |")
    print("| --- | --- | --- | --- | --- |")
    for name in NAMES:
        for backend in BACKENDS:
            one, two, weights = time_interleaved(backend, name)
            measured[name, backend] = (one, weights)
            cells = f"{1e3 * one:.1f} | {1e3 * two:.1f} | {100 * one / two:.0f} %"
            print(f"| {name} | {backend} | {cells} |", flush=True)
            ratios.record(f"1 device / 2 devices, {name}, {backend}", one / two)
    print(f"\nPredicted for {options.bandwidth} GB/s without overlap of communication:\n")
    print(predicted_table(measured, options.bandwidth * 1e9))


def predicted_table(measured: dict[tuple[str, str], tuple[float, int]], bandwidth: float) -> str:
    """Formats the efficiency predicted for a ring from the measured steps."""
    heads = [f"{count} devices" for count in COUNTS]
    lines = [
        f"| network | backend | MB sent by each of 2 | {' | '.join(heads)} | "
        f"GB/s for {TARGET_EFFICIENCY:.0%} with 64 |",
        "| --- " * (len(COUNTS) + 4) + "|",
    ]
    for (name, backend), (seconds, weights) in measured.items():
        shares = [seconds / (seconds + ring_bytes(weights, n) / bandwidth) for n in COUNTS]
        needed = ring_bytes(weights, COUNTS[-1]) / (seconds * (1 / TARGET_EFFICIENCY - 1))
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        sent = f"{ring_bytes(weights, 2) / 1e6:.2f}"
        lines.append(f"| {name} | {backend} | {sent} | {cells} | {needed / 1e9:.3f} |")
    return "\n".join(lines)


def ring_bytes(weights: int, devices: int) -> float:
    """Returns the bytes that each device sends in a step."""
    return 4 * weights * 2 * (devices - 1) / devices


def time_interleaved(backend: str, name: str) -> tuple[float, float, int]:
    """Returns seconds per step on one device and on two, and the number of trainable weights."""
    workers = [start_worker(backend, count, name) for count in (1, 2)]
    weights, _ = (read(worker) for worker in workers)
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for worker, found in zip(workers, times, strict=True):
            print("go", file=worker.stdin, flush=True)
            found.append(read(worker))
    for worker in workers:
        worker.communicate()
    return statistics.median(times[0]), statistics.median(times[1]), int(weights)


def start_worker(backend: str, devices: int, name: str) -> Any:
    """Starts a process with one core and one thread per device."""
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
    """Reads the next number that a worker prints."""
    line = worker.stdout.readline()
    if not line:
        sys.exit(f"A worker process ended with exit status {worker.wait()}.")
    return float(json.loads(line))


def run_worker(devices: int, name: str) -> None:
    """Prints the number of trainable weights, then the seconds per step for each line of stdin."""
    from keras_attention import backend

    with backend.device_scope(devices):
        model = build_network(name)
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile="auto")
        fit = fit_call(model, devices)
        fit()  # the first call traces
        print(model.count_params() - count_non_trainable(model), flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            fit()
            print(json.dumps((time.perf_counter() - start) / STEPS), flush=True)


def count_non_trainable(model: Any) -> int:
    """Counts the non-trainable weights."""
    return sum(math.prod(weight.shape) for weight in model.non_trainable_weights)


def build_network(name: str) -> Any:
    """Builds a network with little or with more communication relative to its computation."""
    import keras_attention as ka

    if name == NAMES[0]:
        return ka.applications.LeNet5((28, 28, 1), attention="san-c")
    return ka.applications.WARN(10, 1, input_shape=(32, 32, 3), classes=10)


def fit_call(model: Any, devices: int) -> Callable[[], Any]:
    """Returns a call for a few steps of `fit`."""
    import numpy as np

    batch = IMAGES_PER_DEVICE * devices
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(batch * STEPS, *model.input_shape[1:])).astype("float32")
    y = rng.integers(0, 10, batch * STEPS)
    return lambda: model.fit(x, y, batch_size=batch, shuffle=False, verbose=0)


if __name__ == "__main__":
    main()
