"""Rows of the paper's tables and points of its figure 5, with the published numbers.

Reference: Chitta, Targeted Kernel Networks (2018), tables 2 to 6 and figure 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

BASELINES = {"TKN6": "CNN6", "TDN10": "DN10", "TDN40": "DN40", "TSTN": "STN"}
# Number of ROIs per layer in our rows, in which kernels share ROIs.
SHARED_ROIS = {"TKN6": 4, "TDN10": 3, "TDN40": 4, "TSTN": 8}
PAPER_L2 = 1e-4
# Values of the sweep of figure 5; the paper does not list its points.
SWEEP_L2 = (0.5e-4, 1e-4, 2e-4, 4e-4)
SWEEP_BETA = (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Published:
    """Numbers that the paper gives for a row."""

    parameters: float  # Number of parameters
    macs: float  # Multiply-accumulates per image
    # Error in percent; mean squared and mean absolute error for regression.
    errors: tuple[float, ...]


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


def _plain(model: str, parameters: float, macs: float, *errors: float) -> Row:
    return Row(model, paper=Published(parameters, macs, errors))


def _targeted(
    model: str, window: str, scale_l2: float, beta: float, parameters: float, *numbers: float
) -> Row:
    macs, *errors = numbers
    return Row(model, window, scale_l2, beta, paper=Published(parameters, macs, tuple(errors)))


def _table(title: str, data: str, *rows: Row, metrics: tuple[str, ...] = ("error %",)) -> Table:
    """Adds a row with shared ROIs after each family: its first row with Cauchy windows."""
    result = list(rows)
    for model in BASELINES:
        family = [row for row in rows if row.model == model]
        if family:
            first = next(row for row in family if row.window == "cauchy")
            ours = replace(first, roi_groups=SHARED_ROIS[model], paper=None)
            result.insert(result.index(family[-1]) + 1, ours)
    return Table(title, data, metrics, tuple(result))


TABLES = {
    2: _table(
        "table 2 (MNIST)",
        "mnist",
        _plain("CNN6", 4.59e6, 368e6, 0.42),
        _targeted("TKN6", "gaussian", 1e-4, 2, 4.59e6, 52.9e6, 0.48),
        _targeted("TKN6", "cauchy", 1e-4, 4, 4.59e6, 28.6e6, 0.43),
        _plain("DN10", 44.7e3, 11.3e6, 0.48),
        _targeted("TDN10", "gaussian", 1e-4, 2, 45.0e3, 6.93e6, 0.42),
        _targeted("TDN10", "cauchy", 1e-4, 4, 45.0e3, 6.26e6, 0.38),
    ),
    3: _table(
        "table 3 (top-left MNIST)",
        "top_left_mnist",
        _plain("CNN6", 10.76e6, 1470e6, 0.83),
        _targeted("TKN6", "gaussian", 1e-4, 2, 10.76e6, 145e6, 0.48),
        _targeted("TKN6", "cauchy", 1e-4, 2, 10.76e6, 125e6, 0.48),
        _targeted("TKN6", "cauchy", 1e-4, 4, 10.76e6, 68.3e6, 0.53),
        _plain("DN10", 44.7e3, 45.2e6, 0.50),
        _targeted("TDN10", "gaussian", 1e-4, 2, 45.0e3, 29.7e6, 0.41),
        _targeted("TDN10", "cauchy", 1e-4, 2, 45.0e3, 25.6e6, 0.38),
    ),
    4: _table(
        "table 4 (SVHN)",
        "svhn_cropped",
        _plain("DN40", 0.83e6, 357e6, 3.17),
        _targeted("TDN40", "cauchy", 1e-4, 2, 0.83e6, 205e6, 3.11),
    ),
    5: _table(
        "table 5 (GTSRB)",
        "gtsrb",
        _plain("STN", 1.18e6, 145e6, 1.52),
        _targeted("TSTN", "cauchy", 1e-3, 2, 1.18e6, 55.7e6, 1.53),
    ),
    6: _table(
        "table 6 (Pain Archive)",
        "pain_archive",
        _plain("DN40", 0.83e6, 802e6, 1.67, 0.51),
        _targeted("TDN40", "cauchy", 1e-4, 4, 0.83e6, 391e6, 1.67, 0.50),
        metrics=("MSE", "MAE"),
    ),
}


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
    return Table("figure 5 (TKN6 on MNIST)", "mnist", ("error %",), tuple(rows))


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


def published_row(table: Table, model: str) -> Row | None:
    """Returns the first published row of a network, with Cauchy windows if there is one."""
    found = (row for row in table.rows if row.model == model and row.window in (None, "cauchy"))
    return next(found, None)
