"""Small networks and data for the tests of the attention transfer program."""

import csv
import sys
from dataclasses import replace

import attention_transfer
from attention_transfer_experiment import networks, tables, training
from attention_transfer_experiment.images import ImageSource
from attention_transfer_experiment.training import LABELS_ONLY, Job
from harness.training import TrainingResult

CLUTTER = "cluttered_translated_digits"
# At least 8 channels: with fewer, filter gradients of oneDNN corrupt memory in eager mode.
TINY_WRN = ("--rows", "WRN-10-0.5/WRN-10-1")
TINY_NIN = ("--rows", "NIN-thin-0.05/NIN-wide-0.05", "--data", "digits")
TINY_RESNET = ("--rows", "ResNet-18-8/ResNet-18-16", "--size", 16, "--batch-size", 4)
SHORT = ("--size", 12, "--epochs", 2, "--steps", 4, "--batch-size", 4, "--seeds", 0)
PROTOCOL = replace(training.CIFAR_SMALL, batch_size=4, epochs=2, steps=4)
DIGITS = ImageSource("digits", 12, 20, 100)


def main(monkeypatch, *given):
    monkeypatch.setattr(sys, "argv", ["attention_transfer.py", *map(str, given)])
    return attention_transfer.main()


def read(*given):
    return attention_transfer.read_options([*map(str, given)])


def cells_of(*given):
    return tables.cells_of(read(*given))


def records_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def job_of(label="WRN-10-0.25", method=LABELS_ONLY, teacher=None, seed=0):
    return Job(networks.parse(label), DIGITS, PROTOCOL, seed, method, teacher)


def result_of(job, error, **changes):
    scores = {} if error is None else {"error %": error}
    return TrainingResult(
        job=job, seconds=1.0, steps=4, parameters=1, macs=1, scores=scores, **changes
    )
