"""What the paper prints: errors in percent.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), tables 1 to 5.
"""

# On CIFAR-10, medians of 5 seeds, by pair and column.
_COLUMNS = ("student", "AT", "F-ActT", "KD", "AT+KD", "teacher")
TABLE1 = {
    pair: dict(zip(_COLUMNS, errors, strict=True))
    for pair, errors in {
        "NIN-thin/NIN-wide": (9.38, 8.93, 9.05, 8.55, 8.33, 7.28),
        "WRN-16-1/WRN-16-2": (8.77, 7.93, 8.51, 7.41, 7.51, 6.31),
        "WRN-16-1/WRN-40-1": (8.77, 8.25, 8.62, 8.39, 8.01, 6.58),
        "WRN-16-2/WRN-40-2": (6.31, 5.85, 6.24, 6.08, 5.71, 5.23),
    }.items()
}
# Of WRN-16-1 taught by WRN-16-2 on CIFAR-10, medians of 5 seeds.
TABLE2 = {"none": 8.77, "F_sum": 7.99, "F_sum^2": 7.93, "F_sum^4": 8.09, "F_max^1": 8.08}
# Of a thin network in network on CIFAR-10, one training each.
TABLE3 = {
    "baseline": 13.5,
    "min-l2": 12.5,
    "grad-based AT": 12.1,
    "KD": 12.1,
    "symmetry norm": 11.8,
    "activation-based AT": 11.2,
}
# Of ResNet-18 taught by ResNet-34, by data set.
TABLE4 = {
    "caltech_birds2011": {"student": 28.5, "KD": 27.0, "AT": 27.0, "teacher": 26.5},
    "mit_scenes": {"student": 28.2, "KD": 28.1, "AT": 27.1, "teacher": 26.0},
}
# Of ResNet-18 taught by ResNet-34 on ImageNet: top-1 and top-5, one crop.
TABLE5 = {"student": (30.4, 10.8), "AT": (29.3, 10.0), "teacher": (26.1, 8.3)}
