"""The published folder of MIT's Indoor Scenes: a few generated images in the original format."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_attention import datasets
from keras_attention.datasets import read_mit_scenes
from tests.datasets.image_dataset_files import INDOOR_CLASSES, make_mit_scenes, solid_image

LABELS = list(range(67))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_mit_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy") / "indoorCVPR_09"


def files(folder, split="test", **arguments):
    return read_mit_scenes(split, data_dir=folder, **arguments)[0]


def scene(part, index):
    """Reads one image of a split."""
    return part.read((str(part.paths[index]), tf.zeros(0, tf.int32))).numpy()


@pytest.mark.parametrize("inside", ["", "indoorCVPR_09"])
def test_images_and_labels(made, inside):
    """Color, gray and CMYK JPEG files, PNG and GIF files are all read."""
    arguments = {"data_dir": made / inside, "shuffle": False, "augment": False}
    for split, count in (("train", 2), ("test", 1)):
        dataset = datasets.load("mit_scenes", split, batch_size=150, **arguments)
        assert dataset.element_spec[0].shape[1:] == (224, 224, 3)
        small = datasets.load("mit_scenes", split, batch_size=150, size=56, **arguments)
        images, labels = next(iter(small))
        assert labels.dtype == tf.int64
        assert sorted(labels.numpy()) == sorted(LABELS * count)
        halves = [images.numpy()[:, 12:-12, half] for half in (np.s_[:12], np.s_[-12:])]
        for pixels, share in zip(halves, (1 / 4, 1), strict=True):
            assert np.ptp(pixels.mean((1, 2)), axis=1).max() < 0.02, "gray"
            brightness = pixels.mean((1, 2, 3)) * 255
            np.testing.assert_allclose(brightness, (100 + labels.numpy()) * share, atol=3)


def test_classes_are_in_the_order_of_the_alphabet(made):
    part = files(made)
    assert sorted(INDOOR_CLASSES) == INDOOR_CLASSES
    assert [path.parent.name for path in part.paths] == [
        INDOOR_CLASSES[label] for label in part.labels
    ]
    assert part.labels.tolist() == LABELS[::-1], "in the order of the list"
    assert {path.suffix for path in part.paths} == {".JPG"}


@pytest.mark.parametrize("location", ["..", "Images"])
def test_lists_may_be_in_other_folders(root, location, monkeypatch):
    for name in ("TrainImages.txt", "TestImages.txt"):
        (root / name).rename(root / location / name)
    (root / "Images" / ".thumbnails").mkdir()
    for folder in (root, root.parent):
        monkeypatch.setenv("MIT_SCENES_DIR", str(folder))
        assert [len(files(None, split)) for split in ("train", "test")] == [134, 67]


def test_training_draws_and_seeds_repeat(made):
    def first(seed, **arguments):
        dataset = datasets.load(
            "mit_scenes", "train", 200, seed=seed, size=14, data_dir=made, **arguments
        )
        return next(iter(dataset))

    images, labels = first(1, train_size=67)
    assert sorted(labels.numpy()) == LABELS
    np.testing.assert_array_equal(images, first(1, train_size=67)[0])
    assert not np.array_equal(images, first(2, train_size=67)[0])
    assert len(files(made, train_size=67)) == 67


@pytest.mark.parametrize(("progressive", "lost"), [(False, 2), (True, 2), (False, 60)])
def test_jpeg_files_that_end_early(root, progressive, lost):
    """A missing end marker loses nothing; otherwise the remaining rows are read."""
    part = files(root)
    path = part.paths[3]
    noise = np.random.default_rng(0).integers(0, 256, (32, 40, 3), "uint8")
    Image.fromarray(noise).save(path, "JPEG", progressive=progressive)
    whole = scene(part, 3)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?i)jpeg"):
        tf.io.decode_image(path.read_bytes())
    found = scene(part, 3)
    assert found.shape == whole.shape
    rows = 32 if lost == 2 else 15
    np.testing.assert_array_equal(found[:rows], whole[:rows])


def test_names_of_any_encoding(root):
    name = os.fsdecode("café.jpg".encode("latin-1"))
    try:
        solid_image(9, (8, 8)).save(root / "Images" / "bar" / name, "PNG")
    except OSError:
        pytest.skip("this file system supports names in UTF-8 only")
    (root / "TestImages.txt").write_bytes(b"bar/" + os.fsencode(name) + b"\n")
    (image, label) = next(iter(datasets.load("mit_scenes", "test", size=7, data_dir=root)))
    assert int(label) == INDOOR_CLASSES.index("bar")
    np.testing.assert_allclose(image[:, -2:], 9 / 255, atol=1e-2)


@pytest.mark.parametrize(
    "line", ["spaceship/a.jpg", "bar", "bar/", "/bar/a.jpg", "bar/../../a.jpg", "../bar/a.jpg"]
)
def test_broken_lines_are_named(root, line):
    table = root / "TrainImages.txt"
    with table.open("a") as file:
        file.write(f"\n\n{line}\n")
    with pytest.raises(ValueError, match=rf"line 136 of .*TrainImages.txt'. Received: '{line}'"):
        files(root, "train")
    assert len(files(root)) == 67


def test_errors_name_what_is_missing(root, monkeypatch):
    with pytest.raises(ValueError, match="Received: train_size=66"):
        files(root, "train", train_size=66)
    with pytest.raises(ValueError, match="Received: split='validation'"):
        files(root, "validation")
    path = files(root).paths[5]
    path.write_bytes(b"<html>")
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected a BMP, GIF, JPEG or PNG"):
        scene(files(root), 5)
    path.unlink()
    with pytest.raises(ValueError, match=rf"TestImages.txt .*1 of 67 .*such as '{path}'"):
        files(root)
    (root / "TestImages.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"Expected lines in .*TestImages.txt'. Received: none"):
        files(root)
    (root / "TestImages.txt").unlink()
    with pytest.raises(ValueError, match=r"and the lists .*Received: no TestImages.txt in .*_09'"):
        files(root)
    shutil.rmtree(root / "Images" / "bar")
    with pytest.raises(ValueError, match=r"67 folders.*Images'. Received: 66 folders; a folder wi"):
        files(root, "train")
    shutil.rmtree(root / "Images")
    with pytest.raises(ValueError, match=r"SCENES_DIR, must .*https.*Received: data_dir='.*Train"):
        files(root)
    monkeypatch.delenv("MIT_SCENES_DIR", raising=False)
    with pytest.raises(ValueError, match="Received: data_dir=None"):
        files(None)
