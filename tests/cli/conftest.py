import keras
import pytest

from tests.cli.small import train, watch_few


@pytest.fixture(scope="package", autouse=True)
def _watch_few():
    with pytest.MonkeyPatch.context() as patch:
        watch_few(patch.setattr)
        yield


@pytest.fixture(scope="package")
def run(tmp_path_factory):
    """A finished run of TKN6."""
    folder = tmp_path_factory.mktemp("runs") / "tkn6"
    options = ("--set", "beta=4", "--set", "window=gaussian", "--set", "roi=mask")
    assert train(folder, *options, model="TKN6") == 0
    return folder


@pytest.fixture
def baseline(tmp_path):
    """A file of a model that attends to nothing."""
    path = tmp_path / "baseline.keras"
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(path)
    return path
