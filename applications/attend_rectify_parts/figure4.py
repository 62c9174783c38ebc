"""Figure 4: trains the rows of its panels, compares and draws.

Reference: Rodriguez et al., Attend and Rectify (2018), section 4.2 and figure 4.
"""

from argparse import Namespace
from collections.abc import Sequence

from program_parts import markdown

import keras_attention as ka
from attend_rectify_parts import clutter, panels, paper, protocols, report
from attend_rectify_parts.clutter import BASELINE, BEST, ClutterJob
from attend_rectify_parts.training import Training

TITLE = paper.FIGURE


def jobs(given: Namespace) -> list[ClutterJob]:
    """The trainings of the parts that are asked for.

    Raises:
        ValueError: For data without distractors.
    """
    data = given.data or clutter.DATA[:1]
    if len(data) > 1 or data[0] not in clutter.DATA:
        raise ValueError(
            f"--data must be one of {', '.join(clutter.DATA)} with --figure 4. "
            f"Received: --data={' '.join(data)}"
        )
    papers_data = ka.datasets.find(data[0]).needs_network
    protocol = protocols.choose(protocols.CLUTTERED, protocols.CLUTTERED_SMALL, papers_data, given)
    trained = clutter.DISTRACTORS if given.distractors is None else given.distractors
    # The panels of ablations compare among as many distractors as in training.
    tested = tuple(sorted({trained, *(given.test_distractors or clutter.TESTED)}))
    return [
        ClutterJob(row, seed, protocol, data[0], trained, tested)
        for row in clutter.rows_of(parts(given))
        for seed in given.seeds
    ]


def parts(given: Namespace) -> list[str]:
    """The panels that are asked for."""
    return list(clutter.PARTS) if given.part in (None, "all") else [given.part]


def finish(given: Namespace, planned: Sequence[ClutterJob], done: Sequence[Training]) -> str:
    """Draws; returns the tables."""
    path = given.output / "figure4.png"
    panels.draw(parts(given), done, f"Figure 4 on {planned[0].data}", path)
    print(f"wrote {path}")
    rows = list(dict.fromkeys(job.row for job in planned))
    tables = [errors(rows, planned[0].tested, done)]
    if {BASELINE, BEST} <= set(rows):
        tables.append(verdict(planned[0].tested, done))
    return "\n\n".join(tables)


def errors(rows: Sequence[clutter.Row], tested: Sequence[int], done: Sequence[Training]) -> str:
    """The error of each row at each number of distractors, as a markdown table."""
    headings = ["network", "panels", "parameters", "MACs"]
    headings += [f"error %, {number} distractors" for number in tested]
    lines = []
    for row in rows:
        found = report.of_row(row, done)
        where = " ".join(part for part, members in clutter.PARTS.items() if row in members)
        spreads = [report.spread(found, clutter.error_at(number)) for number in tested]
        lines.append([row.label, where, *report.counts(found[0]), *spreads])
    return markdown.table(headings, lines)


def verdict(tested: Sequence[int], done: Sequence[Training]) -> str:
    """Whether attention beats the plain network, for each number of distractors."""
    lines = []
    for number in tested:
        plain, attended = (
            report.mean(report.of_row(row, done), clutter.error_at(number))
            for row in (BASELINE, BEST)
        )
        if plain is None or attended is None:
            lines.append(f"- {number} distractors: not to be compared, a network diverged.")
            continue
        word = "beats" if attended < plain else "does not beat"
        lines.append(
            f"- {number} distractors: attention ({BEST.label}) {word} the baseline, "
            f"{attended:.2f} % against {plain:.2f} %."
        )
    return "\n".join(lines)


def notes(given: Namespace, planned: Sequence[ClutterJob]) -> list[str]:
    """What a reader of the tables has to know."""
    job = planned[0]
    return [
        *report.protocol_notes(planned),
        f"{job.data}: trained with {job.distractors} distractors, drawn anew in every pass. Each "
        f"test digit is drawn {job.protocol.test_draws} times for each number of distractors, the "
        "same images for all networks. All networks are trained alike, but for the localization "
        f"of the STN, which learns at {clutter.SLOWER['transformer']:g} of the rate. The paper's "
        f"best is {paper.BEST_ACCURACY} % on Cluttered Translated MNIST with 8 distractors; its "
        "figure has no other numbers.",
    ]
