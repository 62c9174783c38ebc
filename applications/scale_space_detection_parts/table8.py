"""The rows of the paper's table VIII.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), table VIII: VGG-16, GTSDB.
"""

from dataclasses import dataclass

NONE = "none"
ATTENTIONS = (NONE, "cbam", "bam", "san-c", "san-d")
PLACEMENTS = ("bottleneck", "full")
# "Detection accuracy", in percent; the paper names neither the detector nor the measure.
ACCURACIES = {
    (NONE, "bottleneck"): 86.79,
    ("cbam", "bottleneck"): 88.25,
    ("cbam", "full"): 90.67,
    ("bam", "bottleneck"): 89.87,
    ("bam", "full"): 91.71,
    ("san-c", "bottleneck"): 92.45,
    ("san-c", "full"): 93.01,
    ("san-d", "bottleneck"): 93.88,
    ("san-d", "full"): 95.63,
}


@dataclass(frozen=True)
class Row:
    """A backbone.

    Attributes:
        attention: One of `ATTENTIONS`.
        placement: One of `PLACEMENTS`; of no meaning without attention.
    """

    attention: str
    placement: str = PLACEMENTS[0]

    @property
    def modules(self) -> str | None:
        """The attention as `ka.applications.VGG16` takes it."""
        return None if self.attention == NONE else self.attention

    @property
    def label(self) -> str:
        """What the row is called."""
        return NONE if self.modules is None else f"{self.attention}, {self.placement}"

    @property
    def paper(self) -> float:
        """What the paper says of it."""
        return ACCURACIES[self.attention, self.placement]


def rows(attentions: list[str], placements: list[str]) -> list[Row]:
    """The rows to train; without attention there is one for all placements."""
    pairs = [
        Row(attention) if attention == NONE else Row(attention, placement)
        for attention in attentions
        for placement in placements
    ]
    return list(dict.fromkeys(pairs))
