"""The official folder of GTSDB: a few generated images in the original format."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_attention import datasets
from tests.datasets.image_dataset_files import make_gtsdb


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_gtsdb(tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def root(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy") / "FullIJCNN2013"


def items(split, **arguments):
    return list(datasets.load("gtsdb", split, **arguments).as_numpy_iterator())


@pytest.mark.parametrize("inside", ["", "FullIJCNN2013"])
def test_images_fill_the_top_left_of_squares(made, inside):
    dataset = datasets.load("gtsdb", "train", data_dir=made / inside, size=68, shuffle=False)
    image, labels = dataset.element_spec
    assert image == tf.TensorSpec((68, 68, 3), tf.float32)
    assert labels["boxes"] == tf.TensorSpec((8, 4), tf.float32)
    assert labels["labels"] == tf.TensorSpec((8,), tf.int64)

    wide, empty, high = dataset.as_numpy_iterator()
    assert wide[1]["labels"].tolist() == [11, 1, *6 * [-1]]
    assert wide[1]["boxes"][:3].tolist() == [[17, 10, 34, 20], [0, 0, 5, 40], 4 * [-1]]
    assert wide[0][40:].max() == 0, "below the image"
    np.testing.assert_allclose(wide[0][11:19, 18:33, 0], 200 / 255, rtol=1e-6)
    np.testing.assert_allclose(wide[0][11:19, 18:33, 1:], 0)
    assert empty[1]["labels"].max() == -1, "an image without signs"
    np.testing.assert_allclose(empty[0][:40], 100 / 255, rtol=1e-6)
    assert high[0][:, 46:].max() == 0, "beside the image"
    np.testing.assert_allclose(high[1]["boxes"][0], [4.5, 6.8, 45, 68], rtol=1e-6)


def test_images_can_be_stretched(made):
    (image, labels), _ = items("test", data_dir=made, size=40, keep_aspect_ratio=False)
    np.testing.assert_allclose(labels["boxes"][0], [20, 20, 40, 40])
    assert image[:, :, 1].min() == 0
    assert image[30:, :15].min() > 0.3


def test_options(made):
    (_, labels), _ = items("test", data_dir=made, max_boxes=1, superclasses=True, size=8)
    assert labels["labels"].tolist() == [1]
    assert sorted(sum(datasets.GTSDB_CATEGORIES.values(), ())) == list(range(43))


def test_the_environment_variable_leads_to_the_folder(made, monkeypatch):
    monkeypatch.setenv("GTSDB_DIR", str(made))
    assert len(items("test", size=8)) == 2
    assert len(items("train", size=8, train_size=2)) == 2


def test_passes_have_orders_of_their_own_and_the_same_for_a_seed(made):
    first, second = (
        datasets.load("gtsdb", "train", 2, data_dir=made, size=8, seed=1) for _ in range(2)
    )

    def labels(dataset, passes=6):
        return [
            np.concatenate([batch["labels"].numpy() for _, batch in dataset]) for _ in range(passes)
        ]

    orders = labels(second)
    assert len({order.tobytes() for order in orders}) > 1
    for mine, yours in zip(labels(first), orders, strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert [tuple(images.shape) for images, _ in first] == [(2, 8, 8, 3), (1, 8, 8, 3)]


def test_images_are_read_when_they_come(root):
    """Loading the set reads only the headers of the images."""
    path = root / "00600.ppm"
    path.write_bytes(path.read_bytes()[:500])
    dataset = datasets.load("gtsdb", "test", data_dir=root)
    with pytest.raises(tf.errors.OpError, match=r"complete image in .*00600.ppm"):
        next(iter(dataset))


@pytest.mark.parametrize(
    "line",
    [
        "00000.ppm;34;20;68;40",
        "00000.ppm;34;20;68;40;11;0",
        "00000.ppm;34;20;;40;11",
        "00000.ppm;34;20;-68;40;11",
        "00000.ppm;34;20;68;40;43",
        "../00000.ppm;34;20;68;40;11",
        "/00000.ppm;34;20;68;40;11",
        "0000.ppm;34;20;68;40;11",
        "00000.png;34;20;68;40;11",
        "\udcff",
    ],
)
def test_broken_lines_are_named(root, line):
    with (root / "gt.txt").open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    with pytest.raises(ValueError, match=r"in line 5 of .*gt\.txt'\. Received: "):
        items("train", data_dir=root)


@pytest.mark.parametrize("box", ["0;0;137;80", "0;0;136;81", "9;0;9;80", "9;30;20;20"])
def test_boxes_outside_are_named(root, box):
    with (root / "gt.txt").open("a") as file:
        file.write(f"00007.ppm;{box};3\n")
    expected = r"inside the 136x80 pixels of '00007.ppm' in line 5 .*Received: box="
    with pytest.raises(ValueError, match=expected + rf"\({box.replace(';', ', ')}\)"):
        items("train", data_dir=root)
    assert len(items("test", data_dir=root, size=8)) == 2


def test_errors_name_what_is_missing(root, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must be at least 2, .*'00000.ppm'.*: max_boxes=1"):
        items("train", data_dir=root, max_boxes=1)
    with pytest.raises(ValueError, match=r"from 1 to 3. Received: train_size=4"):
        items("train", data_dir=root, train_size=4)
    for name in ("keep_aspect_ratio", "superclasses"):
        with pytest.raises(ValueError, match=f"True or False. Received: {name}=1"):
            items("train", data_dir=root, **{name: 1})
    (root / "00899.ppm").write_text("no image")
    with pytest.raises(ValueError, match=r"an image in .*00899.ppm"):
        items("test", data_dir=root)
    (root / "00600.ppm").unlink()
    with pytest.raises(ValueError, match=r"in line 4 of its gt.txt. Received: '00600.ppm'"):
        items("train", data_dir=root)
    lines = [line for line in (root / "gt.txt").read_text().splitlines() if "00600" not in line]
    (root / "gt.txt").write_text("\n".join(lines))
    (root / "00899.ppm").unlink()
    with pytest.raises(ValueError, match=r"without images for split='test'"):
        items("test", data_dir=root)
    (root / "gt.txt").unlink()
    with pytest.raises(ValueError, match=r"GTSDB_DIR, must name .*Received: data_dir=.*00000.ppm"):
        items("train", data_dir=root)
    monkeypatch.delenv("GTSDB_DIR", raising=False)
    with pytest.raises(ValueError, match=r"gt.txt and 00000.ppm to 00899.ppm.*data_dir=None"):
        items("train")
