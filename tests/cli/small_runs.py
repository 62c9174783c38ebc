"""Short trainings by the command line."""

from keras_attention.cli import data, main

# The networks have millions of parameters, so images are as small as possible.
SIZE = 4
SMALL = ["--data", "digits", "--size", str(SIZE), "--train-size", "60", "--batch-size", "20"]
VALIDATION_EXAMPLES = 90


def train(folder, *options, model="CNN6", epochs=3):
    small = [*SMALL, "--epochs", str(epochs), "--learning-rate", "0.01", "--seed", "7"]
    return main(["train", model, "--output", str(folder), *small, *options])


def validate_on_few(setattr_):
    """Reduces the validation data to 90 examples; without this, it has all digits but 60."""
    load = data.load_validation
    setattr_(data, "TEST_BATCH_SIZE", 30)
    setattr_(data, "load_validation", lambda config: load(config).take(VALIDATION_EXAMPLES // 30))


def file_names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
