"""What the paper prints, as far as its text can be read: table 1 is not among it.

Reference: Rodriguez et al., Attend and Rectify (2018), figure 4 and tables 2 and 3.
"""

from dataclasses import dataclass

FIGURE = "figure 4 (Cluttered Translated MNIST)"
BEST_ACCURACY = 97.8


@dataclass(frozen=True)
class Wide:
    """A line of table 2; the width is 10.

    Attributes:
        parameters: Their number.
        macs: Multiply-accumulates of an image; the paper calls them Flop.
        seconds: To forward the 10,000 test images on the authors' GPU, in batches of 256.
        errors: In percent, by data set.
    """

    parameters: float
    macs: float
    seconds: float
    errors: dict[str, float]


# By network and depth. Whether with dropout the table does not say.
TABLE2 = {
    ("WRN", 40): Wide(56e6, 8.1e9, 0.18, {"cifar10": 3.80, "cifar100": 18.30}),
    ("WARN", 28): Wide(37e6, 5.3e9, 0.17, {"cifar10": 3.44, "cifar100": 18.26}),
    ("WARN", 40): Wide(56e6, 8.2e9, 0.18, {"cifar10": 3.46, "cifar100": 17.82}),
}

# Accuracies in percent of the plain backbone, WRN-50-4, and of the augmented one.
TABLE3 = {
    "stanford_dogs": (89.6, 92.9),
    "uec_food100": (84.3, 85.5),
    "cars196": (88.5, 90.0),
    "adience_gender": (93.9, 94.6),
    "adience_age": (57.4, 59.7),
    "caltech_birds2011": (84.3, 85.6),
}
