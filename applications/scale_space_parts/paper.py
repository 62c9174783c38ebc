"""The tables of the paper as it prints them.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), tables I to VII and IX, figures
9 and 10.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

PHOTOGRAPHS = ("cifar10", "cifar20", "cifar100", "gtsrb")
BOTH = ("bottleneck", "full")
BOTTLENECK = ("bottleneck",)
TOP = ("top-1 %", "top-5 %")
# What the figures compare, and the depthwise reading of the smoothing.
TIMED = ("none", "cbam", "bam", "san-c", "san-d", "san-c-depthwise")


@dataclass(frozen=True)
class Printed:
    """A table, or the part of one that is a product of its headings.

    Attributes:
        axes: The headings `network`, `data`, `placement` and `metric`, in the order in which the
            columns go through them, the last one fastest.
        rows: By variant one figure a column; none of a row where the paper has "-".
    """

    axes: Mapping[str, tuple[str, ...]]
    rows: Mapping[str, tuple[float, ...]]

    def figure(self, variant: str, **where: str) -> float | None:
        """What is printed for a variant, with one value for each of the axes."""
        columns = [dict(zip(self.axes, names, strict=True)) for names in self._columns()]
        figures = self.rows.get(variant, ())
        return figures[columns.index(where)] if figures and where in columns else None

    def _columns(self) -> product:
        return product(*self.axes.values())


@dataclass(frozen=True)
class Table:
    """A table or a figure of the paper: a title and its parts."""

    title: str
    parts: tuple[Printed, ...]

    def part(self, network: str) -> Printed:
        """The part of a network; the first where the paper does not have it here."""
        found = (part for part in self.parts if network in part.axes["network"])
        return next(found, self.parts[0])

    @property
    def networks(self) -> list[str]:
        """Of all parts."""
        return [name for part in self.parts for name in part.axes["network"]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of all parts: they have the same."""
        return self.parts[0].axes["metric"]


def _of_photographs(network: str, rows: Mapping[str, tuple[float, ...]]) -> tuple[Printed, ...]:
    axes = {"network": (network,), "placement": BOTH, "data": PHOTOGRAPHS, "metric": TOP}
    return (Printed(axes, rows),)


def _of_sequences(
    data: str, metrics: tuple[str, str], rows: Mapping[str, tuple[float, ...]]
) -> tuple[Printed, ...]:
    axes = {"network": ("LSTM4",), "data": (data,), "metric": metrics, "placement": BOTH}
    return (Printed(axes, rows),)


def _ablation(
    network: str, data: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]
) -> Printed:
    axes = {"network": (network,), "placement": BOTTLENECK, "data": data, "metric": TOP[:1]}
    return Printed(axes, rows)


def _timed(
    networks: tuple[str, ...], data: tuple[str, ...], placements: tuple[str, ...]
) -> tuple[Printed, ...]:
    axes = {"network": networks, "data": data, "placement": placements, "metric": ()}
    return (Printed(axes, dict.fromkeys(TIMED, ())),)


TABLES = {
    1: Table(
        "table I (ImageNet)",
        (
            Printed(
                {
                    "data": ("imagenet2012",),
                    "network": ("VGG16", "ResNet18"),
                    "placement": BOTH,
                    "metric": TOP,
                },
                {
                    "none": (71.90, 90.60, 71.90, 90.60, 70.40, 89.45, 70.40, 89.45),
                    "cbam": (72.40, 90.97, 72.43, 91.25, 70.95, 89.63, 70.73, 89.91),
                    "bam": (72.89, 92.46, 73.06, 92.96, 71.12, 89.99, 71.35, 90.45),
                    "san-c": (73.01, 93.24, 73.87, 93.58, 71.64, 91.45, 71.88, 91.53),
                    "san-d": (73.57, 93.97, 74.26, 94.07, 72.01, 92.87, 72.38, 92.93),
                },
            ),
        ),
    ),
    2: Table(
        "table II (VGG-16)",
        _of_photographs(
            "VGG16",
            {
                "none": (
                    *(72.70, 93.12, 45.17, 70.01, 31.07, 53.01, 96.21, 99.84),
                    *(72.70, 93.12, 45.17, 70.01, 31.07, 53.01, 96.21, 99.84),
                ),
                "cbam": (
                    *(76.57, 95.23, 46.14, 72.56, 32.17, 54.02, 96.38, 99.96),
                    *(74.65, 94.26, 45.74, 72.16, 32.51, 54.67, 97.45, 100.00),
                ),
                "bam": (
                    *(76.15, 94.85, 48.95, 76.89, 32.96, 55.65, 96.85, 100.00),
                    *(76.42, 95.63, 46.79, 73.68, 35.96, 61.45, 97.73, 100.00),
                ),
                "san-c": (
                    *(78.42, 97.86, 50.23, 78.99, 34.58, 58.99, 97.96, 100.00),
                    *(79.89, 97.99, 51.14, 82.99, 37.59, 63.48, 98.31, 100.00),
                ),
                "san-d": (
                    *(79.01, 99.50, 52.84, 82.03, 36.14, 61.23, 98.25, 100.00),
                    *(81.24, 99.98, 54.88, 86.48, 39.03, 68.45, 98.95, 100.00),
                ),
            },
        ),
    ),
    3: Table(
        "table III (ResNet-18)",
        _of_photographs(
            "ResNet18",
            {
                "none": (
                    *(68.55, 90.51, 49.32, 73.00, 37.83, 62.95, 97.85, 99.98),
                    *(68.55, 90.51, 49.32, 73.00, 37.83, 62.95, 97.85, 99.98),
                ),
                "cbam": (
                    *(73.76, 96.40, 53.39, 80.34, 40.95, 65.65, 98.11, 99.99),
                    *(74.40, 97.42, 51.73, 75.89, 40.74, 67.97, 98.52, 100.00),
                ),
                "bam": (
                    *(73.42, 93.42, 53.53, 81.13, 40.72, 65.39, 98.42, 100.00),
                    *(72.67, 96.71, 54.77, 82.64, 40.49, 67.01, 98.95, 100.00),
                ),
                "san-c": (
                    *(74.82, 97.86, 55.23, 85.82, 41.74, 67.10, 99.24, 100.00),
                    *(75.03, 98.99, 52.74, 78.95, 44.14, 72.43, 99.53, 100.00),
                ),
                "san-d": (
                    *(78.89, 99.97, 56.53, 87.26, 41.49, 66.95, 99.76, 100.00),
                    *(79.67, 100.00, 54.94, 83.98, 47.06, 74.42, 99.85, 100.00),
                ),
            },
        ),
    ),
    4: Table(
        "table IV (LeNet-5)",
        (
            Printed(
                {
                    "network": ("LeNet5",),
                    "placement": BOTTLENECK,
                    "data": ("mnist", "fashion_mnist"),
                    "metric": TOP,
                },
                {
                    "none": (98.37, 99.98, 89.43, 99.87),
                    "cbam": (97.88, 99.98, 89.27, 99.85),
                    "bam": (98.52, 99.99, 89.64, 99.90),
                    "san-c": (98.56, 99.99, 89.75, 99.92),
                    "san-d": (98.70, 100.00, 89.94, 99.96),
                },
            ),
        ),
    ),
    5: Table(
        "table V (deeper networks)",
        (
            Printed(
                {
                    "data": ("cifar10",),
                    "placement": BOTTLENECK,
                    "network": ("VGG19", "ResNet50"),
                    "metric": TOP,
                },
                {
                    "none": (69.48, 86.95, 67.79, 90.86),
                    "cbam": (70.24, 89.85, 65.82, 89.74),
                    "bam": (71.41, 94.01, 68.76, 94.51),
                    "san-c": (77.14, 96.21, 71.36, 96.89),
                    "san-d": (77.36, 96.88, 72.73, 97.25),
                },
            ),
        ),
    ),
    6: Table(
        "table VI (motion capture)",
        _of_sequences(
            "mocap",
            ("accuracy %", "MAE"),
            {
                "none": (100.00, 100.00, 0.1118, 0.1118),
                "ran": (100.00, 100.00, 0.1055, 0.0751),
                "san": (100.00, 100.00, 0.0641, 0.0084),
            },
        ),
    ),
    7: Table(
        "table VII (flights)",
        _of_sequences(
            "flights",
            ("cosine", "MAE"),
            {
                "none": (0.9672, 0.9672, 40.88, 40.88),
                "ran": (0.9526, 0.9745, 37.04, 33.40),
                "san": (0.9745, 0.9773, 33.40, 31.48),
            },
        ),
    ),
    9: Table(
        "table IX (ablation)",
        (
            _ablation(
                "LeNet5",
                ("mnist", "fashion_mnist"),
                {
                    "none": (98.37, 89.43),
                    "ablation-1": (),
                    "ablation-2": (),
                    "ablation-3": (98.34, 89.55),
                    "ablation-4": (98.17, 89.28),
                    "san-c": (98.56, 89.75),
                },
            ),
            _ablation(
                "VGG16",
                PHOTOGRAPHS,
                {
                    "none": (72.70, 45.17, 31.07, 96.21),
                    "ablation-1": (68.83, 39.48, 22.07, 93.25),
                    "ablation-2": (70.45, 42.17, 30.99, 93.96),
                    "ablation-3": (73.95, 40.19, 32.34, 95.98),
                    "ablation-4": (72.79, 42.30, 29.21, 94.96),
                    "san-c": (78.42, 50.23, 34.58, 97.96),
                },
            ),
            _ablation(
                "ResNet18",
                PHOTOGRAPHS,
                {
                    "none": (68.55, 49.32, 37.83, 96.21),
                    "ablation-1": (65.82, 46.36, 41.53, 93.51),
                    "ablation-2": (68.83, 48.42, 42.30, 94.01),
                    "ablation-3": (71.53, 49.17, 42.86, 96.23),
                    "ablation-4": (70.59, 48.62, 42.17, 96.34),
                    "san-c": (74.82, 55.23, 44.14, 98.31),
                },
            ),
        ),
    ),
}

# Bars without numbers: what is measured stands alone.
FIGURES = {
    9: Table("figure 9 (training time)", _timed(("VGG16", "ResNet18"), ("cifar10",), BOTH)),
    10: Table("figure 10 (training time)", _timed(("LeNet5",), ("mnist",), BOTTLENECK)),
}
