import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_attention import applications, datasets, losses
from keras_attention.cli import main
from keras_attention.cli import training as training_module
from keras_attention.cli.learners import learner

SMALL = ["--data", "digits", "--size", "8", "--train-size", "60", "--batch-size", "20"]


def train(folder, *more, model="CNN6", epochs=3):
    options = [*SMALL, "--epochs", str(epochs), "--learning-rate", "0.01", "--seed", "7"]
    return main(["train", model, "--output", str(folder), *options, *more])


@pytest.fixture(scope="module", autouse=True)
def _first_digits():
    """Validates on 90: all but 60 digits are for testing."""
    load = training_module.load_data
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "load_data", lambda *given: load(*given).take(3))
        patch.setattr(training_module, "TEST_BATCH", 30)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of TDN10."""
    folder = tmp_path_factory.mktemp("runs") / "tdn10"
    options = ("--set", "beta=4", "--set", "window=gaussian", "--set", "roi=mask")
    assert train(folder, *options, model="TDN10") == 0
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_train_fills_the_run_folder(run):
    files = ["config.json", "figures/attention.png", "history.csv", "model.keras", "state.npz"]
    assert names(run) == files
    config = json.loads((run / "config.json").read_text())
    assert config["model_options"] == {"beta": 4, "window": "gaussian", "roi": "mask"}
    assert (config["data"], config["size"], config["seed"]) == ("digits", 8, 7)
    lines = (run / "history.csv").read_text().splitlines()
    assert lines[0] == "epoch,accuracy,loss,val_accuracy,val_loss"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3"]
    model = keras.saving.load_model(run / "model.keras")
    assert model.get_layer("block1_target1").window == "gaussian"


def test_same_seed_gives_the_same_history_also_after_a_kill(tmp_path, monkeypatch):
    """CNN6 has dropout: its seeds have to go on too."""
    assert train(tmp_path / "whole") == 0

    plain = training_module.RunRecorder.on_epoch_end

    def killed_after_two(self, epoch, logs=None):
        plain(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_module.RunRecorder, "on_epoch_end", killed_after_two)
        assert train(tmp_path / "killed") == 130
    assert "model.keras" not in names(tmp_path / "killed")
    assert train(tmp_path / "killed", "--resume") == 0
    whole, killed = ((tmp_path / name / "history.csv").read_text() for name in ("whole", "killed"))
    assert killed == whole


def test_resuming_a_finished_run_changes_nothing(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run, folder)
    history = (folder / "history.csv").read_text()
    (folder / "history.csv").write_text("a kill came before the last epoch was written")
    assert train(folder, "--resume", model="TDN10") == 0
    assert (folder / "history.csv").read_text() == history


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path, capsys):
    assert train(tmp_path / "run", "--learning-rate", "1e30") == 2
    assert "The loss is nan after epoch 1" in capsys.readouterr().err
    assert names(tmp_path / "run") == ["config.json"]


def test_evaluate(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "error %" in printed
    assert "1737" in printed, "all other digits are for testing"
    assert main(["evaluate", str(run / "model.keras"), "--data", "digits", "--size", "8"]) == 0


def test_export_and_plot(run, tmp_path, capsys, reloads_here):
    assert main(["export", str(run), "--output", str(tmp_path / "served")]) == 0
    images, _ = next(iter(datasets.load("digits", "test", 4, size=8)))
    served = tf.saved_model.load(tmp_path / "served")
    assert served.serve(images).shape == (4, 10)
    assert main(["plot", str(run), "--output", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert f"wrote {tmp_path / 'a.png'}" in capsys.readouterr().out
    relu = [
        "plot",
        str(run),
        "--output",
        str(tmp_path / "relu.png"),
        "--layer",
        "block1_conv1_relu",
    ]
    assert main(relu) == 0, "a layer without a mechanism"
    assert (tmp_path / "relu.png").read_bytes() != (tmp_path / "a.png").read_bytes()


def test_models(capsys, monkeypatch):
    # Building all of them takes long, and the registry's tests do.
    monkeypatch.setattr(applications, "list_models", lambda: ["CNN6", "TDN10"])
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    for name, macs in (("CNN6", "368M"), ("TDN10", "11.3M")):
        assert name in printed
        assert macs in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "TDN11", "--output", "{new}"], "Did you mean 'TDN10'"),
        (["train", "TDN10", "--data", "digit", "--output", "{new}"], "Did you mean 'digits'"),
        (["train", "TDN10", "--epochs", "0", "--output", "{new}"], "Received: --epochs=0"),
        (["train", "TDN10", "--set", "beta", "--output", "{new}"], "must be OPTION=VALUE"),
        (["train", "TDN10", "--set", "gamma=1", "--output", "{new}"], "must name options of TDN10"),
        (["train", "TDN10", "--set", "window=box", "--output", "{new}"], "window='box'"),
        (["train", "TDN10", "--train-size", "1", "--output", "{new}"], "Received: train_size=1"),
        (["train", "TDN10", "--output", "{run}"], "which holds a run"),
        (["train", "TDN10", "--output", "{other}"], "must be a new or empty folder"),
        (["train", "CNN6", "--output", "{run}", "--resume"], "which has model = 'TDN10'"),
        (["train", "TDN10", "--output", "{run}", "--resume", "--epochs", "9"], "epochs = 3"),
        (["train", "TDN10", "--output", "{new}", "--resume"], "Expected the folder of a run"),
        (["evaluate", "{new}", "--data", "digits"], "does not exist"),
        (["evaluate", "{corrupt}", "--data", "digits"], "corrupt or of another format"),
        (["evaluate", "{torn}", "--data", "digits"], "does not load"),
        (["evaluate", "{foreign}", "--data", "digits"], "does not load"),
        (
            ["train", "SVHNCoarse", "--set", "width=0.1", "--output", "{new}"],
            "one answer for each image",
        ),
        (["train", "TDN10", "--data", "gtsdb", "--output", "{new}"], "Received: --data=gtsdb"),
        (["train", "TDN10", "--data", "svhn_numbers", "--output", "{new}"], "not 6 classes"),
        (["evaluate", "{run}", "--data", "gtsdb"], "one label for each image"),
        (["evaluate", "{run}", "--data", "svhn_numbers"], "not 6 classes. Received: --data=svhn_"),
        (["evaluate", "{run}", "--size", "20", "--data", "nothing"], "Received: name='nothing'"),
        (
            ["plot", "{baseline}", "--data", "digits", "--size", "8"],
            "must hold an attention mechanism",
        ),
        (["evaluate", "{baseline}", "--data", "digits"], "must fit the model's input (8, 8, 1)"),
        (["export", "{baseline}", "--output", "{other}"], "must be new"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(run, tmp_path, capsys, arguments, message):
    paths = {name: tmp_path / name for name in ("new", "other", "foreign.keras")}
    paths |= {"run": run, "foreign": paths["foreign.keras"]}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("keep")
    paths["corrupt"] = tmp_path / "corrupt.keras"
    paths["corrupt"].write_bytes((run / "model.keras").read_bytes()[:1000])
    paths["torn"] = tmp_path / "torn.keras"
    with zipfile.ZipFile(paths["torn"], "w") as archive:
        archive.writestr("config.json", "{")
    _write_foreign(paths["foreign"])
    paths["baseline"] = tmp_path / "baseline.keras"
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]).save(paths["baseline"])
    before = names(tmp_path)
    capsys.readouterr()

    arguments = [word.format(**paths) if "{" in word else word for word in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert error.splitlines()[-1].startswith("keras-attention: ")
    assert names(tmp_path) == before, "nothing half written"


def _write_foreign(path):
    """A .keras file with a layer that this process does not know."""

    class Foreign(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    keras.Sequential([keras.Input((4,)), Foreign()]).save(path)


def test_rectified_networks_learn_the_likelihood_of_their_sum(tmp_path):
    """What is fitted has the loss of the paper, what is saved returns probabilities."""
    sizes = ("depth=10", "width=0.25", "attention_depth=1", "attention_width=2")
    options = [word for size in sizes for word in ("--set", size)]
    assert train(tmp_path / "warn", *options, model="WARN", epochs=1) == 0
    model = keras.saving.load_model(tmp_path / "warn" / "model.keras")
    data = datasets.load("digits", "test", batch_size=64, size=8, train_size=60)
    images, labels = next(iter(data))
    np.testing.assert_allclose(model(images).numpy().sum(axis=1), 1.0, rtol=1e-5)
    fitted, loss = learner(model, regression=False)
    assert isinstance(loss, losses.NegativeLogLikelihood)
    np.testing.assert_allclose(keras.ops.softmax(fitted(images)), model(images), atol=1e-6)
    validated = datasets.load("digits", "test", batch_size=90, size=8, train_size=60)
    images, labels = next(iter(validated))
    penalty = float(sum(model.losses))
    expected = float(loss(labels, fitted(images))) + penalty
    last = (tmp_path / "warn" / "history.csv").read_text().splitlines()[-1]
    assert float(last.split(",")[-1]) == pytest.approx(expected, rel=1e-3)
