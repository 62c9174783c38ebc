"""Clients that are not ours ask a SavedModel: TensorFlow's command and a C program."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export.pictures import reader
from keras_attention.export.signatures import read_signature
from tests.documents import ROOT
from tests.serving.made import colors, png

CLIENT = ROOT / "examples" / "serving" / "client.c"
LIBRARY = "libtensorflow_cc.so.2"
FILES = [png(colors((20, 20), seed)) for seed in range(3)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model, and the SavedModel of it and its attention."""
    model = ka.applications.ClutteredCNN(1, input_shape=(16, 16, 1), filters=2, units=4)
    path = tmp_path_factory.mktemp("clients") / "served"
    return model, ka.export.export_saved_model(model, path, attention=True)


def expected(model):
    pictures = reader((16, 16, 1))(tf.constant(FILES)).numpy()
    return pictures, keras.ops.convert_to_numpy(model(pictures, training=False))


def saved_model_cli(path, folder, signature, name, array):
    """Runs the command, and returns the arrays that it wrote."""
    np.save(folder / "sent.npy", array)
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"]
    command += ["--dir", path, "--tag_set", "serve", "--signature_def", signature]
    command += ["--inputs", f"{name}={folder / 'sent.npy'}", "--outdir", folder / "received"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return {file.stem: np.load(file) for file in (folder / "received").iterdir()}


SIGNATURES = ["serve_bytes", pytest.param("serving_default", marks=pytest.mark.slow)]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_tensorflows_command(served, tmp_path, signature):
    model, path = served
    pictures, predictions = expected(model)
    name = read_signature(path, signature).inputs[0].name
    sent = np.array(FILES) if signature == "serve_bytes" else pictures
    received = saved_model_cli(path, tmp_path, signature, name, sent)
    assert sorted(received) == ["predictions", "rectify_gates", "rectify_masks1"]
    np.testing.assert_allclose(received["predictions"], predictions, atol=1e-5)
    assert received["rectify_masks1"].shape[0] == len(FILES)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C client, compiled as its first lines say."""
    compiler, library = shutil.which("cc"), Path(tf.sysconfig.get_lib())
    if compiler is None:
        pytest.skip("no C compiler")
    if not (library / LIBRARY).exists():
        pytest.skip(f"this TensorFlow brings no {LIBRARY}")
    said = re.search(r"^ +cc (.*)\\\n +(.*)$", CLIENT.read_text(), re.MULTILINE)
    target = tmp_path_factory.mktemp("program") / "client"
    command = f"cc {said[1]} {said[2]}".replace("client.c", str(CLIENT), 1)
    command = command.replace("-o client", f"-o {target} -Wall -Werror", 1)
    environment = {**os.environ, "TF": str(library)}
    subprocess.run(["/bin/sh", "-c", command], check=True, env=environment, timeout=120)
    return target


def test_a_c_program(served, program, tmp_path):
    model, path = served
    signature = read_signature(path, "serve_bytes")
    output = next(each.tensor for each in signature.outputs if each.name == "predictions")
    paths = []
    for number, file in enumerate([*FILES, b"no picture"]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(file)

    def run(files):
        command = [program, path, signature.inputs[0].tensor, output, *files]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    answer = run(paths[:3])
    assert answer.returncode == 0, answer.stderr[-2000:]
    printed = [[float(word) for word in line.split()] for line in answer.stdout.splitlines()]
    np.testing.assert_allclose(printed, expected(model)[1], atol=1e-5)
    refused = run(paths)
    assert refused.returncode == 1
    assert "Expected a PNG or JPEG file" in refused.stderr
    assert run([]).returncode == 2
