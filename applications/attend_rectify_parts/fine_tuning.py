"""Pre-trained networks on kinds that look alike, with attention modules and without: table 3.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.4 and table 3.
"""

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

import keras_attention as ka
from attend_rectify_parts import backbones
from attend_rectify_parts.paper import TABLE3
from attend_rectify_parts.training import Job

BACKBONE = "ResNet50"
DEPTH, HEADS = 3, 4
# Modules, gates and classifier learn so many times faster.
FASTER = 10
PLAIN, ADDED = "classifier", ("rectify", "rectify_logits")


@dataclass(frozen=True)
class Row:
    """A network of keras.applications on data.

    Attributes:
        backbone: Its name there.
        weights: `"imagenet"`, or None for random ones.
        depth: Attention modules; 0 for the plain network.
        width: Heads of each module.
        gradient_scale: Of the gradients from the modules into the network.
        data: The data set, by its name in `ka.datasets`.
    """

    backbone: str
    weights: str | None
    depth: int
    width: int
    gradient_scale: float
    data: str

    @property
    def label(self) -> str:
        """The network on its data."""
        return f"{self.name} on {self.data}"

    @property
    def name(self) -> str:
        """The network with its modules."""
        return f"{self.backbone}, AD {self.depth}, AW {self.width}" if self.depth else self.backbone

    @property
    def attends(self) -> bool:
        """Whether it has attention modules."""
        return self.depth > 0

    def identity(self) -> dict[str, Any]:
        """In the columns of a file."""
        return {"network": self.name, "weights": self.weights, "data": self.data}

    def printed(self) -> float | None:
        """The paper's accuracy in percent, of its own backbone."""
        return TABLE3[self.data][self.attends] if self.data in TABLE3 else None


def rows_of(options: Namespace) -> list[Row]:
    """The plain network and the augmented one on each of the data sets."""
    weights = None if options.weights == "none" else options.weights
    depth, width = options.attention_depth or DEPTH, options.attention_width or HEADS
    scale = 1.0 if options.gradient_scale is None else options.gradient_scale
    network = (options.backbone or BACKBONE, weights or None)
    return [
        Row(*network, modules, width, scale, data)
        for data in options.data or TABLE3
        for modules in (0, depth)
    ]


@dataclass(frozen=True)
class FineJob(Job):
    """A fine-tuning; squares are cut out of the photographs and mirrored by the data set."""

    @property
    def data(self) -> str:
        """The data set, by its name in `ka.datasets`."""
        return self.row.data

    def load(self, split: str) -> tf.data.Dataset:
        """Single images, in color, as the network takes them."""
        protocol = self.protocol
        place = {"size": protocol.size, "train_size": protocol.train_size}
        examples = ka.datasets.load(self.row.data, split, seed=self.seed, **place)
        return examples.map(self._prepared, num_parallel_calls=tf.data.AUTOTUNE)

    def _prepared(self, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gray = image.shape[-1] == 1
        colored = tf.image.grayscale_to_rgb(image) if gray else image
        return backbones.prepare(self.row.backbone, colored), label

    def network(self, activation: str | None) -> keras.Model:
        """The backbone with a new classifier, and modules where the row has them."""
        row, info = self.row, ka.datasets.find(self.row.data)
        side = self.protocol.size or info.size
        backbone = backbones.build(row.backbone, row.weights, (side, side, 3))
        if not row.attends:
            classifier = keras.layers.Dense(info.classes, activation, name=PLAIN, dtype="float32")
            return keras.Model(backbone.input, classifier(backbone.output))
        return ka.surgery.add_attend_rectify(
            backbone,
            row.depth,
            info.classes,
            row.width,
            gradient_scale=row.gradient_scale,
            classifier_activation=activation,
        )

    def optimizer(self, rate: Any) -> keras.optimizers.Optimizer:
        """SGD in which all that is new learns faster."""
        new = ADDED if self.row.attends else (PLAIN,)
        return ka.training.LayerwiseOptimizer(super().optimizer(rate), dict.fromkeys(new, FASTER))

    def watched(self) -> None:
        """Nothing: the test part is measured once."""

    def scores(self, model: keras.Model) -> dict[str, float]:
        """The accuracy, as in the paper's table."""
        return {"accuracy %": 100 - super().scores(model)["error %"]}
