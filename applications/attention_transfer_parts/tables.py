"""The tables: their rows, columns, data and figures.

Reference: Zagoruyko and Komodakis, Paying More Attention to Attention (2017), tables 1 to 5.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from attention_transfer_parts import paper, protocols
from attention_transfer_parts.methods import ALONE, Method, Strength
from attention_transfer_parts.protocols import Protocol

CIFAR = ("cifar10", "cifar100")
TEACHER = "teacher"
BETA, ALPHA, TEMPERATURE, HINT_WEIGHT = 1e3, 0.9, 4.0, 1.0
# Table 5: losses are added on epoch 60 of 100.
START = 0.6


@dataclass(frozen=True)
class Table:
    """One of the paper's tables.

    Attributes:
        title: What it is about.
        pairs: Its students and teachers.
        data: Its data sets, by their names in `ka.datasets`.
        columns: Makes the methods of its columns of the command line's options.
        baseline: The column of the student alone.
        paper: Protocols of students and teachers on the paper's data.
        small: The same on other data.
        seeds: By default.
        printed: Finds the paper's errors for a pair, data and column; None for none. But for table
            4 they are of the paper's data, whatever ours are.
        has_teacher: Whether one of its columns is the teacher's.
        tops: Which errors.
        papers_data: On which data the paper's protocol is taken.
        elsewhere: Its pairs on other data; empty for all.
    """

    title: str
    pairs: tuple[str, ...]
    data: tuple[str, ...]
    columns: Callable[[Namespace], dict[str, Method]]
    baseline: str
    paper: tuple[Protocol, Protocol]
    small: tuple[Protocol, Protocol]
    printed: Callable[[str, str, str], Any] = field(repr=False)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    has_teacher: bool = True
    tops: tuple[int, ...] = (1,)
    papers_data: tuple[str, ...] = CIFAR
    elsewhere: tuple[str, ...] = ()

    def pairs_on(self, data: str) -> tuple[str, ...]:
        """The pairs of a data set, where none are asked for."""
        return self.pairs if data in self.papers_data else self.elsewhere or self.pairs

    def names(self, given: Namespace) -> list[str]:
        """The names of all columns."""
        return [*self.columns(given), *([TEACHER] if self.has_teacher else [])]


def _option(given: Namespace, name: str, default: Any) -> Any:
    value = getattr(given, name)
    return default if value is None else value


def _attention(given: Namespace, **options: Any) -> Method:
    return Method(Strength(_option(given, "beta", BETA)), **options)


def _distillation(given: Namespace) -> Method:
    share = _option(given, "alpha", ALPHA)
    return Method(distillation=share, temperature=_option(given, "temperature", TEMPERATURE))


def table1(given: Namespace) -> dict[str, Method]:
    """Attention, whole activations, distillation, and the first with the last."""
    schedule = _option(given, "schedule", "linear")
    hints = Strength(_option(given, "hint_weight", HINT_WEIGHT), schedule)
    attention, distillation = _attention(given), _distillation(given)
    decayed = Strength(attention.attention.value, schedule)
    return {
        "student": ALONE,
        "AT": attention,
        "F-ActT": Method(hints=hints),
        "KD": distillation,
        "AT+KD": replace(distillation, attention=decayed),
    }


def table2(given: Namespace) -> dict[str, Method]:
    """Mapping functions; a sum is a mean, as maps are divided by their norms."""
    maps = {"F_sum": (1, "mean"), "F_sum^2": (2, "mean"), "F_sum^4": (4, "mean")}
    maps["F_max^1"] = (1, "max")
    methods = {
        name: _attention(given, power=power, reduce=reduce)
        for name, (power, reduce) in maps.items()
    }
    return {"none": ALONE, **methods}


def table3(given: Namespace) -> dict[str, Method]:
    """What gradients by the images are asked for."""
    weights = {"min_l2": 1.0, "transfer": 1.0, "symmetry": 1.0}
    weights |= dict(given.gradient_weights or {})
    gradient = {
        kind: Method(gradient=kind, gradient_weight=weight) for kind, weight in weights.items()
    }
    return {
        "baseline": ALONE,
        "min-l2": gradient["min_l2"],
        "grad-based AT": gradient["transfer"],
        "KD": _distillation(given),
        "symmetry norm": gradient["symmetry"],
        "activation-based AT": _attention(given),
    }


def table4(given: Namespace) -> dict[str, Method]:
    """Distillation and attention in fine-tuning."""
    return {"student": ALONE, "KD": _distillation(given), "AT": _attention(given)}


def table5(given: Namespace) -> dict[str, Method]:
    """Attention that comes late."""
    late = Strength(_option(given, "beta", BETA), start=_option(given, "start", START))
    return {"student": ALONE, "AT": Method(late)}


def _by_pair(figures: Mapping[str, Any]) -> Callable[[str, str, str], Any]:
    """The paper's errors by pair and column, on its data, whatever ours are."""
    return lambda pair, data, column: figures.get(pair, {}).get(column)


RESNETS = ("ResNet-18/ResNet-34",)
TABLES = {
    1: Table(
        "table 1 (activation-based attention transfer)",
        tuple(paper.TABLE1),
        ("cifar10",),
        table1,
        "student",
        (protocols.CIFAR,) * 2,
        (protocols.CIFAR_SMALL,) * 2,
        _by_pair(paper.TABLE1),
        elsewhere=("WRN-16-1/WRN-16-2",),
    ),
    2: Table(
        "table 2 (attention mapping functions)",
        ("WRN-16-1/WRN-16-2",),
        ("cifar10",),
        table2,
        "none",
        (protocols.CIFAR,) * 2,
        (protocols.CIFAR_SMALL,) * 2,
        _by_pair({"WRN-16-1/WRN-16-2": paper.TABLE2}),
        has_teacher=False,
    ),
    3: Table(
        "table 3 (gradient-based attention transfer)",
        ("NIN-thin/NIN-wide",),
        ("cifar10",),
        table3,
        "baseline",
        (protocols.PLAIN, protocols.CIFAR),
        (protocols.PLAIN_SMALL, protocols.CIFAR_SMALL),
        _by_pair({"NIN-thin/NIN-wide": paper.TABLE3}),
        seeds=(0,),
        has_teacher=False,
    ),
    4: Table(
        "table 4 (fine-tuning)",
        RESNETS,
        tuple(paper.TABLE4),
        table4,
        "student",
        (protocols.FINE,) * 2,
        (protocols.FINE_SMALL,) * 2,
        lambda pair, data, column: (
            paper.TABLE4.get(data, {}).get(column) if pair in RESNETS else None
        ),
        seeds=(0,),
        papers_data=tuple(paper.TABLE4),
    ),
    5: Table(
        "table 5 (ImageNet)",
        RESNETS,
        ("imagenet2012",),
        table5,
        "student",
        (protocols.IMAGENET,) * 2,
        (protocols.IMAGENET_SMALL,) * 2,
        _by_pair({"ResNet-18/ResNet-34": paper.TABLE5}),
        seeds=(0,),
        tops=(1, 5),
        papers_data=("imagenet2012",),
    ),
}
