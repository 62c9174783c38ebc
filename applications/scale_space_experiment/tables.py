"""Rows of tables I to VII and IX and of figures 9 and 10, with the published numbers."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
from harness.published import Part, Table, read_tables

import keras_attention as ka

PLACEMENTS = ("bottleneck", "full")
ALIGNMENT = "channel_alignment"


@dataclass(frozen=True)
class Variant:
    """An attention module with its options."""

    attention: str | None  # Name in `ka.applications`; None for no attention
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)  # Arguments of the layer
    description: str = ""  # Description in table IX


def _ablation(absolute: bool, alignment: bool, extrema: bool, description: str) -> Variant:
    options = {"absolute": absolute, ALIGNMENT: alignment, "extrema": extrema, "smoothing": None}
    return Variant("san-c", options, description)


VARIANTS = {
    "none": Variant(None),
    **{name: Variant(name) for name in ("cbam", "bam", "san-c", "san-d")},
    "san-c-depthwise": Variant("san-c", {"smoothing": "depthwise"}),
    "san-d-depthwise": Variant("san-d", {"smoothing": "depthwise"}),
    **{name: Variant(name) for name in ("ran", "san")},
    "ablation-1": _ablation(False, False, False, "no Abs, CCA, Extrema, Smoothing"),
    "ablation-2": _ablation(True, False, False, "Abs"),
    "ablation-3": _ablation(True, True, False, "Abs, CCA"),
    "ablation-4": _ablation(True, True, True, "Abs, CCA, Extrema"),
}


def find_variant(name: str) -> Variant:
    """Returns a variant by its name."""
    if name in VARIANTS:
        return VARIANTS[name]
    raise ValueError(
        f"--attentions must be among {', '.join(VARIANTS)}. Received: --attentions={name}"
    )


TABLES, FIGURES = (
    read_tables(Path(__file__).with_suffix(".txt"), kind) for kind in ("table", "figure")
)


@dataclass(frozen=True)
class Row:
    """A network with attention on a data set."""

    network: str  # Name in `ka.applications`
    data: str  # Data set, by its name in `ka.datasets`
    attention: str  # Key of `VARIANTS`
    placement: str  # `"bottleneck"` or `"full"`
    paper: dict[str, float] = field(default_factory=dict, hash=False)  # Published numbers by metric
    paper_data: str = ""  # Data set of the published numbers

    @property
    def pair(self) -> str:
        """Network and data set, of which the times are compared."""
        return f"{self.network} on {self.data}"

    @property
    def variant(self) -> Variant:
        """Attention module with its options."""
        return find_variant(self.attention)

    @property
    def has_attention(self) -> bool:
        return self.variant.attention is not None

    @property
    def placement_text(self) -> str:
        """Placement in reports; "-" without attention."""
        return self.placement if self.has_attention else "-"

    @property
    def name(self) -> str:
        """Attention in reports."""
        description = self.variant.description
        return f"{self.attention} ({description})" if description else self.attention

    @property
    def label(self) -> str:
        return f"{self.pair}, {self.name}" + (f", {self.placement}" if self.has_attention else "")

    @property
    def identity(self) -> dict[str, Any]:
        """First columns of CSV files."""
        names = ("network", "data", "attention", "placement")
        return {name: getattr(self, name) for name in names}

    @property
    def cells(self) -> list[str]:
        """First cells of a table in reports."""
        return [self.network, self.data, self.name, self.placement_text]

    def build(self, input_shape: Sequence[int | None], outputs: int, **options: Any) -> keras.Model:
        """Builds the untrained network.

        Args:
            input_shape: Shape of an example.
            outputs: Number of classes, or of values for regression.
            **options: Further arguments of the builder.
        """
        if ka.datasets.find(self.data).regression:
            options["classifier_activation"] = None
        return ka.applications.build(
            self.network,
            input_shape=input_shape,
            classes=outputs,
            attention=self.variant.attention,
            placement=self.placement,
            attention_options=self.variant.options or None,
            **options,
        )

    def possible(self, input_shape: Sequence[int | None], outputs: int) -> bool:
        """Returns True if the network can be built.

        Without channel alignment it cannot be built if its numbers of channels differ.
        """
        try:
            self.build(input_shape, outputs)
        except ValueError as error:
            if ALIGNMENT in str(error) and not self.variant.options.get(ALIGNMENT, True):
                return False
            raise
        return True


def choose_rows(table: Table, options: Namespace) -> list[Row]:
    """Returns the rows of a table, in which options replace its headings."""
    rows = []
    for network in options.networks or table.headings("network"):
        ka.applications.builder(network)
        # A network that the paper does not have has the rows of the first part.
        parts = [part for part in table.parts if network in part.axes["network"]]
        part = (parts or table.parts)[0]
        for data in options.data or part.axes["data"]:
            if ka.datasets.find(data).detection:
                raise ValueError(
                    f"--data must be a data set without boxes. Received: --data={data}"
                )
            rows += _rows_of_data(table, part, network, data, options)
    return list(dict.fromkeys(rows))


def _rows_of_data(
    table: Table, part: Part, network: str, data: str, options: Namespace
) -> Iterator[Row]:
    """Yields the network without attention, then each attention at each placement."""
    placements = options.placements or part.axes["placement"]
    attentions = options.attentions or list(part.rows)
    plain = [name for name in attentions if find_variant(name).attention is None]
    others = [name for name in attentions if name not in plain]
    # Rows on other data sets are compared with the numbers of the table's first data set.
    paper_data = data if data in part.axes["data"] else part.axes["data"][0]
    for attention, placement in [
        *((attention, placements[0]) for attention in plain),
        *((attention, placement) for placement in placements for attention in others),
    ]:
        where = {"network": network, "data": paper_data, "placement": placement}
        known = {
            metric: value
            for metric in table.headings("metric")
            if (value := table.number(attention, metric=metric, **where)) is not None
        }
        yield Row(network, data, attention, placement, known, paper_data if known else "")
