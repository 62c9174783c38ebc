"""Networks by the labels of the paper's tables."""

import re
from dataclasses import dataclass, replace
from typing import Any

import keras

import keras_attention as ka

ALLOWED = (
    "WRN-DEPTH-WIDTH, NIN-thin, NIN-wide, ResNet-18 or ResNet-34; NIN-thin-FACTOR and "
    "ResNet-18-CHANNELS are wider or thinner ones"
)
WIDE = re.compile(r"WRN-(\d+)-(\d+(?:\.\d+)?)")
IN_NETWORK = re.compile(r"NIN-(thin|wide)(?:-(\d+(?:\.\d+)?))?")
RESIDUAL = re.compile(r"ResNet-(18|34)(?:-(\d+))?")
CLASSIFIER, STANDARDIZED = "predictions", "standardized"


@dataclass(frozen=True)
class Network:
    """A network to be built.

    Attributes:
        label: As in the paper's tables.
        builder: Its name in `ka.applications`.
        options: Of the builder, sorted.
        taps: Layers whose maps are transferred.
        decay_factor: By which the builder's weight decay differs from that in gradients.
    """

    label: str
    builder: str
    options: tuple[tuple[str, Any], ...]
    taps: tuple[str, ...]
    decay_factor: float = 1.0

    def changed(self, **options: Any) -> "Network":
        """The same with other options of the builder."""
        return replace(self, options=tuple(sorted((dict(self.options) | options).items())))

    def build(self, images: Any, classes: int, weight_decay: float) -> keras.Model:
        """The untrained network behind a Keras tensor; it returns logits.

        Raises:
            ValueError: For options that cannot be.
        """
        return ka.applications.build(
            self.builder,
            input_tensor=images,
            classes=classes,
            classifier_activation=None,
            weight_decay=weight_decay * self.decay_factor,
            **dict(self.options),
        )


def parse(label: str) -> Network:
    """Finds the network of a label.

    Raises:
        ValueError: For a label that is none.
    """
    if found := WIDE.fullmatch(label):
        depth, width = int(found[1]), float(found[2])
        options = (("depth", depth), ("variant", "at"), ("width", width))
        return Network(label, "WideResNet", options, ("group1", "group2", "group3"))
    if found := IN_NETWORK.fullmatch(label):
        options = (("width", float(found[2] or 1)),)
        blocks = ("block1", "block2", "block3")
        return Network(label, f"NIN{found[1].capitalize()}", options, blocks)
    if found := RESIDUAL.fullmatch(label):
        options = (("width", int(found[2] or 64)),)
        # The builder's is an L2 weight, whose gradient is twice as large.
        return Network(label, f"ResNet{found[1]}", options, ("stage3", "stage4"), 0.5)
    raise ValueError(f"--rows must be of {ALLOWED}. Received: {label!r}")


def parse_pair(label: str) -> tuple[Network, Network]:
    """Finds the student and the teacher of a row, as in `WRN-16-1/WRN-16-2`.

    Raises:
        ValueError: For a label that is none, or two networks without layers of the same names.
    """
    names = label.split("/")
    if len(names) != 2:
        raise ValueError(f"--rows must be STUDENT/TEACHER. Received: --rows={label}")
    student, teacher = map(parse, names)
    if student.taps != teacher.taps:
        raise ValueError(f"--rows must be pairs of one kind of network. Received: --rows={label}")
    return student, teacher


def take_over(model: keras.Model, path: str, source: Network) -> None:
    """Copies all but the classifier out of a file of a trained network.

    Args:
        model: To copy into.
        path: Of a `.keras` file, or of weights of the network with 1000 classes.
        source: The network of the file.

    Raises:
        ValueError: For a file that is not of this network.
    """
    trained = _weighted(_read(path, source, model.inputs[0].shape[1:]))
    layers = _weighted(model)
    # The layers of ResNet-18 are among those of ResNet-34, with the same shapes.
    if set(layers) != set(trained):
        raise _not_of(path, source)
    try:
        for name, layer in layers.items():
            layer.set_weights(trained[name].get_weights())
    except ValueError as error:
        raise _not_of(path, source) from error


def freeze_first(model: keras.Model, last: str = "stage1") -> None:
    """Freezes all up to a layer, and all batch normalization, which then runs as in inference."""
    names = [layer.name for layer in model.layers]
    for index, layer in enumerate(model.layers):
        if index <= names.index(last) or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _weighted(model: keras.Model) -> dict[str, Any]:
    """All layers with weights but the classifier and the standardization, by name."""
    apart = (CLASSIFIER, STANDARDIZED)
    return {
        layer.name: layer for layer in model.layers if layer.weights and layer.name not in apart
    }


def _read(path: str, source: Network, shape: tuple[int, ...]) -> keras.Model:
    try:
        if path.endswith(".keras"):
            return keras.models.load_model(path, compile=False)
        model = source.build(keras.Input(shape), 1000, 0.0)
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise _not_of(path, source) from error
    return model


def _not_of(path: str, source: Network) -> ValueError:
    return ValueError(
        f"Weights must be a .keras file of a trained {source.label}, or its .weights.h5 with 1000 "
        f"classes. Received: {path}"
    )
