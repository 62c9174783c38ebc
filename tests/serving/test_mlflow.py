"""A Keras model served by `mlflow models serve`, with concurrent and invalid requests."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_attention as ka

pytest.importorskip("mlflow", reason="`make test-serving` installs it")

CLIENTS, REQUESTS = 8, 240
SIZES = ((12, 12), (20, 14), (9, 31))
INVALID = {
    "empty": b"",
    "invalid JSON": b"{'inputs': [[",
    "no inputs": b'{"images": [[[[0.5]]]]}',
    "strings": b'{"inputs": [[[["white"]]]]}',
    "ragged image": b'{"inputs": [[[[0.1], [0.2]], [[0.3]]]]}',
    "no batch axis": b'{"inputs": [[[0.5]]]}',
    "two channels": json.dumps({"inputs": np.zeros((1, 12, 12, 2)).tolist()}).encode(),
}


def build_model():
    inputs = keras.Input((None, None, 1), name="images")
    x = ka.layers.TargetLayer(8, 3)(inputs)
    x = ka.layers.CBAM(reduction=4)(keras.layers.ReLU()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The model, and the address of a process that serves it."""
    folder = tmp_path_factory.mktemp("mlflow")
    model = build_model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        schema = Schema([TensorSpec(np.dtype("float32"), (-1, -1, -1, 1))])
        mlflow.keras.save_model(
            model,
            str(folder / "model"),
            save_exported_model=True,
            signature=ModelSignature(inputs=schema),
            pip_requirements=["tensorflow"],
        )
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", folder / "model", "--port", str(port), "--workers", "1"]
    # The command starts other commands by name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/db"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            wait_for(f"{address}/ping", process, folder / "log")
            yield model, address
        finally:
            os.killpg(process.pid, 15)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(url, process, log, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no server: {log.read_text()[-3000:]}")


def post(address, body):
    """Sends a request; returns status and content of the response."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_concurrent_valid_and_invalid_requests(server):
    model, address = server
    rng = np.random.default_rng(0)
    requests = []
    for number in range(REQUESTS):
        if number % 4 == 3:
            requests.append((list(INVALID)[number // 4 % len(INVALID)], None))
        else:
            shape = (int(rng.integers(1, 6)), *SIZES[number % len(SIZES)], 1)
            requests.append(("", rng.uniform(size=shape).astype("float32")))

    def send(kind_and_images):
        kind, images = kind_and_images
        body = INVALID[kind] if kind else json.dumps({"inputs": images.tolist()}).encode()
        return post(address, body)

    with ThreadPoolExecutor(CLIENTS) as clients:
        responses = list(clients.map(send, requests))
    assert len(responses) == REQUESTS
    for (kind, images), (status, content) in zip(requests, responses, strict=True):
        if kind:
            assert 400 <= status < 500, (kind, status, content)
            assert content, kind
        else:
            assert status == 200, content
            np.testing.assert_allclose(content["predictions"], model(images), atol=1e-5)
    with urllib.request.urlopen(f"{address}/ping", timeout=5) as alive:
        assert alive.status == 200
