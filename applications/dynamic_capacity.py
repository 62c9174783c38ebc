"""Dynamic Capacity Networks: digits in clutter and house numbers, beside the paper's figures.

    python applications/dynamic_capacity.py --table 1 --data cluttered_digits
    python applications/dynamic_capacity.py --figure 2 --data cluttered_digits
    python applications/dynamic_capacity.py --figure 3 --data cluttered_digits
    python applications/dynamic_capacity.py --table 2 --data number_photographs --width 0.25
    python applications/dynamic_capacity.py --figure 5

Without `--data` the paper's data are taken and trained as the paper does; other data are trained in
a small way (dynamic_capacity_parts/protocols.py). What is trained is kept, by default in the folder
`networks` of the output, where another run finds it: `--networks` shares it between table 1 and
figures 2 and 3.

Reference: Almahairi et al., Dynamic Capacity Networks (2016), tables 1 and 2, figures 2, 3 and 5.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from types import ModuleType

import tensorflow as tf
from dynamic_capacity_parts import figure2, figure3, figure5, options, report, table1, table2
from dynamic_capacity_parts.training import Job, Training, train
from program_parts import files, markdown
from program_parts.processes import in_processes

import keras_attention as ka

TABLES = {1: table1, 2: table2}
FIGURES = {2: figure2, 3: figure3, 5: figure5}


def main() -> int:
    """Trains each network with each seed, reports; returns the exit code: 2 for what cannot be."""
    given = options.read(__doc__.splitlines()[0])
    # Many networks in one process are meant: no warnings that each is traced.
    tf.get_logger().setLevel("ERROR")
    kind = TABLES[given.table] if given.table else FIGURES[given.figure]
    try:
        jobs = kind.jobs(given)
        check(jobs)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    with files.logged(given.output / "log.txt"):
        done = run(given, jobs)
        text = kind.finish(given, jobs, done)
        print(f"\n{text}\n")
        write_page(given, kind, jobs, text, done)
        if given.export:
            export(given, kind, done)
    return 0


def check(jobs: Sequence[Job]) -> None:
    """Finds out whether the data are to be had and the networks can be built.

    Raises:
        ValueError: For options that cannot be.
        ConnectionError: Where the data are neither here nor to be downloaded.
    """
    for job in {job.label: job for job in jobs}.values():
        job.protocol.steps_of_epoch(int(job.training().cardinality()))
        job.model()


def run(given: argparse.Namespace, jobs: Sequence[Job]) -> list[Training]:
    """Trains all; prints each."""
    done: list[Training] = []
    if not jobs:
        return done
    for training in in_processes(partial(train, given.networks), jobs, given.processes):
        done.append(training)
        print(report.line_of(training), flush=True)
        files.write_csv(given.output / "results.csv", report.records(done))
        files.write_csv(given.output / "curves.csv", report.epochs(done))
    return done


def export(given: argparse.Namespace, kind: ModuleType, done: Sequence[Training]) -> None:
    """Writes the first seed's networks for serving."""
    first = [one for one in done if one.job.seed == done[0].job.seed and not one.diverged]
    for name, model in kind.served(first):
        path = given.output / "exported" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ka.export.export_saved_model(model, path, overwrite=True)
        print(f"wrote {path}")


def write_page(
    given: argparse.Namespace,
    kind: ModuleType,
    jobs: Sequence[Job],
    text: str,
    done: Sequence[Training],
) -> None:
    """Writes the markdown, where it is asked for."""
    if not given.markdown:
        return
    data = "".join(f" on {name}" for name in dict.fromkeys(job.data for job in jobs))
    page = markdown.page(
        f"Dynamic Capacity Networks, {kind.TITLE}{data}",
        markdown.command("dynamic_capacity.py"),
        kind.notes(given, jobs),
        text,
        report.every_training(done) if done else "",
    )
    files.write_text(given.markdown, page)
    print(f"wrote {given.markdown}")


if __name__ == "__main__":
    sys.exit(main())
