"""The configurations and requests in the serving guide match the exports of the guide."""

import base64
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export import saved_model
from keras_attention.export.saved_model import IMAGE_BYTES, SERVE_BYTES
from tests.documents import ROOT, titled_blocks
from tests.reloading import outputs_here
from tests.serving.image_files import colors, png

GUIDE = ROOT / "docs" / "guides" / "serve.md"
TRITON_TYPES = {"TYPE_FP32": "float32", "TYPE_STRING": "string"}


def titled_block(name):
    return next(block for _, title, block in titled_blocks(GUIDE) if title == name)


def test_models_of_the_configuration_are_exported():
    text = GUIDE.read_text(encoding="utf-8")
    config = titled_block("models.config")
    named = re.findall(r'name: "(\w+)" base_path: "/models/(\w+)"', config)
    assert named
    assert all(name == folder and f'"served/{name}/1"' in text for name, folder in named)
    try:
        from tensorflow_serving.config import model_server_config_pb2
    except ImportError:
        return
    from google.protobuf import text_format

    parsed = text_format.Parse(config, model_server_config_pb2.ModelServerConfig())
    assert [each.name for each in parsed.model_config_list.config] == [name for name, _ in named]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The SavedModel of a model with the guide's inputs and outputs, loaded."""
    inputs = keras.Input((28, 28, 1), name="images")
    outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(inputs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "outputs_in_new_process", outputs_here)
        path = tmp_path_factory.mktemp("guide") / "served"
        ka.export.export_saved_model(keras.Model(inputs, outputs), path)
    return tf.saved_model.load(path)


def test_triton_configuration_matches_the_signatures(exported):
    config = titled_block("config.pbtxt")
    (name,) = re.findall(r'string_value: "(\w+)"', config)
    assert name == SERVE_BYTES
    signature = exported.signatures[name]
    assert triton_tensors(config, "input") == specs(signature.structured_input_signature[1])
    assert triton_tensors(config, "output") == specs(signature.structured_outputs)
    (for_arrays,) = re.findall(r'`(name: "images" .*?)`', GUIDE.read_text(encoding="utf-8"))
    default = exported.signatures["serving_default"]
    arrays = triton_tensors(f"input [\n  {{ {for_arrays} }}\n]\n", "input")
    assert arrays == specs(default.structured_input_signature[1])
    assert specs(default.structured_outputs) == specs(signature.structured_outputs)
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError:
        return
    from google.protobuf import text_format

    assert text_format.Parse(config, model_config_pb2.ModelConfig()).max_batch_size > 0


def triton_tensors(config, kind):
    """Names, types and shapes of the inputs or outputs, with the batch axis."""
    block = re.search(rf"^{kind} \[\n(.*?)^\]", config, re.MULTILINE | re.DOTALL)[1]
    tensor = re.compile(r'\{ name: "(.+?)" data_type: (\w+) dims: \[ (.*?) \](.*) \}')
    found = {}
    for name, dtype, dims, rest in tensor.findall(block):
        sizes = [] if "reshape" in rest else [int(size) for size in dims.split(", ")]
        found[name] = (TRITON_TYPES[dtype], [None, *sizes])
    return found


def specs(tensors):
    return {name: (spec.dtype.name, spec.shape.as_list()) for name, spec in tensors.items()}


def test_json_request_matches_the_signature(exported):
    """TensorFlow Serving decodes base64 for inputs whose names end in _bytes."""
    text = GUIDE.read_text(encoding="utf-8")
    assert f'"signature_name": "{SERVE_BYTES}"' in text
    assert IMAGE_BYTES.endswith("_bytes")
    assert f'{{"{IMAGE_BYTES}": {{"b64": ' in text
    file = png(colors((20, 20)))
    request = json.dumps([{IMAGE_BYTES: {"b64": base64.b64encode(file).decode()}}])
    instances = json.loads(request)
    tensors = {
        name: tf.constant([base64.b64decode(each[name]["b64"]) for each in instances])
        for name in instances[0]
    }
    outputs = exported.signatures[SERVE_BYTES](**tensors)["output_0"]
    np.testing.assert_array_equal(outputs, exported.serve_bytes(tf.constant([file])))
