import numpy as np
import pytest

from keras_attention import datasets
from tests.harness import cross_section

GENERATED = ["digits", "top_left_digits", "cluttered_translated_digits", "cluttered_digits"]


def arrays(dataset):
    return next(dataset.batch(5000).as_numpy_iterator())


@pytest.mark.parametrize(
    ("name", "size"), [("digits", None), ("digits", 17), ("top_left_digits", None)]
)
def test_images_and_labels(name, size):
    info = datasets.list_datasets()[name]
    dataset = datasets.load(name, "test", size=size)
    side = size or info.size
    assert dataset.element_spec[0].shape == (side, side, 1)
    images, labels = arrays(dataset)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert 0.9 < images.max() <= 1
    assert sorted(set(labels)) == list(range(info.classes))


def test_split_is_stratified_and_the_same_for_every_seed():
    parts = {seed: arrays(datasets.load("digits", "test", seed=seed, size=8)) for seed in (0, 1)}
    np.testing.assert_array_equal(parts[0][0], parts[1][0])
    train = arrays(datasets.load("digits", "train", size=8))
    assert (len(train[1]), len(parts[0][1])) == (1438, 359)
    counts = np.bincount(parts[0][1])
    assert counts.max() - counts.min() <= 2


def test_train_size_moves_the_split():
    train = arrays(datasets.load("digits", "train", size=8, train_size=300))
    test = arrays(datasets.load("digits", "test", size=8, train_size=300))
    assert (len(train[1]), len(test[1])) == (300, 1497)
    assert np.bincount(train[1]).min() >= 28
    both = np.concatenate([train[0], test[0]]).reshape(1797, -1)
    usual = [arrays(datasets.load("digits", split, size=8))[0] for split in ("train", "test")]
    whole = np.concatenate(usual).reshape(1797, -1)
    np.testing.assert_array_equal(np.sort(both.sum(axis=1)), np.sort(whole.sum(axis=1)))


@pytest.mark.parametrize("name", cross_section(GENERATED, fast=GENERATED[:1]))
def test_same_seed_gives_the_same_passes(name):
    first, second, other = (
        datasets.load(name, "train", seed=seed, size=16, train_size=40) for seed in (3, 3, 4)
    )
    passes = [[arrays(dataset) for _ in range(2)] for dataset in (first, second, other)]
    for a, b in zip(passes[0], passes[1], strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])
    assert not np.array_equal(passes[0][0][1], passes[0][1][1]), "every pass has its order"
    assert not np.array_equal(passes[0][0][1], passes[2][0][1]), "every seed has its order"


@pytest.mark.parametrize("name", cross_section(GENERATED, fast=GENERATED[:1]))
def test_skipping_passes_gives_what_would_have_come(name):
    def endless():
        return datasets.load(name, "train", 10, seed=1, size=16, train_size=40).repeat()

    whole = list(endless().take(12).as_numpy_iterator())
    rest = list(endless().skip(8).take(4).as_numpy_iterator())
    for (image, label), (want_image, want_label) in zip(rest, whole[8:], strict=True):
        np.testing.assert_array_equal(image, want_image)
        np.testing.assert_array_equal(label, want_label)


def test_batches():
    dataset = datasets.load("digits", "train", batch_size=64)
    assert int(dataset.cardinality()) == -(-1438 // 64)
    assert next(iter(dataset))[0].shape == (64, 28, 28, 1)


def test_list_has_the_requirements_of_each_set():
    infos = datasets.list_datasets()
    assert {name for name, info in infos.items() if info.needs_network} == {
        "mnist",
        "top_left_mnist",
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "cifar20",
        "svhn_cropped",
        "gtsrb",
        "cluttered_mnist",
        "cluttered_translated_mnist",
        "stanford_dogs",
        "cars196",
        "caltech_birds2011",
    }
    assert {name for name, info in infos.items() if info.needs_files} == {
        "adience_age",
        "adience_gender",
        "uec_food100",
        "mit_scenes",
        "gtsdb",
        "svhn_numbers",
        "imagenet2012",
        "pain_archive",
        "mocap",
        "flights",
    }
    assert {name for name, info in infos.items() if info.regression} == {
        "pain_archive",
        "flights",
        "digit_forecast",
    }
    assert {name for name, info in infos.items() if info.kind == "sequences"} == {
        "mocap",
        "flights",
        "digit_sequences",
        "digit_forecast",
    }
    assert {name for name, info in infos.items() if info.detection} == {"gtsdb"}
    assert infos["gtsrb"].options == {"crop": True}
    assert {hash(info) for info in infos.values()}, "usable as keys"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "top_left_digit"}, "Did you mean 'top_left_digits'"),
        ({"split": "validation"}, "'train', 'test'.*Received: split='validation'"),
        ({"size": 0}, "Received: size=0"),
        ({"name": "top_left_digits", "size": 57}, "multiple of 2.*Received: size=57"),
        ({"batch_size": 0}, "Received: batch_size=0"),
        ({"seed": 1.5}, "Received: seed=1.5"),
        ({"train_size": 5}, "from 10 to 1787.*Received: train_size=5"),
        ({"train_size": 1797}, "Received: train_size=1797"),
        ({"data_dir": "somewhere"}, "'digits', which is bundled.*Received: data_dir='somewhere'"),
        ({"name": "gtsrb", "data_dir": 3}, "path of a folder. Received: data_dir=3"),
        ({"shufle": True}, "Options of 'digits' are: none. Received: shufle=True"),
        ({"name": "gtsrb", "corp": True}, "are: crop. Received: corp=True. Did you mean 'crop'"),
        ({"name": "gtsrb", "crop": 1}, "True or False. Received: crop=1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(**{"name": "digits", "split": "train", **arguments})
