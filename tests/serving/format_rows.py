"""Every model, small, as the table of formats has it: its variants, and with its attention."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import keras_attention as ka
from tests.model_rows import MODEL_CASES, NUMBERS, SIBLINGS, SPECIAL_MODELS, ModelCase

# What the checks of all models leave out, because it is built by the lines of another.
SIBLING_ROWS: dict[str, dict[str, Any]] = {
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
SAID = ("attention", "placement", "roi", "batch_normalization", "patches")


@dataclass(frozen=True)
class Row:
    """A model of the table. `maps` says whether it is exported with its attention."""

    name: str
    make: Callable[[], keras.Model]
    input_shape: tuple[int, ...]
    maps: bool = False

    def examples(self) -> np.ndarray:
        """Data from which the ranges for int8 are taken."""
        return np.random.default_rng(0).uniform(size=(8, *self.input_shape)).astype("float32")


def rows() -> list[Row]:
    """All rows, by model."""
    found = [*map(row, MODEL_CASES), *(row(ModelCase(*item)) for item in _siblings())]
    for name in ("TKN6", "TDN10", "TDN40", "TSTN"):
        case = ModelCase(name, arguments={"roi": "mask"})
        both = [row(ModelCase(name)), row(case)]
        found += [each for each in both if each.name not in {other.name for other in found}]
        found.append(Row(f"{name}, compacted", _compacted(case), case.input_shape))
    found = [each for plain in found for each in (plain, *_with_maps(plain))]
    return sorted(found, key=lambda each: each.name.lower().partition(",")[0])


def row(case: ModelCase) -> Row:
    said = [f"{key}={case.arguments[key]!r}" for key in SAID if key in case.arguments]
    return Row(", ".join([case.name, *said]), case.make, case.input_shape)


def _siblings():
    return [
        (name, given.get("input_shape", ModelCase("").input_shape), given.get("arguments", {}))
        for name, given in SIBLING_ROWS.items()
        if name in SIBLINGS
    ]


def _compacted(case: ModelCase) -> Callable[[], keras.Model]:
    return lambda: ka.surgery.compact(case.make())


def _with_maps(plain: Row) -> list[Row]:
    """The row of the same model with its attention, where it has some."""
    attending = ("TKN6", "TDN10", "TDN40", "TSTN", "STN", "WARN", "ClutteredCNN", "DCN", "SVHNDCN")
    name, _, variant = plain.name.partition(", ")
    has = (name in attending and not variant.startswith(("compacted", "roi="))) or "att" in variant
    has = has and "'ran'" not in variant  # its maps are inside of a cell
    return [Row(f"{plain.name}, with maps", plain.make, plain.input_shape, True)] if has else []
