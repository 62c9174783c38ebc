"""Photographs of things that look alike, prepared by tensorflow-datasets in their true format."""

import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_attention import datasets
from keras_attention.datasets import read_tensorflow_stream, tensorflow_sets
from keras_attention.datasets.pipelines import cut_to_box

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
NAMES = ("stanford_dogs", "cars196", "caltech_birds2011")
COUNTS = {"train": 9, "test": 5}
# What the examples hold beside images and labels.
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
# Of birds that are cut out: top, left, bottom and right in pixels of SIDES, height and width. Some
# touch the border, and two are lines.
SIDES = (40, 61)
BOXES = (
    (4, 30, 20, 56),
    (0, 0, 40, 61),
    (0, 51, 15, 61),
    (25, 0, 40, 7),
    (39, 60, 40, 61),
    (10, 20, 10, 33),
    (40, 0, 40, 61),
)


def file(number):
    """An image whose left half is dark; among JPEG files also one of PNG, with transparency."""
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


def prepared(folder, names, generate):
    """Sets as they lie on disk after downloading."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow_sets, "_require_network", lambda: None)
        for name in names:
            patch.setattr(
                tfds.builder_cls(name),
                "_split_generators",
                lambda self, *_: {split: generate(self, split) for split in COUNTS},
            )
            datasets.load(name, "test", data_dir=folder, size=28)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All three, of which only the images are made up."""
    folder = prepared(tmp_path_factory.mktemp("tfds"), NAMES, examples)
    for name in NAMES:
        dataset = datasets.load(name, "test", data_dir=folder, size=28)
        assert int(dataset.cardinality()) == COUNTS["test"]
    return folder


def bird(box):
    """An image that is noise in the box, or in a line of pixels, and black elsewhere."""
    top, left, bottom, right = box
    top, left = min(top, SIDES[0] - 1), min(left, SIDES[1] - 1)
    inside = np.s_[top : max(bottom, top + 1), left : max(right, left + 1)]
    noise = np.random.default_rng(0).integers(100, 256, (*SIDES, 3), "uint8")
    pixels = np.zeros_like(noise)
    pixels[inside] = noise[inside]
    return pixels, pixels[inside]


def birds(builder, _):
    for number, box in enumerate(BOXES):
        written = io.BytesIO()
        Image.fromarray(bird(box)[0]).save(written, "PNG")
        written.seek(0)
        corners = [corner / side for corner, side in zip(box, SIDES * 2, strict=True)]
        yield (
            str(number),
            {
                "image": written,
                "label": number,
                "image/filename": f"{number}.jpg",
                **REST[builder.name],
                "bbox": tfds.features.BBox(*corners),
            },
        )


@pytest.fixture(scope="module")
def boxed(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("birds"), ["caltech_birds2011"], birds)


@pytest.mark.parametrize("name", NAMES)
def test_images_and_labels(folder, name):
    info = datasets.find(name)
    arguments = {"data_dir": folder, "shuffle": False, "augment": False}
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
        ({"crop": True}, "are: shuffle_buffer. Received: crop=True"),
    ],
)
def test_bad_options(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load("cars196", "train", data_dir=folder, **arguments)


def test_birds_are_cut_out_by_their_boxes(boxed):
    (stream,) = read_tensorflow_stream("caltech_birds2011", "test", data_dir=boxed, crop=True)
    found = {int(label): stream.read(image) for image, label in stream.examples(0, False)}
    assert len(found) == len(BOXES)
    for label, box in enumerate(BOXES):
        np.testing.assert_array_equal(found[label], bird(box)[1])


def test_birds_that_are_cut_out_are_shrunk_afterwards(boxed):
    def arrays(split, **arguments):
        images, labels = next(
            iter(datasets.load("caltech_birds2011", split, 9, data_dir=boxed, **arguments))
        )
        order = np.argsort(labels)
        return images.numpy()[order], labels.numpy()[order]

    for split in COUNTS:
        images, labels = arrays(split, crop=True)
        assert images.shape == (7, 224, 224, 3)
        assert labels.tolist() == list(range(7))
        assert images.min() > 99 / 255, "nothing of what is black"
        assert arrays(split)[0][2:].min() == 0
    images = arrays("test", crop=np.True_, size=28)[0]
    shrunk = tf.image.resize(bird(BOXES[0])[1] / 255, (32, 52), antialias=True)
    np.testing.assert_allclose(images[0], shrunk[2:-2, 12:-12], atol=1e-5)
    first, same, other = (arrays("train", crop=True, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@given(st.data(), st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=40, deadline=None)
def test_boxes_are_rounded_to_the_pixels_that_they_came_from(data, height, width):
    top, left = (data.draw(st.integers(0, side - 1)) for side in (height, width))
    bottom = data.draw(st.integers(top + 1, height))
    right = data.draw(st.integers(left + 1, width))
    box = [top / height, left / width, bottom / height, right / width]
    rows, columns = np.mgrid[:height, :width]
    cut = cut_to_box(tf.stack([rows, columns], axis=-1), tf.constant(box, tf.float32)).numpy()
    assert cut.shape == (bottom - top, right - left, 2)
    assert cut[0, 0].tolist() == [top, left]


def test_crop_needs_boxes(folder):
    with pytest.raises(ValueError, match=r"False for 'stanford_dogs'.*Received: crop=True"):
        read_tensorflow_stream("stanford_dogs", "test", data_dir=folder, crop=True)
    with pytest.raises(ValueError, match=r"True or False. Received: crop='box'"):
        datasets.load("caltech_birds2011", "test", data_dir=folder, crop="box")


def test_a_download_that_fails_is_a_lack_of_connection(tmp_path, monkeypatch):
    def gone(self, *_):
        raise tfds.download.DownloadError("HTTP code 404")

    monkeypatch.setattr(tensorflow_sets, "_require_network", lambda: None)
    monkeypatch.setattr(tfds.builder_cls("cars196"), "_split_generators", gone)
    with pytest.raises(ConnectionError, match=r"'cars196' is not on this machine.*404"):
        datasets.load("cars196", "train", data_dir=tmp_path)
