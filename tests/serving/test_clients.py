"""A SavedModel run by external clients: TensorFlow's command and a C program."""

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
from tensorflow.core.protobuf import saved_model_pb2

import keras_attention as ka
from keras_attention.export import saved_model
from keras_attention.export.saved_model import image_decoder
from tests.documents import ROOT
from tests.reloading import outputs_here
from tests.serving.image_files import colors, png

CLIENT = ROOT / "examples" / "serving" / "client.c"
LIBRARY = "libtensorflow_cc.so.2"
FILES = [png(colors((20, 20), seed)) for seed in range(3)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model, and its SavedModel with attention maps."""
    model = ka.applications.ClutteredCNN(1, input_shape=(16, 16, 1), filters=2, units=4)
    path = tmp_path_factory.mktemp("clients") / "served"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "outputs_in_new_process", outputs_here)
        return model, ka.export.export_saved_model(model, path, attention=True)


def expected(model):
    images = image_decoder((16, 16, 1))(tf.constant(FILES)).numpy()
    return images, keras.ops.convert_to_numpy(model(images, training=False))


def tensor_names(path, signature):
    """Names in the graph of the inputs and outputs of a signature."""
    message = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    found = message.meta_graphs[0].signature_def[signature]
    return tuple(
        {name: tensor.name for name, tensor in tensors.items()}
        for tensors in (found.inputs, found.outputs)
    )


def saved_model_cli(path, folder, signature, name, array):
    """Runs the command; returns the arrays that it writes."""
    np.save(folder / "sent.npy", array)
    command = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"]
    command += ["--dir", path, "--tag_set", "serve", "--signature_def", signature]
    command += ["--inputs", f"{name}={folder / 'sent.npy'}", "--outdir", folder / "received"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return {file.stem: np.load(file) for file in (folder / "received").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("signature", ["serve_bytes", "serving_default"])
def test_saved_model_cli(served, tmp_path, signature):
    model, path = served
    images, predictions = expected(model)
    (name,) = tensor_names(path, signature)[0]
    sent = np.array(FILES) if signature == "serve_bytes" else images
    received = saved_model_cli(path, tmp_path, signature, name, sent)
    assert sorted(received) == ["predictions", "rectify_gates", "rectify_masks1"]
    np.testing.assert_allclose(received["predictions"], predictions, atol=1e-5)
    assert received["rectify_masks1"].shape[0] == len(FILES)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C client, compiled by the command in its first lines."""
    compiler, library = shutil.which("cc"), Path(tf.sysconfig.get_lib())
    if compiler is None:
        pytest.skip("no C compiler")
    if not (library / LIBRARY).exists():
        pytest.skip(f"this TensorFlow does not contain {LIBRARY}")
    command = re.search(r"^ +cc (.*)\\\n +(.*)$", CLIENT.read_text(), re.MULTILINE)
    target = tmp_path_factory.mktemp("program") / "client"
    command = f"cc {command[1]} {command[2]}".replace("client.c", str(CLIENT), 1)
    command = command.replace("-o client", f"-o {target} -Wall -Werror", 1)
    environment = {**os.environ, "TF": str(library)}
    subprocess.run(["/bin/sh", "-c", command], check=True, env=environment, timeout=120)
    return target


@pytest.mark.slow
def test_c_program(served, program, tmp_path):
    model, path = served
    inputs, outputs = tensor_names(path, "serve_bytes")
    paths = []
    for number, file in enumerate([*FILES, b"not an image"]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(file)

    def run(files):
        command = [program, path, inputs["image_bytes"], outputs["predictions"], *files]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    result = run(paths[:3])
    assert result.returncode == 0, result.stderr[-2000:]
    printed = [[float(word) for word in line.split()] for line in result.stdout.splitlines()]
    np.testing.assert_allclose(printed, expected(model)[1], atol=1e-5)
    failed = run(paths)
    assert failed.returncode == 1
    assert "must be PNG or JPEG files" in failed.stderr
    assert run([]).returncode == 2
