"""Rows of tables 2 to 6 and points of figure 5, with the published numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import published

BASELINES = {"TKN6": "CNN6", "TDN10": "DN10", "TDN40": "DN40", "TSTN": "STN"}
# Number of ROIs per layer in our rows, in which kernels share ROIs.
SHARED_ROIS = {"TKN6": 4, "TDN10": 3, "TDN40": 4, "TSTN": 8}
PAPER_L2 = 1e-4
FIGURE_5 = "figure 5 (TKN6 on MNIST)"
# Values of the sweep of figure 5; the paper does not list its points.
SWEEP_L2 = (0.5e-4, 1e-4, 2e-4, 4e-4)
SWEEP_BETA = (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Published:
    """Numbers that the paper gives for a row."""

    parameters: float | None  # Number of parameters
    macs: float | None  # Multiply-accumulates per image
    # Error in percent; mean squared and mean absolute error for regression.
    errors: tuple[float | None, ...]


@dataclass(frozen=True)
class Row:
    """A network with the options that the paper varies."""

    model: str  # Name in `ka.applications`
    window: str | None = None  # Window of targeted networks; None for others
    # L2 weight of the scales in the first block, for the paper's number of steps.
    scale_l2: float = PAPER_L2
    beta: float = 2.0  # Factor of that weight from each block to the next
    # Number of ROIs that the kernels of a layer share; None for one per kernel.
    roi_groups: int | None = None
    paper: Published | None = None  # Published numbers, if the paper has the row

    @property
    def targeted(self) -> bool:
        """True if the network has target layers."""
        return self.model in BASELINES

    @property
    def baseline(self) -> str:
        """Name of the same network without target layers."""
        return BASELINES.get(self.model, self.model)

    @property
    def label(self) -> str:
        if not self.targeted:
            return self.model
        shared = "" if self.roi_groups is None else f", {self.roi_groups} ROIs per layer"
        options = f"{self.window}, L2 {self.scale_l2:g}, beta {self.beta:g}{shared}"
        return f"{self.model} ({options})" + (" [ours]" if shared else "")


@dataclass(frozen=True)
class Table:
    """One of the paper's tables."""

    title: str  # Title in reports
    data: str  # Data set, by its name in `ka.datasets`
    metrics: tuple[str, ...]  # Headings of the published errors
    # Rows in the paper's order; our row follows each family of targeted networks.
    rows: tuple[Row, ...]


def _table(paper: published.Table) -> Table:
    """Returns a table with a row with shared ROIs after each family: its first Cauchy row."""
    (part,), rows = paper.parts, []
    for name, (parameters, macs, *errors) in part.rows.items():
        model, *options = name.split(", ")
        row = Row(model, paper=Published(parameters, macs, tuple(errors)))
        if options:
            window, scale_l2, beta = options
            row = replace(row, window=window, scale_l2=float(scale_l2), beta=float(beta))
        rows.append(row)
    for model, count in SHARED_ROIS.items():
        family = [row for row in rows if row.model == model]
        if family:
            first = next(row for row in family if row.window == "cauchy")
            ours = replace(first, roi_groups=count, paper=None)
            rows.insert(rows.index(family[-1]) + 1, ours)
    metrics = tuple(name for name in part.axes["column"] if name not in ("parameters", "MACs"))
    return Table(paper.title, part.axes["data"][0], metrics, tuple(rows))


_PAPER = published.read_tables(Path(__file__).with_suffix(".txt"))
TABLES = {number: _table(paper) for number, paper in _PAPER.items()}


def sweep(
    model: str, window: str, weights: Sequence[float] | None, betas: Sequence[float] | None
) -> Table:
    """Returns the rows of figure 5: the baseline and all combinations of L2 and beta.

    Args:
        model: A targeted network; TKN6 in the paper.
        window: `"cauchy"` or `"gaussian"`.
        weights: L2 weights of the scales; None for `SWEEP_L2`.
        betas: Values of beta; None for `SWEEP_BETA`.
    """
    points = [
        Row(model, window, scale_l2, beta)
        for beta in betas or SWEEP_BETA
        for scale_l2 in weights or SWEEP_L2
    ]
    known = {row.label: row.paper for row in TABLES[2].rows}
    rows = [replace(row, paper=known.get(row.label)) for row in (Row(BASELINES[model]), *points)]
    return Table(FIGURE_5, TABLES[2].data, TABLES[2].metrics, tuple(rows))


def with_options(table: Table, options: Mapping[str, Any]) -> Table:
    """Returns a table whose targeted rows have other options.

    Rows that become equal are merged. Published numbers stay where the table has such a row.
    """
    known = {row.label: row.paper for row in table.rows}
    rows = [replace(row, **options) if row.targeted else row for row in table.rows]
    distinct = {row.label: replace(row, paper=known.get(row.label)) for row in rows}
    return replace(table, rows=tuple(distinct.values()))


def of_models(table: Table, models: Sequence[str] | None) -> Table:
    """Returns a table with the rows of some networks; None for all."""
    known = dict.fromkeys(row.model for row in table.rows)
    unknown = [name for name in models or () if name not in known]
    if unknown:
        raise ValueError(
            f"--models must be among {', '.join(known)} in {table.title}. "
            f"Received: --models={' '.join(unknown)}"
        )
    return replace(
        table, rows=tuple(row for row in table.rows if models is None or row.model in models)
    )
