"""Photographs of things that look alike, prepared by tensorflow-datasets in their true format."""

import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from keras_attention import datasets
from keras_attention.datasets import tensorflow_sets

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
NAMES = ("stanford_dogs", "cars196", "caltech_birds2011")
COUNTS = {"train": 9, "test": 5}
# What the examples hold beside pictures and labels.
BOX = tfds.features.BBox(0.1, 0.1, 0.9, 0.9)
REST = {
    "stanford_dogs": {"objects": [{"bbox": BOX}]},
    "cars196": {"bbox": BOX},
    "caltech_birds2011": {
        "bbox": BOX,
        "label_name": "a bird",
        "segmentation_mask": np.zeros((40, 60, 1), "uint8"),
    },
}


def file(number):
    """A picture whose left half is dark; among JPEG files also one of PNG, with transparency."""
    pixels = np.full((40 + number, 60, 3), 120 + 10 * number, "uint8")
    pixels[:, :30] //= 4
    written = io.BytesIO()
    if number == 2:
        Image.fromarray(pixels).convert("RGBA").save(written, "PNG")
    else:
        Image.fromarray(pixels).save(written, "JPEG", quality=95)
    written.seek(0)
    return written


def examples(builder, split):
    classes = builder.info.features["label"].num_classes
    for number in range(COUNTS[split]):
        example = {"image": file(number), "label": classes - 1 - number, **REST[builder.name]}
        for name in ("id", "image/filename"):
            if name in builder.info.features:
                example[name] = f"{number}.jpg"
        yield str(number), example


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All three as they lie on disk after downloading, of which only the pictures are made up."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("tfds")
    patch.setattr(tensorflow_sets, "_require_network", lambda: None)
    for name in NAMES:
        patch.setattr(
            tfds.builder_cls(name),
            "_split_generators",
            lambda self, *_: {split: examples(self, split) for split in COUNTS},
        )
        dataset = datasets.load(name, "test", data_dir=folder, size=28)
        assert int(dataset.cardinality()) == COUNTS["test"]
    patch.undo()
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_images_and_labels(folder, name):
    info = datasets.find(name)
    arguments = {"data_dir": folder, "shuffle": False, "redraw": False}
    dataset = datasets.load(name, "train", batch_size=9, **arguments)
    images, labels = next(iter(dataset))
    assert images.shape == (9, 224, 224, 3)
    assert dataset.element_spec[0].shape[1:] == (224, 224, 3)
    assert labels.dtype == tf.int64
    assert sorted(labels.numpy()) == list(range(info.classes - 9, info.classes))
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    wanted = (120 + 10 * (info.classes - 1 - labels.numpy())) / 255
    np.testing.assert_allclose(images[:, 50:-50, -50:].numpy().mean((1, 2, 3)), wanted, atol=0.02)
    np.testing.assert_allclose(
        images[:, 50:-50, :50].numpy().mean((1, 2, 3)), wanted / 4, atol=0.02
    )


@pytest.mark.parametrize("name", NAMES)
def test_training_draws_squares_and_seeds_repeat_them(folder, name):
    def passes(seed):
        dataset = datasets.load(name, "train", 9, seed=seed, data_dir=folder, size=28)
        return [next(iter(dataset))[0].numpy() for _ in range(2)]

    first, again, other = passes(1), passes(1), passes(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, other)
    bright_left = [image[:, :5].mean() > image[:, -5:].mean() for image in np.concatenate(first)]
    assert 0 < np.mean(bright_left) < 1


def test_parts_and_train_size(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    whole = [int(label) for _, label in datasets.load("cars196", "train", shuffle=False, size=8)]
    some = [
        sorted(int(label) for _, label in dataset)
        for dataset in (
            datasets.load("cars196", "train", seed=seed, train_size=4, size=8) for seed in (1, 2)
        )
    ]
    assert some == [sorted(whole[:4])] * 2
    assert len(list(datasets.load("cars196", "test", train_size=4, size=8))) == COUNTS["test"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_size": 10}, "from 1 to 9. Received: train_size=10"),
        ({"shuffle_buffer": 0}, "Received: shuffle_buffer=0"),
        ({"fold": 1}, "are: shuffle_buffer. Received: fold=1"),
    ],
)
def test_bad_options(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("cars196", "train", data_dir=folder, **arguments)


def test_a_download_that_fails_is_a_lack_of_connection(tmp_path, monkeypatch):
    def gone(self, *_):
        raise tfds.download.DownloadError("HTTP code 404")

    monkeypatch.setattr(tensorflow_sets, "_require_network", lambda: None)
    monkeypatch.setattr(tfds.builder_cls("cars196"), "_split_generators", gone)
    with pytest.raises(ConnectionError, match=r"'cars196' is not on this machine.*404"):
        datasets.load("cars196", "train", data_dir=tmp_path)
