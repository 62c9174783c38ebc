"""Triton's configuration says of an export what the export itself does."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export.triton import TYPES

NUMPY = {triton: name for name, triton in TYPES.items()}
TENSOR = re.compile(r'\{ name: "(.+?)" data_type: (\w+) dims: \[ (.*?) \](.*) \}')


def said(text, kind):
    """Names, types and dims of one block, the batch before them."""
    block = re.search(rf"^{kind} \[\n(.*?)^\]", text, re.M | re.S)[1]
    found = {}
    for name, dtype, dims, more in TENSOR.findall(block):
        sizes = [None if size == "-1" else int(size) for size in dims.split(", ")]
        found[name] = (NUMPY[dtype], [None, *([] if "reshape" in more else sizes)])
    return found


def tensors(specs):
    return {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in specs.items()}


@pytest.fixture
def model():
    inputs = keras.Input((None, 6, 1), name="images")
    x = ka.layers.CBAM(2, name="cbam")(keras.layers.Conv2D(4, 3)(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3)(x))


@pytest.mark.usefixtures("reloads_here")
def test_of_a_saved_model(model, tmp_path):
    path = ka.export.export_saved_model(model, tmp_path / "eyes", attention=True)
    signatures = tf.saved_model.load(path).signatures
    for name in ("serving_default", "serve_bytes"):
        text = ka.export.triton_config(path, signature=name, max_batch_size=5)
        assert said(text, "input") == tensors(signatures[name].structured_input_signature[1])
        assert said(text, "output") == tensors(signatures[name].structured_outputs)
        assert 'name: "eyes"\nplatform: "tensorflow_savedmodel"\nmax_batch_size: 5\n' in text
        assert ("TF_SIGNATURE_DEF" in text) == (name == "serve_bytes")
        parsed(text)
    with pytest.raises(ValueError, match="Did you mean 'serve_bytes'"):
        ka.export.triton_config(path, signature="serve_byte")
    with pytest.raises(ValueError, match="positive integer"):
        ka.export.triton_config(path, max_batch_size=0)


def test_of_an_onnx_file(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = ka.export.export_onnx(model, tmp_path / "eyes.onnx", attention=True)
    session = onnxruntime.InferenceSession(str(path))
    text = ka.export.triton_config(path, name="seen")
    for kind, found in (("input", session.get_inputs()), ("output", session.get_outputs())):
        assert said(text, kind) == {
            each.name: (
                np.dtype(each.type[len("tensor(") : -1].replace("float", "float32")).name,
                [size if isinstance(size, int) else None for size in each.shape],
            )
            for each in found
        }
    assert 'name: "seen"\nplatform: "onnxruntime_onnx"' in text
    parsed(text)


def test_only_exports_have_one(tmp_path):
    with pytest.raises(ValueError, match="SavedModel's folder"):
        ka.export.triton_config(tmp_path)


def parsed(text):
    """Reads a text by Triton's own definition, where its client is installed."""
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError:
        return
    from google.protobuf import text_format

    assert text_format.Parse(text, model_config_pb2.ModelConfig()).max_batch_size > 0
