"""Table 3: fine-tuning with attention modules and without.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.4 and table 3.
"""

from argparse import Namespace
from collections.abc import Sequence

from attend_rectify_parts import backbones, data, fine_tuning, paper, protocols, report
from attend_rectify_parts.fine_tuning import FASTER, FineJob
from attend_rectify_parts.training import Training

TITLE = "table 3 (fine-tuning)"
ACCURACY = "accuracy %"


def jobs(given: Namespace) -> list[FineJob]:
    """The trainings of the rows that are asked for.

    Raises:
        ValueError: For a backbone that there is not, or data that are no images with classes.
    """
    backbones.find(given.backbone or fine_tuning.BACKBONE)
    data.check(given.data or ())
    return [
        FineJob(row, seed, protocol_of(row.data, given))
        for row in fine_tuning.rows_of(given)
        for seed in given.seeds
    ]


def protocol_of(name: str, given: Namespace) -> protocols.Protocol:
    """The paper's on its data, else the small one."""
    return protocols.choose(protocols.FINE, protocols.FINE_SMALL, name in paper.TABLE3, given)


def finish(given: Namespace, planned: Sequence[FineJob], done: Sequence[Training]) -> str:
    """Our accuracies beside the paper's, as a markdown table."""
    return report.beside_paper(planned, done, ACCURACY, digits=1)


def notes(given: Namespace, planned: Sequence[FineJob]) -> list[str]:
    """What a reader of the table has to know."""
    weights = planned[0].row.weights
    pretrained = f"pre-trained on {weights}" if weights else "not pre-trained"
    return [
        *report.protocol_notes(planned),
        f"{planned[0].row.backbone}, {pretrained}; modules, gates and classifiers learn "
        f"{FASTER} times faster. The paper's accuracies are of WRN-50-4 without modules and with "
        "them, over five folds on Adience; ours are of the fold that `ka.datasets.load` tests on.",
    ]
