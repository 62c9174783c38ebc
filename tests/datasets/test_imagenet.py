"""ImageNet, prepared by tensorflow-datasets from small archives in the original format."""

import io
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_attention import datasets
from keras_attention.datasets.pipelines import center_crop, random_crop, resize_for_crop

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
SYNSETS = ("n01440764", "n01443537", "n13133613")
LABELS = (0, 1, 998)
OF_CLASS = 4
SIDES = ((40, 60), (75, 50), (33, 33), (64, 48))


def jpeg(color, sides):
    """A photo whose left half is dark, as a JPEG file."""
    pixels = np.full((*sides, 3), color, "uint8")
    pixels[:, : sides[1] // 2] //= 4
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def make_archives(folder):
    """A training archive with one archive per class, and a validation archive of images."""
    folder.mkdir(parents=True)
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as train:
        for number, synset in enumerate(SYNSETS):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w") as of_class:
                for photo, sides in enumerate(SIDES):
                    color = 60 + 60 * number + 10 * photo
                    add(of_class, f"{synset}_{photo}.JPEG", jpeg(color, sides))
            add(train, f"{synset}.tar", file.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as validation:
        for number in range(3):
            name = f"ILSVRC2012_val_{number + 1:08d}.JPEG"
            add(validation, name, jpeg(100 + number, SIDES[number]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    make_archives(folder / "downloads" / "manual")
    tfds.builder("imagenet2012", data_dir=folder).download_and_prepare()
    return folder


def load(split, folder, **arguments):
    return datasets.load("imagenet2012", split, data_dir=folder, size=28, **arguments)


def arrays(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels)


def test_images_and_labels(folder):
    dataset = load("train", folder, shuffle=False, augment=False)
    assert dataset.element_spec[0].shape == (28, 28, 3)
    assert int(dataset.cardinality()) == len(SYNSETS) * OF_CLASS
    images, labels = arrays(dataset)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert 0 <= images.min() < images.max() <= 1
    assert sorted(labels) == sorted(LABELS * OF_CLASS)
    assert np.all(images[:, :, -10:].mean(axis=(1, 2, 3)) > 2 * images[:, :, :10].mean((1, 2, 3)))


def test_the_test_part_is_the_validation_part(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    dataset = datasets.load("imagenet2012", "test", batch_size=2)
    assert next(iter(dataset))[0].shape == (2, 224, 224, 3)
    assert [len(labels) for _, labels in dataset] == [2, 1]


def test_every_pass_has_its_order_and_squares_and_seeds_repeat_them(folder):
    first, again, other = (load("train", folder, seed=seed) for seed in (1, 1, 2))
    one, two = arrays(first), arrays(first)
    assert not np.array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])
    for wanted in (one, two):
        for array, want in zip(arrays(again), wanted, strict=True):
            np.testing.assert_array_equal(array, want)
    assert not np.array_equal(one[0], arrays(other)[0])


def test_skipping_passes_gives_what_would_have_come(folder):
    whole, rest = (load("train", folder, batch_size=5, shuffle_buffer=4) for _ in range(2))
    whole = list(whole.repeat().take(9).as_numpy_iterator())[6:]
    rest = rest.repeat().skip(6).take(3)
    for (image, label), (want, want_label) in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(image, want)
        np.testing.assert_array_equal(label, want_label)


def test_nothing_is_kept_in_memory(folder, monkeypatch):
    def cache(self, *args, **kwargs):
        raise AssertionError("cached")

    monkeypatch.setattr(tf.data.Dataset, "cache", cache)
    load("test", folder)


def test_train_size_takes_the_same_images_for_every_seed(folder):
    parts = [
        arrays(load("train", folder, seed=seed, train_size=5, augment=False)) for seed in (1, 2)
    ]
    assert [len(labels) for _, labels in parts] == [5, 5]
    sums = [np.sort(images.sum(axis=(1, 2, 3))) for images, _ in parts]
    np.testing.assert_array_equal(*sums)


@pytest.mark.parametrize("sides", SIDES)
def test_shorter_side_then_the_middle_or_anywhere(sides):
    photo = resize_for_crop(tf.io.decode_image(jpeg(200, sides)), 28)
    assert min(photo.shape[:2]) == 32
    assert max(photo.shape[:2]) == round(32 * max(sides) / min(sides))
    square = center_crop(photo, 28).numpy()
    # The dark half ends at the center.
    np.testing.assert_allclose(square[:, 2:12].mean(), 50 / 255, atol=0.02)
    np.testing.assert_allclose(square[:, -12:-2].mean(), 200 / 255, atol=0.02)
    drawn = [random_crop(photo, 28, tf.constant(draw, tf.int64)).numpy() for draw in range(40)]
    bright_left = np.mean([image[:, :3].mean() > image[:, -3:].mean() for image in drawn])
    assert 0.2 < bright_left < 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_size": 13}, "from 1 to 12. Received: train_size=13"),
        ({"train_size": 2.5}, "Received: train_size=2.5"),
        ({"shuffle_buffer": 0}, "Received: shuffle_buffer=0"),
        ({"crop": True}, "are: shuffle_buffer. Received: crop=True"),
    ],
)
def test_bad_options(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        load("train", folder, **arguments)


def test_without_preparation_the_error_explains_it(tmp_path):
    with pytest.raises(ValueError, match=r"img_val.tar from https.*download_and_prepare\(\)"):
        load("test", tmp_path)
