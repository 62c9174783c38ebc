"""The rows of a table: networks with their attention on data, with the figures of the paper."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

import keras_attention as ka
from scale_space_parts import variants
from scale_space_parts.paper import Printed, Table
from scale_space_parts.variants import Variant

UNALIGNED = "channel_alignment"


@dataclass(frozen=True)
class Row:
    """A network with its attention, on data.

    Attributes:
        network: Its name in `ka.applications`.
        data: The data set, by its name in `ka.datasets`.
        attention: A name of `variants.VARIANTS`.
        placement: `"bottleneck"` or `"full"`.
        paper: The paper's figures by metric, where it has any.
        paper_data: The data set on which it has them.
    """

    network: str
    data: str
    attention: str
    placement: str
    paper: dict[str, float] = field(default_factory=dict, hash=False)
    paper_data: str = ""

    @property
    def variant(self) -> Variant:
        """The attention with its options."""
        return variants.find(self.attention)

    @property
    def where(self) -> str:
        """The placement, for a report; nothing attends without attention."""
        return "-" if self.variant.attention is None else self.placement

    @property
    def name(self) -> str:
        """The attention, for a report."""
        about = self.variant.about
        return f"{self.attention} ({about})" if about else self.attention

    @property
    def label(self) -> str:
        """The row in one line."""
        place = "" if self.variant.attention is None else f", {self.placement}"
        return f"{self.network} on {self.data}, {self.name}{place}"

    def build(self, input_shape: Sequence[int | None], outputs: int, **options: Any) -> keras.Model:
        """The untrained network.

        Args:
            input_shape: Of an example.
            outputs: Classes or numbers to estimate.
            **options: More arguments of the builder.
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
        """Whether the network can be built; not where channels differ and nothing aligns them.

        Raises:
            ValueError: For options that cannot be.
        """
        try:
            self.build(input_shape, outputs)
        except ValueError as error:
            if UNALIGNED in str(error) and not self.variant.options.get(UNALIGNED, True):
                return False
            raise
        return True


def choose(table: Table, options: Namespace) -> list[Row]:
    """The rows of a table with what options put in place of its headings.

    Raises:
        ValueError: For networks, attentions or data that there are not.
    """
    rows = []
    for network in options.networks or table.networks:
        ka.applications.builder(network)
        part = table.part(network)
        for data in options.data or part.axes["data"]:
            if ka.datasets.find(data).detection:
                raise ValueError(f"--data must have no boxes for labels. Received: --data={data}")
            rows += _of_data(part, network, data, options)
    return list(dict.fromkeys(rows))


def _of_data(part: Printed, network: str, data: str, options: Namespace) -> Iterator[Row]:
    """The network without attention, then each attention at each placement."""
    placements = options.placements or part.axes["placement"]
    attentions = options.attentions or list(part.rows)
    plain = [name for name in attentions if variants.find(name).attention is None]
    for attention in plain:
        yield _row(part, network, data, attention, placements[0])
    for placement in placements:
        for attention in attentions:
            if attention not in plain:
                yield _row(part, network, data, attention, placement)


def _row(part: Printed, network: str, data: str, attention: str, placement: str) -> Row:
    # Beside other data stand the figures of the table's first.
    shown = data if data in part.axes["data"] else part.axes["data"][0]
    where = {"network": network, "data": shown, "placement": placement}
    figures = {
        metric: part.figure(attention, metric=metric, **where) for metric in part.axes["metric"]
    }
    known = {metric: figure for metric, figure in figures.items() if figure is not None}
    return Row(network, data, attention, placement, known, shown if known else "")
