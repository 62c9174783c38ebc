"""Generates a small data set in the format of GTSDB: drawn signs on bundled photographs.

Results on it show that a detector learns; they do not predict its accuracy on photographs of roads.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import keras_attention as ka

# Numbers of the first image of each split, and the largest numbers of images.
FIRST = {"train": 0, "test": 600}
MAX_IMAGES = {"train": 600, "test": 300}
# Training images are cropped from the left part of the photographs, test images from the right.
TRAIN_FRACTION = 0.6
TRIES = 50
# Signs are drawn at a multiple of their size and downsampled, for smooth edges.
SUPERSAMPLING = 4
MAX_ROTATION = 8  # degrees
RED, BLUE, WHITE, BLACK = (190, 20, 30), (20, 70, 160), (240, 240, 240), (20, 20, 20)
# By category: number of corners (0 for a disc), color, inner color or None, color of the digit.
STYLES = {
    "prohibitory": (0, RED, WHITE, BLACK),
    "mandatory": (0, BLUE, None, WHITE),
    "danger": (3, RED, WHITE, BLACK),
    "other": (8, RED, None, WHITE),
}


@dataclass(frozen=True)
class GeneratedSet:
    """Settings of a generated data set."""

    train: int = 120  # Number of training images, at most 600
    test: int = 40  # Number of test images, at most 300
    width: int = 256  # Width of an image in pixels
    height: int = 256  # Height of an image in pixels
    signs: int = 3  # Maximum number of signs per image; all numbers from 0 are equally likely
    smallest: int = 24  # Side of the smallest sign in pixels
    largest: int = 80  # Side of the largest sign in pixels
    seed: int = 0  # Random seed

    def __post_init__(self):
        for name, most in MAX_IMAGES.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(
                    f"`{name}` must be from 1 to {most}. Received: {name}={getattr(self, name)}"
                )
        if not 8 <= self.smallest <= self.largest <= min(self.width, self.height):
            raise ValueError(
                "Signs must have at least 8 pixels and fit into the image. Received: "
                f"smallest={self.smallest}, largest={self.largest}, width={self.width}, "
                f"height={self.height}"
            )


def write_set(folder: Path, settings: GeneratedSet) -> Path:
    """Writes gt.txt and the images in the layout of GTSDB's archive; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {part: range(first, first + getattr(settings, part)) for part, first in FIRST.items()}
    names = {f"{number:05d}.ppm" for part in numbers.values() for number in part}
    others = sorted(path.name for path in folder.glob("*.ppm") if path.name not in names)
    if others:
        raise ValueError(
            f"`folder` must contain no other images. Received: {str(folder)!r} with {others[0]}"
        )
    lines = []
    for part in numbers:
        generator = ImageGenerator(
            part, settings, np.random.default_rng((settings.seed, FIRST[part]))
        )
        for number in numbers[part]:
            image, signs = generator.generate()
            image.save(folder / f"{number:05d}.ppm")
            lines += [";".join(map(str, (f"{number:05d}.ppm", *sign))) for sign in signs]
    (folder / "gt.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return folder


class ImageGenerator:
    """Generates the images of a split; the splits share no digits and no backgrounds.

    Args:
        part: `"train"` or `"test"`.
        settings: Settings of the data set.
        random: Random number generator.
    """

    def __init__(self, part: str, settings: GeneratedSet, random: np.random.Generator):
        digits = ka.datasets.load("digits", part, size=8, shuffle=False).as_numpy_iterator()
        self.digits = [(image[..., 0], int(label)) for image, label in digits]
        self.photographs = photographs(part)
        self.settings, self.random = settings, random

    def generate(self) -> tuple[Image.Image, list[tuple[int, ...]]]:
        """Generates an image and its signs: left, top, right, bottom and class."""
        image = self.background()
        taken: list[tuple[int, ...]] = []
        for _ in range(self.random.integers(self.settings.signs + 1)):
            sign, label = self.sign()
            box = self.free_box(sign, taken)
            if box is not None:
                image.paste(sign, box[:2], sign)
                taken.append((*box, label))
        return image, taken

    def background(self) -> Image.Image:
        """Returns a random crop of a photograph with random flip and brightness."""
        photograph = self.photographs[self.random.integers(len(self.photographs))]
        share = min(
            photograph.width / self.settings.width, photograph.height / self.settings.height
        )
        share *= self.random.uniform(0.4, 1.0)
        width, height = int(self.settings.width * share), int(self.settings.height * share)
        left = int(self.random.integers(photograph.width - width + 1))
        top = int(self.random.integers(photograph.height - height + 1))
        cut = photograph.resize(
            (self.settings.width, self.settings.height), box=(left, top, left + width, top + height)
        )
        if self.random.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        light = self.random.uniform(0.6, 1.2)
        return cut.point(lambda value: min(255, int(value * light)))

    def sign(self) -> tuple[Image.Image, int]:
        """Returns a sign of random category and size, and its class among the 43."""
        category = self.random.choice(list(ka.datasets.GTSDB_CATEGORIES))
        labels = ka.datasets.GTSDB_CATEGORIES[category]
        usable = [(image, digit) for image, digit in self.digits if digit < len(labels)]
        image, digit = usable[self.random.integers(len(usable))]
        span = np.log([self.settings.smallest, self.settings.largest])
        side = round(float(np.exp(self.random.uniform(*span))))
        return draw_sign(category, image, side, self.random), labels[digit]

    def free_box(self, sign: Image.Image, taken: list[tuple[int, ...]]) -> tuple | None:
        """Returns a random box that overlaps no other sign, or None if none was found."""
        for _ in range(TRIES):
            left = int(self.random.integers(self.settings.width - sign.width + 1))
            top = int(self.random.integers(self.settings.height - sign.height + 1))
            box = (left, top, left + sign.width, top + sign.height)
            if not any(overlap(box, other) for other in taken):
                return box
        return None


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Returns True if two boxes share a pixel."""
    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return not apart


def photographs(part: str) -> list[Image.Image]:
    """Returns the left or the right part of the two photographs bundled with scikit-learn."""
    from sklearn.datasets import load_sample_images

    cuts = []
    for pixels in load_sample_images().images:
        border = int(pixels.shape[1] * TRAIN_FRACTION)
        cuts.append(Image.fromarray(pixels[:, :border] if part == "train" else pixels[:, border:]))
    return cuts


def draw_sign(
    category: str, digit: np.ndarray, side: int, random: np.random.Generator
) -> Image.Image:
    """Draws a sign with random rotation and brightness.

    Args:
        category: Key of `STYLES`.
        digit: Image of the digit on it, `(8, 8)` in `[0, 1]`.
        side: Side in pixels, before rotation and cropping.
        random: Random number generator.

    Returns:
        Image with transparency, cropped to the sign.
    """
    corners, color, inner, ink = STYLES[category]
    whole = side * SUPERSAMPLING
    sign = Image.new("RGBA", (whole, whole))
    draw = ImageDraw.Draw(sign)
    _fill(draw, corners, whole, 0.48, color)
    if inner is not None:
        _fill(draw, corners, whole, 0.48 * 0.72, inner)
    _write(sign, digit, ink, low=corners == 3)
    sign = sign.rotate(random.uniform(-MAX_ROTATION, MAX_ROTATION), Image.Resampling.BICUBIC)
    sign = sign.resize((side, side), Image.Resampling.BOX)
    # The bounding box of the pixels that are at least half opaque.
    opaque = sign.getchannel("A").point(lambda alpha: 255 * (alpha > 127))
    sign, light = sign.crop(opaque.getbbox()), random.uniform(0.55, 1.1)
    brighter = sign.convert("RGB").point(lambda value: min(255, int(value * light)))
    brighter.putalpha(sign.getchannel("A"))
    return brighter


def _fill(draw: ImageDraw.ImageDraw, corners: int, whole: int, radius: float, color: tuple) -> None:
    """Fills a disc or a regular polygon at the center; a triangle stands on a side."""
    middle, reach = whole / 2, whole * radius
    if not corners:
        draw.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), fill=color)
        return
    turn = 0 if corners == 3 else 180 / corners
    lower = reach / 6 if corners == 3 else 0
    center = (middle, middle + lower, reach)
    draw.regular_polygon(center, corners, rotation=turn, fill=color)


def _write(sign: Image.Image, digit: np.ndarray, ink: tuple, low: bool) -> None:
    """Pastes a digit at the center; on triangles it is lower and smaller."""
    side = int(sign.width * (0.3 if low else 0.42))
    mask = Image.fromarray(np.uint8(255 * digit)).resize((side, side), Image.Resampling.BICUBIC)
    left, top = (sign.width - side) // 2, (sign.height - side) // 2
    sign.paste(Image.new("RGBA", mask.size, ink), (left, top + low * side // 3), mask)
