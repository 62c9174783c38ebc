"""Detection program: rows, average precision, and a short run if KerasHub is installed."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import scale_space_detection as program
from scale_space_detection_experiment import report

ROOT = Path(__file__).parents[2]
WHY = 'needs pip install "keras-cnn-attention[detection]"'


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "applications/scale_space_detection.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def test_rows_of_table_8():
    rows = report.rows_of(report.ATTENTIONS, report.PLACEMENTS)
    published = [86.79, 88.25, 90.67, 89.87, 91.71, 92.45, 93.01, 93.88, 95.63]
    assert [row.published for row in rows] == published
    assert [row.label for row in rows][:3] == ["none", "cbam, bottleneck", "cbam, full"]


def test_error_without_the_extra(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(program, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["program", "--output", str(tmp_path / "run")])
    assert program.main() == 2
    error = capsys.readouterr().err
    assert error == f"error: keras_hub and pycocotools needed: {program.EXTRA}\n"
    assert not (tmp_path / "run").exists()


@pytest.fixture
def precision():
    pytest.importorskip("pycocotools", reason=WHY)
    from scale_space_detection_experiment.average_precision import average_precision

    return average_precision


TRUTH = [
    {"boxes": np.array([[0, 0, 10, 10], 4 * [-1]]), "labels": np.array([2, -1])},
    {"boxes": np.array([[5, 5, 25, 25], 4 * [-1]]), "labels": np.array([2, -1])},
    {"boxes": np.full((2, 4), -1), "labels": np.array([-1, -1])},
]


def detections(*boxes):
    """The same boxes for every image, by falling confidence."""
    corners = np.array([box for box, _ in boxes], "float32").reshape(-1, 4)
    labels = np.array([label for _, label in boxes], "int64")
    found = {"boxes": corners, "labels": labels, "confidence": np.linspace(0.9, 0.5, len(boxes))}
    return len(TRUTH) * [found]


def test_average_precision_of_correct_and_wrong_boxes(precision):
    right = [{**boxes, "confidence": np.array([0.9, 0.0])} for boxes in TRUTH]
    assert precision(TRUTH, right) == pytest.approx({"mAP": 100, "AP50": 100, "AP75": 100})
    assert set(precision(TRUTH, detections()).values()) == {0.0}
    assert set(precision(TRUTH, detections(([0, 0, 10, 10], 1))).values()) == {0.0}


def test_average_precision_of_half(precision):
    """With one of two signs detected, precision is 1 up to recall 0.5, at 51 of 101 points."""
    found = [{**boxes, "confidence": np.array([0.9, 0.0])} for boxes in TRUTH]
    found[1] = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0), "confidence": np.zeros(0)}
    assert precision(TRUTH, found)["mAP"] == pytest.approx(100 * 51 / 101)


def test_average_precision_depends_on_overlap(precision):
    """A box shifted by a fifth has IoU 2/3: detected at 0.5, not at 0.75."""
    found = [{**boxes, "confidence": np.array([0.9, 0.0])} for boxes in TRUTH]
    for boxes in found:
        width = boxes["boxes"][:, 2] - boxes["boxes"][:, 0]
        shift = np.stack([width, 0 * width, width, 0 * width], axis=1) / 5
        boxes["boxes"] = boxes["boxes"] + shift
    scores = precision(TRUTH, found)
    assert (scores["AP50"], scores["AP75"]) == (pytest.approx(100), 0)
    assert scores["mAP"] == pytest.approx(40), "IoU thresholds 0.5, 0.55, 0.6 and 0.65 of ten"


def test_average_precision_needs_boxes(precision):
    with pytest.raises(ValueError, match="Received: no boxes"):
        precision(TRUTH[2:], detections())


def test_anchor_size_depends_on_the_signs():
    pytest.importorskip("keras_hub", reason=WHY)
    from scale_space_detection_experiment import detector

    boxes = np.array([[0, 0, 16, 16], [10, 10, 60, 60], [0, 0, 100, 100]])
    assert detector.anchor_size(boxes) == pytest.approx(2, abs=0.5)


def test_short_run(tmp_path):
    """The program trains, measures, draws and saves; the saved detector has the same outputs."""
    pytest.importorskip("keras_hub", reason=WHY)
    pytest.importorskip("pycocotools", reason=WHY)
    output = tmp_path / "run"
    result = run(
        *("--attention", "san-c", "--size", 32, "--train-size", 8, "--test-size", 11),
        *("--epochs", 1, "--output", output, "--markdown", tmp_path / "table.md"),
    )
    assert result.returncode == 0, result.stderr
    with (output / "results.csv").open(encoding="utf-8") as file:
        (record,) = csv.DictReader(file)
    assert (record["attention"], record["classes"]) == ("san-c", "4")
    assert 0 <= float(record["mAP_percent"]) <= 100
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "92.45" in text
    assert "--attention san-c" in text
    assert (output / "log.txt").is_file()
    assert (output / "san-c_bottleneck_detections.png").is_file()

    from scale_space_detection_experiment import detector

    loaded = keras.saving.load_model(output / "san-c_bottleneck.keras", compile=False)
    encoder = loaded.backbone.image_encoder
    assert isinstance(encoder, detector.AttendedVGG16)
    assert sum("attention" in layer.name for layer in encoder.layers) == 5
    same = detector.for_inference(loaded)
    images = np.random.default_rng(0).uniform(size=(1, 32, 32, 3)).astype("float32")
    first, second = (model(images) for model in (loaded, same))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_errors_are_one_line(tmp_path):
    pytest.importorskip("keras_hub", reason=WHY)
    pytest.importorskip("pycocotools", reason=WHY)
    result = run("--data", tmp_path, "--output", tmp_path / "run")
    assert result.returncode == 2
    assert "GTSDB_DIR" in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr
