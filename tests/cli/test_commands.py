"""Outputs of the commands evaluate, plot, export, models and bench."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_attention import datasets, layers
from keras_attention.cli import data, main
from keras_attention.cli.commands import bench
from tests.cli.small_runs import SIZE
from tests.harness import cross_section


def json_result(capsys, *arguments):
    """Runs a command with --json; returns the only object on standard output."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


@pytest.mark.slow
def test_evaluate(run, capsys):
    found = json_result(capsys, "evaluate", run)
    model = keras.saving.load_model(run / "model.keras")
    images, labels = next(iter(datasets.load("digits", "test", 9999, size=SIZE, train_size=60)))
    wrong = np.argmax(model.predict(images, verbose=0), axis=-1) != labels.numpy()
    assert found["examples"] == 1737, "all digits that are not used for training"
    assert found["error_percent"] == pytest.approx(100 * wrong.mean())
    assert found["macs_input_shape"] == [SIZE, SIZE, 1]
    options = ["--data", "digits", "--size", str(SIZE), "--batch-size", "600"]
    assert main(["evaluate", str(run / "model.keras"), *options]) == 0
    printed = capsys.readouterr().out
    assert "error %" in printed
    assert f"digits, {SIZE} pixels" in printed


def test_models(capsys):
    found = json_result(capsys, "models", "CNN6", "TDN10")["models"]
    assert {each["model"]: each["parameters"] for each in found} == {
        "CNN6": 4586642,
        "TDN10": 45034,
    }
    assert found[0]["macs"] == 368407442
    assert main(["models", "CNN6"]) == 0
    printed = capsys.readouterr().out
    assert "CNN6" in printed
    assert "368M" in printed


@pytest.mark.parametrize(
    ("suffix", "starts"), cross_section([("pdf", b"%PDF"), ("svg", b"<?xml")], fast={"pdf"})
)
def test_plot_writes_the_format_of_the_suffix(run, tmp_path, capsys, suffix, starts):
    path = tmp_path / f"a.{suffix}"
    found = json_result(capsys, "plot", run, "--images", 3, "--output", path)
    assert found == {"figure": str(path)}
    assert path.read_bytes().startswith(starts)


def test_plot_has_the_requested_width_and_resolution(run, tmp_path):
    path = tmp_path / "figure.png"
    options = ["--images", "5", "--image-range", "0", "1", "--grad-cam", "--width", "5"]
    assert main(["plot", str(run), "--output", str(path), *options, "--dpi", "60"]) == 0
    with Image.open(path) as image:
        assert image.width == 300


@pytest.mark.slow
def test_plot_shows_requested_images_and_layers(run, tmp_path):
    def figure(*options):
        path = tmp_path / "figure.png"
        assert main(["plot", str(run), "--output", str(path), *options]) == 0
        return path.read_bytes()

    first = figure()
    assert first.startswith(b"\x89PNG")
    assert figure("--images", "0") == first
    assert figure("--images", "5") != first
    pooling = figure("--layer", "pool1")
    assert pooling != first, "a layer without attention"
    both = figure("--layer", "pool1", "target1")
    assert both != pooling
    with_teacher = figure("--teacher", str(run), "--layer", "pool1")
    assert with_teacher not in (first, pooling, both)


@pytest.mark.parametrize(
    ("model", "data", "options"),
    [
        ("LeNet5", "digits", ["attention=cbam"]),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("TKN6", "digits", []),
                ("LSTM4", "digit_forecast", ["attention=san"]),
                ("DCN", "digits", ["patches=2"]),
                ("LeNet5", "digits", ["attention=san-c"]),
                ("LeNet5", "digits", ["attention=bam"]),
                ("LSTM4", "digit_sequences", ["attention=ran"]),
                ("ClutteredCNN", "digits", ["filters=4", "units=8"]),
                ("STN", "digits", []),
            )
        ),
    ],
)
def test_every_mechanism_is_plotted(tmp_path, capsys, model, data, options):
    """For the untrained models that `--epochs 0` saves."""
    size = {"LeNet5": 20, "DCN": 32, "STN": 32, "ClutteredCNN": 32}.get(model, SIZE)
    size = 8 if data == "digit_sequences" else size
    run = tmp_path / "run"
    settings = [word for option in options for word in ("--model-option", option)]
    shape = ["--data", data, "--size", str(size), "--train-size", "60"]
    found = json_result(capsys, "train", model, *shape, *settings, "--epochs", 0, "--output", run)
    assert found == {
        "run": str(run),
        "model": str(run / "model.keras"),
        "figure": str(run / "figures" / "attention.png"),
        "epochs": 0,
        "last_epoch": {},
    }
    figure = (run / "figures" / "attention.png").read_bytes()
    if model == "TKN6":
        assert main(["plot", str(run)]) == 0
        assert (run / "figures" / "attention.png").read_bytes() == figure


@pytest.mark.parametrize("compact", cross_section([False, True], [False]))
def test_export_saved_model(run, tmp_path, capsys, reloads_here, compact):
    path = tmp_path / "served"
    options = ["--compact"] if compact else ["--attention"]
    found = json_result(capsys, "export", run, "--output", path, *options)
    expected = {"export": str(path), "format": "saved_model"}
    assert found == {**expected, "attention": not compact, "compact": compact}
    images, _ = next(iter(datasets.load("digits", "test", 4, size=SIZE)))
    loaded = tf.saved_model.load(path)
    served = loaded.serve(images)
    predictions = served if compact else served["predictions"]
    model = keras.saving.load_model(run / "model.keras")
    np.testing.assert_allclose(predictions, model(images), atol=1e-5)
    assert compact or "target1_attention" in served


@pytest.mark.parametrize(
    ("kind", "file"),
    cross_section([("onnx", "model.onnx"), ("litert", "model.tflite")], fast={"onnx"}),
)
def test_export_to_a_single_file(baseline, capsys, kind, file):
    found = json_result(capsys, "export", baseline, "--format", kind, "--compact")
    assert found["export"] == str((baseline.parent / file).resolve())
    assert (baseline.parent / file).stat().st_size > 100
    again = ["export", str(baseline), "--format", kind]
    assert main(again) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*again, "--overwrite"]) == 0


@pytest.mark.slow
def test_export_int8_reports_errors_before_and_after(run, tmp_path, capsys, monkeypatch):
    load = data.load_test
    monkeypatch.setattr(data, "load_test", lambda *arguments: load(*arguments).take(10))
    path = tmp_path / "model.tflite"
    options = ("--format", "litert", "--quantize", "int8", "--output", path)
    found = json_result(capsys, "export", run, *options)
    assert found["quantize"] == "int8"
    assert found["bytes"]["after"] == path.stat().st_size < 0.5 * found["bytes"]["before"]
    measured = json_result(capsys, "evaluate", run)
    assert found["error_percent"]["before"] == pytest.approx(measured["error_percent"])
    assert abs(found["error_percent"]["after"] - measured["error_percent"]) < 5
    assert found["examples"] == measured["examples"]


def test_export_int8_with_attention_evaluates_the_predictions(tmp_path, capsys, monkeypatch):
    """The attention map of CBAM precedes the predictions in the sorted outputs of the file."""
    load = data.load_test
    monkeypatch.setattr(data, "load_test", lambda *arguments: load(*arguments).take(3))
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(16, 3, activation="relu")(inputs)
    x = layers.CBAM(1, name="cbam")(x)
    x = keras.layers.Flatten()(keras.layers.Conv2D(32, 3, activation="relu")(x))
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    path = tmp_path / "model.keras"
    keras.Model(inputs, outputs).save(path)
    options = ["--attention", "--format", "litert", "--quantize", "int8"]
    found = json_result(capsys, "export", path, *options, "--data", "digits", "--size", "8")
    errors = found["error_percent"]
    assert abs(errors["after"] - errors["before"]) < 5


def test_missing_package_error_has_the_install_command(baseline, monkeypatch, capsys):
    monkeypatch.setattr("keras_attention.export.onnx.REQUIRED_PACKAGES", ("no_such_package",))
    assert main(["export", str(baseline), "--format", "onnx"]) == 2
    assert 'pip install "keras-cnn-attention[export]"' in capsys.readouterr().err


@pytest.fixture
def deeper(tmp_path):
    """A .keras file of a deeper model with the same input shape as `baseline`."""
    path = tmp_path / "deeper.keras"
    layers = [keras.layers.Flatten(), keras.layers.Dense(20), keras.layers.Dense(10)]
    keras.Sequential([keras.Input((8, 8, 1)), *layers]).save(path)
    return path


def test_bench_compares_with_the_last_model(deeper, baseline, capsys):
    found = json_result(capsys, "bench", deeper, baseline, "--batch-size", 1, 4, "--rounds", 1)
    assert found["input_shape"] == [8, 8, 1]
    assert found["baseline"] == str(baseline)
    larger, last = found["models"]
    assert last["ratio"] == dict.fromkeys(["batch of 1", "batch of 4", "training step of 4"], 1.0)
    for what, ratio in larger["ratio"].items():
        times = larger["milliseconds"][what], last["milliseconds"][what]
        assert ratio == pytest.approx(times[0] / times[1])
    assert (larger["parameters"], last["parameters"]) == (1510, 650)


def test_bench_uses_the_input_shape_of_a_file_and_does_not_train_compact_models(baseline, capsys):
    options = ["--batch-size", "2", "--rounds", "1", "--compact"]
    found = json_result(capsys, "bench", "CNN6", baseline, *options)
    assert found["input_shape"] == [8, 8, 1]
    assert [list(each["milliseconds"]) for each in found["models"]] == [["batch of 2"]] * 2
    shape = ["--data", "digits", "--size", "8", "--no-training"]
    assert main(["bench", "CNN6", *shape, *options[:-1]]) == 0
    printed = capsys.readouterr().out
    assert "8 x 8 x 1" in printed
    assert "training step" not in printed


def test_bench_does_not_change_weights(deeper):
    model = keras.saving.load_model(deeper)
    before = [weight.numpy() for weight in model.trainable_weights]
    bench.median_seconds({"model": model}, (8, 8, 1), 4, rounds=1, training=True)
    for old, new in zip(before, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_progress_goes_to_standard_error(cnn6_run):
    assert "loss: " in cnn6_run.err
    found = json.loads(cnn6_run.out)
    assert found["epochs"] == 3
    assert set(found["last_epoch"]) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert "figure" not in found, "CNN6 has no attention"
