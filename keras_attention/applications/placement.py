"""Where the networks of the SAN paper hold their attention.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-C, figures 2, 6, 7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_attention.layers.by_name import IMAGE_ATTENTIONS, attended
from keras_attention.utils.validation import one_of

Tensor = Any

PLACEMENTS = ("bottleneck", "full")


@dataclass(frozen=True)
class Attention:
    """What attends to the outputs of convolutions, and to which.

    Attributes:
        kind: `"cbam"`, `"bam"`, `"san-c"`, `"san-d"`, or None for nothing.
        placement: `"bottleneck"`, before each reduction of the map, or `"full"`, after every
            convolution.
        options: More arguments of the layer.
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
        """Attends to what any convolution made of `y_prev`, where placement is full."""
        return self._attended(y_prev, y, kernel_size, name) if self.placement == "full" else y

    def before_reduction(
        self, y_prev: Tensor, y: Tensor, kernel_size: int | Sequence[int], name: str
    ) -> Tensor:
        """Attends to the last output before the map gets smaller, where placement is bottleneck."""
        is_here = self.placement == "bottleneck"
        return self._attended(y_prev, y, kernel_size, name) if is_here else y

    def _attended(
        self, y_prev: Tensor, y: Tensor, kernel_size: int | Sequence[int], name: str
    ) -> Tensor:
        if self.kind is None:
            return y
        return attended(self.kind, y_prev, y, kernel_size, f"{name}_attention", self.options)
