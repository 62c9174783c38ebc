"""Table 1: a coarse and a fine model, and the network that joins them, on digits in clutter.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), table 1.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from program_parts import files, markdown
from program_parts.markdown import NONE

import keras_attention as ka
from dynamic_capacity_parts import clock, cluttered, paper, report
from dynamic_capacity_parts.clock import Times
from dynamic_capacity_parts.cluttered import ClutteredJob
from dynamic_capacity_parts.training import ERROR, Job, Training

served = cluttered.served
TITLE = "table 1"
# How much worse than the fine model still counts as equal, in percent.
MARGIN = 0.5


def jobs(given: Namespace) -> list[ClutteredJob]:
    """All four networks with each seed."""
    return cluttered.jobs_of(given, cluttered.ROWS)


def finish(given: Namespace, planned: Sequence[ClutteredJob], done: Sequence[Training]) -> str:
    """Times the networks; returns our figures beside the paper's."""
    first = [job for job in planned if job.seed == planned[0].seed]
    times = clock.time_jobs(first, given.rounds or clock.ROUNDS)
    files.write_csv(given.output / "times.csv", _times(times))
    return f"{comparison(planned, done, times)}\n\n{verdict(done)}"


def comparison(planned: Sequence[Job], done: Sequence[Training], times: Mapping[str, Times]) -> str:
    """Errors, sizes and times, as a markdown table."""
    headings = ["network", ERROR, "paper's", "parameters", "MACs", "paper's", "MACs as computed"]
    headings += ["ms of a training step", "ms of a batch's answers"]
    lines = []
    for label in report.labels(planned):
        found = report.of_label(label, done)
        one, printed = found[0], paper.MULTIPLICATIONS.get(label)
        lines.append(
            [
                label,
                report.spread(found),
                f"{paper.TABLE1[label]:.2f}",
                f"{one.parameters:,}",
                ka.inspect.short_number(one.macs),
                NONE if printed is None else f"{printed:g}M",
                ka.inspect.short_number(one.executed),
                f"{1e3 * times[label].step:.0f}",
                f"{1e3 * times[label].forward:.0f}",
            ]
        )
    return markdown.table(headings, lines)


def verdict(done: Sequence[Training]) -> str:
    """Whether the network with hints keeps what the paper says of it."""
    means = {row.label: report.mean(report.of_label(row.label, done)) for row in cluttered.ROWS}
    ours = means[cluttered.WITH_HINTS.label]
    lines = []
    for row, margin, what in (
        (cluttered.COARSE, 0.0, "at most the error of the coarse model"),
        (cluttered.FINE, MARGIN, f"at most {MARGIN:g} above the error of the fine model"),
        (cluttered.WITHOUT_HINTS, 0.0, "at most the error without hints"),
    ):
        other = means[row.label]
        if ours is None or other is None:
            lines.append(f"- DCN with hints, {what}: not to be compared, a network diverged.")
            continue
        word = "yes" if ours <= other + margin else "no"
        lines.append(f"- DCN with hints, {what}: {word}, {ours:.2f} % and {other:.2f} %.")
    return "\n".join(lines)


def notes(given: Namespace, planned: Sequence[ClutteredJob]) -> list[str]:
    """What a reader of the table has to know."""
    return [
        *report.notes(planned),
        "All networks are trained alike. The paper's errors are of Cluttered MNIST. MACs are "
        "multiply-accumulates of an image, as the method needs them and as they are computed here. "
        f"Times are of batches of {planned[0].protocol.batch_size}, medians of networks that take "
        "turns, as Keras runs them: answers without folded normalization.",
    ]


def _times(times: Mapping[str, Times]) -> list[dict[str, Any]]:
    return [
        {
            "network": label,
            "training_step_seconds": round(one.step, 5),
            "forward_seconds": round(one.forward, 5),
        }
        for label, one in times.items()
    ]
