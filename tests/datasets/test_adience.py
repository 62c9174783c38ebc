"""The published folder of Adience: a few generated faces in the original format."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_attention import datasets
from keras_attention.datasets.adience import AGES, age_class
from tests.datasets.image_dataset_files import make_adience
from tests.harness import cross_section


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_adience(tmp_path_factory.mktemp("adience"))


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy")


def items(name, split, **arguments):
    return list(datasets.load(name, split, size=28, **arguments).as_numpy_iterator())


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("adience_age", [*range(8), *range(8), 4]),
        ("adience_gender", [0, 1] * 8 + [0, 1]),
    ],
)
def test_faces_and_labels(made, name, labels):
    dataset = datasets.load(name, "test", 50, data_dir=made)
    assert dataset.element_spec[0].shape[1:] == (224, 224, 3)
    images, found = next(iter(dataset))
    assert found.dtype == tf.int64
    assert found.numpy().tolist() == labels
    np.testing.assert_allclose(images[:, 20:-20, -60:], 200 / 255, atol=0.02)
    np.testing.assert_allclose(images[:, 20:-20, :60], 50 / 255, atol=0.02)


@pytest.mark.parametrize("fold", cross_section(range(5), fast={0}))
def test_folds(made, fold, monkeypatch):
    """Faces of fold n are n brighter."""
    monkeypatch.setenv("ADIENCE_DIR", str(made))
    for split, folds in (("test", {fold}), ("train", set(range(5)) - {fold})):
        found = items("adience_gender", split, fold=np.int64(fold), augment=False)
        assert {round(255 * float(image[:, -8:].mean())) - 200 for image, _ in found} == folds
        assert len(found) == 18 * len(folds)


def test_faces_that_are_not_aligned(made):
    image, _ = items("adience_age", "test", data_dir=made, aligned=False)[0]
    np.testing.assert_allclose(image[:, -8:], 40 / 255, atol=0.02)


def test_training_draws_squares_and_seeds_repeat_them(made):
    def passes(seed):
        dataset = datasets.load("adience_age", "train", 100, seed=seed, data_dir=made, size=28)
        return [next(iter(dataset)) for _ in range(2)]

    (first, second), (again, _), (other, _) = passes(1), passes(1), passes(2)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], second[1])
    assert not np.array_equal(first[1], other[1])
    mirrored = [image[:, :5].mean() > image[:, -5:].mean() for image in first[0].numpy()]
    assert 0.2 < np.mean(mirrored) < 0.8


def test_train_size_takes_a_share_of_every_class(made):
    labels = [label for _, label in items("adience_age", "train", data_dir=made, train_size=16)]
    assert np.bincount(labels).tolist() == [2] * 8
    assert len(items("adience_age", "test", data_dir=made, train_size=16)) == 17


@pytest.mark.parametrize("label", range(8))
def test_every_year_of_a_class_belongs_to_it(label):
    first, last = AGES[label]
    assert {age_class(str(year)) for year in range(first, last + 1)} == {label}
    assert age_class(f"({first}, {last})") == label
    assert age_class(f"({first - 1}, {last + 1})") == label


def test_ages_between_classes():
    ages = {"22": 3, "23": 4, "34": 4, "36": 5, "45": 5, "46": 6, "55": 6, "58": 7, "(38, 42)": 5}
    assert {age: age_class(age) for age in ages} == ages
    assert {age_class(age) for age in ("3", "35", "(8, 23)", "None", "")} == {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fold": 5}, "from 0 to 4. Received: fold=5"),
        ({"fold": True}, "Received: fold=True"),
        ({"aligned": 1}, "True or False. Received: aligned=1"),
        ({"train_size": 7}, "Received: train_size=7"),
        ({"folds": 1}, "are: fold, aligned. Received: folds=1"),
    ],
)
def test_bad_options(made, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("adience_age", "train", data_dir=made, **arguments)


@pytest.mark.parametrize(
    "line",
    [
        "30601258@N03\ta.jpg\t1\t(0, 2)",
        "\ta.jpg\t1\t(0, 2)\tm\t0",
        "..\ta.jpg\t1\t(0, 2)\tm\t0",
        "u\t../../a.jpg\t1\t(0, 2)\tm\t0",
        "u\ta.jpg\t/1\t(0, 2)\tm\t0",
        "\udcff",
    ],
)
def test_broken_lines_are_named(root, line):
    with (root / "fold_2_data.txt").open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(ValueError, match=r"line 22 of .*fold_2_data.txt'. Received: "):
        items("adience_age", "train", data_dir=root)
    assert items("adience_age", "test", data_dir=root)


def test_errors_name_what_is_missing(root, tmp_path, monkeypatch):
    face = next((root / "aligned").glob("0*/*.0.*"))
    face.write_bytes(face.read_bytes()[:300])
    dataset = datasets.load("adience_age", "test", data_dir=root)
    with pytest.raises(tf.errors.OpError, match=r"(?i)jpeg"):
        next(iter(dataset))
    face.unlink()
    with pytest.raises(ValueError, match=r"Received: 1 of 17 are missing, such as .*face\.0\."):
        items("adience_age", "test", data_dir=root)
    (root / "fold_1_data.txt").write_text("user_id,age\n")
    with pytest.raises(ValueError, match=r"columns user_id.*fold_1_data.txt'. Received: 'user_id,"):
        items("adience_age", "train", data_dir=root)
    (root / "fold_1_data.txt").unlink()
    with pytest.raises(ValueError, match=r"fold_0_data.txt to .*Received: no .*fold_1_data.txt"):
        items("adience_age", "train", data_dir=root)
    monkeypatch.delenv("ADIENCE_DIR", raising=False)
    with pytest.raises(ValueError, match=r"ADIENCE_DIR, must .*https.*Received: data_dir=None"):
        items("adience_age", "train")
