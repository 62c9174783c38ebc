"""Scale-space attention program: published numbers, rows, scores and short runs."""

import csv
import sys
from argparse import Namespace

import numpy as np
import pytest
import scale_space
from scale_space_experiment import tables, training
from scale_space_experiment.training import Job, TimedResult, evaluate

import keras_attention as ka
from tests.harness import cross_section

EXAMPLES = {"LSTM4": (28, 6), "LeNet5": (28, 28, 1)}
ROWS = {1: 18, 2: 36, 3: 36, 4: 10, 5: 10, 6: 5, 7: 5, 9: 60}
NOTHING = ("networks", "data", "attentions", "placements")
PROTOCOL = ("batch_size", "epochs", "learning_rate", "size", "train_size")


def chosen(table, **given):
    return tables.choose_rows(table, Namespace(**{**dict.fromkeys(NOTHING), **given}))


def small_job(network, data, attention, **changes):
    given = {**dict.fromkeys(PROTOCOL), "epochs": 1, "train_size": 32, **changes}
    protocol = training.choose_protocol(network, data, Namespace(**given))
    return Job(tables.Row(network, data, attention, "bottleneck"), 0, protocol, data)


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["scale_space.py", *map(str, arguments)])
    return scale_space.main()


@pytest.fixture
def without_graphs(monkeypatch):
    """Trains eagerly: tracing graphs takes longer than so few steps."""
    compiled = Job.compiled

    def eagerly(self, data):
        model = compiled(self, data)
        model.run_eagerly = True
        return model

    monkeypatch.setattr(Job, "compiled", eagerly)


@pytest.mark.parametrize(
    ("number", "variant", "network", "data", "placement", "metric", "expected"),
    [
        (1, "cbam", "VGG16", "imagenet2012", "full", "top-1 %", 72.43),
        (1, "san-d", "ResNet18", "imagenet2012", "bottleneck", "top-5 %", 92.87),
        (2, "none", "VGG16", "gtsrb", "bottleneck", "top-1 %", 96.21),
        (2, "san-c", "VGG16", "cifar20", "full", "top-5 %", 82.99),
        (3, "bam", "ResNet18", "cifar100", "bottleneck", "top-1 %", 40.72),
        (3, "san-d", "ResNet18", "cifar10", "full", "top-1 %", 79.67),
        (4, "san-d", "LeNet5", "mnist", "bottleneck", "top-1 %", 98.70),
        (4, "cbam", "LeNet5", "fashion_mnist", "bottleneck", "top-5 %", 99.85),
        (5, "cbam", "ResNet50", "cifar10", "bottleneck", "top-1 %", 65.82),
        (5, "san-c", "VGG19", "cifar10", "bottleneck", "top-5 %", 96.21),
        (6, "san", "LSTM4", "mocap", "full", "MAE", 0.0084),
        (7, "ran", "LSTM4", "flights", "bottleneck", "cosine", 0.9526),
        (7, "none", "LSTM4", "flights", "full", "MAE", 40.88),
        (9, "ablation-1", "LeNet5", "mnist", "bottleneck", "top-1 %", None),
        (9, "ablation-3", "VGG16", "cifar100", "bottleneck", "top-1 %", 32.34),
        (9, "ablation-4", "ResNet18", "gtsrb", "bottleneck", "top-1 %", 96.34),
    ],
)
def test_published_numbers(number, variant, network, data, placement, metric, expected):
    where = {"network": network, "data": data, "placement": placement, "metric": metric}
    assert tables.TABLES[number].number(variant, **where) == expected


@pytest.mark.parametrize("number", tables.TABLES)
def test_every_row_has_a_number_for_each_column(number):
    for part in tables.TABLES[number].parts:
        columns = np.prod([len(names) for names in part.axes.values()])
        assert {len(figures) for figures in part.rows.values()} <= {columns, 0}


def test_ablation_contains_san_c_of_the_other_tables():
    """Two of the ten numbers differ in the paper: those of ResNet-18 on CIFAR-100 and GTSRB."""
    different = []
    for row in chosen(tables.TABLES[9], attentions=["san-c"]):
        number = {"VGG16": 2, "ResNet18": 3, "LeNet5": 4}[row.network]
        (other,) = chosen(
            tables.TABLES[number],
            data=[row.data],
            attentions=["san-c"],
            placements=["bottleneck"],
        )
        if other.paper["top-1 %"] != row.paper["top-1 %"]:
            different.append((row.network, row.data))
    assert different == [("ResNet18", "cifar100"), ("ResNet18", "gtsrb")]


@pytest.mark.parametrize("number", cross_section(tables.TABLES, fast={4, 6}))
def test_every_table_has_its_rows_and_builds_the_last(number):
    found = chosen(tables.TABLES[number])
    assert len(found) == ROWS[number]
    model = found[-1].build(EXAMPLES.get(found[-1].network, (32, 32, 3)), 7)
    assert model.output_shape == (None, 7)
    assert any(isinstance(layer, ka.layers.SANBlock) for layer in model.layers)


def test_other_data_sets_are_compared_with_the_first_of_the_table():
    found = chosen(tables.TABLES[4], data=["digits"])
    assert {row.paper_data for row in found} == {"mnist"}
    assert found[0].paper == {"top-1 %": 98.37, "top-5 %": 99.98}
    unknown = chosen(tables.TABLES[4], networks=["CNN6"], attentions=["none"])
    assert all(not row.paper for row in unknown)


def test_without_channel_alignment_channels_must_be_equal():
    """The paper has "-" only for LeNet-5; before pooling the others have equal channels."""
    for network, placement, expected in (
        ("LeNet5", "bottleneck", False),
        ("VGG16", "full", False),
        ("ResNet18", "full", False),
        ("ResNet50", "bottleneck", False),
        ("ResNet18", "bottleneck", True),
    ):
        row = tables.Row(network, "digits", "ablation-1", placement)
        assert row.possible(EXAMPLES.get(network, (32, 32, 3)), 7) is expected
    with pytest.raises(ValueError, match="input_shape"):
        tables.Row("LeNet5", "digits", "ablation-1", "bottleneck").possible((28, None, 1), 7)


def test_scores_of_images_and_sequences():
    predicted = np.array([[0.5, 0.1, 0.2, 0.05, 0.05, 0.1], [0.0, 0.0, 0.1, 0.2, 0.3, 0.4]])
    labels = np.array([0, 2])
    images = training.scores_of(ka.datasets.find("digits"), predicted, labels)
    assert images == {"top-1 %": 50.0, "top-5 %": 100.0}
    sequences = training.scores_of(ka.datasets.find("digit_sequences"), predicted, labels)
    assert sequences["accuracy %"] == 50.0
    assert sequences["MAE"] == pytest.approx((1.0 + 1.8) / 12)


def test_scores_of_forecasts():
    predicted, targets = np.array([[3.0], [0.0]]), np.array([[3.0], [4.0]])
    found = training.scores_of(ka.datasets.find("digit_forecast"), predicted, targets)
    assert found == {"cosine": pytest.approx(0.6), "MAE": 2.0}


@pytest.mark.slow
def test_forecasts_are_evaluated():
    job = small_job("LSTM4", "digit_forecast", "san")
    model = job.compiled(job.load("train"))
    assert model.loss == "mean_absolute_error"
    assert model.output_shape == (None, 8)
    found = evaluate(job, model)
    assert set(found) == set(training.metrics_of(job.info))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    lost = TimedResult(
        job=job,
        seconds=1.0,
        step_seconds=1.0,
        parameters=1,
        macs=None,
        scores=evaluate(job, model),
    )
    assert lost.diverged
    text = scale_space.comparison([job.row], [lost], [])
    assert "| diverged " in text


def test_protocols():
    usual = small_job("ResNet18", "cifar10", "none", epochs=None, train_size=None).protocol
    assert usual.train_size is None
    vgg = small_job("VGG16", "cifar10", "none", epochs=None, train_size=None).protocol
    assert vgg.learning_rate == pytest.approx(0.1 * usual.learning_rate)
    small = small_job("VGG16", "digits", "none").protocol
    assert (small.size, small.epochs, small.train_size) == (32, 1, 32)


@pytest.mark.slow
def test_short_run_of_a_table_in_processes(monkeypatch, tmp_path):
    markdown = tmp_path / "table.md"
    arguments = ("--table", 9, "--data", "digits", "--networks", "LeNet5", "--seeds", 0)
    arguments += ("--attentions", "none", "ablation-1", "san-c", "--processes", 1)
    arguments += ("--train-size", 32, "--epochs", 1, "--output", tmp_path, "--markdown", markdown)
    assert main(monkeypatch, *arguments) == 0
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    assert [record["attention"] for record in records] == ["none", "san-c"]
    assert all(0 <= float(record["top_1_percent"]) <= 100 for record in records)
    text = markdown.read_text(encoding="utf-8")
    assert "--table 9 --data digits" in text
    assert "98.56" in text
    assert "ablation-1 (no Abs, CCA, Extrema, Smoothing)" in text
    assert "seed 0: top-1 %" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_step_times(without_graphs):
    jobs = [small_job("LeNet5", "digits", name, batch_size=8) for name in ("none", "cbam")]
    plain, attended = training.time_steps(jobs, rounds=2, warm_up=1)
    assert plain.steps == 4
    assert plain.seconds == pytest.approx(4 * plain.step_seconds)
    assert attended.macs > plain.macs


def test_short_run_of_a_figure(monkeypatch, tmp_path, capsys, without_graphs):
    arguments = ("--figure", 10, "--data", "digits", "--attentions", "none", "san-c")
    arguments += ("--rounds", 2, "--train-size", 32, "--epochs", 1, "--output", tmp_path)
    assert main(monkeypatch, *arguments) == 0
    assert "1.00" in capsys.readouterr().out
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        assert [record["attention"] for record in csv.DictReader(file)] == ["none", "san-c"]
    assert (tmp_path / "training_time.png").stat().st_size > 1000


def test_detection_has_its_own_program(monkeypatch, capsys):
    assert main(monkeypatch, "--table", 8) == 0
    assert "applications/scale_space_detection.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "digitz"), "Did you mean 'digits'"),
        (("--data", "gtsdb"), "Received: --data=gtsdb"),
        (("--data", "digits", "--attentions", "sam"), "Received: --attentions=sam"),
        (("--data", "digits", "--networks", "LeNet4"), "Did you mean 'LeNet5'"),
        (("--data", "digit_sequences"), "`input_shape` must be (H, W, channels)"),
        (("--data", "mocap", "--networks", "LSTM4"), "MOCAP_DIR"),
    ],
)
def test_errors_are_one_line(monkeypatch, capsys, arguments, message, tmp_path):
    monkeypatch.delenv("MOCAP_DIR", raising=False)
    assert main(monkeypatch, "--table", 4, *arguments, "--output", tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
