"""A Keras model behind `mlflow models serve`, asked by many at once, some of whom ask nonsense."""

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
NONSENSE = {
    "nothing": b"",
    "no JSON": b"{'inputs': [[",
    "no inputs": b'{"pictures": [[[[0.5]]]]}',
    "words": b'{"inputs": [[[["white"]]]]}',
    "a ragged picture": b'{"inputs": [[[[0.1], [0.2]], [[0.3]]]]}',
    "no batch": b'{"inputs": [[[0.5]]]}',
    "two channels": json.dumps({"inputs": np.zeros((1, 12, 12, 2)).tolist()}).encode(),
}


def network():
    inputs = keras.Input((None, None, 1), name="images")
    x = ka.layers.TargetLayer(8, 3)(inputs)
    x = ka.layers.CBAM(reduction=4)(keras.layers.ReLU()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The model, and the address at which a process of its own serves it."""
    folder = tmp_path_factory.mktemp("mlflow")
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        takes = Schema([TensorSpec(np.dtype("float32"), (-1, -1, -1, 1))])
        mlflow.keras.save_model(
            model,
            str(folder / "model"),
            save_exported_model=True,
            signature=ModelSignature(inputs=takes),
            pip_requirements=["tensorflow"],
        )
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", folder / "model", "--port", str(port), "--workers", "1"]
    # The command starts others by name.
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
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(url, process, log, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no server: {log.read_text()[-3000:]}")


def ask(address, body):
    """Status and answer; whatever is no answer is an error here."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_mixed_load_is_answered_to_the_last_request(server):
    model, address = server
    rng = np.random.default_rng(0)
    asked = []
    for number in range(REQUESTS):
        if number % 4 == 3:
            asked.append((list(NONSENSE)[number // 4 % len(NONSENSE)], None))
        else:
            shape = (int(rng.integers(1, 6)), *SIZES[number % len(SIZES)], 1)
            asked.append(("", rng.uniform(size=shape).astype("float32")))

    def send(kind_and_images):
        kind, images = kind_and_images
        body = NONSENSE[kind] if kind else json.dumps({"inputs": images.tolist()}).encode()
        return ask(address, body)

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(send, asked))
    assert len(answers) == REQUESTS
    for (kind, images), (status, answer) in zip(asked, answers, strict=True):
        if kind:
            assert 400 <= status < 500, (kind, status, answer)
            assert answer, kind
        else:
            assert status == 200, answer
            np.testing.assert_allclose(answer["predictions"], model(images), atol=1e-5)
    with urllib.request.urlopen(f"{address}/ping", timeout=5) as alive:
        assert alive.status == 200
