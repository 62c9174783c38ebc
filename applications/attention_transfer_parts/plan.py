"""What a run trains: a cell of the table is a column of a row with each seed."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras_attention as ka
from attention_transfer_parts import networks, protocols, sources
from attention_transfer_parts.methods import ALONE, Method
from attention_transfer_parts.networks import Network
from attention_transfer_parts.protocols import Protocol
from attention_transfer_parts.sources import Source
from attention_transfer_parts.tables import TABLES, TEACHER, Table
from attention_transfer_parts.training import Job

# Of the small protocols, on images that fit into memory.
SMALL_SIZE, SMALL_TRAIN_SIZE, SMALL_TEACHER_TRAIN_SIZE = 32, 100, 1000
PRETRAINED, IN_MEMORY = (4, 5), (1, 2, 3)
NO_FILE = "none"


@dataclass(frozen=True)
class Row:
    """A student and a teacher on data.

    Attributes:
        pair: As in `--rows`.
        data: The data set.
    """

    pair: str
    data: str

    @property
    def label(self) -> str:
        """The pair on its data."""
        return f"{self.pair} on {self.data}"


@dataclass(frozen=True)
class Cell:
    """A training in its place in the table.

    Attributes:
        row: Of the table.
        column: Of the table.
        job: What is trained; several cells may have the same.
    """

    row: Row
    column: str
    job: Job

    @property
    def label(self) -> str:
        """What it is called where it is printed."""
        return f"{self.row.label}, {self.column}, seed {self.job.seed}"


@dataclass(frozen=True)
class Half:
    """How one of a pair is trained, without a seed.

    Attributes:
        network: What to train.
        source: Its images.
        protocol: How to train.
        weights: File to start from.
    """

    network: Network
    source: Source
    protocol: Protocol
    weights: str | None


def cells(given: Namespace) -> list[Cell]:
    """All that is asked for, teachers included, which other columns need.

    Raises:
        ValueError: For rows, columns or data that cannot be.
    """
    table = TABLES[given.table]
    wanted = columns(given)
    methods = table.columns(given)
    found = []
    for row in rows(given):
        for seed in given.seeds or table.seeds:
            student, teacher = halves(given, row)
            taught_by = _job(given, table, teacher, seed)
            for column in wanted:
                job = taught_by
                if column != TEACHER:
                    job = _job(given, table, student, seed, methods[column], taught_by)
                found.append(Cell(row, column, job))
    return found


def rows(given: Namespace) -> list[Row]:
    """The rows that are asked for."""
    table = TABLES[given.table]
    return [
        Row(pair, data)
        for data in given.data or table.data
        for pair in given.rows or table.pairs_on(data)
    ]


def columns(given: Namespace) -> list[str]:
    """The columns that are asked for, in the table's order.

    Raises:
        ValueError: For one that the table does not have.
    """
    names = TABLES[given.table].names(given)
    unknown = [name for name in given.columns or () if name not in names]
    if unknown:
        raise ValueError(
            f"--columns must be of {', '.join(map(repr, names))} with --table {given.table}. "
            f"Received: {', '.join(map(repr, unknown))}"
        )
    return [name for name in names if not given.columns or name in given.columns]


def stages(cells: Iterable[Cell]) -> list[list[Job]]:
    """Trainings that need no others, then those that need these, each once."""
    jobs = dict.fromkeys(cell.job for cell in cells)
    teachers = dict.fromkeys(job.teacher for job in jobs if job.teacher)
    first = dict.fromkeys([*teachers, *(job for job in jobs if not job.teacher)])
    return [list(first), [job for job in jobs if job.teacher]]


def halves(given: Namespace, row: Row) -> tuple[Half, Half]:
    """How the student of a row and its teacher are trained.

    Raises:
        ValueError: For options that cannot be.
    """
    table = TABLES[given.table]
    pair = list(networks.parse_pair(row.pair))
    if given.table == 3:
        pair = _for_gradients(row.pair, pair)
    papers = row.data in table.papers_data
    kinds = table.paper if papers else table.small
    # The rate of table 3's students is not that of their teacher.
    apart = ("learning_rate", "weight_decay") if kinds[0] != kinds[1] else ()
    ways = protocols.changed(kinds[0], given), protocols.changed(kinds[1], given, apart)
    if not given.table == 4 and (given.student_weights or given.teacher_weights):
        raise ValueError("--student-weights and --teacher-weights need --table 4")
    files = [given.student_weights, given.teacher_weights]
    kept = [None if file == NO_FILE else file for file in files]
    student, teacher = (
        Half(*half)
        for half in zip(pair, _sources(given, row.data, papers), ways, kept, strict=True)
    )
    return student, teacher


def _job(
    given: Namespace,
    table: Table,
    half: Half,
    seed: int,
    method: Method = ALONE,
    teacher: Job | None = None,
) -> Job:
    return Job(
        half.network,
        half.source,
        half.protocol,
        seed,
        method,
        teacher if method.needs_teacher else None,
        half.weights,
        given.table == 4,
        table.tops,
    )


def _for_gradients(label: str, pair: Sequence[Network]) -> list[Network]:
    """Table 3's: the student without normalization, neither with ReLU before pooling.

    Raises:
        ValueError: For other networks.
    """
    if any(not network.builder.startswith("NIN") for network in pair):
        raise ValueError(
            f"--rows must be of networks in networks with --table 3. Received: --rows={label}"
        )
    student, teacher = pair
    return [student.changed(batch_normalization=False), teacher.changed(relu_before_pool=False)]


def _sources(given: Namespace, data: str, papers: bool) -> tuple[Source, Source]:
    """The images of the student, and those of its teacher.

    Raises:
        ValueError: For options that the data do not have.
    """
    info = ka.datasets.find(data)
    in_memory = given.table in IN_MEMORY
    size = given.size or (info.size if papers or not in_memory else SMALL_SIZE)
    train, teachers = _train_sizes(given, in_memory and not papers)
    options = {"crop": True} if data == "caltech_birds2011" else {}
    if data.startswith(sources.CLUTTERED):
        number = sources.DISTRACTORS if given.distractors is None else given.distractors
        options = {"distractors": number}
    elif given.distractors is not None or given.test_draws is not None:
        raise ValueError(
            f"--distractors and --test-draws need --data {sources.CLUTTERED}digits or "
            f"{sources.CLUTTERED}mnist. Received: --data={data}"
        )
    shared: dict[str, Any] = {
        "options": tuple(options.items()),
        "augmentation": given.augmentation or _augmentation(given, info.channels),
        "pretrained": given.table in PRETRAINED and info.channels == 3,
        "test_draws": given.test_draws or 1,
    }
    return (
        Source(data, size, train, teachers, **shared),
        Source(data, size, teachers, teachers, **shared),
    )


def _train_sizes(given: Namespace, small: bool) -> tuple[int | None, int | None]:
    """Of the student and the teacher; None for all."""
    if given.table in PRETRAINED:
        return given.train_size, given.train_size
    students = given.train_size or (SMALL_TRAIN_SIZE if small else None)
    if students is None:
        return None, given.teacher_train_size
    more = max(students, SMALL_TEACHER_TRAIN_SIZE) if small else students
    return students, given.teacher_train_size or more


def _augmentation(given: Namespace, channels: int) -> str:
    """The paper's for photographs; gray images are digits and clothes, whose mirror images lie."""
    # Those of tables 4 and 5 are cut out and mirrored by the data set.
    if channels != 3 or given.table in PRETRAINED:
        return "none"
    return "flip" if given.table == 3 else "crop"
