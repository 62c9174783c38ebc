"""On JAX, without TensorFlow: two devices, and two processes, learn what one does."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.distribution import training_cases
from tests.harness import ON_TENSORFLOW

ROOT = Path(__file__).parents[2]
PROCESS = [sys.executable, "-m", "tests.distribution.on_jax"]
# Of `make test-jax`: JAX compiles for seconds.
slow_here = pytest.mark.slow if ON_TENSORFLOW else lambda test: test
# A network of its own, where a loopback device is all there is.
ALONE = ["unshare", "--net", "--map-root-user"]


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "XLA_FLAGS": ""}


def run(*words):
    finish([*PROCESS, *map(str, words)], timeout=900)


def finish(command, timeout):
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@slow_here
def test_most_of_the_package_needs_no_tensorflow(tmp_path):
    run("packages", tmp_path)


@slow_here
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("san-c", "AttentionDistiller"), id="few"),
        pytest.param(
            tuple(
                name
                for name in training_cases.TRAINING_CASES
                if name not in ("san-c", "TDN10", "DCN")
            ),
            marks=pytest.mark.slow,
            id="all",
        ),
    ],
)
def test_two_devices_learn_as_one(names, tmp_path):
    run("devices", tmp_path, *names)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


@slow_here
@pytest.mark.timeout(600)
def test_two_processes_learn_as_one(tmp_path):
    if not may_unshare():
        pytest.skip("needs a network of its own, which this machine does not permit (unshare)")
    name, port = "san-c", free_port()
    run("one", tmp_path, name)
    hosts = " & ".join(
        " ".join([*PROCESS, "host", str(tmp_path), name, str(port), str(process)])
        for process in (0, 1)
    )
    script = f"ip link set lo up && {{ {hosts} & wait -n && wait -n; }}"
    finish([*ALONE, "bash", "-c", script], timeout=500)
    expected, *hosts = (read(tmp_path / f"{name}.npz") for name in ("one", "host0", "host1"))
    for found in hosts:
        training_cases.assert_equal([found], [expected])
    assert all(np.array_equal(hosts[0][key], hosts[1][key]) for key in expected)


def may_unshare():
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    tried = subprocess.run([*ALONE, "ip", "link", "set", "lo", "up"], check=False, timeout=60)
    return tried.returncode == 0


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def read(path):
    with np.load(path) as arrays:
        return dict(arrays)
