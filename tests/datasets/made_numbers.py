"""A small folder of SVHN's whole images in its true format."""

import h5py
import numpy as np
from PIL import Image

# Of each part: the number that an image shows, and the image's rows and columns.
PARTS = {
    "train": [("7", (30, 60)), ("19", (64, 128)), ("205", (20, 90)), ("123456", (30, 60))],
    "extra": [("4321", (70, 40)), ("10", (30, 60))],
    "test": [
        ("5", (30, 60)),
        ("90210", (40, 80)),
        ("31", (30, 60)),
        ("8", (80, 40)),
        ("62", (30, 60)),
    ],
}


def color(part, number):
    """Every image has a color of its own."""
    return 20 * (1 + list(PARTS).index(part)), 30 * number, 200


def pixels(part, number, sides):
    image = np.full((*sides, 3), color(part, number), "uint8")
    image[:, sides[1] // 2 :] //= 2
    return image


def make_svhn(folder):
    """The three folders as they unpack: images 1.png and so on, and digitStruct.mat."""
    for part, shown in PARTS.items():
        (folder / part).mkdir(parents=True)
        for number, (_, sides) in enumerate(shown, start=1):
            Image.fromarray(pixels(part, number, sides)).save(folder / part / f"{number}.png")
        numbers = {f"{place}.png": digits for place, (digits, _) in enumerate(shown, start=1)}
        write_digit_struct(folder / part / "digitStruct.mat", numbers)
    return folder


def write_digit_struct(path, numbers):
    """Writes what MATLAB writes: columns of references to names and to groups of boxes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        struct, targets = file.create_group("digitStruct"), file.create_group("#refs#")
        columns = {
            column: struct.create_dataset(column, (len(numbers), 1), h5py.ref_dtype)
            for column in ("name", "bbox")
        }
        for row, (name, digits) in enumerate(numbers.items()):
            codes = np.array([[ord(letter)] for letter in name], "uint16")
            columns["name"][row, 0] = targets.create_dataset(f"n{row}", data=codes).ref
            boxes = targets.create_group(f"b{row}")
            columns["bbox"][row, 0] = boxes.ref
            labels = [float(digit) or 10.0 for digit in digits]
            for key in ("height", "label", "left", "top", "width"):
                write_column(
                    targets, boxes, key, labels if key == "label" else [12.0] * len(labels)
                )


def write_column(targets, boxes, key, values):
    """One number as it is, several as references to them."""
    if len(values) == 1:
        boxes.create_dataset(key, data=np.array([values]))
        return
    column = boxes.create_dataset(key, (len(values), 1), h5py.ref_dtype)
    for row, value in enumerate(values):
        name = f"{boxes.name.split('/')[-1]}_{key}_{row}"
        column[row, 0] = targets.create_dataset(name, data=np.array([[value]])).ref
