"""The official folder of GTSRB: a few generated images in the original format."""

import shutil

import numpy as np
import pytest

from keras_attention import datasets
from tests.datasets.image_dataset_files import CLASSES, OF_CLASS, make_gtsrb


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_gtsrb(tmp_path_factory.mktemp("signs"))


@pytest.fixture
def folder(made, tmp_path):
    """A copy that a test may modify."""
    return shutil.copytree(made, tmp_path / "copy")


def arrays(split, **arguments):
    dataset = datasets.load("gtsrb", split, **arguments)
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.array(labels)


@pytest.mark.parametrize("inside", ["", "GTSRB"])
def test_signs_are_cropped_and_resized(made, inside):
    dataset = datasets.load("gtsrb", "train", data_dir=made / inside, shuffle=False)
    assert dataset.element_spec[0].shape == (32, 32, 3)
    images, labels = arrays("train", data_dir=str(made / inside), shuffle=False)
    assert labels.tolist() == np.repeat(CLASSES, OF_CLASS).tolist()
    assert images.dtype == np.float32
    np.testing.assert_allclose(images[:, :, :14, 1:], 0)
    np.testing.assert_allclose(images[:, :, 18:], 200 / 255, rtol=1e-6)


def test_test_part_and_whole_images(made):
    images, labels = arrays("test", data_dir=made, size=8, crop=False)
    assert labels.tolist() == [*CLASSES, *CLASSES]
    assert images.shape == (6, 8, 8, 3)
    assert images[:, 0].max() < 0.1, "the margin is black"
    assert images[:, 4, 6].max() > 0.5


def test_the_environment_variable_leads_to_the_folder(made, monkeypatch):
    monkeypatch.setenv("GTSRB_DIR", str(made))
    assert len(arrays("test")[1]) == 6


def test_train_size_takes_a_share_of_every_class(made):
    _, labels = arrays("train", data_dir=made, train_size=6)
    assert np.unique(labels, return_counts=True)[1].tolist() == [2, 2, 2]


@pytest.mark.parametrize("location", ["Final_Test", "", ".."])
def test_labels_of_the_test_split_may_be_in_parent_folders(folder, location):
    images = folder / "GTSRB" / "Final_Test" / "Images"
    (images / "GT-final_test.csv").rename(folder / "GTSRB" / location / "GT-final_test.csv")
    assert len(arrays("test", data_dir=folder)[1]) == 6


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_errors_describe_the_expected_folder(folder, monkeypatch):
    training = folder / "GTSRB" / "Final_Training"
    table = training / "Images" / "00007" / "GT-00007.csv"

    edit(table, ";7\n", ";43\n")
    with pytest.raises(ValueError, match=r"from 0 to 42.*Received: ClassId=0 to 43"):
        arrays("train", data_dir=folder)
    edit(table, ";43\n", ";7\n")
    edit(table, "_00001.ppm;31;28;5;", "_00001.ppm;31;28;30;")
    with pytest.raises(ValueError, match=r"inside the 31x28 pixels.*Received: Roi=\(30, 5, 26"):
        arrays("train", data_dir=folder)
    edit(table, "_00001.ppm;31;28;30;", "_00001.ppm;31;28;;")
    with pytest.raises(ValueError, match=r"line 3 of .*GT-00007.csv.*Received: \['00000_00001"):
        arrays("train", data_dir=folder)
    edit(table, "Roi.X1", "X1")
    with pytest.raises(ValueError, match=r"Filename;Roi.X1.*GT-00007.csv.*Received: columns="):
        arrays("train", data_dir=folder)

    (folder / "GTSRB" / "Final_Test" / "Images" / "GT-final_test.csv").unlink()
    with pytest.raises(ValueError, match=r"GTSRB_Final_Test_GT.zip.*Received: data_dir=.*ppm"):
        arrays("test", data_dir=folder)
    shutil.rmtree(training)
    with pytest.raises(ValueError, match=r"GTSRB/Final_Training/Images.*not a folder"):
        arrays("train", data_dir=folder)
    monkeypatch.setenv("GTSRB_DIR", str(folder.parent))
    with pytest.raises(ValueError, match=r"GTSRB_DIR must name.*a folder with copy"):
        arrays("train")
