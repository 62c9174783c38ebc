"""Files of every layer and model, opened in one new process that knows nothing of them."""

import json
import os
import subprocess
import sys

import keras
import numpy as np

import keras_attention as ka
from tests import harness

READER = """
import json, sys
import numpy as np
import tensorflow as tf

folder, cases = sys.argv[1], json.loads(sys.argv[2])
served = {}

def inputs(case):
    with np.load(f"{folder}/{case}/x.npz") as arrays:
        values = [arrays[name] for name in arrays.files]
    return values if len(values) > 1 else values[0]

def side_by_side(answers):
    return np.concatenate(tf.nest.flatten(answers), axis=-1)

for case in cases:
    model = tf.saved_model.load(f"{folder}/{case}/saved_model")
    served[case] = side_by_side(model.serve(inputs(case)))
assert "keras_attention" not in sys.modules
import keras, keras_attention
for case in cases:
    model = keras.saving.load_model(f"{folder}/{case}/model.keras")
    outputs = side_by_side(model(inputs(case), training=False))
    np.savez(f"{folder}/{case}/outputs.npz", served=served[case], loaded=outputs)
"""


# Of Keras's layers alone, or of the layers of another one here.
ALIKE = {"CNN6", "DN10", "DN40", "TDN40", "STN", "VGG16", "ResNet50", "DCNCoarse", "DCNFine"}


def cases(rng):
    for number, case in enumerate(harness.LAYER_CASES):
        yield f"layer{number}", harness.model_of_layer(case), case.data(rng)
    for case in (case for case in harness.MODEL_CASES if case.name not in ALIKE):
        model = case.make()
        harness.jitter(model)
        yield str(case), model, rng.uniform(size=(2, *case.input_shape))
    for name in ("TKN6", "TDN10"):  # a matrix of entries in one, groups of kernels in the other
        model = ka.applications.build(name, input_shape=(12, 10, 1), classes=3)
        harness.jitter(model)
        for layer in model.layers:
            if isinstance(layer, ka.layers.TargetLayer):
                layer.scale.assign(0.3 * layer.scale)
        yield f"compact{name}", ka.surgery.compact(model), rng.uniform(size=(2, 12, 10, 1))


def test_files_open_in_a_new_process(rng, tmp_path):
    expected = {}
    for name, model, x in cases(rng):
        folder = tmp_path / name
        folder.mkdir()
        x = [array.astype("float32") for array in (x if isinstance(x, list) else [x])]
        np.savez(folder / "x.npz", *x)
        x = x if len(x) > 1 else x[0]
        model.save(folder / "model.keras")
        model.export(folder / "saved_model", format="tf_saved_model", verbose=False)
        answers = keras.tree.flatten(model(x, training=False))
        expected[name] = np.concatenate(answers, axis=-1)
    command = [sys.executable, "-c", READER, str(tmp_path), json.dumps(list(expected))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, timeout=200, env=environment)
    for name, values in expected.items():
        with np.load(tmp_path / name / "outputs.npz") as outputs:
            np.testing.assert_allclose(outputs["served"], values, atol=5e-6, err_msg=name)
            np.testing.assert_allclose(outputs["loaded"], values, atol=5e-6, err_msg=name)
