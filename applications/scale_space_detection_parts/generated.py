"""Writes a small generated set in GTSDB's format: drawn signs on bundled photographs.

The numbers that come of it say that a detector learns, not how it would do on streets.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import keras_attention as ka
from scale_space_detection_parts.signs import draw_sign

FIRST = {"train": 0, "test": 600}
MOST_OF_PART = {"train": 600, "test": 300}
# Training pictures are cut from the left part of the photographs, test pictures from the right.
TRAIN_PART = 0.6
TRIES = 50


@dataclass(frozen=True)
class Generated:
    """What is generated.

    Attributes:
        train: Pictures for training, 600 at most.
        test: Pictures for testing, 300 at most.
        width: Pixels of a picture.
        height: Pixels of a picture.
        signs: The most signs of a picture; each number from 0 is as frequent.
        smallest: Pixels across the smallest sign.
        largest: Pixels across the largest sign.
        seed: Of everything that is drawn.
    """

    train: int = 120
    test: int = 40
    width: int = 256
    height: int = 256
    signs: int = 3
    smallest: int = 24
    largest: int = 80
    seed: int = 0

    def __post_init__(self):
        for name, most in MOST_OF_PART.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(
                    f"`{name}` must be from 1 to {most}. Received: {name}={getattr(self, name)}"
                )
        if not 8 <= self.smallest <= self.largest <= min(self.width, self.height):
            raise ValueError(
                "Signs must be from 8 pixels to the picture's shorter side across. Received: "
                f"smallest={self.smallest}, largest={self.largest}, width={self.width}, "
                f"height={self.height}"
            )


def write_set(folder: Path, what: Generated) -> Path:
    """Writes gt.txt and the pictures as GTSDB's archive unpacks; returns the folder.

    Raises:
        ValueError: For a folder with other pictures, which would become part of the set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {part: range(first, first + getattr(what, part)) for part, first in FIRST.items()}
    names = {f"{number:05d}.ppm" for part in numbers.values() for number in part}
    others = sorted(path.name for path in folder.glob("*.ppm") if path.name not in names)
    if others:
        raise ValueError(
            f"`folder` must hold no other pictures. Received: {str(folder)!r} with {others[0]}"
        )
    lines = []
    for part in numbers:
        painter = Painter(part, what, np.random.default_rng((what.seed, FIRST[part])))
        for number in numbers[part]:
            picture, signs = painter.paint()
            picture.save(folder / f"{number:05d}.ppm")
            lines += [";".join(map(str, (f"{number:05d}.ppm", *sign))) for sign in signs]
    (folder / "gt.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return folder


class Painter:
    """Paints the pictures of one part, with digits and backgrounds that the other has not.

    Args:
        part: `"train"` or `"test"`.
        what: What is generated.
        random: Draws everything.
    """

    def __init__(self, part: str, what: Generated, random: np.random.Generator):
        digits = ka.datasets.load("digits", part, size=8, shuffle=False).as_numpy_iterator()
        self.digits = [(image[..., 0], int(label)) for image, label in digits]
        self.photographs = photographs(part)
        self.what, self.random = what, random

    def paint(self) -> tuple[Image.Image, list[tuple[int, ...]]]:
        """A picture and its signs: left, top, right, bottom and class."""
        picture = self.background()
        taken: list[tuple[int, ...]] = []
        for _ in range(self.random.integers(self.what.signs + 1)):
            sign, label = self.sign()
            box = self.free_place(sign, taken)
            if box is not None:
                picture.paste(sign, box[:2], sign)
                taken.append((*box, label))
        return picture, taken

    def background(self) -> Image.Image:
        """Some part of a photograph, mirrored or not, brighter or darker."""
        photograph = self.photographs[self.random.integers(len(self.photographs))]
        share = min(photograph.width / self.what.width, photograph.height / self.what.height)
        share *= self.random.uniform(0.4, 1.0)
        width, height = int(self.what.width * share), int(self.what.height * share)
        left = int(self.random.integers(photograph.width - width + 1))
        top = int(self.random.integers(photograph.height - height + 1))
        cut = photograph.resize(
            (self.what.width, self.what.height), box=(left, top, left + width, top + height)
        )
        if self.random.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        light = self.random.uniform(0.6, 1.2)
        return cut.point(lambda value: min(255, int(value * light)))

    def sign(self) -> tuple[Image.Image, int]:
        """A sign of some category and size, and its class of the 43."""
        category = self.random.choice(list(ka.datasets.GTSDB_CATEGORIES))
        labels = ka.datasets.GTSDB_CATEGORIES[category]
        said = [(image, digit) for image, digit in self.digits if digit < len(labels)]
        image, digit = said[self.random.integers(len(said))]
        span = np.log([self.what.smallest, self.what.largest])
        side = round(float(np.exp(self.random.uniform(*span))))
        return draw_sign(category, image, side, self.random), labels[digit]

    def free_place(self, sign: Image.Image, taken: list[tuple[int, ...]]) -> tuple | None:
        """A box where no other sign is, or None where none was found."""
        for _ in range(TRIES):
            left = int(self.random.integers(self.what.width - sign.width + 1))
            top = int(self.random.integers(self.what.height - sign.height + 1))
            box = (left, top, left + sign.width, top + sign.height)
            if not any(overlap(box, other) for other in taken):
                return box
        return None


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two boxes share a pixel."""
    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return not apart


def photographs(part: str) -> list[Image.Image]:
    """The left or the right part of scikit-learn's two bundled photographs."""
    from sklearn.datasets import load_sample_images

    cuts = []
    for pixels in load_sample_images().images:
        border = int(pixels.shape[1] * TRAIN_PART)
        cuts.append(Image.fromarray(pixels[:, :border] if part == "train" else pixels[:, border:]))
    return cuts
