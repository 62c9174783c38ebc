"""Networks of attention transfer, by the labels of the paper's tables."""

import re
from dataclasses import dataclass, replace
from typing import Any

import keras

import keras_attention as ka

ALLOWED = (
    "WRN-DEPTH-WIDTH, NIN-thin, NIN-wide, ResNet-18 or ResNet-34; also NIN-thin-FACTOR and "
    "ResNet-18-CHANNELS, with another width"
)
WIDE = re.compile(r"WRN-(\d+)-(\d+(?:\.\d+)?)")
NETWORK_IN_NETWORK = re.compile(r"NIN-(thin|wide)(?:-(\d+(?:\.\d+)?))?")
RESIDUAL = re.compile(r"ResNet-(18|34)(?:-(\d+))?")
CLASSIFIER, STANDARDIZATION = "predictions", "standardized"


@dataclass(frozen=True)
class Network:
    """A network that can be built."""

    label: str  # Label in the paper's tables
    builder: str  # Name in `ka.applications`
    options: tuple[tuple[str, Any], ...]  # Arguments of the builder, sorted by name
    layers: tuple[str, ...]  # Layers whose attention maps are transferred
    decay_factor: float = 1.0  # Factor from a weight decay in the gradients to that of the builder

    def with_options(self, **options: Any) -> "Network":
        """Returns the network with other arguments of its builder."""
        return replace(self, options=tuple(sorted((dict(self.options) | options).items())))

    def build(self, images: Any, classes: int, weight_decay: float) -> keras.Model:
        """Builds the untrained network on a Keras tensor; it returns logits."""
        return ka.applications.build(
            self.builder,
            input_tensor=images,
            classes=classes,
            classifier_activation=None,
            weight_decay=weight_decay * self.decay_factor,
            **dict(self.options),
        )


def parse(label: str) -> Network:
    """Returns the network of a label."""
    if found := WIDE.fullmatch(label):
        depth, width = int(found[1]), float(found[2])
        options = (("depth", depth), ("variant", "at"), ("width", width))
        return Network(label, "WideResNet", options, ("group1", "group2", "group3"))
    if found := NETWORK_IN_NETWORK.fullmatch(label):
        options = (("width", float(found[2] or 1)),)
        blocks = ("block1", "block2", "block3")
        return Network(label, f"NIN{found[1].capitalize()}", options, blocks)
    if found := RESIDUAL.fullmatch(label):
        options = (("width", int(found[2] or 64)),)
        # The builder has an L2 weight, whose gradient is twice as large.
        return Network(label, f"ResNet{found[1]}", options, ("stage3", "stage4"), 0.5)
    raise ValueError(f"--rows must be among {ALLOWED}. Received: {label!r}")


def parse_pair(label: str) -> tuple[Network, Network]:
    """Returns student and teacher of a row such as `WRN-16-1/WRN-16-2`."""
    names = label.split("/")
    if len(names) != 2:
        raise ValueError(f"--rows must be STUDENT/TEACHER. Received: --rows={label}")
    student, teacher = map(parse, names)
    if student.layers != teacher.layers:
        raise ValueError(f"--rows must be pairs of networks of one kind. Received: --rows={label}")
    return student, teacher


def load_pretrained(model: keras.Model, path: str, source: Network) -> None:
    """Loads all weights except those of the classifier from the file of a trained network.

    Args:
        model: Model whose weights are set.
        path: A `.keras` file, or weights of the network with 1000 classes.
        source: Network of the file.
    """
    try:
        if path.endswith(".keras"):
            trained = keras.models.load_model(path, compile=False)
        else:
            trained = source.build(keras.Input(model.inputs[0].shape[1:]), 1000, 0.0)
            trained.load_weights(path)
        layers, sources = _layers_with_weights(model), _layers_with_weights(trained)
        # Comparing shapes is not enough: the layers of ResNet-18 are a subset of ResNet-34's.
        if set(layers) != set(sources):
            raise ValueError("The networks have different layers.")
        for name, layer in layers.items():
            layer.set_weights(sources[name].get_weights())
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"Weights must be a .keras file of a trained {source.label}, or its .weights.h5 with "
            f"1000 classes. Received: {path}"
        ) from error


def freeze_first_layers(model: keras.Model, last: str = "stage1") -> None:
    """Freezes the layers up to `last`, and all batch normalization.

    Frozen batch normalization runs in inference mode.
    """
    names = [layer.name for layer in model.layers]
    for index, layer in enumerate(model.layers):
        if index <= names.index(last) or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _layers_with_weights(model: keras.Model) -> dict[str, Any]:
    """Returns layers with weights by name, without classifier and standardization."""
    excluded = (CLASSIFIER, STANDARDIZATION)
    return {
        layer.name: layer for layer in model.layers if layer.weights and layer.name not in excluded
    }
