"""The loading code for tensorflow-datasets: a few generated images in the original format."""

import io
import socket

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
COUNT = 40
NAMES = ("stanford_dogs", "cars196", "caltech_birds2011")
COUNTS = {"train": 9, "test": 5}
# Further features of the examples.
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
# Boxes of birds: top, left, bottom and right in pixels of images with height and width SIDES. Some
# touch the border, and two have no area.
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


@pytest.fixture
def few_images():
    """MNIST as tensorflow-datasets provides it: uint8 28x28x1, int64 labels, `as_supervised`."""
    import tensorflow_datasets as tfds

    def examples(self, *args, **kwargs):
        pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28, 1), dtype="uint8")
        labels = np.arange(COUNT) % 10
        return tf.data.Dataset.from_tensor_slices({"image": pixels, "label": labels})

    with tfds.testing.mock_data(as_dataset_fn=examples):
        yield


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("mnist", None, 28),
        ("mnist", 14, 14),
        ("top_left_mnist", None, 56),
        pytest.param("top_left_mnist", 28, 28, marks=pytest.mark.slow),
        pytest.param("cluttered_translated_mnist", None, 40, marks=pytest.mark.slow),
        ("cluttered_translated_mnist", 20, 20),
    ],
)
def test_mnist(few_images, name, size, shape):
    images, labels = next(iter(datasets.load(name, "test", batch_size=COUNT, size=size)))
    assert images.shape == (COUNT, shape, shape, 1)
    assert images.dtype == tf.float32
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    assert labels.numpy().tolist() == [number % 10 for number in range(COUNT)]


@pytest.fixture
def few_in_color(monkeypatch):
    """House numbers of one size, and traffic signs of different sizes."""
    import tensorflow_datasets as tfds

    monkeypatch.delenv("GTSRB_DIR", raising=False)
    requests = []

    def examples(self, split, *args, **kwargs):
        requests.append(f"{self.name} {split}")
        svhn = self.name == "svhn_cropped"
        sides = [(32, 32)] if svhn else [(72, 90), (75, 72)]
        rng = np.random.default_rng(0)

        def draw():
            for number in range(COUNT):
                pixels = rng.integers(0, 256, (*sides[number % len(sides)], 3), dtype="uint8")
                yield {"image": pixels, "label": number % 10}

        side = 32 if svhn else None
        shape = tf.TensorSpec((side, side, 3), tf.uint8)
        return tf.data.Dataset.from_generator(
            draw, output_signature={"image": shape, "label": tf.TensorSpec((), tf.int64)}
        )

    with tfds.testing.mock_data(as_dataset_fn=examples):
        yield requests


@pytest.mark.parametrize(
    ("name", "size"),
    [("svhn_cropped", None), ("gtsrb", 9), pytest.param("gtsrb", None, marks=pytest.mark.slow)],
)
def test_color_images(few_in_color, name, size):
    dataset = datasets.load(name, "train", batch_size=COUNT, size=size, shuffle=False)
    side = size or 32
    assert dataset.element_spec[0].shape[1:] == (side, side, 3)
    images, labels = next(iter(dataset))
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    assert labels.numpy().tolist() == [number % 10 for number in range(COUNT)]


def test_signs_are_tested_on_the_validation_part(few_in_color):
    datasets.load("gtsrb", "test")
    datasets.load("svhn_cropped", "test")
    datasets.load("gtsrb", "train")
    assert [name.split()[-1] for name in few_in_color] == ["validation", "test", "train"]


@pytest.fixture
def few_photographs():
    """CIFAR and Fashion-MNIST as in tensorflow-datasets, with names and coarse labels."""
    import tensorflow_datasets as tfds

    def examples(self, *args, **kwargs):
        assert set(self.info.features) >= {"image", "label"}
        side, channels = (28, 1) if self.name == "fashion_mnist" else (32, 3)
        shape = (COUNT, side, side, channels)
        numbers = np.arange(COUNT)
        given = {
            "id": np.array([f"train_{number:05d}" for number in numbers]),
            "image": np.random.default_rng(0).integers(0, 256, shape, dtype="uint8"),
            "label": numbers % self.info.features["label"].num_classes,
            "coarse_label": numbers % 20,
        }
        return tf.data.Dataset.from_tensor_slices(
            {name: given[name] for name in self.info.features}
        )

    with tfds.testing.mock_data(as_dataset_fn=examples):
        yield


@pytest.mark.parametrize(
    "name",
    ["fashion_mnist", "cifar20"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("cifar10", "cifar100")],
)
def test_photographs(few_photographs, name):
    info = datasets.find(name)
    images, labels = next(iter(datasets.load(name, "test", batch_size=COUNT)))
    assert images.shape == (COUNT, *info.image_shape)
    assert 0 <= float(tf.reduce_min(images)) < float(tf.reduce_max(images)) <= 1
    assert labels.dtype == tf.int64
    assert labels.numpy().tolist() == [number % info.classes for number in range(COUNT)]


def test_groups_of_kinds_are_split_by_their_own_labels(few_photographs):
    labels = [int(label) for _, label in datasets.load("cifar20", "train", train_size=20)]
    assert sorted(labels) == list(range(20))


def test_train_size_takes_a_share_of_every_class(few_images):
    labels = [int(label) for _, label in datasets.load("mnist", "train", train_size=20)]
    assert np.bincount(labels).tolist() == [2] * 10


def test_without_a_network_the_error_comes_at_once(monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GTSRB_DIR", raising=False)
    with pytest.raises(ConnectionError, match=r"'mnist'.*needs a network once"):
        datasets.load("mnist", "train")
    with pytest.raises(ConnectionError, match=r"'stanford_dogs'.*needs a network once"):
        datasets.load("stanford_dogs", "train")
    with pytest.raises(
        ConnectionError, match=r"GTSRB_DIR name a folder.*Received: data_dir='.*none'"
    ):
        datasets.load("gtsrb", "train", data_dir=tmp_path / "none")


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
    """Data sets as stored on disk after downloading."""
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
    """All three sets, with generated images."""
    folder = prepared(tmp_path_factory.mktemp("tfds"), NAMES, examples)
    for name in NAMES:
        dataset = datasets.load(name, "test", data_dir=folder, size=28)
        assert int(dataset.cardinality()) == COUNTS["test"]
    return folder


def bird(box):
    """A black image with noise in its box, or in a line of pixels."""
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


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[:2]), NAMES[2]]
)
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


def test_birds_are_cropped_to_their_boxes(boxed):
    (stream,) = read_tensorflow_stream("caltech_birds2011", "test", data_dir=boxed, crop=True)
    found = {int(label): stream.read(image) for image, label in stream.examples(0, False)}
    assert len(found) == len(BOXES)
    for label, box in enumerate(BOXES):
        np.testing.assert_array_equal(found[label], bird(box)[1])


@pytest.mark.slow
def test_cropped_birds_are_resized_afterwards(boxed):
    def arrays(split, **arguments):
        images, labels = next(
            iter(datasets.load("caltech_birds2011", split, 9, data_dir=boxed, **arguments))
        )
        order = np.argsort(labels)
        return images.numpy()[order], labels.numpy()[order]

    found = {}
    for split in COUNTS:
        images, labels = arrays(split, crop=True, size=56, seed=1)
        assert images.shape == (7, 56, 56, 3)
        assert labels.tolist() == list(range(7))
        assert images.min() > 99 / 255, "nothing of what is black"
        assert arrays(split, size=56)[0][2:].min() == 0
        found[split] = images
    images = arrays("test", crop=np.True_, size=28)[0]
    shrunk = tf.image.resize(bird(BOXES[0])[1] / 255, (32, 52), antialias=True)
    np.testing.assert_allclose(images[0], shrunk[2:-2, 12:-12], atol=1e-5)
    options = {"crop": True, "size": 56}
    same, other = (arrays("train", seed=seed, **options)[0] for seed in (1, 2))
    np.testing.assert_array_equal(found["train"], same)
    assert not np.array_equal(found["train"], other)


@given(st.data(), st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=40, deadline=None)
def test_boxes_are_rounded_to_the_pixels_that_they_came_from(data, height, width):
    top, left = (data.draw(st.integers(0, side - 1)) for side in (height, width))
    bottom = data.draw(st.integers(top + 1, height))
    right = data.draw(st.integers(left + 1, width))
    box = [top / height, left / width, bottom / height, right / width]
    rows, columns = np.mgrid[:height, :width]
    cropped = cut_to_box(tf.stack([rows, columns], axis=-1), tf.constant(box, tf.float32)).numpy()
    assert cropped.shape == (bottom - top, right - left, 2)
    assert cropped[0, 0].tolist() == [top, left]


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
