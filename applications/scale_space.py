"""Scale-Space Attention: train next to CBAM, BAM and RAN, compare with the paper, measure times.

    python applications/scale_space.py --table 4 --data digits
    python applications/scale_space.py --table 9 --data digits --networks LeNet5
    python applications/scale_space.py --table 6 --data digit_sequences
    python applications/scale_space.py --figure 10 --data digits

Without `--data`, tables I to VII and IX and figures 9 and 10 use the paper's data sets and usual
training settings. Other data sets use a short protocol (scale_space_experiment/training.py).

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), tables I to IX, figures 9, 10.
"""

import argparse
import sys
from pathlib import Path

from harness.options import add_protocol_options, add_run_options, parse, positive_int
from scale_space_experiment import report, tables, training

OUTPUT = Path("runs/scale_space")
DETECTION = 8


def main() -> int:
    """Trains each row with each seed, or times it; returns the exit code."""
    options = read_options()
    if options.table == DETECTION:
        print("python applications/scale_space_detection.py")
        return 0
    if options.table:
        experiment = report.TableExperiment(tables.TABLES[options.table])
    else:
        experiment = report.FigureExperiment(tables.FIGURES[options.figure])
    return experiment.main(options, training.train)


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_mutually_exclusive_group(required=True)
    numbers = sorted([*tables.TABLES, DETECTION])
    kinds.add_argument("--table", type=int, choices=numbers, help="table of the paper, I to IX")
    kinds.add_argument("--figure", type=int, choices=list(tables.FIGURES), help="training times")
    group = parser.add_argument_group("rows", "by default, those of the table or figure")
    group.add_argument("--networks", nargs="+", metavar="NAME", help="names in ka.applications")
    group.add_argument("--data", nargs="+", metavar="NAME", help="data sets")
    attentions = ", ".join(tables.VARIANTS)
    group.add_argument("--attentions", nargs="+", metavar="NAME", help=f"among {attentions}")
    group.add_argument("--placements", nargs="+", choices=tables.PLACEMENTS)
    small = training.SMALL
    note = f"otherwise {small.train_size} examples, {small.epochs} epochs, Adam"
    names = ("size", "train_size", "epochs", "batch_size", "learning_rate")
    add_protocol_options(parser, *names, note=note)
    parser.add_argument(
        "--rounds", type=positive_int, default=15, help="timed steps of a figure (%(default)s)"
    )
    add_run_options(parser, f"{OUTPUT}_table4")
    return parse(parser, OUTPUT)


if __name__ == "__main__":
    sys.exit(main())
