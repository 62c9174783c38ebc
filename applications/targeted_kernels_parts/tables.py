"""The rows of the paper's tables and the points of its figure 5, with the figures printed there.

Reference: Chitta, Targeted Kernel Networks (2018), tables 2 to 6 and figure 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

BASELINES = {"TKN6": "CNN6", "TDN10": "DN10", "TDN40": "DN40", "TSTN": "STN"}
# Regions a layer in our rows, where the kernels share them.
SHARED_REGIONS = {"TKN6": 4, "TDN10": 3, "TDN40": 4, "TSTN": 8}
PAPER_L2 = 1e-4
# What the sweep of figure 5 goes through; the paper does not list its points.
SWEEP_L2 = (0.5e-4, 1e-4, 2e-4, 4e-4)
SWEEP_BETA = (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Paper:
    """A row as the paper prints it.

    Attributes:
        parameters: Their number.
        macs: Multiply-accumulates of an image.
        errors: In percent; mean squared and mean absolute error for regressions.
    """

    parameters: float
    macs: float
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """A network and what the paper varies of it.

    Attributes:
        model: Its name in `ka.applications`.
        window: Of targeted networks; None for others.
        scale_l2: L2 weight of the scales in the first block, for the paper's steps of training.
        beta: Factor of that weight from each block to the next.
        roi_groups: Regions that the kernels of a layer share; None for one per kernel.
        paper: What the paper says of it, if it has it.
    """

    model: str
    window: str | None = None
    scale_l2: float = PAPER_L2
    beta: float = 2.0
    roi_groups: int | None = None
    paper: Paper | None = None

    @property
    def targeted(self) -> bool:
        """Whether the network has target layers."""
        return self.model in BASELINES

    @property
    def baseline(self) -> str:
        """The network without target layers."""
        return BASELINES.get(self.model, self.model)

    @property
    def label(self) -> str:
        """The network with its options, as the paper's tables have it."""
        if not self.targeted:
            return self.model
        shared = "" if self.roi_groups is None else f", {self.roi_groups} regions"
        options = f"{self.window}, L2 {self.scale_l2:g}, beta {self.beta:g}{shared}"
        return f"{self.model} ({options})" + (" [ours]" if shared else "")


@dataclass(frozen=True)
class Table:
    """One of the paper's tables.

    Attributes:
        title: What it is called here.
        data: The data set, by its name in `ka.datasets`.
        metrics: Headings of the errors that the paper prints.
        rows: The paper's in their order, each family of targeted networks followed by ours.
    """

    title: str
    data: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


def _plain(model: str, parameters: float, macs: float, *errors: float) -> Row:
    return Row(model, paper=Paper(parameters, macs, errors))


def _targeted(options: tuple[str, str, float, float], *figures: float) -> Row:
    parameters, macs, *errors = figures
    return Row(*options, paper=Paper(parameters, macs, tuple(errors)))


def _with_ours(*rows: Row) -> tuple[Row, ...]:
    """Adds one row with shared regions behind each family: its first row with Cauchy windows."""
    result = list(rows)
    for model in BASELINES:
        family = [row for row in rows if row.model == model]
        if family:
            first = next(row for row in family if row.window == "cauchy")
            ours = replace(first, roi_groups=SHARED_REGIONS[model], paper=None)
            result.insert(result.index(family[-1]) + 1, ours)
    return tuple(result)


TABLES = {
    2: Table(
        "table 2 (MNIST)",
        "mnist",
        ("error %",),
        _with_ours(
            _plain("CNN6", 4.59e6, 368e6, 0.42),
            _targeted(("TKN6", "gaussian", 1e-4, 2), 4.59e6, 52.9e6, 0.48),
            _targeted(("TKN6", "cauchy", 1e-4, 4), 4.59e6, 28.6e6, 0.43),
            _plain("DN10", 44.7e3, 11.3e6, 0.48),
            _targeted(("TDN10", "gaussian", 1e-4, 2), 45.0e3, 6.93e6, 0.42),
            _targeted(("TDN10", "cauchy", 1e-4, 4), 45.0e3, 6.26e6, 0.38),
        ),
    ),
    3: Table(
        "table 3 (top-left MNIST)",
        "top_left_mnist",
        ("error %",),
        _with_ours(
            _plain("CNN6", 10.76e6, 1470e6, 0.83),
            _targeted(("TKN6", "gaussian", 1e-4, 2), 10.76e6, 145e6, 0.48),
            _targeted(("TKN6", "cauchy", 1e-4, 2), 10.76e6, 125e6, 0.48),
            _targeted(("TKN6", "cauchy", 1e-4, 4), 10.76e6, 68.3e6, 0.53),
            _plain("DN10", 44.7e3, 45.2e6, 0.50),
            _targeted(("TDN10", "gaussian", 1e-4, 2), 45.0e3, 29.7e6, 0.41),
            _targeted(("TDN10", "cauchy", 1e-4, 2), 45.0e3, 25.6e6, 0.38),
        ),
    ),
    4: Table(
        "table 4 (SVHN)",
        "svhn_cropped",
        ("error %",),
        _with_ours(
            _plain("DN40", 0.83e6, 357e6, 3.17),
            _targeted(("TDN40", "cauchy", 1e-4, 2), 0.83e6, 205e6, 3.11),
        ),
    ),
    5: Table(
        "table 5 (GTSRB)",
        "gtsrb",
        ("error %",),
        _with_ours(
            _plain("STN", 1.18e6, 145e6, 1.52),
            _targeted(("TSTN", "cauchy", 1e-3, 2), 1.18e6, 55.7e6, 1.53),
        ),
    ),
    6: Table(
        "table 6 (Pain Archive)",
        "pain_archive",
        ("MSE", "MAE"),
        _with_ours(
            _plain("DN40", 0.83e6, 802e6, 1.67, 0.51),
            _targeted(("TDN40", "cauchy", 1e-4, 4), 0.83e6, 391e6, 1.67, 0.50),
        ),
    ),
}


def sweep(
    model: str,
    window: str,
    weights: Sequence[float] | None,
    betas: Sequence[float] | None,
) -> Table:
    """The baseline and all combinations of L2 and beta, for figure 5.

    Args:
        model: A targeted network; the paper's figure has TKN6.
        window: `"cauchy"` or `"gaussian"`.
        weights: L2 weights of the scales; None for `SWEEP_L2`.
        betas: None for `SWEEP_BETA`.
    """
    points = [
        Row(model, window, scale_l2, beta)
        for beta in betas or SWEEP_BETA
        for scale_l2 in weights or SWEEP_L2
    ]
    known = {row.label: row.paper for row in TABLES[2].rows}
    rows = [replace(row, paper=known.get(row.label)) for row in (Row(BASELINES[model]), *points)]
    return Table("figure 5 (TKN6 on MNIST)", "mnist", ("error %",), tuple(rows))


def changed(table: Table, options: Mapping[str, Any]) -> Table:
    """Gives all targeted rows other options.

    Rows that become equal count once; the paper's figures stay where its table has such a row.
    """
    known = {row.label: row.paper for row in table.rows}
    rows = [replace(row, **options) if row.targeted else row for row in table.rows]
    distinct = {row.label: replace(row, paper=known.get(row.label)) for row in rows}
    return replace(table, rows=tuple(distinct.values()))


def row_of(table: Table, model: str) -> Row | None:
    """The first of the paper's rows of a network, with Cauchy windows where it has any."""
    found = (row for row in table.rows if row.model == model and row.window in (None, "cauchy"))
    return next(found, None)
