"""The published folders of SVHN's whole images: a few generated ones in the original format."""

import shutil

import h5py
import numpy as np
import pytest
import tensorflow as tf

from keras_attention import datasets
from keras_attention.datasets.svhn import read_digit_struct
from tests.datasets.image_dataset_files import PARTS, color, make_svhn, write_digit_struct

LONG = pytest.mark.filterwarnings("ignore:1 of 4 numbers have more than 5 digits")
LABELS = {
    "7": [0, 7, 10, 10, 10, 10],
    "19": [1, 1, 9, 10, 10, 10],
    "205": [2, 2, 0, 5, 10, 10],
    "4321": [3, 4, 3, 2, 1, 10],
    "10": [1, 1, 0, 10, 10, 10],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_svhn(tmp_path_factory.mktemp("numbers"))


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy")


def load(split, folder, batch_size=None, **arguments):
    return datasets.load("svhn_numbers", split, batch_size, data_dir=folder, **arguments)


def gray(part, number):
    """Returns the color of the left half of an image."""
    return float(np.dot(color(part, number), (0.2989, 0.587, 0.114)) / 255)


def test_what_is_known_before_it_is_loaded():
    info = datasets.find("svhn_numbers")
    assert info.example_shape == info.image_shape == info.shape_of("train") == (54, 110, 1)
    assert info.shape_of("test") == (None, None, 1)
    assert info.label_classes == (5, 11, 11, 11, 11, 11)
    assert not info.single_label


def test_crops_for_training(made):
    with pytest.warns(UserWarning, match=r"1 of 4 .*more than 5 digits.*train/4\.png"):
        dataset = load("train", made, shuffle=False, augment=False)
    image, label = dataset.element_spec
    assert image == tf.TensorSpec((54, 110, 1), tf.float32)
    assert label == tf.TensorSpec((6,), tf.int64)
    found = list(dataset.as_numpy_iterator())
    assert [label.tolist() for _, label in found] == list(LABELS.values())
    sources = [("train", 1), ("train", 2), ("train", 3), ("extra", 1), ("extra", 2)]
    for (image, _), source in zip(found, sources, strict=True):
        np.testing.assert_allclose(image[:, :50], gray(*source), atol=2e-3)
        np.testing.assert_allclose(image[:, 60:], gray(*source) / 2, atol=4e-3)


@LONG
def test_passes_have_other_crops(made):
    first, second = (load("train", made, 5, seed=4, shuffle=False) for _ in range(2))
    passes = [next(iter(first))[0].numpy() for _ in range(2)]
    assert not np.array_equal(*passes)
    np.testing.assert_array_equal(next(iter(second))[0], passes[0])
    np.testing.assert_array_equal(next(iter(second))[0], passes[1])


@LONG
def test_options_of_training(made):
    whole = load("train", made, sides=(32, 48), crop=None, extra=False, shuffle=False)
    assert whole.element_spec[0].shape == (32, 48, 1)
    assert [label.tolist() for _, label in whole.as_numpy_iterator()] == list(LABELS.values())[:3]
    some = [int(label[1]) for _, label in load("train", made, train_size=2)]
    assert len(some) == 2
    again = [int(label[1]) for _, label in load("train", made, train_size=2, seed=9)]
    assert sorted(some) == sorted(again)


@LONG
def test_validation_is_drawn_out_of_the_training_part(made):
    kept, drawn = (
        [tuple(label.tolist()) for _, label in load(split, made, validation=2).as_numpy_iterator()]
        for split in ("train", "test")
    )
    assert (len(kept), len(drawn)) == (3, 2)
    assert {*kept, *drawn} == {tuple(label) for label in LABELS.values()}
    crops = load("test", made, 2, validation=2, whole=False)
    assert next(iter(crops))[0].shape == (2, 54, 110, 1)


def test_whole_images_one_by_one(made):
    dataset = load("test", made)
    assert dataset.element_spec[0].shape.as_list() == [None, None, 1]
    found = list(dataset.as_numpy_iterator())
    assert [image.shape[:2] for image, _ in found] == [sides for _, sides in PARTS["test"]]
    for number, (image, _) in enumerate(found, start=1):
        half = image.shape[1] // 2
        np.testing.assert_allclose(image[:, :half], gray("test", number), atol=1e-3)


def test_batches_are_of_one_size(made):
    dataset = load("test", made, 2)
    assert dataset.element_spec[0].shape.as_list() == [None, None, None, 1]
    assert int(dataset.cardinality()) == 4
    found = [
        (images.shape, labels[:, 1].tolist()) for images, labels in dataset.as_numpy_iterator()
    ]
    assert found == [
        ((2, 30, 60, 1), [5, 3]),
        ((1, 30, 60, 1), [6]),
        ((1, 40, 80, 1), [9]),
        ((1, 80, 40, 1), [8]),
    ]
    orders = [
        tuple(int(labels[0, 1]) for _, labels in load("test", made, 2, shuffle=True, seed=seed))
        for seed in range(4)
    ]
    assert len(set(orders)) > 1
    assert {tuple(sorted(order)) for order in orders} == {(5, 6, 8, 9)}


def test_ragged_batches(made):
    (images, labels), last = load("test", made, 3, batching="ragged")
    assert images.shape.as_list() == [3, None, None, 1]
    assert images[1].to_tensor().shape == (40, 80, 1)
    assert labels[:, 1].numpy().tolist() == [5, 9, 3]
    assert len(last[1]) == 2


def test_small_images_are_enlarged_and_large_ones_chosen(made):
    images = [image for image, _ in load("test", made, smallest=(54, 110))]
    assert [image.shape[:2] for image in images] == [
        (55, 110),
        (55, 110),
        (55, 110),
        (220, 110),
        (55, 110),
    ]
    np.testing.assert_allclose(images[0][:, :50], gray("test", 1), atol=1e-3)
    assert [int(label[1]) for _, label in load("test", made, largest=2)] == [9, 8]


def test_the_environment_variable_leads_to_the_folder(made, monkeypatch):
    monkeypatch.setenv("SVHN_NUMBERS_DIR", str(made))
    assert len(list(datasets.load("svhn_numbers", "test"))) == 5
    monkeypatch.delenv("SVHN_NUMBERS_DIR")
    with pytest.raises(ValueError, match=r"SVHN_NUMBERS_DIR, must name .*extra/.*data_dir=None"):
        datasets.load("svhn_numbers", "test")


def test_broken_images_are_named(root):
    path = root / "test" / "2.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"complete PNG file in .*2\.png.*Received: "):
        load("test", root)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"complete PNG file.*test/2\.png"):
        list(load("test", root, whole=False))
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"2\.png'. Received: 0 bytes"):
        load("test", root)
    path.unlink()
    with pytest.raises(ValueError, match=r"Received: 1 of 5 are missing, such as .*2\.png"):
        load("test", root)


def test_images_outside_are_refused(root):
    path = root / "test" / "2.png"
    path.unlink()
    path.symlink_to(root / "train" / "1.png")
    with pytest.raises(ValueError, match=r"Expected files inside .*test'\. Received: .*2\.png"):
        load("test", root)
    write_digit_struct(root / "test" / "digitStruct.mat", {"../train/1.png": "7"})
    with pytest.raises(ValueError, match=r"names as 1\.png .*Received: '\.\./train/1\.png'"):
        load("test", root)


@LONG
def test_errors_name_what_is_missing(root):
    (root / "extra" / "digitStruct.mat").unlink()
    with pytest.raises(ValueError, match=r"set `extra=False`\. Received: .*extra/digitStruct"):
        load("train", root)
    assert len(list(load("train", root, extra=False))) == 3


def test_broken_tables_are_named(root):
    table = root / "test" / "digitStruct.mat"
    write_digit_struct(table, {"1.png": "5", "2.png": "90210"})
    assert read_digit_struct(table) == {"1.png": (5,), "2.png": (9, 0, 2, 1, 0)}
    with h5py.File(table, "r+") as file:
        file["#refs#/b0/label"][...] = 11
    with pytest.raises(ValueError, match=r"from 1 to 10, in .*mat'\. Received: labels \[11.0\]"):
        load("test", root)
    with h5py.File(table, "r+") as file:
        del file["#refs#/b0/label"]
    with pytest.raises(ValueError, match=r"columns name and bbox.*digitStruct\.mat'\. Received: "):
        load("test", root)
    table.write_bytes(b"MATLAB 5.0")
    with pytest.raises(ValueError, match=r"digitStruct\.mat'\. Received: "):
        load("test", root)
    write_digit_struct(table, {})
    with pytest.raises(ValueError, match=r"Expected names as 1\.png in .*Received: None"):
        load("test", root)


@LONG
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 64}, r"None for 'svhn_numbers', .*54 x 110 .*Received: size=64"),
        ({"crop": (65, 110)}, r"fit into `sides`.*Received: crop=\(65, 110\)"),
        ({"crop": 0}, "Received: crop=0"),
        ({"sides": (64,)}, r"Received: sides=\(64,\)"),
        ({"smallest": -1}, "Received: smallest=-1"),
        ({"largest": 6}, r"from 1 to 5\. Received: largest=6"),
        ({"validation": -1}, r"from 0 to 4\. Received: validation=-1"),
        ({"whole": 1}, "True or False. Received: whole=1"),
        ({"extra": "no"}, "True or False. Received: extra='no'"),
        ({"batching": "padded"}, "'bucketed', 'ragged'.*Received: batching='padded'"),
    ],
)
def test_bad_options(made, arguments, message):
    with pytest.raises(ValueError, match=message):
        load("test", made, **arguments)


@LONG
def test_too_many_for_training(made):
    with pytest.raises(ValueError, match=r"from 1 to 3\. Received: train_size=4"):
        load("train", made, train_size=4, extra=False)
