"""Test cases of all models of the registry: every test of models runs on each case."""

from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import keras_attention as ka
from keras_attention.applications import densenet
from tests.harness import ON_TENSORFLOW, cross_section
from tests.layer_cases import BAM_IDLE

# Layers per dense block of DN40, instead of six equal ones.
FEW_LAYERS = 2


@dataclass(frozen=True)
class ModelCase:
    """A small model with its arguments, and its expected properties.

    Attributes:
        name: Name in the registry.
        input_shape: Shape of the images.
        arguments: Arguments of the builder.
        rate: Learning rate with which one step lowers the loss.
        num_classes: Number of classes of each output.
        idle: Ends of the paths of weights that get no gradient.
        unambiguous_choice: Arguments with which rounding cannot change a choice.
    """

    name: str
    input_shape: tuple[int, ...] = (12, 10, 2)
    arguments: dict[str, Any] = field(default_factory=dict)
    rate: float = 1e-3
    num_classes: tuple[int, ...] = (3,)
    idle: tuple[str, ...] = ()
    unambiguous_choice: dict[str, Any] = field(default_factory=dict)

    @property
    def idle_weights(self):
        return BAM_IDLE if self.arguments.get("attention") == "bam" else self.idle

    def make(self, **more):
        arguments = {"input_shape": self.input_shape, "classes": 3, **self.arguments, **more}
        with mock.patch.dict(densenet.SIZES_40, layers=FEW_LAYERS):
            return ka.applications.build(self.name, **arguments)

    @property
    def is_sequence(self):
        return len(self.input_shape) == 2

    def __str__(self):
        return "-".join([self.name, *map(str, self.arguments.values())])


# Numbers of two digits. The coarse layers only select positions, so they get no gradient.
NUMBERS = {
    "input_shape": (60, 140, 2),
    "arguments": {"width": 0.05, "digits": 2},
    "num_classes": (2, 4, 4),
}
IDLE_COARSE = tuple(
    f"coarse_{layer}/{weight}"
    for layer in (
        *(f"conv{index}" for index in range(1, 6)),
        "hidden1",
        "hidden2",
        "outputs",
    )
    for weight in ("kernel", "bias")
)
# TDN40 masks, because tracing its 18 layers with slicing takes seconds.
# STN, TSTN and ResNet50 need a smaller rate: batch normalization over four images is unstable.
# DCN needs a larger rate: its running statistics change the selected patches.
# LSTM4 needs a larger rate: its gradients are small.
VGG = {"input_shape": (33, 34, 2), "arguments": {"width": 4, "units": 16}}
RESIDUAL = {"arguments": {"width": 4, "stem": "cifar"}}
WIDE = {"arguments": {"depth": 10, "width": 0.25}}
SPECIAL_MODELS: dict[str, dict[str, Any]] = {
    "TDN40": {"arguments": {"roi": "mask"}},
    "STN": {"rate": 1e-4},
    "TSTN": {"rate": 1e-4},
    "LSTM4": {"input_shape": (12, 5), "rate": 0.1},
    "LeNet5": {"input_shape": (20, 18, 2)},
    "VGG16": VGG,
    "VGG19": VGG,
    "WideResNet": WIDE,
    "WARN": {"arguments": {"depth": 10, "width": 0.25, "attention_width": 2}},
    "ClutteredCNN": {"arguments": {"filters": 4, "units": 8}},
    "ResNet18": RESIDUAL,
    "ResNet34": RESIDUAL,
    "ResNet50": {**RESIDUAL, "rate": 1e-4},
    "NINThin": {"arguments": {"width": 0.1}},
    "NINWide": {"arguments": {"width": 0.1}},
    "DCNCoarse": {"input_shape": (27, 31, 2)},
    "DCNFine": {"input_shape": (27, 31, 2)},
    "DCN": {
        "input_shape": (27, 31, 2),
        "arguments": {"patches": 3},
        "rate": 1e-2,
        "unambiguous_choice": {"patches": 30},
    },
    "SVHNCoarse": NUMBERS,
    "SVHNFine": NUMBERS,
    "SVHNDCN": {
        **NUMBERS,
        "arguments": {"width": 0.05, "digits": 2, "patches": 1},
        "idle": IDLE_COARSE,
        "unambiguous_choice": {"patches": 2},
    },
}
# Models that share the code of VGG16, ResNet18, WARN, NINThin and TKN6, or are parts of DCN and
# SVHNDCN. Other tests count their weights.
SIBLINGS = {"VGG19", "ResNet34", "WideResNet", "NINWide", "CNN6"}
SIBLINGS |= {"DCNCoarse", "DCNFine", "SVHNCoarse", "SVHNFine"}
if not ON_TENSORFLOW:  # models of the same layers as others
    SIBLINGS |= {"DN40", "TDN40", "STN", "ResNet50", "TSTN", "VGG16", "NINThin"}
MODEL_CASES = [
    ModelCase(name, **SPECIAL_MODELS.get(name, {}))
    for name in ka.applications.list_models()
    if name not in SIBLINGS
]
MODEL_CASES += [
    ModelCase("LeNet5", (20, 18, 2), {"attention": attention})
    for attention in ("cbam", "bam", "san-c", "san-d")
]
MODEL_CASES.append(ModelCase("NINThin", arguments={"width": 0.1, "batch_normalization": False}))
MODEL_CASES += [
    ModelCase("LSTM4", (12, 5), {"attention": attention, "placement": "full"}, rate=0.3)
    for attention in ("ran", "san")
]
# `make test` runs on a model per mechanism, `make test-slow` on the others.
FAST_MODELS = ("TKN6", "LeNet5-san-c", "WARN-10-0.25-2", "DCN-3", "NINThin-0.1", "LSTM4-san-full")
PARAMETERS = cross_section(MODEL_CASES, [case for case in MODEL_CASES if str(case) in FAST_MODELS])
# Slow tests run on the siblings too.
EVERY_CASE = [
    *MODEL_CASES,
    *(ModelCase(name, **SPECIAL_MODELS.get(name, {})) for name in sorted(SIBLINGS)),
]
