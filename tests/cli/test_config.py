"""Configuration of a run: options take precedence over a file, a file over defaults."""

import json

import keras
import pytest

import keras_attention as ka
from keras_attention.cli.commands.train import build_optimizer
from keras_attention.cli.config import CONFIG_KEYS, complete_config, requested_config
from keras_attention.cli.parser import command_parser

TOML = """
model = "TDN10"
data = "top_left_digits"
size = 28
optimizer = "sgd"
learning_rate = 0.05
[model_options]
beta = 4
window = "gaussian"
"""


def config_of(*arguments):
    options = command_parser().parse_args(["train", *map(str, arguments)])
    return complete_config(requested_config(options))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    return path


def test_file_and_options_are_equivalent(file):
    options = [
        "--model-option",
        "beta=4",
        "--model-option",
        "window=gaussian",
        "--learning-rate",
        "0.05",
    ]
    same = config_of("TDN10", "--data", "top_left_digits", "--size", "28", *options)
    assert config_of("--config", file) == same
    assert same.epochs == 20, "the default"


def test_options_take_precedence_over_the_file(file):
    config = config_of("--config", file, "--size", "56", "--model-option", "beta=2", "--seed", "3")
    assert (config.size, config.seed, config.learning_rate) == (56, 3, 0.05)
    assert config.model_options == {"beta": 2, "window": "gaussian"}


def test_settings_of_replaced_names_are_ignored(file):
    other = config_of("DN10", "--config", file, "--data", "digits", "--optimizer", "adam")
    assert (other.size, other.model_options) == (28, {})
    assert (other.learning_rate, other.momentum) == (0.001, None)
    same = config_of("TDN10", "--config", file, "--optimizer", "sgd", "--data", "top_left_digits")
    assert (same.size, same.momentum) == (28, 0.9)


def test_run_folder_is_a_config(run):
    config = config_of("--config", run)
    assert json.loads((run / "config.json").read_text()) == vars(config)
    assert config_of("--config", run / "config.json", "--seed", "9").seed == 9


def test_missing_keys_have_the_defaults_of_older_versions(tmp_path):
    path = tmp_path / "config.json"
    values = {"model": "CNN6", "data": "digits", "size": 28, "train_size": None, "epochs": 1}
    path.write_text(json.dumps({**values, "batch_size": 2, "learning_rate": 0.1, "seed": 0}))
    config = config_of("--config", path)
    assert (config.optimizer, config.momentum, config.schedule) == ("sgd", 0.9, "steps")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.toml",
            "epoch = 3",
            r"Keys of a --config file must be among .*'epoch' in .*Did you mean 'epochs'",
        ),
        ("a.toml", "epochs =", "must be a valid .toml file"),
        ("a.json", "[1]", "must contain a table"),
        ("a.yaml", "epochs: 3", "must be a .toml or .json file"),
        ("a.toml", 'model = "CNN6"\nepochs = "3"', "Received: --epochs='3'"),
        ("a.toml", 'model = "CNN6"\nmodel_options = 3', "must be a table of options"),
        ("a.toml", "model = 6", "`MODEL` must be a string"),
        ("a.toml", 'model = "CNN6"\noptimizer = "adams"', "Did you mean 'adam'"),
        ("a.toml", 'model = "CNN6"\nschedule = "none"', "must be one of 'steps'"),
    ],
)
def test_invalid_files(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        config_of("--config", path)
    with pytest.raises(ValueError, match="or a run folder"):
        config_of("--config", tmp_path / "none.toml")


def test_every_config_key_has_an_option():
    options = vars(command_parser().parse_args(["train"]))
    assert set(CONFIG_KEYS) <= set(options)


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ([], [0.1, 0.1, 0.01, 0.001]),
        (["--schedule", "constant"], [0.1, 0.1, 0.1, 0.1]),
        (["--schedule", "cosine"], [0.1, 0.085, 0.05, 0.015]),
        (["--optimizer", "adam", "--schedule", "constant"], [0.001] * 4),
        (["--optimizer", "rmsprop", "--learning-rate", "0.4"], [0.4, 0.4, 0.04, 0.004]),
    ],
)
def test_schedules(options, rates):
    """Learning rates at 0, a quarter, just over half and just over three quarters of training."""
    optimizer = build_optimizer(config_of("CNN6", *options), 400)
    for step, rate in zip((0, 100, 201, 301), rates, strict=True):
        optimizer.iterations.assign(200 if rate == 0.05 else 300 if rate == 0.015 else step)
        assert float(optimizer.learning_rate) == pytest.approx(rate, rel=0.05)


def test_optimizers():
    sgd = build_optimizer(config_of("CNN6"), 10)
    assert (sgd.momentum, sgd.nesterov) == (0.9, True)
    plain = build_optimizer(config_of("CNN6", "--momentum", "0"), 10)
    assert (plain.momentum, plain.nesterov) == (0.0, False)
    for name in ("adam", "adamw", "rmsprop"):
        optimizer = build_optimizer(config_of("CNN6", "--optimizer", name), 10)
        assert type(optimizer).__name__.lower() == name


def test_weight_decay_does_not_move_windows():
    optimizer = build_optimizer(config_of("TKN6", "--optimizer", "adamw"), 10)
    layer = ka.layers.TargetLayer(2, 3, use_bias=True)
    layer.build((None, 8, 8, 1))
    optimizer.build(layer.trainable_variables)
    before = {weight.name: keras.ops.copy(weight.value) for weight in layer.trainable_variables}
    zeros = [keras.ops.zeros_like(weight) for weight in layer.trainable_variables]
    optimizer.apply(zeros, layer.trainable_variables)
    changed = {
        weight.name
        for weight in layer.trainable_variables
        if bool(keras.ops.any(weight.value != before[weight.name]))
    }
    assert changed == {"kernel"}  # the bias is 0
