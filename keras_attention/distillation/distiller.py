"""Distiller that trains a student with the attention maps of a teacher."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.distillation.features import FeatureExtractor, ModelOutputs, cached_property
from keras_attention.distillation.gradient_attention import (
    GradientAttention,
    Schedule,
    Weight,
    flip_horizontally,
    gradient_terms,
)
from keras_attention.graph.features import layer_output
from keras_attention.graph.functional import to_functional
from keras_attention.losses.attention_transfer import (
    AttentionTransferLoss,
    HintLoss,
    KnowledgeDistillationLoss,
)
from keras_attention.utils.data_format import channel_axis
from keras_attention.utils.tensor_validation import compatible_shapes

Tensor = Any
Pairs = Sequence[str | tuple[str, str]]
Loss = Callable[..., Tensor]
Pair = tuple[str, str]


class AttentionDistiller(keras.Model):
    """Trains a student whose attention maps match those of a teacher (Attention Transfer).

    The loss is `(1 - alpha) * task + alpha * distillation + beta * sum of attention losses`, plus
    hint and gradient terms if requested, plus the student's own losses, such as weight decay. The
    task loss is the one passed to `compile`. Each term is reported with its weight as `task_loss`,
    `attention_loss`, `distillation_loss`, `hint_loss` and `gradient_loss`. `sample_weight` applies
    to every term that is computed per example.

    Each batch calls the student once for its output and all its maps, and the teacher once in
    inference mode without gradients; the teacher's weights do not change. Calls, `predict`, `save`
    and `export` are those of the student. `save_weights` writes the state of the training without
    the teacher, for `load_weights` and `keras.callbacks.BackupAndRestore`.

    Args:
        student: A built Keras model. A subclassed model is called on Keras tensors to find its
            layers, as in inference: Python code that depends on `training` is traced with
            `training=False`.
        teacher: A trained model with the same inputs. None if only gradient terms of the student
            are used.
        pairs: Layers whose maps are compared: names of layers in both models, or tuples
            `(name in student, name in teacher)`. Channels and spatial sizes may differ.
        attention: Loss of a pair, called with the maps of teacher and student. Defaults to
            `losses.AttentionTransferLoss()`.
        beta: Weight of the sum over pairs: a number of 0 or more, or a schedule over completed
            batches, such as those of `keras.optimizers.schedules`. Defaults to 1e3, as in the
            authors' code.
        alpha: Weight of knowledge distillation in `[0, 1]`, or a schedule. Defaults to 0 (no
            distillation); the paper uses 0.9.
        temperature: Temperature of knowledge distillation. Defaults to 4, the paper's value for
            residual networks.
        hints: Pairs of layers for full-activation transfer (F-ActT), with a 1x1 convolution after
            the student's layer if the channels differ. Defaults to None.
        gradient: None (default), `"transfer"`, `"symmetry"`, `"min_l2"`, a `GradientAttention`, or
            a list of these.
        hint_weight: Weight of the sum over hints, a number or a schedule. Defaults to 1 (not from
            the paper).
        hint_loss: Loss of a hint. Defaults to `losses.HintLoss()`.
        from_logits: True if both models return logits, False for probabilities. With None
            (default), a model returns probabilities if it ends with a softmax; their logarithms are
            the logits.
        name: Name of the model.

    Raises:
        ValueError: For unknown layer names, maps or outputs that cannot be compared, or if no term
            is requested.

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
        networks = to_functional(student), None if teacher is None else to_functional(teacher)
        # Both models cast their inputs themselves.
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        self.student = student
        self.pairs = _layer_pairs("pairs", pairs)
        self.attention = attention or AttentionTransferLoss()
        self._alpha = Weight("alpha", alpha, largest=1.0)
        hints, terms = _layer_pairs("hints", hints or ()), gradient_terms(gradient)
        pair_loss = self._build_extractors(networks, hints, terms, from_logits)
        if self._teacher is not None:
            self._teacher.model = teacher
        self.regressors = _make_regressors(*networks, hints, student.dtype_policy)
        self._terms = {
            "attention_loss": (Weight("beta", beta), _attention_term(pair_loss, self.pairs)),
            "distillation_loss": (
                self._alpha,
                _distillation_term(KnowledgeDistillationLoss(temperature)),
            ),
            "hint_loss": (
                Weight("hint_weight", hint_weight),
                _hint_term(hint_loss or HintLoss(), hints, self.regressors),
            ),
            "gradient_loss": (Weight("gradient", 1.0), _gradient_term(terms)),
        }
        self._drop_unused_terms(self.pairs, not self._alpha.is_zero, hints, terms)
        self._trackers = [keras.metrics.Mean(name=name) for name in ("task_loss", *self._terms)]
        self._batches = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="batches",
        )
        # Outputs of the last call in each thread (a replica), for the following compute_loss.
        self._last_outputs: dict[int, tuple[ModelOutputs, ModelOutputs | None]] = {}
        self.built = True

    def _build_extractors(
        self, networks: tuple[Any, Any], hints: Any, terms: Any, from_logits: bool | None
    ) -> Any:
        """Builds the feature extractors and returns the loss of a pair of their maps."""
        with_outputs = not self._alpha.is_zero
        student, teacher = networks
        _check_models(student, teacher, [*self.pairs, *hints], with_outputs, terms)
        _check_maps(student, teacher, self.pairs)
        loss, mean_squares = _mean_square_loss(self.attention)
        if hints or terms or not _have_same_sides(student, teacher, self.pairs, mean_squares):
            loss, mean_squares = self.attention, None
        self._student, self._teacher = _feature_extractors(
            student, teacher, [*self.pairs, *hints], with_outputs, terms, from_logits, mean_squares
        )
        return loss

    def _drop_unused_terms(self, *is_used: Any) -> None:
        used = dict(zip(self._terms, is_used, strict=True))
        self._terms = {name: term for name, term in self._terms.items() if used[name]}
        if not self._terms:
            raise ValueError(
                "At least one of `pairs`, `alpha` above 0, `hints` and `gradient` must be set. "
                "Received: none of them"
            )

    @property
    def teacher(self) -> keras.Model | None:
        """The teacher, whose weights do not belong to the distiller."""
        return None if self._teacher is None else self._teacher.model

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The student's and the teacher's: JAX passes these variables to the compiled step."""
        own = super().non_trainable_variables
        if self.teacher is None:
            return own
        known = {id(variable) for variable in self.variables}
        return [*own, *(weight for weight in self.teacher.variables if id(weight) not in known)]

    def call(self, inputs: Any, training: bool = False) -> Any:
        # The teacher is called first: its activations are freed before the student's are kept.
        teacher = self._call_teacher(inputs) if training else None
        if teacher is not None:
            inputs = backend.after(inputs, teacher.tensors)
        student = self._student(inputs, training, self.add_loss)
        self._last_outputs[threading.get_ident()] = student, teacher
        return student.outputs

    def _call_teacher(self, inputs: Any) -> ModelOutputs | None:
        if self._teacher is None:
            return None
        return self._teacher(inputs, training=False).stop_gradient()

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        student, teacher = self._last_outputs.pop(threading.get_ident(), (None, None))
        if student is None or student.outputs is not y_pred:
            student, teacher = self._student(x, training, self.add_loss), None
        # Collected now, because another call of the student would clear them.
        own_losses = [ops.cast(loss, "float32") / backend.replicas() for loss in self.losses]
        batch = DistillationBatch(
            student=student,
            teacher=teacher or self._call_teacher(x),
            call_student=lambda images: self._student(images, training),
            x=x,
            y=y,
            weights=_example_weights(sample_weight),
            step=ops.convert_to_tensor(self._batches),
        )
        task = (1.0 - self._alpha(batch.step)) * self._task_loss(y, y_pred, sample_weight)
        others = [weight(batch.step) * term(batch) for weight, term in self._terms.values()]
        terms = [ops.cast(term, "float32") for term in (task, *others)]
        self._update_trackers(terms, ops.shape(keras.tree.flatten(x)[0])[0])
        if training:
            self._batches.assign_add(1)
        return ops.sum(ops.stack([*terms, *own_losses]))

    def _task_loss(self, y: Any, y_pred: Any, sample_weight: Any) -> Tensor:
        """Computes the loss passed to `compile`, without the student's own losses."""
        if self._compile_loss is None:
            return 0.0
        return self._compile_loss(y, y_pred, sample_weight)

    def _update_trackers(self, terms: Sequence[Tensor], examples: Tensor) -> None:
        for tracker, term in zip(self._trackers, terms, strict=True):
            tracker.update_state(term * backend.replicas(), sample_weight=examples)

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Saves the student with its own `save`."""
        self.student.save(filepath, *args, **kwargs)

    def export(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
        """Exports the student with its own `export`."""
        return self.student.export(filepath, *args, **kwargs)

    def save_weights(
        self, filepath: str | os.PathLike[str], overwrite: bool = True, **kwargs: Any
    ) -> None:
        """Writes the state of the training: student, optimizer and number of batches."""
        keras.saving.save_weights(
            self, filepath, overwrite, objects_to_skip=self._skipped(), **kwargs
        )

    def load_weights(
        self, filepath: str | os.PathLike[str], skip_mismatch: bool = False, **kwargs: Any
    ) -> None:
        """Reads what `save_weights` wrote; the teacher does not change."""
        keras.saving.load_weights(
            self, filepath, skip_mismatch, objects_to_skip=self._skipped(), **kwargs
        )

    def _skipped(self) -> list[Any]:
        return [] if self.teacher is None else [self.teacher]

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError(
            "An AttentionDistiller has no config. Save its student instead, with "
            "distiller.save(path) or distiller.student."
        )


@dataclass
class DistillationBatch:
    """A batch with the outputs of both models.

    Attributes:
        student: Outputs of the student.
        teacher: Outputs of the teacher, or None if no term needs them.
        call_student: Function that calls the student on other images.
        x: Images.
        y: Labels.
        weights: Sample weights `(B,)`, or None.
        step: Number of completed batches.
    """

    student: ModelOutputs
    teacher: Any
    call_student: Callable[[Any], ModelOutputs]
    x: Any
    y: Any
    weights: Tensor | None
    step: Tensor

    @cached_property
    def gradient(self) -> Tensor:
        """J of the student (equation 3)."""
        return self.student.gradient(self.y)


def _attention_term(loss: Loss, pairs: Sequence[tuple[str, str]]) -> Term:
    """Returns the sum of attention losses over pairs (equation 2)."""

    def term(batch: DistillationBatch) -> Tensor:
        student, teacher = batch.student.maps, batch.teacher.maps
        return sum(loss(teacher[other], student[own], batch.weights) for own, other in pairs)

    return term


def _mean_square_loss(loss: Loss) -> tuple[Loss, str | None]:
    """Returns an equal loss of mean squares over the channels, which need less memory than maps.

    The second value is the data format of the maps, or None if the loss reduces in another way.

    Example:
    >>> import keras_attention as ka
    >>> _mean_square_loss(ka.losses.AttentionTransferLoss())[0].p
    1
    """
    if type(loss) is not AttentionTransferLoss or (loss.p, loss.reduce) != (2, "mean"):
        return loss, None
    return AttentionTransferLoss.from_config({**loss.get_config(), "p": 1}), loss.data_format


def _distillation_term(loss: Loss) -> Term:
    """Returns the knowledge distillation loss."""

    def term(batch: DistillationBatch) -> Tensor:
        return loss(batch.teacher.logits, batch.student.logits, batch.weights)

    return term


def _hint_term(
    loss: Loss, pairs: Sequence[tuple[str, str]], regressors: Sequence[keras.layers.Layer]
) -> Term:
    """Returns the sum of feature losses over pairs, after the regressors of the student."""

    def term(batch: DistillationBatch) -> Tensor:
        student, teacher = batch.student.maps, batch.teacher.maps
        return sum(
            loss(teacher[other], regressor(student[own]), batch.weights)
            for (own, other), regressor in zip(pairs, regressors, strict=True)
        )

    return term


def _gradient_term(terms: Sequence[GradientAttention]) -> Term:
    """Returns the sum of gradient terms (equations 4 to 6)."""

    def term(batch: DistillationBatch) -> Tensor:
        return sum(
            one.weight(batch.step)
            * one.distance(_target_gradient(one, batch), batch.gradient, batch.weights)
            for one in terms
        )

    return term


def _target_gradient(term: GradientAttention, batch: DistillationBatch) -> Tensor:
    """Returns the gradient to which the student's J is compared."""
    if term.kind == "transfer":
        return ops.stop_gradient(batch.teacher.gradient(batch.y))
    if term.kind == "min_l2":
        return ops.zeros_like(batch.gradient)
    flipped = batch.call_student(flip_horizontally(batch.x))
    return flip_horizontally(flipped.gradient(batch.y))


def _example_weights(sample_weight: Any) -> Tensor | None:
    """Returns one weight for each example: the mean if an example has several weights.

    Weights of several outputs belong to no single example, so None is returned for them.

    Example:
    >>> [float(weight) for weight in _example_weights([[1.0, 3.0], [0.0, 0.0]])]
    [2.0, 0.0]
    """
    if sample_weight is None or isinstance(sample_weight, (dict, tuple)):
        return None
    weights = ops.convert_to_tensor(sample_weight)
    return ops.mean(ops.reshape(weights, (ops.shape(weights)[0], -1)), axis=-1)


Term = Callable[[DistillationBatch], Tensor]


def _layer_pairs(argument: str, pairs: Any) -> list[Pair]:
    """Returns pairs `(name in student, name in teacher)`; a single name is used for both.

    Example:
    >>> _layer_pairs("pairs", ["group1", ("block2", "group2")])
    [('group1', 'group1'), ('block2', 'group2')]
    """
    if isinstance(pairs, (list, tuple)):
        named = [(pair, pair) if isinstance(pair, str) else pair for pair in pairs]
        if all(_is_pair(pair) for pair in named):
            return [(own, other) for own, other in named]
    raise ValueError(
        f"`{argument}` must be a list of layer names, or of pairs (in student, in teacher). "
        f"Received: {argument}={pairs!r}"
    )


def _is_pair(pair: Any) -> bool:
    is_two = isinstance(pair, (list, tuple)) and len(pair) == 2
    return is_two and all(isinstance(name, str) for name in pair)


def _check_models(
    student: keras.Model,
    teacher: Any,
    pairs: Sequence[Pair],
    with_outputs: bool,
    terms: Sequence[GradientAttention],
) -> None:
    """Checks that the teacher exists, if it is needed, and matches the student."""
    if not _needs_teacher(pairs, with_outputs, terms):
        return
    if not isinstance(teacher, keras.Model):
        raise ValueError(
            "`teacher` must be a Keras model if maps, outputs or gradients are compared. "
            f"Received: teacher={teacher!r}"
        )
    _check_inputs(student, teacher)
    if with_outputs or _transfers(terms):
        _check_outputs(student, teacher)


def _feature_extractors(
    student: keras.Model,
    teacher: keras.Model | None,
    pairs: Sequence[Pair],
    with_outputs: bool,
    terms: Sequence[GradientAttention],
    from_logits: bool | None,
    mean_squares: str | None = None,
) -> tuple[FeatureExtractor, FeatureExtractor | None]:
    """Returns feature extractors of the student and of the teacher (None if it is not needed)."""
    student_layer, teacher_layer = terms[0].layers if terms else (None, None)
    names = [name for name, _ in pairs]
    own = FeatureExtractor(
        student, names, True, bool(terms), student_layer, from_logits, mean_squares
    )
    if teacher is None or not _needs_teacher(pairs, with_outputs, terms):
        return own, None
    transfers = _transfers(terms)
    teacher_layer = teacher_layer if transfers else None
    names = [name for _, name in pairs]
    return own, FeatureExtractor(
        teacher, names, with_outputs, transfers, teacher_layer, from_logits, mean_squares
    )


def _needs_teacher(pairs: Sequence[Pair], with_outputs: bool, terms: Sequence[Any]) -> bool:
    return bool(pairs) or with_outputs or _transfers(terms)


def _transfers(terms: Sequence[GradientAttention]) -> bool:
    return any(term.kind == "transfer" for term in terms)


def _check_inputs(student: keras.Model, teacher: keras.Model) -> None:
    shapes = [[tuple(tensor.shape) for tensor in model.inputs] for model in (student, teacher)]
    if len(shapes[0]) != len(shapes[1]) or not all(map(compatible_shapes, *shapes)):
        raise ValueError(
            "Student and teacher must have inputs of the same shape. "
            f"Received: input shapes {shapes[0]} and {shapes[1]}"
        )


def _check_outputs(student: keras.Model, teacher: keras.Model) -> None:
    shapes = [[tuple(tensor.shape) for tensor in model.outputs] for model in (student, teacher)]
    if (
        len(shapes[0]) != 1
        or len(shapes[1]) != 1
        or not compatible_shapes(shapes[0][0], shapes[1][0])
    ):
        raise ValueError(
            "Student and teacher must have one output with the same classes if `alpha` is above 0 "
            "or gradients are transferred. "
            f"Received: output shapes {shapes[0]} and {shapes[1]}"
        )


def _have_same_sides(
    student: keras.Model, teacher: keras.Model, pairs: Sequence[Pair], data_format: str | None
) -> bool:
    """Returns True if the maps of each pair have the same, known spatial sizes."""
    axis = channel_axis(data_format)
    for pair in pairs:
        shapes = [list(shape) for shape in _output_shapes(student, teacher, pair)]
        for shape in shapes:
            shape.pop(axis)
        if shapes[0] != shapes[1] or None in shapes[0][1:]:
            return False
    return True


def _check_maps(student: keras.Model, teacher: Any, pairs: Sequence[Pair]) -> None:
    for pair in pairs:
        shapes = _output_shapes(student, teacher, pair)
        if len(shapes[0]) != len(shapes[1]) or len(shapes[0]) < 3:
            raise ValueError(
                "The layers of a pair must return maps (B, H, W, C) with the same number of axes. "
                f"Received: {pair[0]!r} with shape {shapes[0]}, {pair[1]!r} with {shapes[1]}"
            )


def _output_shapes(student: keras.Model, teacher: Any, pair: Pair) -> list[tuple[int | None, ...]]:
    """Returns the output shapes of the layers of a pair."""
    return [
        tuple(layer_output(model, name).shape)
        for model, name in zip((student, teacher), pair, strict=True)
    ]


def _make_regressors(
    student: keras.Model, teacher: Any, pairs: Sequence[Pair], dtype: Any
) -> list[keras.layers.Layer]:
    """Returns 1x1 convolutions from the student's channels to the teacher's, as in FitNets."""
    axis = channel_axis()
    layers: list[keras.layers.Layer] = []
    for index, pair in enumerate(pairs, start=1):
        own, target = _output_shapes(student, teacher, pair)
        regressed = list(own)
        regressed[axis] = target[axis]
        if not compatible_shapes(tuple(regressed), target):
            raise ValueError(
                "The layers of a hint must return maps with the same spatial sizes. "
                f"Received: {pair[0]!r} with shape {own}, {pair[1]!r} with shape {target}"
            )
        if own[axis] == target[axis]:
            layer: keras.layers.Layer = keras.layers.Identity(name=f"hint{index}", dtype=dtype)
        else:
            layer = keras.layers.Conv2D(target[axis], 1, name=f"hint{index}", dtype=dtype)
        layer.build(own)
        layers.append(layer)
    return layers
