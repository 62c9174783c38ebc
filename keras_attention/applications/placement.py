"""Placement of attention in the networks of the SAN paper.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-C, figures 2, 6, 7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_attention.layers.attention_by_name import IMAGE_ATTENTIONS, apply_attention
from keras_attention.utils.validation import one_of

Tensor = Any

PLACEMENTS = ("bottleneck", "full")


@dataclass(frozen=True)
class AttentionBlocks:
    """Attention layers after the convolutions of a network.

    Attributes:
        kind: `"cbam"`, `"bam"`, `"san-c"`, `"san-d"`, or None for no attention.
        placement: `"bottleneck"`, before each layer that reduces the map, or `"full"`, after every
            convolution.
        options: More arguments of the attention layer.
    """

    kind: str | None
    placement: str = "bottleneck"
    options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        one_of("attention", self.kind, (None, *IMAGE_ATTENTIONS))
        one_of("placement", self.placement, PLACEMENTS)

    def after_convolution(
        self, y_prev: Tensor, y: Tensor, kernel_size: int | Sequence[int], name: str
    ) -> Tensor:
        """Adds attention to the output `y` of a convolution of `y_prev`, with full placement."""
        return self._add_attention(y_prev, y, kernel_size, name) if self.placement == "full" else y

    def before_reduction(
        self, y_prev: Tensor, y: Tensor, kernel_size: int | Sequence[int], name: str
    ) -> Tensor:
        """Adds attention to the last output before a reduction, with bottleneck placement."""
        is_here = self.placement == "bottleneck"
        return self._add_attention(y_prev, y, kernel_size, name) if is_here else y

    def _add_attention(
        self, y_prev: Tensor, y: Tensor, kernel_size: int | Sequence[int], name: str
    ) -> Tensor:
        if self.kind is None:
            return y
        return apply_attention(self.kind, y_prev, y, kernel_size, f"{name}_attention", self.options)
