"""Wide residual networks with attention modules and without: the rows of tables 1 and 2.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.3.
"""

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_attention as ka
from attend_rectify_parts.data import shape_of
from attend_rectify_parts.paper import TABLE2
from attend_rectify_parts.training import Job

BUILDERS = {"WRN": "WideResNet", "WARN": "WARN"}
DATA = ("cifar10", "cifar100")
# The width of the paper's networks.
PAPER_WIDTH = 10
DEPTHS, DROPOUTS = (28, 40), (0.0, 0.3)


@dataclass(frozen=True)
class Row:
    """A network on data.

    Attributes:
        network: `"WRN"` or `"WARN"`.
        depth: Layers with weights.
        width: Factor of the channels.
        dropout: Rate between the convolutions of a block.
        data: The data set, by its name in `ka.datasets`.
    """

    network: str
    depth: int
    width: float
    dropout: float
    data: str

    @property
    def label(self) -> str:
        """The network on its data."""
        return f"{self.name} on {self.data}"

    @property
    def name(self) -> str:
        """The network with its options."""
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"{self.network}-{self.depth}-{self.width:g}{dropout}"

    @property
    def attends(self) -> bool:
        """Whether it has attention modules."""
        return self.network == "WARN"

    def identity(self) -> dict[str, Any]:
        """In the columns of a file."""
        return {"network": self.name, "data": self.data}

    def printed(self) -> float | None:
        """The paper's error; table 2 has it, without a word of dropout."""
        if self.width != PAPER_WIDTH or self.dropout:
            return None
        line = TABLE2.get((self.network, self.depth))
        return line.errors.get(self.data) if line else None

    def build(self, shape: tuple[int, ...], classes: int, activation: str | None) -> keras.Model:
        """The untrained network."""
        return ka.applications.build(
            BUILDERS[self.network],
            depth=self.depth,
            width=self.width,
            input_shape=shape,
            classes=classes,
            classifier_activation=activation,
            dropout=self.dropout,
        )


def rows_of(options: Namespace) -> list[Row]:
    """The rows of table 1, with what options put in place of its headings."""
    return [
        Row(network, depth, options.width or PAPER_WIDTH, dropout, data)
        for data in options.data or DATA
        for network in BUILDERS
        for depth in options.depths or DEPTHS
        for dropout in options.dropouts or DROPOUTS
    ]


@dataclass(frozen=True)
class WideJob(Job):
    """A training on whole images, photographs shifted and mirrored."""

    @property
    def data(self) -> str:
        """The data set, by its name in `ka.datasets`."""
        return self.row.data

    def load(self, split: str) -> tf.data.Dataset:
        """Single images."""
        protocol = self.protocol
        place = {"size": protocol.size, "train_size": protocol.train_size}
        return ka.datasets.load(self.row.data, split, seed=self.seed, **place)

    def network(self, activation: str | None) -> keras.Model:
        """The network without what goes before it."""
        info = ka.datasets.find(self.row.data)
        return self.row.build(shape_of(self.row.data, self.protocol), info.classes, activation)

    def model(self) -> keras.Model:
        """The network behind the augmentation and the standardization."""
        shape = shape_of(self.row.data, self.protocol)
        images = x = keras.Input(shape, name="images")
        # Digits are not what they were when they are mirrored.
        if shape[-1] == 3:
            x = ka.datasets.cifar_augmentation(shape[0], seed=self.seed)(x)
        mean, variance = self._moments()
        x = keras.layers.Normalization(mean=mean, variance=variance, name="standardized")(x)
        return keras.Model(images, self.network(None)(x))

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each channel, over the training images."""
        batches = [images for images, _ in self.load("train").batch(1024).as_numpy_iterator()]
        pixels = np.concatenate(batches)
        return pixels.mean((0, 1, 2)), pixels.var((0, 1, 2))
