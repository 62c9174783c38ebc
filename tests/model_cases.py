"""What the checks of all models are to know of each, which is little: the registry names them."""

from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import keras_attention as ka
from keras_attention.applications import densenet
from tests.harness import ON_TENSORFLOW
from tests.layer_cases import BAM_IDLE

# Of the six in a block of DN40, which are all alike.
FEW_LAYERS = 2


@dataclass(frozen=True)
class ModelCase:
    """How to make a small model of a kind, and the step that its loss follows downhill.

    `answers` are the classes of each output. `idle` are names of parts that no gradient reaches.
    `all_chosen` are arguments with which no choice hangs on a rounding.
    """

    name: str
    input_shape: tuple[int, ...] = (12, 10, 2)
    arguments: dict[str, Any] = field(default_factory=dict)
    rate: float = 1e-3
    answers: tuple[int, ...] = (3,)
    idle: tuple[str, ...] = ()
    all_chosen: dict[str, Any] = field(default_factory=dict)

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


# Numbers of two digits. The coarse layers say where to look: what they learn, they learn before.
NUMBERS = {
    "input_shape": (60, 140, 2),
    "arguments": {"width": 0.05, "digits": 2},
    "answers": (2, 4, 4),
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
# Tracing 18 layers that slice takes seconds each time: smaller networks do, this one masks.
# A step of 1e-3 overshoots where batch normalization sees four images and a warp depends on it.
# A larger one outweighs that running statistics, which change with it, choose other patches.
# Narrow networks do. A recurrent network's gradients are small.
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
        "all_chosen": {"patches": 30},
    },
    "SVHNCoarse": NUMBERS,
    "SVHNFine": NUMBERS,
    "SVHNDCN": {
        **NUMBERS,
        "arguments": {"width": 0.05, "digits": 2, "patches": 1},
        "idle": IDLE_COARSE,
        "all_chosen": {"patches": 2},
    },
}
# Built by the same lines as VGG16, ResNet18, WARN, NINThin and TKN6, or parts of DCN and SVHNDCN:
# tests of their own count their weights.
SIBLINGS = {"VGG19", "ResNet34", "WideResNet", "NINWide", "CNN6"}
SIBLINGS |= {"DCNCoarse", "DCNFine", "SVHNCoarse", "SVHNFine"}
if not ON_TENSORFLOW:  # of the same layers as others
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
# What is too long for every change runs on the siblings too.
EVERY_CASE = [
    *MODEL_CASES,
    *(ModelCase(name, **SPECIAL_MODELS.get(name, {})) for name in sorted(SIBLINGS)),
]
