"""Generated data set in the format of GTSDB: drawn signs on bundled photographs."""

import numpy as np
import pytest
from PIL import Image
from scale_space_detection_experiment.generated import (
    STYLES,
    GeneratedSet,
    draw_sign,
    overlap,
    write_set,
)

from keras_attention import datasets

SMALL = GeneratedSet(train=12, test=6, width=64, height=48, smallest=12, largest=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("made") / "generated", SMALL)


def lines_of(folder):
    return [line.split(";") for line in (folder / "gt.txt").read_text().splitlines()]


def test_reader_of_gtsdb_reads_the_set(folder):
    train, test = (
        list(datasets.load("gtsdb", split, data_dir=folder, size=64, shuffle=False))
        for split in ("train", "test")
    )
    assert (len(train), len(test)) == (12, 6)
    labels = np.stack([labels["labels"] for _, labels in train + test])
    assert (labels >= 0).sum() == len(lines_of(folder))
    assert labels.max() <= 42
    assert (labels < 0).all(axis=1).any(), "some images have no sign"


def test_signs_have_their_sizes_and_do_not_overlap(folder):
    by_image = {}
    for name, *values in lines_of(folder):
        by_image.setdefault(name, []).append(tuple(map(int, values[:4])))
    boxes = np.concatenate(list(by_image.values()))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert 8 <= sides.min() <= sides.max() <= 30
    for signs in by_image.values():
        assert len(signs) <= 3
        assert not any(overlap(a, b) for i, a in enumerate(signs) for b in signs[:i])
    with Image.open(folder / "00600.ppm") as image:
        assert (image.format, image.size) == ("PPM", (64, 48))


@pytest.mark.slow
def test_sets_depend_on_the_seed(folder, tmp_path):
    def contents(path):
        return {file.name: file.read_bytes() for file in path.iterdir()}

    again = write_set(tmp_path / "again", SMALL)
    other = write_set(tmp_path / "other", GeneratedSet(**{**vars(SMALL), "seed": 1}))
    assert contents(again) == contents(folder)
    assert contents(other)["00000.ppm"] != contents(folder)["00000.ppm"]


@pytest.mark.parametrize("category", STYLES)
def test_categories_have_their_shapes_and_colors(category, rng):
    digit = np.zeros((8, 8), "float32")
    sign = np.asarray(draw_sign(category, digit, 40, rng)).astype(float)
    assert min(sign.shape[:2]) > 28
    corner, middle = sign[0, 0], sign[sign.shape[0] * 2 // 3, sign.shape[1] // 2]
    assert corner[3] < 128, "no sign fills its corners"
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
def test_invalid_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GeneratedSet(**options)


def test_folder_with_other_images_is_refused(folder):
    fewer = GeneratedSet(**{**vars(SMALL), "test": 5})
    with pytest.raises(ValueError, match=r"no other images. Received: .*00605.ppm"):
        write_set(folder, fewer)
