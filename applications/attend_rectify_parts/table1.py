"""Table 1: errors of wide residual networks with attention modules and without.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.3 and tables 1 and 2.
"""

from argparse import Namespace
from collections.abc import Sequence

from attend_rectify_parts import data, protocols, report, wide
from attend_rectify_parts.training import Training
from attend_rectify_parts.wide import WideJob

TITLE = "table 1 (CIFAR-10 and CIFAR-100)"
ERROR = "error %"


def jobs(given: Namespace) -> list[WideJob]:
    """The trainings of the rows that are asked for.

    Raises:
        ValueError: For data that are no images with classes.
    """
    return [
        WideJob(row, seed, protocol_of(row.data, given))
        for row in rows(given)
        for seed in given.seeds
    ]


def rows(given: Namespace) -> list[wide.Row]:
    """The rows that are asked for.

    Raises:
        ValueError: For data that are no images with classes.
    """
    data.check(given.data or ())
    return wide.rows_of(given)


def protocol_of(name: str, given: Namespace) -> protocols.Protocol:
    """The paper's on CIFAR, else the small one."""
    return protocols.choose(protocols.WIDE, protocols.WIDE_SMALL, name in wide.DATA, given)


def finish(given: Namespace, planned: Sequence[WideJob], done: Sequence[Training]) -> str:
    """Our errors beside the paper's, as a markdown table."""
    return report.beside_paper(planned, done, ERROR, digits=2)


def notes(given: Namespace, planned: Sequence[WideJob]) -> list[str]:
    """What a reader of the table has to know."""
    return [
        *report.protocol_notes(planned),
        "Images are standardized by mean and deviation of the training part; photographs are "
        "padded by 4 pixels of their reflection, cut out and mirrored. Weight decay 5e-4. The "
        "paper's errors are those of its table 2, which does not say whether with dropout, and "
        "gives no deviations: its table 1 cannot be read in the text that we have.",
    ]
