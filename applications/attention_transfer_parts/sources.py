"""Images to learn from and to test with.

A student may learn from fewer images than its teacher. They are some of the teacher's, with every
class in equal shares, and none of them is for testing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

import keras_attention as ka

CLUTTERED = "cluttered_translated_"
DISTRACTORS = 8
# Of clutter's images, digits and distractors: sides of the same proportion as in the data set.
WHOLE, DIGIT, PATCH = 40, 28, 8
TEST_BATCH = 128
PADDING = {"crop": 4, "flip": 0}
AUGMENTATIONS = (*PADDING, "none")
# Of ImageNet's channels, as in fb.resnet.torch.
IMAGENET = ((0.485, 0.456, 0.406), (0.229**2, 0.224**2, 0.225**2))


@dataclass(frozen=True)
class Source:
    """Images of a data set.

    Attributes:
        data: The data set, by its name in `ka.datasets`.
        size: Pixels along the sides.
        train_size: Images for training; None for all.
        out_of: Images for training of which they are chosen; None for all. What is left of bundled
            digits is for testing.
        options: Of the data set, sorted.
        augmentation: `"crop"`, shifted and mirrored; `"flip"`, mirrored; or `"none"`.
        pretrained: Whether images are standardized as those of ImageNet.
        test_draws: How often every test image is drawn, where images are generated.
    """

    data: str
    size: int
    train_size: int | None = None
    out_of: int | None = None
    options: tuple[tuple[str, Any], ...] = ()
    augmentation: str = "none"
    pretrained: bool = False
    test_draws: int = 1

    def __post_init__(self) -> None:
        info = self.info
        if not info.single_label or info.kind != "images":
            raise ValueError(f"--data must be images with classes. Received: --data={self.data}")
        if self.is_part and self.train_size < info.classes:
            raise ValueError(
                f"--train-size must be {info.classes} or more, so that it holds every class. "
                f"Received: --train-size={self.train_size}"
            )
        if self.is_part and self.out_of is not None and self.train_size > self.out_of:
            raise ValueError(
                f"--train-size must be at most --teacher-train-size, {self.out_of}. "
                f"Received: --train-size={self.train_size}"
            )

    @property
    def info(self) -> Any:
        """What is known of the data set."""
        return ka.datasets.find(self.data)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the images: `(H, W, channels)`."""
        return self.size, self.size, self.info.channels

    @property
    def is_part(self) -> bool:
        """Whether some of the images are left to others."""
        return self.train_size is not None and self.train_size != self.out_of

    @property
    def is_cluttered(self) -> bool:
        """Whether images are made of others."""
        return self.data.startswith(CLUTTERED)

    def training(self, seed: int) -> tf.data.Dataset:
        """Single images in an order of their own in every pass; what is generated is drawn anew."""
        if not self.is_part:
            return self._load(self.data, "train", seed=seed, **dict(self.options))
        images, labels = self.chosen()
        if self.is_cluttered:
            patch = round(self.size * PATCH / WHOLE)
            sides = {"size": self.size, "patch_size": patch, **dict(self.options)}
            order = {"seed": seed, "shuffle": True, "augment": True}
            return ka.datasets.cluttered_translated(images, labels, **sides, **order)
        return tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels), seed)

    def batches(self, seed: int, batch_size: int) -> tf.data.Dataset:
        """Augmented batches without an end, all of one size."""
        batches = self.training(seed).repeat().batch(batch_size, drop_remainder=True)
        if self.augmentation != "none":
            layers = ka.datasets.cifar_augmentation(
                self.size, PADDING[self.augmentation], self.shape[-1], seed
            )
            # Before the networks, so that student and teacher see the same.
            batches = batches.map(lambda images, labels: (layers(images, training=True), labels))
        return batches.prefetch(tf.data.AUTOTUNE)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """Batches of the test part, the same for all seeds, as often as they are drawn."""
        for seed in range(self.test_draws if self.is_cluttered else 1):
            options = dict(self.options)
            yield self._load(self.data, "test", seed=seed, **options).batch(TEST_BATCH)

    def moments(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each channel, over the training images as they are."""
        if self.pretrained:
            return tuple(map(np.array, IMAGENET))
        batches = self.training(seed).batch(1024)
        pixels = [images.reshape(-1, images.shape[-1]) for images, _ in batches.as_numpy_iterator()]
        count = sum(map(len, pixels))
        mean = sum(part.sum(axis=0, dtype="float64") for part in pixels) / count
        squares = sum(np.square(part - mean).sum(axis=0) for part in pixels) / count
        return mean, squares

    def chosen(self) -> tuple[np.ndarray, np.ndarray]:
        """The images that are some of others, before anything is made of them, and labels."""
        name, side = self.data, self.size
        if self.is_cluttered:
            name, side = name.removeprefix(CLUTTERED), round(side * DIGIT / WHOLE)
        whole = self._load(name, "train", size=side, shuffle=False, augment=False).batch(1024)
        images, labels = map(np.concatenate, zip(*whole.as_numpy_iterator(), strict=True))
        places = first_of_each(labels, self.train_size)
        return images[places], labels[places]

    def describe(self) -> str:
        """One line for a report."""
        images = "all" if self.train_size is None else f"{self.train_size:,}"
        of = f" of {self.out_of:,}" if self.is_part and self.out_of else ""
        options = "".join(f", {name} {value}" for name, value in self.options)
        return f"{self.data}, {self.size} pixels{options}, {images}{of} training images"

    def _load(self, name: str, split: str, **arguments: Any) -> tf.data.Dataset:
        place = {"size": self.size, "train_size": self.out_of, **arguments}
        return ka.datasets.load(name, split, **place)


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Places of the first images of each class, so many in all, as they come.

    Raises:
        ValueError: For more than there are.
    """
    if count > len(labels):
        raise ValueError(
            f"--train-size must be at most the {len(labels)} images for training. "
            f"Received: --train-size={count}"
        )
    # How many of its class come before each image.
    ranks = np.empty(len(labels), "int64")
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        ranks[places] = np.arange(len(places))
    return np.sort(np.lexsort((labels, ranks))[:count])
