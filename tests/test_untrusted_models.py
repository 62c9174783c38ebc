"""Model files from untrusted sources must not run code."""

import ast
import base64
import json
import marshal
import zipfile
from pathlib import Path

import keras
import pytest

import keras_attention as ka
from keras_attention.cli import main, run_folder

PACKAGE = Path(ka.__file__).parent
MARK = "ran"
# Modules that run code from files, and functions that can.
UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "torch",
}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "loadmat", "enable_unsafe_deserialization"}


def lambda_config(code):
    """The configuration of a Lambda layer with bytecode, as written by older versions of Keras."""
    compiled = compile(code, "config", "eval")
    text = base64.b64encode(marshal.dumps(compiled)).decode()
    function = {"class_name": "__lambda__", "config": {"code": text, "defaults": None}}
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "run", "function": {**function, "closure": None}},
        "registered_name": None,
    }


def attacks(path):
    """Configurations of objects that create a file when they are deserialized."""
    command = f"touch {path}"
    return {
        "lambda": lambda_config(f"__import__('os').system({command!r})"),
        "os.system": {"module": "os", "class_name": "system", "config": command},
        "os.function": {
            "module": "os",
            "class_name": "function",
            "config": "system",
            "registered_name": "function",
        },
        "subprocess": {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": ["touch", str(path)]},
            "registered_name": "Popen",
        },
        "pathlib": {
            "module": "pathlib",
            "class_name": "Path",
            "config": {},
            "registered_name": None,
            "build_config": {},
        },
    }


def configs_with(inner):
    """Configurations of layers with sublayers, in which one sublayer is replaced."""
    part = ka.layers.SpatialTransformer(keras.Sequential([keras.layers.Flatten()])).get_config()
    model = keras.Sequential([keras.layers.Flatten()])
    refiner = ka.layers.PatchRefiner(model, model, model, from_logits=True).get_config()
    cell = ka.layers.RecurrentAttention(keras.layers.LSTMCell(2)).get_config()
    return {
        "SpatialTransformer": {**part, "localization": inner},
        "PatchRefiner": {**refiner, "coarse": inner},
        "RecurrentAttention": {**cell, "cell": inner},
    }


@pytest.mark.parametrize("kind", ["SpatialTransformer", "PatchRefiner", "RecurrentAttention"])
@pytest.mark.parametrize("attack", attacks(MARK))
def test_layers_do_not_deserialize_foreign_objects(kind, attack, tmp_path):
    path = tmp_path / MARK
    config = configs_with(attacks(path)[attack])[kind]
    with pytest.raises((ValueError, TypeError)):
        getattr(ka.layers, kind).from_config(config)
    assert not path.exists()


def test_optimizers_do_not_deserialize_foreign_objects(tmp_path):
    path = tmp_path / MARK
    for attack in attacks(path).values():
        config = {"optimizer": attack, "factors": {"a": 1.0}}
        with pytest.raises((ValueError, TypeError)):
            ka.training.LayerwiseOptimizer.from_config(config)
    assert not path.exists()


def hostile_model(folder, attack):
    """Writes a .keras file whose last layer is replaced."""
    path = folder / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Identity(name="run")]).save(path)
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][-1] = attack
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return path


@pytest.mark.parametrize("attack", attacks(MARK))
@pytest.mark.parametrize("command", ["evaluate", "plot", "export"])
def test_commands_do_not_run_code_of_a_file(command, attack, tmp_path, capsys):
    mark = tmp_path / MARK
    path = hostile_model(tmp_path, attacks(mark)[attack])
    options = ["--output", str(tmp_path / "out.onnx")] if command == "export" else []
    data = [] if command == "export" else ["--data", "digits"]
    assert main([command, str(path), *data, *options]) == 2
    assert "which cannot be loaded" in capsys.readouterr().err
    assert not mark.exists()


def test_files_that_expand_too_much(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", bytes(2**26))
    assert path.stat().st_size < 2**17
    with pytest.raises(ValueError, match=r"at most 20 times.*Received: .*67108864 bytes"):
        run_folder.load_model(path)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_no_module_uses_unsafe_functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not UNSAFE_MODULES & {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNSAFE_MODULES
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", None)
            assert called not in UNSAFE_CALLS
            assert getattr(node.func, "attr", None) not in UNSAFE_CALLS - {"compile"}
            for keyword in node.keywords:
                allowed = {"allow_pickle": False, "safe_mode": True}
                if keyword.arg in allowed:
                    assert getattr(keyword.value, "value", None) is allowed[keyword.arg]
