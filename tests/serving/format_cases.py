"""Cases of the table of formats: small variants of every model, with and without attention."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import keras_attention as ka
from tests.model_cases import MODEL_CASES, NUMBERS, SIBLINGS, SPECIAL_MODELS, ModelCase

# Models that other tests omit because they share the code of another model.
SIBLING_ARGUMENTS: dict[str, dict[str, Any]] = {
    "VGG19": SPECIAL_MODELS["VGG16"],
    "ResNet34": SPECIAL_MODELS["ResNet18"],
    "WideResNet": {"arguments": {"depth": 10, "width": 0.25}},
    "NINWide": SPECIAL_MODELS["NINThin"],
    "CNN6": {},
    "DCNCoarse": SPECIAL_MODELS["DCNCoarse"],
    "DCNFine": SPECIAL_MODELS["DCNFine"],
    "SVHNCoarse": NUMBERS,
    "SVHNFine": NUMBERS,
}
NAMED_ARGUMENTS = ("attention", "placement", "roi", "batch_normalization", "patches")


@dataclass(frozen=True)
class FormatCase:
    """A row of the table. If `maps` is True, the model is exported with its attention maps."""

    name: str
    make: Callable[[], keras.Model]
    input_shape: tuple[int, ...]
    maps: bool = False

    def examples(self) -> np.ndarray:
        """Data for the calibration of int8."""
        return np.random.default_rng(0).uniform(size=(8, *self.input_shape)).astype("float32")


def format_cases() -> list[FormatCase]:
    """All cases, sorted by model."""
    found = [*map(format_case, MODEL_CASES)]
    found += [format_case(ModelCase(*item)) for item in _siblings()]
    for name in ("TKN6", "TDN10", "TDN40", "TSTN"):
        case = ModelCase(name, arguments={"roi": "mask"})
        both = [format_case(ModelCase(name)), format_case(case)]
        found += [each for each in both if each.name not in {other.name for other in found}]
        found.append(FormatCase(f"{name}, compacted", _compacted(case), case.input_shape))
    found = [each for plain in found for each in (plain, *_with_maps(plain))]
    return sorted(found, key=lambda each: each.name.lower().partition(",")[0])


def format_case(case: ModelCase) -> FormatCase:
    arguments = [
        f"{key}={case.arguments[key]!r}" for key in NAMED_ARGUMENTS if key in case.arguments
    ]
    return FormatCase(", ".join([case.name, *arguments]), case.make, case.input_shape)


def _siblings():
    return [
        (name, given.get("input_shape", ModelCase("").input_shape), given.get("arguments", {}))
        for name, given in SIBLING_ARGUMENTS.items()
        if name in SIBLINGS
    ]


def _compacted(case: ModelCase) -> Callable[[], keras.Model]:
    return lambda: ka.surgery.compact(case.make())


def _with_maps(plain: FormatCase) -> list[FormatCase]:
    """The case of the same model with its attention maps, if it has attention."""
    models = ("TKN6", "TDN10", "TDN40", "TSTN", "STN", "WARN", "ClutteredCNN", "DCN", "SVHNDCN")
    name, _, variant = plain.name.partition(", ")
    has = (name in models and not variant.startswith(("compacted", "roi="))) or "att" in variant
    if not has or "'ran'" in variant:  # its maps are inside a recurrent cell
        return []
    return [FormatCase(f"{plain.name}, with maps", plain.make, plain.input_shape, True)]
