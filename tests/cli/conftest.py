import contextlib
import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

from tests.cli.small_runs import train, validate_on_few


@pytest.fixture(scope="package", autouse=True)
def _validate_on_few():
    with pytest.MonkeyPatch.context() as patch:
        validate_on_few(patch.setattr)
        yield


@pytest.fixture(scope="package")
def run(tmp_path_factory):
    """The folder of a finished run of TKN6."""
    folder = tmp_path_factory.mktemp("runs") / "tkn6"
    options = ("beta=4", "window=gaussian", "roi=mask")
    words = [word for option in options for word in ("--model-option", option)]
    assert train(folder, *words, model="TKN6") == 0
    return folder


@pytest.fixture(scope="package")
def cnn6_run(tmp_path_factory):
    """The folder of a finished run of CNN6, and the output of the command with --json."""
    folder = tmp_path_factory.mktemp("runs") / "cnn6"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert train(folder, "--json") == 0
    return SimpleNamespace(folder=folder, out=out.getvalue(), err=err.getvalue())


@pytest.fixture(scope="package")
def saved_baseline(tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "baseline.keras"
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(path)
    return path


@pytest.fixture
def baseline(saved_baseline, tmp_path):
    """A .keras file of a model without attention, in a folder for the files of a command."""
    return Path(shutil.copy(saved_baseline, tmp_path))
