"""Tables of the paper with the published errors, and the training jobs of their cells.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), tables 1 to 5.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.protocols import OVERRIDES

import keras_attention as ka
from attention_transfer_experiment import images, networks
from attention_transfer_experiment import training as base
from attention_transfer_experiment.images import ImageSource
from attention_transfer_experiment.networks import Network

TEACHER = "teacher"
BETA, ALPHA, TEMPERATURE, HINT_WEIGHT = 1e3, 0.9, 4.0, 1.0
# Table 5: the attention losses are added at epoch 60 of 100.
START = 0.6
# Of the short protocols, with data sets that fit into memory.
SMALL_SIZE, SMALL_TRAIN_SIZE, SMALL_TEACHER_TRAIN_SIZE = 32, 100, 1000
PRETRAINED, IN_MEMORY = (4, 5), (1, 2, 3)
NO_FILE = "none"

# Medians of 5 seeds on CIFAR-10, errors in percent by pair and column.
_COLUMNS = ("student", "AT", "F-ActT", "KD", "AT+KD", TEACHER)
TABLE1 = {
    pair: dict(zip(_COLUMNS, errors, strict=True))
    for pair, errors in {
        "NIN-thin/NIN-wide": (9.38, 8.93, 9.05, 8.55, 8.33, 7.28),
        "WRN-16-1/WRN-16-2": (8.77, 7.93, 8.51, 7.41, 7.51, 6.31),
        "WRN-16-1/WRN-40-1": (8.77, 8.25, 8.62, 8.39, 8.01, 6.58),
        "WRN-16-2/WRN-40-2": (6.31, 5.85, 6.24, 6.08, 5.71, 5.23),
    }.items()
}
# WRN-16-1 with teacher WRN-16-2 on CIFAR-10, medians of 5 seeds.
TABLE2 = {"none": 8.77, "F_sum": 7.99, "F_sum^2": 7.93, "F_sum^4": 8.09, "F_max^1": 8.08}
# A thin network in network on CIFAR-10, one training each.
TABLE3 = {
    "baseline": 13.5,
    "min-l2": 12.5,
    "grad-based AT": 12.1,
    "KD": 12.1,
    "symmetry norm": 11.8,
    "activation-based AT": 11.2,
}
# ResNet-18 with teacher ResNet-34, by data set.
TABLE4 = {
    "caltech_birds2011": {"student": 28.5, "KD": 27.0, "AT": 27.0, "teacher": 26.5},
    "mit_scenes": {"student": 28.2, "KD": 28.1, "AT": 27.1, "teacher": 26.0},
}
# ResNet-18 with teacher ResNet-34 on ImageNet: top-1 and top-5 errors with one crop.
TABLE5 = {"student": (30.4, 10.8), "AT": (29.3, 10.0), "teacher": (26.1, 8.3)}


@dataclass(frozen=True)
class Table:
    """One of the paper's tables."""

    title: str  # Title in reports
    pairs: tuple[str, ...]  # Students and teachers
    data: tuple[str, ...]  # Data sets, by their names in `ka.datasets`
    # Function of the options that returns the method of each column.
    methods: Callable[[Namespace], dict[str, base.Method]]
    baseline: str  # Column of the student without transfer
    # Protocols of students and teachers on the paper's data.
    paper: tuple[base.TransferProtocol, base.TransferProtocol]
    # Protocols of students and teachers on other data.
    small: tuple[base.TransferProtocol, base.TransferProtocol]
    # Function of pair, data and column that returns the published error or None. Except in table 4,
    # it does not depend on the data: the error is that on the paper's.
    published: Callable[[str, str, str], Any] = field(repr=False)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # Default seeds
    has_teacher: bool = True  # If True, the last column is that of the teacher
    tops: tuple[int, ...] = (1,)  # Numbers k of the top-k errors
    # Data sets that are trained with the paper's protocol.
    paper_data: tuple[str, ...] = ("cifar10", "cifar100")
    small_pairs: tuple[str, ...] = ()  # Pairs on other data; empty for all

    def pairs_on(self, data: str) -> tuple[str, ...]:
        """Returns the default pairs on a data set."""
        return self.pairs if data in self.paper_data else self.small_pairs or self.pairs

    def column_names(self, options: Namespace) -> list[str]:
        """Returns the names of all columns."""
        return [*self.methods(options), *([TEACHER] if self.has_teacher else [])]


def _option(options: Namespace, name: str, default: Any) -> Any:
    value = getattr(options, name)
    return default if value is None else value


def _attention(options: Namespace, **changes: Any) -> base.Method:
    return base.Method(base.LossWeight(_option(options, "beta", BETA)), **changes)


def _distillation(options: Namespace) -> base.Method:
    alpha = _option(options, "alpha", ALPHA)
    return base.Method(distillation=alpha, temperature=_option(options, "temperature", TEMPERATURE))


def methods_of_table1(options: Namespace) -> dict[str, base.Method]:
    """Attention transfer, full-activation transfer, knowledge distillation, and a combination."""
    schedule = _option(options, "schedule", "linear")
    hints = base.LossWeight(_option(options, "hint_weight", HINT_WEIGHT), schedule)
    attention, distillation = _attention(options), _distillation(options)
    decayed = base.LossWeight(attention.attention.value, schedule)
    return {
        "student": base.LABELS_ONLY,
        "AT": attention,
        "F-ActT": base.Method(hints=hints),
        "KD": distillation,
        "AT+KD": replace(distillation, attention=decayed),
    }


def methods_of_table2(options: Namespace) -> dict[str, base.Method]:
    """Mapping functions; means replace sums, since maps are divided by their norms."""
    maps = {"F_sum": (1, "mean"), "F_sum^2": (2, "mean"), "F_sum^4": (4, "mean")}
    maps["F_max^1"] = (1, "max")
    methods = {
        name: _attention(options, power=power, reduce=reduce)
        for name, (power, reduce) in maps.items()
    }
    return {"none": base.LABELS_ONLY, **methods}


def methods_of_table3(options: Namespace) -> dict[str, base.Method]:
    """Losses of the gradients with respect to the images."""
    weights = {"min_l2": 1.0, "transfer": 1.0, "symmetry": 1.0}
    weights |= dict(options.gradient_weights or {})
    gradient = {
        kind: base.Method(gradient=kind, gradient_weight=weight) for kind, weight in weights.items()
    }
    return {
        "baseline": base.LABELS_ONLY,
        "min-l2": gradient["min_l2"],
        "grad-based AT": gradient["transfer"],
        "KD": _distillation(options),
        "symmetry norm": gradient["symmetry"],
        "activation-based AT": _attention(options),
    }


def methods_of_table4(options: Namespace) -> dict[str, base.Method]:
    """Knowledge distillation and attention transfer in fine-tuning."""
    return {"student": base.LABELS_ONLY, "KD": _distillation(options), "AT": _attention(options)}


def methods_of_table5(options: Namespace) -> dict[str, base.Method]:
    """Attention transfer that starts late in training."""
    start = _option(options, "start", START)
    late = base.LossWeight(_option(options, "beta", BETA), start=start)
    return {"student": base.LABELS_ONLY, "AT": base.Method(late)}


def _by_pair(errors: Mapping[str, Any]) -> Callable[[str, str, str], Any]:
    """Returns the published errors by pair and column, for any data set."""
    return lambda pair, data, column: errors.get(pair, {}).get(column)


RESNETS = ("ResNet-18/ResNet-34",)
TABLES = {
    1: Table(
        "table 1 (activation-based attention transfer)",
        tuple(TABLE1),
        ("cifar10",),
        methods_of_table1,
        "student",
        (base.CIFAR,) * 2,
        (base.CIFAR_SMALL,) * 2,
        _by_pair(TABLE1),
        small_pairs=("WRN-16-1/WRN-16-2",),
    ),
    2: Table(
        "table 2 (attention mapping functions)",
        ("WRN-16-1/WRN-16-2",),
        ("cifar10",),
        methods_of_table2,
        "none",
        (base.CIFAR,) * 2,
        (base.CIFAR_SMALL,) * 2,
        _by_pair({"WRN-16-1/WRN-16-2": TABLE2}),
        has_teacher=False,
    ),
    3: Table(
        "table 3 (gradient-based attention transfer)",
        ("NIN-thin/NIN-wide",),
        ("cifar10",),
        methods_of_table3,
        "baseline",
        (base.WITHOUT_NORMALIZATION, base.CIFAR),
        (base.WITHOUT_NORMALIZATION_SMALL, base.CIFAR_SMALL),
        _by_pair({"NIN-thin/NIN-wide": TABLE3}),
        seeds=(0,),
        has_teacher=False,
    ),
    4: Table(
        "table 4 (fine-tuning)",
        RESNETS,
        tuple(TABLE4),
        methods_of_table4,
        "student",
        (base.FINE_TUNING,) * 2,
        (base.FINE_TUNING_SMALL,) * 2,
        lambda pair, data, column: TABLE4.get(data, {}).get(column) if pair in RESNETS else None,
        seeds=(0,),
        paper_data=tuple(TABLE4),
    ),
    5: Table(
        "table 5 (ImageNet)",
        RESNETS,
        ("imagenet2012",),
        methods_of_table5,
        "student",
        (base.IMAGENET,) * 2,
        (base.IMAGENET_SMALL,) * 2,
        _by_pair({"ResNet-18/ResNet-34": TABLE5}),
        seeds=(0,),
        tops=(1, 5),
        paper_data=("imagenet2012",),
    ),
}


@dataclass(frozen=True)
class Row:
    """A student and a teacher on a data set."""

    pair: str  # Label as in `--rows`
    data: str  # Data set, by its name in `ka.datasets`

    @property
    def label(self) -> str:
        return f"{self.pair} on {self.data}"


@dataclass(frozen=True)
class Cell:
    """A training with its position in the table."""

    row: Row  # Row of the table
    column: str  # Column of the table
    job: base.Job  # Training; several cells can have the same

    @property
    def label(self) -> str:
        return f"{self.row.label}, {self.column}, seed {self.job.seed}"


def cells_of(options: Namespace) -> list[Cell]:
    """Returns all requested cells; their jobs refer to the jobs of the teachers."""
    table = TABLES[options.table]
    columns, methods = columns_of(options), table.methods(options)
    cells = []
    for row in rows_of(options):
        for seed in options.seeds or table.seeds:
            student, teacher = pair_of_jobs(options, row, seed)
            for column in columns:
                job = teacher
                if column != TEACHER:
                    method = methods[column]
                    needed = teacher if method.needs_teacher else None
                    job = replace(student, method=method, teacher=needed)
                cells.append(Cell(row, column, job))
    return cells


def rows_of(options: Namespace) -> list[Row]:
    """Returns the requested rows."""
    table = TABLES[options.table]
    return [
        Row(pair, data)
        for data in options.data or table.data
        for pair in options.rows or table.pairs_on(data)
    ]


def columns_of(options: Namespace) -> list[str]:
    """Returns the requested columns in the order of the table."""
    names = TABLES[options.table].column_names(options)
    unknown = [name for name in options.columns or () if name not in names]
    if unknown:
        raise ValueError(
            f"--columns must be among {', '.join(map(repr, names))} with --table {options.table}. "
            f"Received: {', '.join(map(repr, unknown))}"
        )
    return [name for name in names if not options.columns or name in options.columns]


def stages_of(cells: Iterable[Cell]) -> list[list[base.Job]]:
    """Returns the jobs that need no teacher, then those that do, each job once."""
    jobs = dict.fromkeys(cell.job for cell in cells)
    teachers = dict.fromkeys(job.teacher for job in jobs if job.teacher)
    first = dict.fromkeys([*teachers, *(job for job in jobs if not job.teacher)])
    return [list(first), [job for job in jobs if job.teacher]]


def pair_of_jobs(options: Namespace, row: Row, seed: int) -> tuple[base.Job, base.Job]:
    """Returns the jobs of the student of a row without transfer, and of its teacher."""
    table = TABLES[options.table]
    pair = list(networks.parse_pair(row.pair))
    if options.table == 3:
        pair = _for_gradients(row.pair, pair)
    on_paper_data = row.data in table.paper_data
    protocols = table.paper if on_paper_data else table.small
    names = (*OVERRIDES, "steps", "momentum", "weight_decay", "steps_per_execution")
    # The students of table 3 have another learning rate than their teacher, which keeps its own.
    own = ("learning_rate", "weight_decay") if protocols[0] != protocols[1] else ()
    student, teacher = (
        base.Job(
            network,
            source,
            protocol.override(options, [name for name in names if name not in excluded]),
            seed,
            weights=None if weights == NO_FILE else weights,
            fine_tuning=options.table == 4,
            tops=table.tops,
        )
        for network, source, protocol, excluded, weights in zip(
            pair,
            _sources(options, row.data, on_paper_data),
            protocols,
            ((), own),
            (options.student_weights, options.teacher_weights),
            strict=True,
        )
    )
    return student, teacher


def _for_gradients(label: str, pair: Sequence[Network]) -> list[Network]:
    """Returns the pair of table 3.

    The student has no batch normalization, the teacher no ReLU before pooling.
    """
    if any(not network.builder.startswith("NIN") for network in pair):
        raise ValueError(
            f"--rows must be of networks in networks with --table 3. Received: --rows={label}"
        )
    student, teacher = pair
    return [
        student.with_options(batch_normalization=False),
        teacher.with_options(relu_before_pool=False),
    ]


def _sources(options: Namespace, data: str, on_paper_data: bool) -> tuple[ImageSource, ImageSource]:
    """Returns the images of the student and those of its teacher."""
    info = ka.datasets.find(data)
    in_memory = options.table in IN_MEMORY
    size = options.size or (info.size if on_paper_data or not in_memory else SMALL_SIZE)
    train_size, pool_size = _train_sizes(options, in_memory and not on_paper_data)
    data_options = {"crop": True} if data == "caltech_birds2011" else {}
    if data.startswith(images.CLUTTERED):
        number = images.DISTRACTORS if options.distractors is None else options.distractors
        data_options = {"distractors": number}
    elif options.distractors is not None or options.test_draws is not None:
        raise ValueError(
            f"--distractors and --test-draws need --data {images.CLUTTERED}digits or "
            f"{images.CLUTTERED}mnist. Received: --data={data}"
        )
    shared: dict[str, Any] = {
        "options": tuple(data_options.items()),
        "augmentation": options.augmentation or _augmentation(options, info.channels),
        "pretrained": options.table in PRETRAINED and info.channels == 3,
        "test_draws": options.test_draws or 1,
    }
    return (
        ImageSource(data, size, train_size, pool_size, **shared),
        ImageSource(data, size, pool_size, pool_size, **shared),
    )


def _train_sizes(options: Namespace, small: bool) -> tuple[int | None, int | None]:
    """Returns the numbers of training images of student and teacher; None for all."""
    if options.table in PRETRAINED:
        return options.train_size, options.train_size
    student = options.train_size or (SMALL_TRAIN_SIZE if small else None)
    if student is None:
        return None, options.teacher_train_size
    default = max(student, SMALL_TEACHER_TRAIN_SIZE) if small else student
    return student, options.teacher_train_size or default


def _augmentation(options: Namespace, channels: int) -> str:
    """Returns the paper's augmentation for photographs, and none for grayscale images.

    Flipped digits would not be digits. The data sets of tables 4 and 5 crop and flip themselves.
    """
    if channels != 3 or options.table in PRETRAINED:
        return "none"
    return "flip" if options.table == 3 else "crop"
