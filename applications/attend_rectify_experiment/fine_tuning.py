"""Table 3, section 4.4: fine-tuning of pretrained networks without and with attention modules."""

import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from harness.options import check_image_data
from harness.programs import Run
from harness.published import read_tables

import keras_attention as ka
from attend_rectify_experiment import training as base
from keras_attention.utils.validation import did_you_mean

BACKBONE = "ResNet50"
DEPTH, HEADS = 3, 4
# Factor of the learning rate of attention modules, gates and classifier.
RATE_FACTOR = 10
CLASSIFIER, ADDED_LAYERS = "classifier", ("rectify", "rectify_logits")
# Part of the message of Keras if weights cannot be downloaded.
DOWNLOAD_FAILED = "URL fetch failure"
TABLE3 = read_tables(Path(__file__).with_name("tables.txt"))[3]


@dataclass(frozen=True)
class Row:
    """A network of keras.applications on a data set."""

    backbone: str  # Name in keras.applications
    weights: str | None  # `"imagenet"`, or None for random weights
    depth: int  # Number of attention modules; 0 for the plain network
    width: int  # Number of heads of each module
    gradient_scale: float  # Factor of the gradients from the modules into the network
    data: str  # Data set, by its name in `ka.datasets`

    @property
    def label(self) -> str:
        return f"{self.name} on {self.data}"

    @property
    def name(self) -> str:
        """Network with its modules."""
        return f"{self.backbone}, AD {self.depth}, AW {self.width}" if self.depth else self.backbone

    @property
    def has_attention(self) -> bool:
        return self.depth > 0

    @property
    def identity(self) -> dict[str, Any]:
        return {"network": self.name, "weights": self.weights, "data": self.data}

    def published(self) -> float | None:
        """Returns the paper's accuracy in percent, with its own backbone."""
        return TABLE3.number(self.data, modules="with" if self.has_attention else "without")


@dataclass(frozen=True)
class FineTuningJob(base.Job):
    """A fine-tuning; the data set crops and flips the photographs."""

    def load(self, split: str) -> tf.data.Dataset:
        """Loads single color images with the preprocessing of the backbone."""
        return super().load(split).map(self._preprocess, num_parallel_calls=tf.data.AUTOTUNE)

    def _preprocess(self, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        color = tf.image.grayscale_to_rgb(image) if image.shape[-1] == 1 else image
        return preprocess(self.row.backbone, color), label

    def network(self, activation: str | None) -> keras.Model:
        """Builds the backbone with a new classifier and, if the row has any, attention modules."""
        row, info = self.row, self.info
        side = self.protocol.size or info.size
        backbone = build_backbone(row.backbone, row.weights, (side, side, 3))
        if not row.has_attention:
            dense = keras.layers.Dense(info.classes, activation, name=CLASSIFIER, dtype="float32")
            return keras.Model(backbone.input, dense(backbone.output))
        return ka.surgery.add_attend_rectify(
            backbone,
            row.depth,
            info.classes,
            row.width,
            gradient_scale=row.gradient_scale,
            classifier_activation=activation,
        )

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Returns SGD with a higher learning rate for all new layers."""
        new = ADDED_LAYERS if self.row.has_attention else (CLASSIFIER,)
        factors = dict.fromkeys(new, RATE_FACTOR)
        return ka.training.LayerwiseOptimizer(super().optimizer(steps), factors)

    def validation_data(self) -> None:
        """Returns None: the test split is measured once."""

    def scores(self, model: keras.Model) -> dict[str, float]:
        """Returns the accuracy, as in the paper's table."""
        return {"accuracy %": 100 - super().scores(model)["error %"]}


def find_backbone(name: str) -> Callable[..., keras.Model]:
    """Returns a builder of keras.applications."""
    names = [known for known in dir(keras.applications) if known[0].isupper()]
    if name in names:
        return getattr(keras.applications, name)
    raise ValueError(
        "--backbone must be a network of keras.applications. "
        f"Received: --backbone={name}.{did_you_mean(name, names)}"
    )


def build_backbone(name: str, weights: str | None, shape: tuple[int, int, int]) -> keras.Model:
    """Builds a network without its classifier; it returns the mean of its last feature map."""
    builder = find_backbone(name)
    try:
        return builder(include_top=False, weights=weights, input_shape=shape, pooling="avg")
    except Exception as error:
        # Keras raises an exception of the base class.
        if DOWNLOAD_FAILED not in str(error):
            raise
        raise ConnectionError(
            f"The weights of {name} are not on this machine and could not be downloaded. Connect "
            f"to a network once, or train from random weights with --weights none. ({error})"
        ) from error


def preprocess(name: str, images: Any) -> Any:
    """Applies the preprocessing of a backbone to color images in `[0, 1]`."""
    return sys.modules[find_backbone(name).__module__].preprocess_input(255 * images)


def rows_of(options: Namespace) -> list[Row]:
    """Returns the network without and with attention modules on each data set."""
    weights = None if options.weights == "none" else options.weights
    depth, width = options.attention_depth or DEPTH, options.attention_width or HEADS
    scale = 1.0 if options.gradient_scale is None else options.gradient_scale
    network = (options.backbone or BACKBONE, weights or None)
    return [
        Row(*network, modules, width, scale, data)
        for data in options.data or TABLE3.rows
        for modules in (0, depth)
    ]


class Table3(base.AttendExperiment):
    """Fine-tuning of networks without and with attention modules."""

    title = TABLE3.title

    def jobs(self, options: Namespace) -> list[FineTuningJob]:
        find_backbone(options.backbone or BACKBONE)
        check_image_data(options.data or ())
        paper, small = base.FINE_TUNING.override(options), base.FINE_TUNING_SMALL.override(options)
        return [
            FineTuningJob(row, seed, paper if row.data in TABLE3.rows else small, row.data)
            for row in rows_of(options)
            for seed in options.seeds
        ]

    def finish(self, run: Run) -> str:
        return base.comparison(run.results, "accuracy %", digits=1)

    def notes(self, run: Run) -> list[str]:
        row = run.jobs[0].row
        pretrained = f"pretrained on {row.weights}" if row.weights else "not pretrained"
        return [
            *super().notes(run),
            f"{row.backbone}, {pretrained}; attention modules, gates and classifiers have "
            f"{RATE_FACTOR} times the learning rate. The paper's accuracies are those of WRN-50-4 "
            "without and with modules, on Adience over five folds; ours are those of the test fold "
            "of `ka.datasets.load`.",
        ]
