"""Small networks and data for the tests of Attention Transfer's program, and how to call it."""

import csv
import sys
from dataclasses import replace

import attention_transfer
from attention_transfer_parts import (
    networks,
    options,
    plan,
    protocols,
)
from attention_transfer_parts.methods import ALONE
from attention_transfer_parts.sources import Source
from attention_transfer_parts.training import Job

CLUTTER = "cluttered_translated_digits"
TINY_WRN = ("--rows", "WRN-10-0.25/WRN-10-0.5", "--data", CLUTTER)
TINY_NIN = ("--rows", "NIN-thin-0.05/NIN-wide-0.05", "--data", "digits")
TINY_RESNET = ("--rows", "ResNet-18-2/ResNet-18-4", "--size", 16, "--batch-size", 4)
SHORT = ("--size", 12, "--epochs", 2, "--steps", 4, "--batch-size", 4, "--seeds", 0)
PROTOCOL = replace(protocols.CIFAR_SMALL, batch_size=4, epochs=2, steps=4)
DIGITS = Source("digits", 12, 20, 100)


def arguments(monkeypatch, *given):
    monkeypatch.setattr(sys, "argv", ["attention_transfer.py", *map(str, given)])


def main(monkeypatch, *given):
    arguments(monkeypatch, *given)
    return attention_transfer.main()


def read(monkeypatch, *given):
    arguments(monkeypatch, *given)
    return options.read("")


def cells_of(monkeypatch, *given):
    return plan.cells(read(monkeypatch, *given))


def records_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def job_of(label="WRN-10-0.25", method=ALONE, teacher=None, seed=0):
    return Job(networks.parse(label), DIGITS, PROTOCOL, seed, method, teacher)
