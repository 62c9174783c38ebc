"""The generated set in GTSDB's format: drawn signs on bundled photographs."""

import numpy as np
import pytest
from PIL import Image
from scale_space_detection_parts.generated import Generated, overlap, write_set
from scale_space_detection_parts.signs import LOOKS, draw_sign

from keras_attention import datasets

SMALL = Generated(train=12, test=6, width=64, height=48, smallest=12, largest=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("made") / "generated", SMALL)


def lines_of(folder):
    return [line.split(";") for line in (folder / "gt.txt").read_text().splitlines()]


def test_the_set_is_read_as_gtsdb(folder):
    train, test = (
        list(datasets.load("gtsdb", split, data_dir=folder, size=64, shuffle=False))
        for split in ("train", "test")
    )
    assert (len(train), len(test)) == (12, 6)
    labels = np.stack([labels["labels"] for _, labels in train + test])
    assert (labels >= 0).sum() == len(lines_of(folder))
    assert labels.max() <= 42
    assert (labels < 0).all(axis=1).any(), "some pictures show no sign"


def test_signs_have_their_sizes_and_do_not_overlap(folder):
    by_picture = {}
    for name, *values in lines_of(folder):
        by_picture.setdefault(name, []).append(tuple(map(int, values[:4])))
    boxes = np.concatenate(list(by_picture.values()))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert 8 <= sides.min() <= sides.max() <= 30
    for signs in by_picture.values():
        assert len(signs) <= 3
        assert not any(overlap(a, b) for i, a in enumerate(signs) for b in signs[:i])
    with Image.open(folder / "00600.ppm") as picture:
        assert (picture.format, picture.size) == ("PPM", (64, 48))


def test_a_seed_makes_a_set(folder, tmp_path):
    def contents(path):
        return {file.name: file.read_bytes() for file in path.iterdir()}

    again = write_set(tmp_path / "again", SMALL)
    other = write_set(tmp_path / "other", Generated(**{**vars(SMALL), "seed": 1}))
    assert contents(again) == contents(folder)
    assert contents(other)["00000.ppm"] != contents(folder)["00000.ppm"]


@pytest.mark.parametrize("category", LOOKS)
def test_categories_look_different(category, rng):
    digit = np.zeros((8, 8), "float32")
    sign = np.asarray(draw_sign(category, digit, 40, rng)).astype(float)
    assert min(sign.shape[:2]) > 28
    corner, middle = sign[0, 0], sign[sign.shape[0] * 2 // 3, sign.shape[1] // 2]
    assert corner[3] < 128, "no sign is a square"
    red, _, blue, alpha = middle
    assert alpha == 255
    expected = {"mandatory": blue > 2 * red, "other": red > 2 * blue}
    assert expected.get(category, abs(red - blue) < 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 601}, "from 1 to 600. Received: train=601"),
        ({"test": 0}, "from 1 to 300. Received: test=0"),
        ({"largest": 300}, "Received: smallest=24, largest=300"),
    ],
)
def test_what_cannot_be_generated(options, message):
    with pytest.raises(ValueError, match=message):
        Generated(**options)


def test_a_folder_with_other_pictures_is_refused(folder):
    fewer = Generated(**{**vars(SMALL), "test": 5})
    with pytest.raises(ValueError, match=r"no other pictures. Received: .*00605.ppm"):
        write_set(folder, fewer)
