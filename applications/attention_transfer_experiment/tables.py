"""Tables 1 to 5 with the published errors, and the training jobs of their cells."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import published

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


@dataclass(frozen=True)
class Table:
    """One of the paper's tables."""

    paper: published.Table  # Published errors by pair, data set, column and k of the top-k error
    # Protocols on the paper's data and on other data; those of the teacher, if they are different.
    protocols: tuple[base.TransferProtocol, base.TransferProtocol]
    teacher_protocols: tuple[base.TransferProtocol, base.TransferProtocol] | None = None
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # Default seeds
    # Data sets that are trained with the paper's protocol.
    paper_data: tuple[str, ...] = ("cifar10", "cifar100")
    small_pairs: tuple[str, ...] = ()  # Pairs on other data; empty for all

    @property
    def data(self) -> list[str]:
        """Data sets, by their names in `ka.datasets`."""
        return self.paper.headings("data")

    @property
    def columns(self) -> list[str]:
        """Names of all columns; the first is the student without transfer."""
        return self.paper.headings("column")

    @property
    def tops(self) -> tuple[int, ...]:
        """Numbers k of the top-k errors."""
        return tuple(map(int, self.paper.headings("top")))

    def pairs_on(self, data: str) -> Sequence[str]:
        """Returns the default pairs on a data set."""
        return (data not in self.paper_data and self.small_pairs) or self.paper.rows

    def published(self, pair: str, data: str, column: str) -> list[float]:
        """Returns the published errors of a cell, one for each k; none if there are none."""
        # On other data, the error is that on the paper's, if this is a single data set.
        data = data if len(self.data) > 1 else self.data[0]
        found = [
            self.paper.number(pair, data=data, column=column, top=str(top)) for top in self.tops
        ]
        return [error for error in found if error is not None]


_PAPER = published.read_tables(Path(__file__).with_name("tables.txt"))
_CIFAR = (base.CIFAR, base.CIFAR_SMALL)
_WITHOUT_NORMALIZATION = (base.WITHOUT_NORMALIZATION, base.WITHOUT_NORMALIZATION_SMALL)
_FINE_TUNING = (base.FINE_TUNING, base.FINE_TUNING_SMALL)
_IMAGENET = (base.IMAGENET, base.IMAGENET_SMALL)
_BIRDS_AND_SCENES = ("caltech_birds2011", "mit_scenes")
TABLES = {
    1: Table(_PAPER[1], _CIFAR, small_pairs=("WRN-16-1/WRN-16-2",)),
    2: Table(_PAPER[2], _CIFAR),
    3: Table(_PAPER[3], _WITHOUT_NORMALIZATION, _CIFAR, seeds=(0,)),
    4: Table(_PAPER[4], _FINE_TUNING, seeds=(0,), paper_data=_BIRDS_AND_SCENES),
    5: Table(_PAPER[5], _IMAGENET, seeds=(0,), paper_data=("imagenet2012",)),
}


def methods_of(options: Namespace) -> dict[str, base.Method]:
    """Returns the methods of the columns of the requested table, except that of the teacher."""

    def option(name: str, default: Any) -> Any:
        value = getattr(options, name)
        return default if value is None else value

    beta, schedule = option("beta", BETA), option("schedule", "linear")
    start = option("start", START) if options.table == 5 else 0.0
    attention = base.Method(base.LossWeight(beta, start=start))
    temperature = option("temperature", TEMPERATURE)
    distillation = base.Method(distillation=option("alpha", ALPHA), temperature=temperature)
    weights = {
        "min_l2": 1.0,
        "transfer": 1.0,
        "symmetry": 1.0,
        **dict(options.gradient_weights or ()),
    }
    gradient = {
        kind: base.Method(gradient=kind, gradient_weight=weight) for kind, weight in weights.items()
    }
    methods = {
        **dict.fromkeys(("student", "none", "baseline"), base.LABELS_ONLY),
        "AT": attention,
        "F-ActT": base.Method(hints=base.LossWeight(option("hint_weight", HINT_WEIGHT), schedule)),
        "KD": distillation,
        "AT+KD": replace(distillation, attention=base.LossWeight(beta, schedule)),
        # Table 2: means replace sums, since maps are divided by their norms.
        "F_sum": replace(attention, power=1),
        "F_sum^2": replace(attention, power=2),
        "F_sum^4": replace(attention, power=4),
        "F_max^1": replace(attention, power=1, reduce="max"),
        # Table 3: losses of the gradients with respect to the images.
        "min-l2": gradient["min_l2"],
        "grad-based AT": gradient["transfer"],
        "symmetry norm": gradient["symmetry"],
        "activation-based AT": attention,
    }
    columns = TABLES[options.table].columns
    return {name: methods[name] for name in columns if name != TEACHER}


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

    @property
    def identity(self) -> dict[str, Any]:
        """First columns of CSV files."""
        row = {"row": self.row.pair, "data": self.row.data}
        return {**row, "column": self.column, "seed": self.job.seed}


def cells_of(options: Namespace) -> list[Cell]:
    """Returns all requested cells; their jobs refer to the jobs of the teachers."""
    table = TABLES[options.table]
    columns, methods = columns_of(options), methods_of(options)
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
    names = TABLES[options.table].columns
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
    student, teacher = networks.parse_pair(row.pair)
    if options.table == 3:
        student, teacher = _for_gradients(row.pair, student, teacher)
    on_paper_data = row.data in table.paper_data

    def job(network: Network, images: ImageSource, protocols: Any, weights: Any, *own: str) -> Any:
        protocol = protocols[not on_paper_data].override(options, "size", "train_size", *own)
        shared = {"fine_tuning": options.table == 4, "tops": table.tops}
        weights = None if weights == NO_FILE else weights
        return base.Job(network, images, protocol, seed, weights=weights, **shared)

    images_of_student, images_of_teacher = _sources(options, row.data, on_paper_data)
    # The students of table 3 have another learning rate than their teacher, which keeps its own.
    own = ("learning_rate", "weight_decay") if table.teacher_protocols else ()
    protocols = table.teacher_protocols or table.protocols
    return (
        job(student, images_of_student, table.protocols, options.student_weights),
        job(teacher, images_of_teacher, protocols, options.teacher_weights, *own),
    )


def _for_gradients(label: str, student: Network, teacher: Network) -> list[Network]:
    """Returns the pair of table 3.

    The student has no batch normalization, the teacher no ReLU before pooling.
    """
    if any(not network.builder.startswith("NIN") for network in (student, teacher)):
        raise ValueError(
            f"--rows must be of networks in networks with --table 3. Received: --rows={label}"
        )
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
