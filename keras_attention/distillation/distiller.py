"""Teaching a student by a teacher's attention, with plain compile and fit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.distillation.features import Observation, Observed, Once
from keras_attention.distillation.gradient_attention import (
    GradientAttention,
    Schedule,
    Weight,
    gradient_terms,
    mirrored,
)
from keras_attention.graph.features import graph_with, tap
from keras_attention.graph.functional import traced
from keras_attention.losses.attention_transfer import (
    AttentionTransferLoss,
    HintLoss,
    KnowledgeDistillationLoss,
)
from keras_attention.utils.validation import same_shape, standard_data_format

Tensor = Any
Pairs = Sequence[str | tuple[str, str]]
Loss = Callable[..., Tensor]
Pair = tuple[str, str]


class AttentionDistiller(keras.Model):
    """Trains a student that attends where its teacher does (Attention Transfer).

    The loss is `(1 - alpha) * task + alpha * distillation + beta * sum of attention losses`, and
    hints and terms of gradients where they are asked for; the task's is the one given to `compile`.
    To these come the student's own losses, such as weight decay. Each part is reported beside the
    loss, with its weight, by the names `task_loss`, `attention_loss`, `distillation_loss`,
    `hint_loss` and `gradient_loss`. `sample_weight` weighs every part that is of an example.

    The student is called once a batch for its answer and all maps, the teacher once as in
    inference, without gradients; its weights stay as they are. Calls, `predict`, `save` and
    `export` are the student's; `save_weights` writes the state of the training, for
    `load_weights` and `keras.callbacks.BackupAndRestore`, without the teacher.

    Args:
        student: A Keras model that is built. A subclassed one is called on Keras tensors to find
            its layers: what its Python decides by `training` is as in inference.
        teacher: A trained one that takes the same images. None where only gradients of the student
            are asked for.
        pairs: Layers whose maps are compared: names, where both networks have them, or tuples
            `(student's, teacher's)`. Channels and sides may differ.
        attention: The loss of a pair, called with the teacher's and the student's maps; by default
            `losses.AttentionTransferLoss()`.
        beta: Weight of the sum over pairs: a number of 0 or more, or a schedule, such as of
            `keras.optimizers.schedules`, of the batches learned from so far; 1e3 by default, as in
            the authors' code.
        alpha: Share of knowledge distillation, 0 to 1, or a schedule; 0 by default, none. The paper
            has 0.9 with it.
        temperature: Of knowledge distillation; 4 by default, the paper's for residual networks.
        hints: Pairs of layers for the transfer of whole activations (F-ActT), with a 1x1
            convolution behind the student's where channels differ; None by default.
        gradient: None (default), `"transfer"`, `"symmetry"`, `"min_l2"`, a `GradientAttention`, or
            a list of them.
        hint_weight: Weight of the sum over hints, a number or a schedule; 1 by default, ours.
        hint_loss: The loss of a hint; by default `losses.HintLoss()`.
        from_logits: Whether both networks return logits. None (default) to look whether a softmax
            ends them; the logarithms of probabilities are logits.
        name: The model's name.

    Raises:
        ValueError: For names that the networks do not have (names the nearest), maps or answers
            that cannot be matched, or nothing to teach.

    Example:
    >>> import numpy as np, keras_attention as ka
    >>> teacher = ka.applications.WideResNet(10, 2, "at", input_shape=(8, 8, 1))
    >>> student = ka.applications.WideResNet(10, 1, "at", input_shape=(8, 8, 1))
    >>> distiller = AttentionDistiller(student, teacher, ["group1", "group2", "group3"])
    >>> distiller.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> history = distiller.fit(np.zeros((4, 8, 8, 1)), np.zeros(4), verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'attention_loss', 'loss', 'task_loss']

    References:
        Zagoruyko and Komodakis, Paying More Attention to Attention (2017), and its code; Hinton et
        al., Distilling the Knowledge in a Neural Network (2015).
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | None,
        pairs: Pairs = (),
        attention: keras.losses.Loss | None = None,
        beta: float | Schedule = 1e3,
        alpha: float | Schedule = 0.0,
        temperature: float = 4.0,
        hints: Pairs | None = None,
        gradient: Any = None,
        *,
        hint_weight: float | Schedule = 1.0,
        hint_loss: keras.losses.Loss | None = None,
        from_logits: bool | None = None,
        name: str = "attention_distiller",
    ):
        networks = traced(student), None if teacher is None else traced(teacher)
        # No casts here: both networks know their own types.
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        self.student = student
        self.pairs = named_pairs("pairs", pairs)
        self.attention = attention or AttentionTransferLoss()
        self._alpha = Weight("alpha", alpha, most=1.0)
        hints, terms = named_pairs("hints", hints or ()), gradient_terms(gradient)
        compared = self._watch(networks, hints, terms, from_logits)
        if self._teacher is not None:
            self._teacher.model = teacher
        self.regressors = regressors(*networks, hints, student.dtype_policy)
        self._parts = {
            "attention_loss": (Weight("beta", beta), attention_part(compared, self.pairs)),
            "distillation_loss": (
                self._alpha,
                distillation_part(KnowledgeDistillationLoss(temperature)),
            ),
            "hint_loss": (
                Weight("hint_weight", hint_weight),
                hint_part(hint_loss or HintLoss(), hints, self.regressors),
            ),
            "gradient_loss": (Weight("gradient", 1.0), gradient_part(terms)),
        }
        self._keep_parts(self.pairs, not self._alpha.is_zero, hints, terms)
        self._trackers = [keras.metrics.Mean(name=part) for part in ("task_loss", *self._parts)]
        self._batches = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="batches",
        )
        # What the last call of each thread showed, for the loss that follows it.
        self._shown: dict[int, tuple[Observation, Observation | None]] = {}
        self.built = True

    def _watch(
        self, networks: tuple[Any, Any], hints: Any, terms: Any, from_logits: bool | None
    ) -> Any:
        """Finds the layers of both networks; returns the loss of what they are watched for."""
        answers = not self._alpha.is_zero
        student, teacher = networks
        check(student, teacher, [*self.pairs, *hints], answers, terms)
        check_maps(student, teacher, self.pairs)
        loss, activity = of_activity(self.attention)
        if hints or terms or not same_sides(student, teacher, self.pairs, activity):
            loss, activity = self.attention, None
        self._student, self._teacher = observed(
            student, teacher, [*self.pairs, *hints], answers, terms, from_logits, activity
        )
        return loss

    def _keep_parts(self, *asked: Any) -> None:
        """Drops the parts that nobody asked for."""
        wanted = dict(zip(self._parts, asked, strict=True))
        self._parts = {name: part for name, part in self._parts.items() if wanted[name]}
        if not self._parts:
            raise ValueError(
                "There must be something to teach: `pairs` of layers, `alpha` above 0, `hints` or "
                "a `gradient`. Received: none of them"
            )

    @property
    def teacher(self) -> keras.Model | None:
        """The teacher, whose weights are not the distiller's."""
        return None if self._teacher is None else self._teacher.model

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The student's and all of the teacher's: JAX passes them to what it compiles."""
        own = super().non_trainable_variables
        if self.teacher is None:
            return own
        known = {id(variable) for variable in self.variables}
        return [*own, *(weight for weight in self.teacher.variables if id(weight) not in known)]

    def call(self, inputs: Any, training: bool = False) -> Any:
        # The teacher goes first: what it holds is gone when the student keeps all for gradients.
        teacher = self._taught(inputs) if training else None
        if teacher is not None:
            inputs = backend.after(inputs, teacher.tensors)
        student = self._student(inputs, training, self.add_loss)
        self._shown[threading.get_ident()] = student, teacher
        return student.answer

    def _taught(self, inputs: Any) -> Observation | None:
        """What the teacher shows, for whom no gradient is wanted."""
        if self._teacher is None:
            return None
        return self._teacher(inputs, training=False).constant()

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        student, teacher = self._shown.pop(threading.get_ident(), (None, None))
        if student is None or student.answer is not y_pred:
            student, teacher = self._student(x, training, self.add_loss), None
        # Before the student is called again: that forgets what its layers added.
        own = [ops.cast(loss, "float32") / backend.replicas() for loss in self.losses]
        lesson = Lesson(
            student=student,
            teacher=teacher or self._taught(x),
            again=lambda images: self._student(images, training),
            x=x,
            y=y,
            weights=example_weights(sample_weight),
            batches=ops.convert_to_tensor(self._batches),
        )
        task = (1.0 - self._alpha(lesson.batches)) * self._task_loss(y, y_pred, sample_weight)
        taught = [weight(lesson.batches) * part(lesson) for weight, part in self._parts.values()]
        parts = [ops.cast(part, "float32") for part in (task, *taught)]
        self._report(parts, ops.shape(keras.tree.flatten(x)[0])[0])
        if training:
            self._batches.assign_add(1)
        return ops.sum(ops.stack([*parts, *own]))

    def _task_loss(self, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
        """The loss given to `compile`, without the student's own losses."""
        if self._compile_loss is None:
            return 0.0
        return self._compile_loss(y, y_pred, sample_weight)

    def _report(self, parts: Sequence[Tensor], examples: Tensor) -> None:
        for tracker, part in zip(self._trackers, parts, strict=True):
            tracker.update_state(part * backend.replicas(), sample_weight=examples)

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Writes the student, as its own `save` does."""
        self.student.save(filepath, *args, **kwargs)

    def export(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Writes the student for serving, as its own `export` does."""
        return self.student.export(filepath, *args, **kwargs)

    def save_weights(
        self, filepath: str | os.PathLike[str], overwrite: bool = True, **kwargs: Any
    ) -> None:
        """Writes the state of the training: the student, the optimizer, the number of batches."""
        keras.saving.save_weights(
            self, filepath, overwrite, objects_to_skip=self._skipped(), **kwargs
        )

    def load_weights(
        self, filepath: str | os.PathLike[str], skip_mismatch: bool = False, **kwargs: Any
    ) -> None:
        """Reads what `save_weights` wrote; the teacher stays as it is."""
        keras.saving.load_weights(
            self, filepath, skip_mismatch, objects_to_skip=self._skipped(), **kwargs
        )

    def _skipped(self) -> list[Any]:
        return [] if self.teacher is None else [self.teacher]

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError(
            "An AttentionDistiller is not saved; its student is: distiller.save(path), or "
            "distiller.student"
        )


@dataclass
class Lesson:
    """A batch, and what both networks show on it.

    Attributes:
        student: What the student showed.
        teacher: What the teacher showed; None where no part asks.
        again: Calls the student once more, on other images.
        x: The images.
        y: The labels.
        weights: Of the examples, `(B,)`; None for 1 each.
        batches: How many the student learned from before.
    """

    student: Observation
    teacher: Any
    again: Callable[[Any], Observation]
    x: Any
    y: Any
    weights: Tensor | None
    batches: Tensor

    @Once
    def gradient(self) -> Tensor:
        """The student's J."""
        return self.student.gradient(self.y)


def attention_part(loss: Loss, pairs: Sequence[tuple[str, str]]) -> Part:
    """The sum over pairs of the distance of attention maps (equation 2)."""

    def part(lesson: Lesson) -> Tensor:
        student, teacher = lesson.student.maps, lesson.teacher.maps
        return sum(loss(teacher[other], student[own], lesson.weights) for own, other in pairs)

    return part


def of_activity(loss: Loss) -> tuple[Loss, str | None]:
    """The loss of maps whose mean squares over the channels are known already.

    Returns:
        The same loss of maps with one channel, and the data format of the maps; or the given one
        and None, where it asks for something else than mean squares.

    Example:
    >>> import keras_attention as ka
    >>> of_activity(ka.losses.AttentionTransferLoss())[0].p
    1
    """
    if type(loss) is not AttentionTransferLoss or (loss.p, loss.reduce) != (2, "mean"):
        return loss, None
    return AttentionTransferLoss.from_config({**loss.get_config(), "p": 1}), loss.data_format


def distillation_part(loss: Loss) -> Part:
    """Knowledge distillation."""

    def part(lesson: Lesson) -> Tensor:
        return loss(lesson.teacher.logits, lesson.student.logits, lesson.weights)

    return part


def hint_part(
    loss: Loss, pairs: Sequence[tuple[str, str]], regressors: Sequence[keras.layers.Layer]
) -> Part:
    """The sum over pairs of the distance of whole features, the student's regressed."""

    def part(lesson: Lesson) -> Tensor:
        student, teacher = lesson.student.maps, lesson.teacher.maps
        return sum(
            loss(teacher[other], regressor(student[own]), lesson.weights)
            for (own, other), regressor in zip(pairs, regressors, strict=True)
        )

    return part


def gradient_part(terms: Sequence[GradientAttention]) -> Part:
    """The sum of the terms of gradients (equations 4 to 6)."""

    def part(lesson: Lesson) -> Tensor:
        return sum(
            term.weight(lesson.batches)
            * term.distance(_wanted(term, lesson), lesson.gradient, lesson.weights)
            for term in terms
        )

    return part


def _wanted(term: GradientAttention, lesson: Lesson) -> Tensor:
    """What the student's J is to be like."""
    if term.kind == "transfer":
        return ops.stop_gradient(lesson.teacher.gradient(lesson.y))
    if term.kind == "min_l2":
        return ops.zeros_like(lesson.gradient)
    return mirrored(lesson.again(mirrored(lesson.x)).gradient(lesson.y))


def example_weights(sample_weight: Any) -> Tensor | None:
    """One weight for each example: the mean where an example has several.

    None for those of several outputs, of which none is the example's own.

    Example:
    >>> [float(weight) for weight in example_weights([[1.0, 3.0], [0.0, 0.0]])]
    [2.0, 0.0]
    """
    if sample_weight is None or isinstance(sample_weight, (dict, tuple)):
        return None
    weights = ops.convert_to_tensor(sample_weight)
    return ops.mean(ops.reshape(weights, (ops.shape(weights)[0], -1)), axis=-1)


Part = Callable[[Lesson], Tensor]


def named_pairs(argument: str, pairs: Any) -> list[Pair]:
    """Pairs of names `(student's, teacher's)`, from those or names that both have.

    Raises:
        ValueError: For anything else.

    Example:
    >>> named_pairs("pairs", ["group1", ("block2", "group2")])
    [('group1', 'group1'), ('block2', 'group2')]
    """
    if isinstance(pairs, (list, tuple)):
        named = [(pair, pair) if isinstance(pair, str) else pair for pair in pairs]
        if all(_is_pair(pair) for pair in named):
            return [(own, other) for own, other in named]
    raise ValueError(
        f"`{argument}` must be a list of layers' names, or of pairs (student's, teacher's). "
        f"Received: {argument}={pairs!r}"
    )


def _is_pair(pair: Any) -> bool:
    is_two = isinstance(pair, (list, tuple)) and len(pair) == 2
    return is_two and all(isinstance(name, str) for name in pair)


def check(
    student: keras.Model,
    teacher: Any,
    pairs: Sequence[Pair],
    answers: bool,
    terms: Sequence[GradientAttention],
) -> None:
    """Checks that there is a teacher, where one is needed, and that it can be compared.

    Args:
        student: The model that learns.
        teacher: The model that it learns from, or None.
        pairs: Of layers.
        answers: Whether answers are compared.
        terms: Of gradients.

    Raises:
        ValueError: Where a teacher is missing or takes or returns something else.
    """
    if not _needs_teacher(pairs, answers, terms):
        return
    if not isinstance(teacher, keras.Model):
        raise ValueError(
            "`teacher` must be a Keras model where its maps, answers or gradients are compared. "
            f"Received: teacher={teacher!r}"
        )
    _check_inputs(student, teacher)
    if answers or _transfers(terms):
        _check_answers(student, teacher)


def observed(
    student: keras.Model,
    teacher: keras.Model | None,
    pairs: Sequence[Pair],
    answers: bool,
    terms: Sequence[GradientAttention],
    from_logits: bool | None,
    activity: str | None = None,
) -> tuple[Observed, Observed | None]:
    """Watches the layers of pairs in both networks.

    Args:
        student: As of `check`, and so are the next.
        teacher: The model that the student learns from, or None.
        pairs: Of layers.
        answers: Whether answers are compared.
        terms: Of gradients, of the same layers all.
        from_logits: Whether both models answer with logits; None to look.
        activity: As of `Observed`.

    Returns:
        Both; None for a teacher of whom nothing is asked.
    """
    here, there = terms[0].layers if terms else (None, None)
    names = [name for name, _ in pairs]
    own = Observed(student, names, True, bool(terms), here, from_logits, activity)
    if teacher is None or not _needs_teacher(pairs, answers, terms):
        return own, None
    transfers = _transfers(terms)
    there = there if transfers else None
    names = [name for _, name in pairs]
    return own, Observed(teacher, names, answers, transfers, there, from_logits, activity)


def _needs_teacher(pairs: Sequence[Pair], answers: bool, terms: Sequence[Any]) -> bool:
    return bool(pairs) or answers or _transfers(terms)


def _transfers(terms: Sequence[GradientAttention]) -> bool:
    return any(term.kind == "transfer" for term in terms)


def _check_inputs(student: keras.Model, teacher: keras.Model) -> None:
    """Checks that both models take the same.

    Raises:
        ValueError: Where shapes or the number of inputs differ.
    """
    shapes = [[tuple(tensor.shape) for tensor in model.inputs] for model in (student, teacher)]
    if len(shapes[0]) != len(shapes[1]) or not all(map(same_shape, *shapes)):
        raise ValueError(
            "Student and teacher must take the same images. "
            f"Received: inputs of {shapes[0]} and {shapes[1]}"
        )


def _check_answers(student: keras.Model, teacher: keras.Model) -> None:
    """Checks that both models tell the same classes apart.

    Raises:
        ValueError: For several outputs, or of different shapes.
    """
    shapes = [[tuple(tensor.shape) for tensor in model.outputs] for model in (student, teacher)]
    if len(shapes[0]) != 1 or len(shapes[1]) != 1 or not same_shape(shapes[0][0], shapes[1][0]):
        raise ValueError(
            "Student and teacher must return one answer of the same classes for `alpha` above 0 or "
            f"gradients of the teacher. Received: outputs of {shapes[0]} and {shapes[1]}"
        )


def same_sides(
    student: keras.Model, teacher: keras.Model, pairs: Sequence[Pair], data_format: str | None
) -> bool:
    """Whether the maps of all pairs surely have the same sides."""
    channels = -1 if standard_data_format(data_format) == "channels_last" else 1
    for pair in pairs:
        sides = [list(shape) for shape in shapes_of(student, teacher, pair)]
        for side in sides:
            side.pop(channels)
        if sides[0] != sides[1] or None in sides[0][1:]:
            return False
    return True


def check_maps(student: keras.Model, teacher: Any, pairs: Sequence[Pair]) -> None:
    """Checks that the layers of each pair make maps of as many axes.

    Raises:
        ValueError: For a layer whose output is no map, or another number of axes.
    """
    for pair in pairs:
        shapes = shapes_of(student, teacher, pair)
        if len(shapes[0]) != len(shapes[1]) or len(shapes[0]) < 3:
            raise ValueError(
                "Layers of a pair must make maps (B, H, W, channels), of as many axes both. "
                f"Received: {pair[0]!r} of {shapes[0]} and {pair[1]!r} of {shapes[1]}"
            )


def shapes_of(student: keras.Model, teacher: Any, pair: Pair) -> list[tuple[int | None, ...]]:
    """Shapes of what the layers of a pair put out."""
    return [
        tuple(tap(graph_with(model, [name]), name).shape)
        for model, name in zip((student, teacher), pair, strict=True)
    ]


def regressors(
    student: keras.Model, teacher: Any, pairs: Sequence[Pair], dtype: Any
) -> list[keras.layers.Layer]:
    """Layers that bring a student's features to its teacher's channels: 1x1 convolutions.

    Args:
        student: The model that learns.
        teacher: The model that it learns from.
        pairs: Of layers whose features are compared.
        dtype: Policy of the layers.

    Returns:
        A layer for each pair; where the channels are the same, one that does nothing.

    Raises:
        ValueError: For maps of different sides.
    """
    channels = -1 if standard_data_format(None) == "channels_last" else 1
    found: list[keras.layers.Layer] = []
    for index, (own, other) in enumerate(pairs, start=1):
        here, there = shapes_of(student, teacher, (own, other))
        wanted = list(here)
        wanted[channels] = there[channels]
        if not same_shape(tuple(wanted), there):
            raise ValueError(
                "Layers of a hint must make maps of the same sides. "
                f"Received: {own!r} of {here} and {other!r} of {there}"
            )
        if here[channels] == there[channels]:
            layer: keras.layers.Layer = keras.layers.Identity(name=f"hint{index}", dtype=dtype)
        else:
            layer = keras.layers.Conv2D(there[channels], 1, name=f"hint{index}", dtype=dtype)
        layer.build(here)
        found.append(layer)
    return found
