"""Files of every layer and model in a new process, and the cost of importing the package."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests import harness, layer_cases, model_cases

READER = """
import json, sys, time
import keras
import numpy as np
import tensorflow as tf

folder, cases = sys.argv[1], json.loads(sys.argv[2])

def inputs(case):
    with np.load(f"{folder}/{case}/x.npz") as arrays:
        values = [arrays[name] for name in arrays.files]
    return values if len(values) > 1 else values[0]

def save_outputs(case, kind, outputs):
    np.savez(f"{folder}/{case}/{kind}.npz", *(x.numpy() for x in keras.tree.flatten(outputs)))

for case in cases:
    model = tf.saved_model.load(f"{folder}/{case}/saved_model")
    save_outputs(case, "served", model.serve(inputs(case)))
assert "keras_attention" not in sys.modules
known, start = set(sys.modules), time.process_time()
import keras_attention
seconds, new = time.process_time() - start, sorted(set(sys.modules) - known)
for case in cases:
    model = keras.saving.load_model(f"{folder}/{case}/model.keras")
    save_outputs(case, "loaded", model(inputs(case), training=False))
print(json.dumps([seconds, new]))
"""


FEW_LAYERS = {"TargetLayer", "CBAM"}


def layers(rng, cases):
    """One model with layers, each with separate inputs and outputs."""
    models = [harness.model_of_layer(case) for case in cases]
    inputs, outputs = [m.inputs for m in models], [m.outputs for m in models]
    together = keras.Model(keras.tree.flatten(inputs), keras.tree.flatten(outputs))
    return together, keras.tree.flatten([case.data(rng) for case in cases])


def few_cases(rng):
    one_per_name = {case.name: case for case in layer_cases.LAYER_CASES}
    yield "layers", *layers(rng, [one_per_name[name] for name in sorted(FEW_LAYERS)])


def cases(rng):
    model, x = layers(rng, layer_cases.LAYER_CASES)
    yield "layers", model, x
    seen = {type(each) for each in model._flatten_layers()}
    for case in model_cases.MODEL_CASES:
        model = case.make()
        ours = {
            each for each in map(type, model._flatten_layers()) if "keras_att" in each.__module__
        }
        if not ours <= seen:  # a layer that no previous model has
            seen |= ours
            harness.jitter(model)
            yield str(case), model, rng.uniform(size=(2, *case.input_shape))
    for name in ("TKN6", "TDN10"):  # compacted by pixel indices, and by groups of kernels
        model = ka.applications.build(name, input_shape=(12, 10, 1), classes=3)
        harness.jitter(model)
        for layer in model.layers:
            if isinstance(layer, ka.layers.TargetLayer):
                layer.scale.assign(0.3 * layer.scale)
        yield f"compact{name}", ka.surgery.compact(model), rng.uniform(size=(2, 12, 10, 1))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(few_cases, id="few"),
        pytest.param(cases, id="all", marks=pytest.mark.slow),
    ],
)
def loaded(request, tmp_path_factory):
    """Expected outputs, the folder of the files, and import time and modules of the process."""
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    expected = {}
    for name, model, x in request.param(rng):
        (folder / name).mkdir()
        x = [array.astype("float32") for array in (x if isinstance(x, list) else [x])]
        np.savez(folder / name / "x.npz", *x)
        x = x if len(x) > 1 else x[0]
        model.save(folder / name / "model.keras")
        model.export(folder / name / "saved_model", format="tf_saved_model", verbose=False)
        outputs = keras.tree.flatten(model(x, training=False))
        expected[name] = [keras.ops.convert_to_numpy(output) for output in outputs]
    command = [sys.executable, "-c", READER, str(folder), json.dumps(list(expected))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        command, check=True, timeout=200, env=environment, stdout=subprocess.PIPE, text=True
    )
    return expected, folder, json.loads(result.stdout.splitlines()[-1])


def test_files_load_in_a_new_process(loaded):
    expected, folder, _ = loaded
    for name, values in expected.items():
        for kind in ("served", "loaded"):
            with np.load(folder / name / f"{kind}.npz") as outputs:
                assert len(outputs.files) == len(values)
                for key, value in zip(outputs.files, values, strict=True):
                    np.testing.assert_allclose(
                        outputs[key], value, atol=5e-6, err_msg=f"{name}, {kind}, {key}"
                    )


def test_import_is_light(loaded):
    *_, (_, modules) = loaded
    heavy = {"matplotlib", "sklearn", "scipy", "PIL", "tensorflow_datasets", "rich", "hypothesis"}
    assert not heavy & {name.split(".")[0] for name in modules}


@pytest.mark.slow
@pytest.mark.parametrize("loaded", [cases], indirect=True, ids=["all"])
def test_import_is_fast(loaded):
    *_, (seconds, _) = loaded
    assert seconds < 0.3
