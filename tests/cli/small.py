"""Short trainings by the command line, and what they are watched on."""

from keras_attention.cli import data, main

SMALL = ["--data", "digits", "--size", "8", "--train-size", "60", "--batch-size", "20"]
WATCHED = 90


def train(folder, *more, model="CNN6", epochs=3):
    options = [*SMALL, "--epochs", str(epochs), "--learning-rate", "0.01", "--seed", "7"]
    return main(["train", model, "--output", str(folder), *options, *more])


def watch_few(setattr_):
    """Validates on 90: all but 60 digits are for testing."""
    load = data.load_watched
    setattr_(data, "TEST_BATCH", 30)
    setattr_(data, "load_watched", lambda config: load(config).take(WATCHED // 30))


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
