"""What the guide says of TensorFlow Serving fits the exports that it makes."""

import base64
import json
import re

import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export.archive import IMAGE_BYTES, SERVE_BYTES
from tests.documents import ROOT, titled_blocks
from tests.serving.made import colors, png

GUIDE = ROOT / "docs" / "guides" / "serve.md"


def test_the_models_of_the_configuration_are_those_that_are_exported():
    text = GUIDE.read_text(encoding="utf-8")
    config = next(block for _, title, block in titled_blocks(GUIDE) if title == "models.config")
    named = re.findall(r'name: "(\w+)" base_path: "/models/(\w+)"', config)
    assert named
    assert all(name == folder and f'"served/{name}/1"' in text for name, folder in named)
    try:
        from tensorflow_serving.config import model_server_config_pb2
    except ImportError:
        return
    from google.protobuf import text_format

    found = text_format.Parse(config, model_server_config_pb2.ModelServerConfig())
    assert [each.name for each in found.model_config_list.config] == [name for name, _ in named]


@pytest.mark.usefixtures("reloads_here")
def test_a_request_in_json_has_what_the_signature_takes(tmp_path):
    """Read as the server does: base64 becomes bytes where the name ends in _bytes."""
    text = GUIDE.read_text(encoding="utf-8")
    assert f'"signature_name": "{SERVE_BYTES}"' in text
    assert IMAGE_BYTES.endswith("_bytes")
    assert f'{{"{IMAGE_BYTES}": {{"b64": ' in text
    model = ka.applications.LeNet5((20, 20, 1), include_top=False, pooling="avg")
    path = ka.export.export_saved_model(model, tmp_path / "served")
    file = png(colors((20, 20)))
    sent = json.dumps([{IMAGE_BYTES: {"b64": base64.b64encode(file).decode()}}])
    instances = json.loads(sent)
    tensors = {
        name: tf.constant([base64.b64decode(each[name]["b64"]) for each in instances])
        for name in instances[0]
    }
    loaded = tf.saved_model.load(path)
    answer = loaded.signatures[SERVE_BYTES](**tensors)["output_0"]
    np.testing.assert_array_equal(answer, loaded.serve_bytes(tf.constant([file])))
