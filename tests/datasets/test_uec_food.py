"""The published folder of UEC Food 100: a few generated dishes in the original format."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_attention import datasets
from keras_attention.datasets import read_uec_food
from keras_attention.datasets.pipelines import serve_stream
from keras_attention.datasets.uec_food import draw_test_images
from tests.datasets.image_dataset_files import MEALS, make_uec_food


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_uec_food(tmp_path_factory.mktemp("food"))


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy") / "UECFOOD100"


def dish(part, index):
    """Returns the crop of an image."""
    return part.read((str(part.paths[index]), tf.constant(part.boxes[index], tf.int32))).numpy()


def parts(folder, **arguments):
    return [read_uec_food(split, data_dir=folder, **arguments)[0] for split in ("train", "test")]


@pytest.mark.parametrize("inside", ["", "UECFOOD100"])
def test_images_and_labels(made, inside):
    arguments = {"batch_size": 150, "data_dir": made / inside}
    dataset = datasets.load("uec_food100", "test", **arguments)
    assert dataset.element_spec[0].shape[1:] == (224, 224, 3)
    images, labels = next(iter(datasets.load("uec_food100", "test", size=56, **arguments)))
    assert labels.dtype == tf.int64
    assert sorted(set(labels.numpy())) == list(range(100))
    whole = labels.numpy() > 3  # no images of several categories
    brightness = images.numpy()[whole, 12:-12, -12:].mean((1, 2, 3)) * 255
    np.testing.assert_allclose(brightness, 101 + labels.numpy()[whole], atol=2)


def test_dishes_are_cropped_to_their_boxes(made):
    files = parts(made)
    found = {
        (path.stem, int(label), tuple(box)): (part, index)
        for part in files
        for index, (path, label, box) in enumerate(
            zip(part.paths, part.labels, part.boxes.tolist(), strict=True)
        )
    }
    assert len(found) == 400 + 5
    for name, (sides, shown) in MEALS.items():
        for label, boxes in shown.items():
            for left, top, right, bottom in boxes:
                cropped = dish(*found[str(name), label - 1, (left, top, right, bottom)])
                right, bottom = min(right, sides[0]), min(bottom, sides[1])
                assert cropped.shape == (bottom - top, right - left, 3)
                half = sides[0] // 2
                wanted = (63 * max(0, half - left) + 255 * (right - max(left, half))) / (
                    right - left
                )
                np.testing.assert_allclose(cropped.mean(), wanted, atol=4)


def test_no_image_is_in_both_parts(made):
    train, test = parts(made)
    assert {path.stem for path in train.paths}.isdisjoint(path.stem for path in test.paths)
    assert np.bincount(test.labels).min() >= 1
    assert np.bincount(train.labels).min() >= 3
    again = parts(made)
    assert [part.paths for part in again] == [train.paths, test.paths]
    more = parts(made, test_share=0.5)[1]
    assert np.bincount(more.labels).min() >= 2


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), min_size=1, max_size=80),
    st.floats(0, 0.9),
)
def test_every_class_gives_its_share(examples, share):
    images, labels = np.array(examples).T
    drawn = draw_test_images(images, labels, share)
    assert drawn <= set(images.tolist())
    assert drawn == draw_test_images(images, labels, share)
    for label in set(labels.tolist()):
        own = set(images[labels == label].tolist())
        shared = own & set(images[labels != label].tolist())
        wanted = min(max(1, round(share * len(own))), len(own) - 1)
        assert len(own & drawn) >= wanted - len(shared)
        assert len(own & drawn) <= wanted + len(shared)


def test_training_draws_and_seeds_repeat(made):
    def first(seed, **arguments):
        dataset = datasets.load(
            "uec_food100", "train", 400, seed=seed, size=14, data_dir=made, **arguments
        )
        return next(iter(dataset))

    images, labels = first(1, train_size=100)
    assert sorted(labels.numpy()) == list(range(100))
    np.testing.assert_array_equal(images, first(1, train_size=100)[0])
    assert not np.array_equal(images, first(2, train_size=100)[0])


@pytest.mark.parametrize(
    "line", ["7 0 0 9", "7 0 0 9 9 9", "7 9 0 9 9", "7 0 9 9 4", "../7 0 0 9 9", "-7 0 0 9 9", "a"]
)
def test_broken_lines_are_named(root, line):
    with (root / "5" / "bb_info.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(ValueError, match=rf"line 7 of .*bb_info.txt'. Received: '{line}'"):
        parts(root)


def test_boxes_may_leave_the_image_but_not_lie_outside(root):
    table = root / "1" / "bb_info.txt"
    table.write_text("100 -5 4 99 99\n101 24 0 30 9\n")
    both = [(part, index) for part in parts(root) for index in range(2)]
    (partly,) = [dish(part, i) for part, i in both if part.paths[i].stem == "100"]
    assert partly.shape == (16, 24, 3)
    (outside,) = [(part, i) for part, i in both if part.paths[i].stem == "101"]
    for read in (lambda: dish(*outside), lambda: list(serve_stream(outside[0]))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)101\.jpg.*24\D+0\D+30\D+9"):
            read()


def test_errors_name_what_is_missing(root, monkeypatch):
    with pytest.raises(ValueError, match="Received: test_share=1"):
        parts(root, test_share=1)
    with pytest.raises(ValueError, match="Received: train_size=99"):
        parts(root, train_size=99)
    for name in (200, 201, 202, 203):
        (root / "2" / f"{name}.jpg").unlink()
    with pytest.raises(ValueError, match=r"are missing, such as .*20\d.jpg"):
        parts(root)
    (root / "3" / "bb_info.txt").unlink()
    with pytest.raises(ValueError, match=r"folders 1 to 100.*Received: no .*bb_info.txt"):
        parts(root)
    (root / "category.txt").unlink()
    with pytest.raises(ValueError, match=r"UEC_FOOD100_DIR, must .*http.*Received: data_dir='"):
        parts(root)
    monkeypatch.delenv("UEC_FOOD100_DIR", raising=False)
    with pytest.raises(ValueError, match="Received: data_dir=None"):
        parts(None)
