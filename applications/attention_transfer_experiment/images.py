"""Training and test images of students and teachers.

A student can have fewer training images than its teacher. They are a subset of those of the
teacher, with equal shares of the classes, and contain no test images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from harness import training
from harness.options import check_image_data

import keras_attention as ka

CLUTTERED = "cluttered_translated_"
DISTRACTORS = 8
# Relative sides of cluttered images, digits and distractors, as in the data set.
IMAGE, DIGIT, PATCH = 40, 28, 8
TEST_BATCH = 128
PADDING = {"crop": 4, "flip": 0}
AUGMENTATIONS = (*PADDING, "none")
# Mean and variance of the channels of ImageNet, from fb.resnet.torch.
IMAGENET = ((0.485, 0.456, 0.406), (0.229**2, 0.224**2, 0.225**2))


@dataclass(frozen=True)
class ImageSource:
    """Training and test images of a data set."""

    data: str  # Data set, by its name in `ka.datasets`
    size: int  # Side of the images in pixels
    train_size: int | None = None  # Number of training images; None for all
    # Number of training images of the teacher, from which they are selected; None for all. Bundled
    # digits that are not in this pool are test images.
    pool_size: int | None = None
    options: tuple[tuple[str, Any], ...] = ()  # Options of the data set, sorted by name
    augmentation: str = "none"  # `"crop"` (random crops and flips), `"flip"` or `"none"`
    pretrained: bool = False  # If True, images are standardized like those of ImageNet
    test_draws: int = 1  # Number of images generated from each test image, if images are generated

    def __post_init__(self) -> None:
        check_image_data([self.data])
        classes = self.info.classes
        if self.is_subset and self.train_size < classes:
            raise ValueError(
                f"--train-size must be {classes} or more, so that it holds every class. "
                f"Received: --train-size={self.train_size}"
            )
        if self.is_subset and self.pool_size is not None and self.train_size > self.pool_size:
            raise ValueError(
                f"--train-size must be at most --teacher-train-size, {self.pool_size}. "
                f"Received: --train-size={self.train_size}"
            )

    @property
    def info(self) -> Any:
        """Description of the data set."""
        return ka.datasets.find(self.data)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape `(H, W, channels)` of the images."""
        return self.size, self.size, self.info.channels

    @property
    def is_subset(self) -> bool:
        """True if the training images are a subset of those of the teacher."""
        return self.train_size is not None and self.train_size != self.pool_size

    @property
    def is_cluttered(self) -> bool:
        """True if images are generated from digits and distractors."""
        return self.data.startswith(CLUTTERED)

    def training_data(self, seed: int) -> tf.data.Dataset:
        """Returns single images; they are shuffled, and generated again, in every epoch."""
        if not self.is_subset:
            return self._load(self.data, "train", seed=seed, **dict(self.options))
        images, labels = self.subset()
        if self.is_cluttered:
            patch = round(self.size * PATCH / IMAGE)
            sides = {"size": self.size, "patch_size": patch, **dict(self.options)}
            order = {"seed": seed, "shuffle": True, "augment": True}
            return ka.datasets.cluttered_translated(images, labels, **sides, **order)
        return tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels), seed)

    def batches(self, seed: int, batch_size: int) -> tf.data.Dataset:
        """Returns augmented batches of equal size, repeated indefinitely."""
        batches = self.training_data(seed).repeat().batch(batch_size, drop_remainder=True)
        if self.augmentation != "none":
            layers = ka.datasets.cifar_augmentation(
                self.size, PADDING[self.augmentation], self.shape[-1], seed
            )
            # Not in the networks: student and teacher need the same images.
            batches = batches.map(lambda images, labels: (layers(images, training=True), labels))
        return batches.prefetch(tf.data.AUTOTUNE)

    def tests(self) -> Iterator[tf.data.Dataset]:
        """Yields test batches of each draw, the same for all seeds."""
        for seed in range(self.test_draws if self.is_cluttered else 1):
            options = dict(self.options)
            yield self._load(self.data, "test", seed=seed, **options).batch(TEST_BATCH)

    def moments(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and variance of each channel over the training images, not augmented."""
        if self.pretrained:
            return tuple(map(np.array, IMAGENET))
        return training.moments(self.training_data(seed))

    def subset(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the selected images, before clutter is added, and their labels."""
        name, side = self.data, self.size
        if self.is_cluttered:
            name, side = name.removeprefix(CLUTTERED), round(side * DIGIT / IMAGE)
        pool = self._load(name, "train", size=side, shuffle=False, augment=False).batch(1024)
        images, labels = map(np.concatenate, zip(*pool.as_numpy_iterator(), strict=True))
        indices = balanced_indices(labels, self.train_size)
        return images[indices], labels[indices]

    def describe(self) -> str:
        """Describes the images in one line of a report."""
        images = "all" if self.train_size is None else f"{self.train_size:,}"
        of = f" of {self.pool_size:,}" if self.is_subset and self.pool_size else ""
        options = "".join(f", {name} {value}" for name, value in self.options)
        return f"{self.data}, {self.size} pixels{options}, {images}{of} training images"

    def _load(self, name: str, split: str, **arguments: Any) -> tf.data.Dataset:
        sizes = {"size": self.size, "train_size": self.pool_size}
        return ka.datasets.load(name, split, **sizes | arguments)


def balanced_indices(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns indices of the first images of each class, `count` in total, in ascending order."""
    if count > len(labels):
        raise ValueError(
            f"--train-size must be at most the {len(labels)} images for training. "
            f"Received: --train-size={count}"
        )
    # Number of earlier images of the same class, for each image.
    ranks = np.empty(len(labels), "int64")
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        ranks[of_class] = np.arange(len(of_class))
    return np.sort(np.lexsort((labels, ranks))[:count])
