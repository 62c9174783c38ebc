"""Malicious folders: links that lead outside and headers that claim too much memory."""

import struct
import zlib

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_attention import datasets
from keras_attention.datasets import folders, image_files, svhn
from tests.datasets.image_dataset_files import (
    make_adience,
    make_gtsdb,
    make_gtsrb,
    make_mit_scenes,
    make_pain_archive,
    make_svhn,
    make_uec_food,
    write_digit_struct,
)
from tests.datasets.sequence_files import make_flights, make_sensors
from tests.harness import cross_section

pytestmark = pytest.mark.filterwarnings("ignore:.* numbers have more than 5 digits")
# For each set: function that writes its folder, split to load, and its images or tables.
SETS = {
    "gtsrb": (make_gtsrb, {}, "GTSRB/Final_Training/Images/*/*.ppm"),
    "gtsdb": (make_gtsdb, {}, "FullIJCNN2013/00000.ppm"),
    "pain_archive": (make_pain_archive, {}, "Images/*/*/*.png"),
    "adience_age": (make_adience, {}, "aligned/*/*.jpg"),
    "uec_food100": (make_uec_food, {}, "UECFOOD100/*/*.jpg"),
    "mit_scenes": (make_mit_scenes, {}, "indoorCVPR_09/Images/*/*"),
    "svhn_numbers": (make_svhn, {"whole": True}, "train/*.png"),
}
TABLES = {
    "gtsrb": (make_gtsrb, {}, "GTSRB/Final_Training/Images/*/*.csv"),
    "gtsdb": (make_gtsdb, {}, "FullIJCNN2013/gt.txt"),
    "pain_archive": (make_pain_archive, {}, "AAM_landmarks/*/*/*.txt"),
    "adience_age": (make_adience, {}, "fold_*_data.txt"),
    "uec_food100": (make_uec_food, {}, "UECFOOD100/*/bb_info.txt"),
    "mit_scenes": (make_mit_scenes, {}, "indoorCVPR_09/TrainImages.txt"),
    "mocap": (make_sensors, {}, "*/*.csv"),
    "flights": (make_flights, {}, "*/*.csv"),
}


def hostile_png(rows, columns):
    """A PNG file of a few bytes whose header claims a given size."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def first_example(name, folder, options):
    return next(iter(datasets.load(name, "train", 1, data_dir=folder, **options)))


def made(sets, name, tmp_path):
    make, options, pattern = sets[name]
    folder = tmp_path / "data"
    folder.mkdir()
    make(folder)
    return folder, options, sorted(folder.glob(pattern))


@pytest.mark.parametrize(
    ("sets", "name"),
    [
        pytest.param(sets, name, id=f"{what}-{name}")
        for what, sets in (("images", SETS), ("tables", TABLES))
        for name in sets
    ],
)
def test_files_that_link_out_of_the_folder(sets, name, tmp_path):
    folder, options, paths = made(sets, name, tmp_path)
    for path in paths:
        path.rename(tmp_path / "secret")
        path.symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="Expected files inside"):
        first_example(name, folder, options)


@pytest.mark.parametrize("name", cross_section(SETS, fast={"gtsrb"}))
def test_images_of_billions_of_pixels(name, tmp_path):
    folder, options, paths = made(SETS, name, tmp_path)
    for path in paths:
        path.write_bytes(hostile_png(50_000, 50_000))
    expected = rf"at most {image_files.MAX_PIXELS} pixels|exceeds limit"
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=expected):
        first_example(name, folder, options)


@pytest.mark.parametrize("entry", ["../../../../../secret", "/etc/passwd", "a/../../../../../b"])
def test_entries_that_name_a_file_elsewhere(entry, tmp_path):
    folder, options, _ = made(SETS, "gtsrb", tmp_path)
    (table, *_) = folder.glob("GTSRB/Final_Training/Images/*/*.csv")
    table.write_text(table.read_text().replace("00000_00000.ppm", entry))
    with pytest.raises(ValueError, match="Expected files inside"):
        first_example("gtsrb", folder, options)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG"])
def test_whole_images_of_every_kind_are_read(kind, tmp_path):
    path = tmp_path / "image"
    Image.fromarray(np.full((21, 37, 3), 9, "uint8")).save(path, kind)
    file = tf.io.read_file(str(path))
    assert image_files.check_image_file(file) == file
    with image_files.open_image(path) as image:
        assert image.size == (37, 21)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"GIF89a",
        b"RIFF0000WEBP",
        b"\x89PNG",
        b"%!PS-Adobe",
        b"GIF89a\xff\xff\xff\xff",
        b"BM" + b"\0" * 16 + b"\xff\xff\xff\x7f" * 2,
        hostile_png(2**31 - 1, 2**31 - 1),
    ],
    ids=lambda file: repr(file[:12]),
)
def test_other_files_are_no_images(file, tmp_path):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected a BMP, GIF, JPEG or PNG"):
        image_files.check_image_file(tf.constant(file))
    path = tmp_path / "image"
    path.write_bytes(file)
    with pytest.raises(ValueError, match="Received: "):
        image_files.open_image(path)


def test_links_to_the_same_folder_are_followed(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").touch()
    (tmp_path / "b").symlink_to(tmp_path / "one" / "a")
    folders.check_all_inside(tmp_path, [tmp_path / "one" / "a", tmp_path / "b"])


def external_link(file, path):
    del file["digitStruct"]["name"]
    file["digitStruct"]["name"] = h5py.ExternalLink(str(path), "/digitStruct/name")


def external_values(file, path):
    del file["digitStruct"]["name"]
    file["digitStruct"].create_dataset("name", (2, 1), "u1", external=[(str(path), 0, 2)])


def endless_values(file, path):
    del file["digitStruct"]["name"]
    file["digitStruct"].create_dataset("name", (2**40, 1), h5py.ref_dtype, chunks=(1, 1))


@pytest.mark.parametrize("attack", [external_link, external_values, endless_values])
def test_tables_of_numbers_hold_their_own_values(attack, tmp_path):
    table, other = tmp_path / "digitStruct.mat", tmp_path / "other.mat"
    for path in (table, other):
        write_digit_struct(path, {"1.png": "42", "2.png": "7"})
    assert svhn.read_digit_struct(table) == {"1.png": (4, 2), "2.png": (7,)}
    with h5py.File(table, "r+") as file:
        attack(file, other)
    with pytest.raises(ValueError, match=r"a link to elsewhere|of another file|more than"):
        svhn.read_digit_struct(table)
