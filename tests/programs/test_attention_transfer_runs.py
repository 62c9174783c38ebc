"""Short runs of the attention transfer program and their checkpoints."""

import json
from dataclasses import replace

import attention_transfer
import keras
import numpy as np
import pytest
from attention_transfer_experiment import tables, training
from attention_transfer_experiment.images import ImageSource
from attention_transfer_experiment.training import LABELS_ONLY, LossWeight, Method
from harness import training as harness_training

import keras_attention as ka
from tests.datasets.image_dataset_files import make_mit_scenes
from tests.datasets.test_imagenet import make_archives
from tests.programs.attention_transfer_helpers import (
    CLUTTER,
    SHORT,
    TINY_NIN,
    TINY_RESNET,
    TINY_WRN,
    job_of,
    main,
    read,
    records_of,
    result_of,
)
from tests.programs.in_process import run_in_this_process


@pytest.fixture
def in_this_process(monkeypatch):
    """Trains in this process and tests on few images."""
    tests = ImageSource.tests
    monkeypatch.setattr(
        ImageSource,
        "tests",
        lambda self: (batches.unbatch().take(8).batch(8) for batches in tests(self)),
    )
    run_in_this_process(monkeypatch)


@pytest.fixture
def without_graphs(monkeypatch):
    """Trains eagerly: tracing graphs takes longer than so few steps."""
    compiled = training.compiled

    def eagerly(*given):
        distiller, steps = compiled(*given)
        distiller.run_eagerly = True
        return distiller, steps

    monkeypatch.setattr(training, "compiled", eagerly)


@pytest.mark.slow
def test_initial_weights_do_not_depend_on_the_method(tmp_path):
    teacher = job_of("WRN-10-0.5")
    path = training.path_of(tmp_path, teacher)
    teacher.model().save(path)
    starts = []
    for method in (LABELS_ONLY, Method(LossWeight(1e3)), Method(hints=LossWeight(1.0))):
        job = job_of(method=method, teacher=teacher, seed=4)
        keras.utils.set_random_seed(job.seed)
        student = job.model()
        distiller, steps = training.compiled(tmp_path, job, student)
        assert steps == 2
        assert distiller is not student
        starts.append(student.get_weights())
    for other in starts[1:]:
        for weight, wanted in zip(other, starts[0], strict=True):
            np.testing.assert_array_equal(weight, wanted)


def test_ranks_of_labels():
    logits = np.array([[1.0, 3, 2], [2, 2, 1], [np.nan, 0, 0]])
    assert training._ranks(logits, np.array([2, 0, 0])).tolist() == [1, 0, 3]


@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", CLUTTER])
def test_tables_1_and_2_share_checkpoints(
    monkeypatch, tmp_path, capsys, in_this_process, without_graphs, data
):
    page = tmp_path / "page.md"
    sizes = ("--train-size", 20, "--teacher-train-size", 1000)
    shared = (*TINY_WRN, "--data", data, *SHORT, *sizes, "--output", tmp_path)
    given = ("--table", 1, *shared, "--columns", "student", "AT+KD", "teacher")
    assert main(monkeypatch, *given, "--markdown", page) == 0
    records = records_of(tmp_path / "results.csv")
    assert [record["column"] for record in records] == ["student", "AT+KD", "teacher"]
    assert all(0 <= float(record["error_percent"]) <= 100 for record in records)
    assert [record["train_size"] for record in records] == ["20", "20", "1000"]
    curves = records_of(tmp_path / "curves.csv")
    assert [line["epoch"] for line in curves] == ["1", "2"] * 3
    assert (tmp_path / "figure7.png").stat().st_size > 1000
    assert list(tmp_path.glob("figure6_WRN-10-0.5_WRN-10-1_*.png"))
    text = page.read_text(encoding="utf-8")
    assert "AT+KD: beta 1000 with a linear decay to 0, alpha 0.9, T 4" in text
    assert "20 of 1,000 training images" in text
    (path,) = (tmp_path / "checkpoints").glob("*_attention+distillation_*.keras")
    assert not keras.models.load_model(path).compiled
    # Incomplete results are trained again, complete ones are loaded for another table.
    path = tmp_path / "checkpoints" / records[0]["file"]
    path.with_suffix(".json").unlink()
    given = ("--table", 2, *shared, "--columns", "none", "F_max^1")
    given += ("--checkpoint-dir", path.parent, "--output", tmp_path / "table2")
    assert loaded(monkeypatch, capsys, given) == {"teacher": True, "none": False, "F_max^1": False}
    again = records_of(tmp_path / "table2" / "results.csv")
    assert again[0]["error_percent"] == records[0]["error_percent"], "the same seed"


def loaded(monkeypatch, capsys, given):
    """Runs the program; returns for each training if it was loaded."""
    capsys.readouterr()
    assert main(monkeypatch, *given) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "seed 0: " in line]
    return {line.split(", ")[1]: line.endswith("earlier run") for line in lines}


@pytest.mark.slow
def test_short_run_of_table_3(monkeypatch, tmp_path, in_this_process):
    page = tmp_path / "page.md"
    given = ("--table", 3, *TINY_NIN, *SHORT, "--output", tmp_path, "--markdown", page)
    given += ("--columns", "grad-based AT", "symmetry norm", "activation-based AT")
    assert main(monkeypatch, *given, "--steps-per-execution", 2) == 0
    records = records_of(tmp_path / "results.csv")
    assert [record["weight_decay"] for record in records] == ["0.0"] * 3 + ["0.0005"]
    assert "symmetry norm: gradient symmetry, weight 1" in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def image_folders(tmp_path_factory):
    """ImageNet and MIT scenes, generated in their original formats."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("images")
    make_archives(folder / "downloads" / "manual")
    tfds.builder("imagenet2012", data_dir=folder).download_and_prepare()
    return make_mit_scenes(folder)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow
def test_tables_5_and_4(
    monkeypatch, tmp_path, capsys, image_folders, in_this_process, without_graphs
):
    monkeypatch.setenv("TFDS_DATA_DIR", str(image_folders))
    monkeypatch.setenv("MIT_SCENES_DIR", str(image_folders))
    short = (*TINY_RESNET, "--epochs", 1, "--steps", 1)
    given = ("--table", 5, *short, "--columns", "AT", "teacher", "--output", tmp_path / "5")
    assert main(monkeypatch, *given) == 0
    records = records_of(tmp_path / "5" / "results.csv")
    assert [record["column"] for record in records] == ["AT", "teacher"]
    assert all("top_5_error_percent" in record for record in records)
    student, teacher = (tmp_path / "5" / "checkpoints" / record["file"] for record in records)
    files = ("--student-weights", student, "--teacher-weights", teacher)
    given = ("--table", 4, *short, "--data", "mit_scenes", "--columns", "AT")
    given += ("--learning-rate", 1e-6, "--output", tmp_path / "4")
    assert main(monkeypatch, *given, *files) == 0
    assert len(records_of(tmp_path / "4" / "results.csv")) == 2
    trained = keras.models.load_model(student)
    (path,) = (tmp_path / "4" / "checkpoints").glob("*_attention_*.keras")
    tuned = keras.models.load_model(path)
    assert tuned.output_shape == (None, 67)
    for layer in tuned.layers:
        before = trained.get_layer(layer.name).get_weights()
        if isinstance(layer, keras.layers.BatchNormalization) or "stage1" in layer.name:
            np.testing.assert_array_equal(layer.get_weights(), before)
    name = "stage4_block1_conv1"
    changed = tuned.get_layer(name).get_weights()[0] - trained.get_layer(name).get_weights()[0]
    assert np.abs(changed).max() > 0
    capsys.readouterr()
    assert main(monkeypatch, *given, "--student-weights", teacher, *files[2:]) == 2
    assert "of a trained ResNet-18-8" in capsys.readouterr().err


def test_exported_students_return_probabilities(monkeypatch, tmp_path):
    served = {}
    monkeypatch.setattr(
        ka.export, "export_saved_model", lambda model, path, overwrite: served.update({path: model})
    )
    given = read("--table", 2, *TINY_WRN, "--data", CLUTTER, *SHORT, "--output", tmp_path)
    job = job_of()
    path = training.path_of(tmp_path, job)
    job.model().save(path)
    cell = tables.Cell(tables.rows_of(given)[0], "none", job)
    done = {job: result_of(job, 1.0, path=path)}
    attention_transfer.export(given, [cell], done)
    (model,) = served.values()
    probabilities = model.predict_on_batch(np.zeros((2, 12, 12, 1)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_stored_results_are_loaded(tmp_path):
    job = job_of()
    path = training.path_of(tmp_path, job)
    one = replace(result_of(job, 3.0, path=path, curve=[{"epoch": 1}]), macs=9)
    harness_training.save_result(one, job.model())
    assert training.train(tmp_path, job, 1) == replace(one, loaded=True)
    measured = one.path.with_suffix(".json")
    assert json.loads(measured.read_text())["macs"] == 9
    for path in (measured, one.path):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.warns(UserWarning, match="and is trained again"):
            assert harness_training.load_result(one.path) is None
        path.write_bytes(content)
    assert harness_training.load_result(one.path)["macs"] == 9
    pair, (first, second) = "WRN-16-1/WRN-16-2", (tables.TABLES[1], tables.TABLES[2])
    assert first.published(pair, "digits", "AT") == [7.93]
    assert second.published(pair, "cifar10", "F_sum^2") == [7.93]
    assert training.SCHEDULES[0] == "constant"
