"""What can attend to the outputs of a network: kinds of attention with their options, by name.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), tables I to IX.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A kind of attention.

    Attributes:
        attention: Its name in `ka.applications`; None for none.
        options: More arguments of its layer.
        about: What table IX says of it.
    """

    attention: str | None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    about: str = ""


def _ablation(absolute: bool, channel_alignment: bool, extrema: bool, about: str) -> Variant:
    options = {
        "absolute": absolute,
        "channel_alignment": channel_alignment,
        "extrema": extrema,
        "smoothing": None,
    }
    return Variant("san-c", options, about)


VARIANTS = {
    "none": Variant(None),
    "cbam": Variant("cbam"),
    "bam": Variant("bam"),
    "san-c": Variant("san-c"),
    "san-d": Variant("san-d"),
    "san-c-depthwise": Variant("san-c", {"smoothing": "depthwise"}),
    "san-d-depthwise": Variant("san-d", {"smoothing": "depthwise"}),
    "ran": Variant("ran"),
    "san": Variant("san"),
    "ablation-1": _ablation(False, False, False, "no Abs, CCA, Extrema, Smoothing"),
    "ablation-2": _ablation(True, False, False, "Abs"),
    "ablation-3": _ablation(True, True, False, "Abs, CCA"),
    "ablation-4": _ablation(True, True, True, "Abs, CCA, Extrema"),
}


def find(name: str) -> Variant:
    """A variant by its name.

    Raises:
        ValueError: For a name that there is not.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    raise ValueError(
        f"--attentions must be of {', '.join(VARIANTS)}. Received: --attentions={name}"
    )
