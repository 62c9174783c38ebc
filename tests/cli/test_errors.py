"""User errors are one line with exit code 2, and leave no partial files."""

import shutil
import zipfile

import keras
import pytest

from keras_attention.cli import main
from tests.cli.small_runs import file_names


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A .keras file with a layer that is not registered."""

    class Foreign(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    path = tmp_path_factory.mktemp("files") / "foreign.keras"
    keras.Sequential([keras.Input((4,)), Foreign()]).save(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "TDN11", "--output", "{new}"], "Did you mean 'TDN10'"),
        (["train", "TDN10", "--data", "digit", "--output", "{new}"], "Did you mean 'digits'"),
        (["train", "TDN10", "--epochs", "-1", "--output", "{new}"], "Received: --epochs=-1"),
        (["train", "TDN10", "--model-option", "beta", "--output", "{new}"], "must be OPTION=VALUE"),
        (
            ["train", "TDN10", "--model-option", "gamma=1", "--output", "{new}"],
            "must name options of TDN10",
        ),
        (["train", "TDN10", "--model-option", "window=box", "--output", "{new}"], "window='box'"),
        (["train", "TDN10", "--train-size", "1", "--output", "{new}"], "Received: train_size=1"),
        (["train", "TDN10", "--output", "{run}"], "which contains a run"),
        (["train", "TDN10", "--output", "{other}"], "must be a new or empty folder"),
        (["train", "CNN6", "--output", "{run}", "--resume"], "which has model = 'TKN6'"),
        (["train", "TKN6", "--output", "{run}", "--resume", "--epochs", "9"], "epochs = 3"),
        (["train", "TDN10", "--output", "{new}", "--resume"], "must be a run folder"),
        (["evaluate", "{new}", "--data", "digits"], "does not exist"),
        (["evaluate", "{corrupt}", "--data", "digits"], "corrupt or has another format"),
        (["evaluate", "{torn}", "--data", "digits"], "cannot be loaded"),
        (["evaluate", "{foreign}", "--data", "digits"], "cannot be loaded"),
        (
            ["train", "SVHNCoarse", "--model-option", "width=0.1", "--output", "{new}"],
            "must be one of number_photographs, svhn_numbers. Received: --data=digits",
        ),
        (["train", "TDN10", "--data", "gtsdb", "--output", "{new}"], "Received: --data=gtsdb"),
        (["train", "TDN10", "--data", "number_photographs", "--output", "{new}"], "has 6 labels"),
        (["evaluate", "{run}", "--data", "gtsdb"], "one label per image"),
        pytest.param(
            ["evaluate", "{run}", "--data", "number_photographs"],
            "must match the model's input",
            marks=pytest.mark.slow,
        ),
        (["evaluate", "{run}", "--size", "20", "--data", "nothing"], "Received: name='nothing'"),
        (
            ["plot", "{baseline}", "--data", "digits", "--size", "8"],
            "must contain an attention mechanism",
        ),
        (["evaluate", "{baseline}", "--data", "digits"], "must match the model's input (8, 8, 1)"),
        (["export", "{baseline}", "--output", "{other}"], "must be new"),
        (["export", "{baseline}", "--data", "digits"], "require --quantize"),
        (["export", "{baseline}", "--quantize", "int8"], "requires --format litert"),
        (
            ["export", "{baseline}", "--format", "litert", "--quantize", "int8"],
            "is required for a .keras file",
        ),
        (
            ["export", "{baseline}", "--format", "onnx", "--no-image-bytes"],
            "requires --format saved_model",
        ),
        (["export", "{baseline}", "--attention"], "must contain a layer with a call option"),
        (["train", "--output", "{new}"], "needs a MODEL"),
        (
            ["train", "TDN10", "--optimizer", "adam", "--momentum", "0.9"],
            "requires --optimizer sgd",
        ),
        (["train", "TDN10", "--momentum", "1"], "from 0 up to 1"),
        (["train", "TDN10", "--data-option", "noise=1"], "Options of 'digits' are: none"),
        (["train", "TDN10", "--data-option", "noise"], "must be OPTION=VALUE"),
        (["train", "TDN10", "--data-dir", "{other}"], "`data_dir` must be None for 'digits'"),
        (["evaluate", "{baseline}"], "`--data` is required"),
        (["evaluate", "{run}", "--batch-size", "0"], "Received: --batch-size=0"),
        (["plot", "{run}", "--output", "a.gif"], "must be one of '.png', '.pdf', '.svg'"),
        (["plot", "{run}", "--images", "-1"], "must be 0 or more"),
        pytest.param(
            ["plot", "{run}", "--images", "9999"],
            "must be indices of test images",
            marks=pytest.mark.slow,
        ),
        (["plot", "{run}", "--teacher", "{run}"], "`--layer` must name the layers"),
        (["bench", "TDN11"], "Did you mean 'TDN10'"),
        (["bench", "DN10", "--size", "8"], "`--size` requires --data"),
        (["bench", "SVHNCoarse"], "`--data` must name"),
        (["bench", "{run}", "DN10", "--data", "digits"], "must accept the same input shape"),
        (["bench", "DN10", "--rounds", "0"], "Received: --rounds=0"),
    ],
)
def test_errors_are_one_line_with_exit_code_2(
    run, baseline, foreign, tmp_path, capsys, arguments, message
):
    paths = {name: tmp_path / name for name in ("new", "other", "foreign.keras")}
    paths |= {"run": run, "foreign": paths["foreign.keras"]}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("keep")
    paths["corrupt"] = tmp_path / "corrupt.keras"
    paths["corrupt"].write_bytes((run / "model.keras").read_bytes()[:1000])
    paths["torn"] = tmp_path / "torn.keras"
    with zipfile.ZipFile(paths["torn"], "w") as archive:
        archive.writestr("config.json", "{")
    shutil.copy(foreign, paths["foreign"])
    paths["baseline"] = baseline
    before = file_names(tmp_path)
    capsys.readouterr()

    arguments = [word.format(**paths) if "{" in word else word for word in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert error.splitlines()[-1].startswith("keras-attention: ")
    assert file_names(tmp_path) == before, "no partial files"
