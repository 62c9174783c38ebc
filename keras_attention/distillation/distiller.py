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
from keras_attention.distillation.features import (
    FeatureExtractor,
    ModelOutputs,
    logits_of,
)
from keras_attention.distillation.gradient_attention import (
    GradientAttention,
    Schedule,
    Weight,
    flip_horizontally,
    gradient_terms,
)
from keras_attention.graph.classifier import LOGITS, SIGMOID, SOFTMAX, require_output_kind
from keras_attention.graph.features import layer_output
from keras_attention.graph.functional import to_functional
from keras_attention.losses.attention_transfer import (
    AttentionTransferLoss,
    HintLoss,
    KnowledgeDistillationLoss,
)
from keras_attention.utils.data_format import channel_axis
from keras_attention.utils.tensor_validation import compatible_shapes
from keras_attention.utils.validation import boolean

Tensor = Any
Pairs = Sequence[str | tuple[str, str | Sequence[str]]]
Loss = Callable[..., Tensor]
# Name of a layer of the student, and one of each teacher.
Pair = tuple[str, tuple[str, ...]]
# Keys of the labels if the outputs of the teacher are in the dataset.
LABELS, TEACHER_OUTPUTS, TEACHER_MAPS = "labels", "teacher_outputs", "teacher_maps"


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

    Several teachers are an ensemble: the student's attention maps are compared with the mean of
    their normalized maps, and its outputs with the mean of their softened outputs.

    Args:
        student: A built Keras model. A subclassed model is called on Keras tensors to find its
            layers, as in inference: Python code that depends on `training` is traced with
            `training=False`.
        teacher: A trained model with the same inputs, or a list of them. If its images have another
            size, they are resized bilinearly. None if only gradient terms of the student are used,
            or with `precomputed`.
        pairs: Layers whose maps are compared: names of layers in both models, or tuples
            `(name in student, name in teacher)`, with a list of names if the names of several
            teachers differ. Layers of nested models may be named by their paths, such as
            `"encoder/conv"`. Channels and spatial sizes may differ.
        attention: Loss of a pair, called with the maps of teacher and student; with several
            teachers, with the list of their maps. Defaults to `losses.AttentionTransferLoss()`.
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
        from_logits: True if the models return logits, False for probabilities. None (default)
            determines it from the graph of each model, if `alpha` is above 0 or gradients are used.
        multi_label: True if the outputs are independent labels, whose binary divergences are added;
            False for classes of which one is right. None (default) is True for outputs of a sigmoid
            or of one unit.
        precomputed: If True, the outputs of the teacher are read from the dataset: instead of
            labels it has dictionaries `{"labels": y, "teacher_outputs": outputs}`, where the
            outputs are of the kind that the student returns (logits or probabilities), and, for
            `pairs`, `"teacher_maps": {name: maps}` with the names in the teacher. Defaults to
            False.
        name: Name of the model.

    Raises:
        ValueError: For unknown layer names, maps or outputs that cannot be compared, outputs of
            which the graph does not show if they are logits, or if no term is requested.

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
        teacher: keras.Model | Sequence[keras.Model] | None,
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
        multi_label: bool | None = None,
        precomputed: bool = False,
        name: str = "attention_distiller",
    ):
        teachers = _list_of_models(teacher)
        networks = to_functional(student), [to_functional(one) for one in teachers]
        # Both models cast their inputs themselves.
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        self.student = student
        self.precomputed = _validate_precomputed(precomputed, teacher, hints, gradient)
        count = max(1, len(teachers))
        self._has_list = isinstance(teacher, (list, tuple))
        self.pairs = _layer_pairs("pairs", pairs, count)
        self.attention = attention or AttentionTransferLoss()
        self._alpha = Weight("alpha", alpha, largest=1.0)
        hints, terms = _layer_pairs("hints", hints or (), count), gradient_terms(gradient)
        pair_loss = self._build_extractors(networks, hints, terms, (from_logits, multi_label))
        # Not an attribute of the distiller, which would then contain the teachers' weights.
        for extractor, model in zip(self._teachers, teachers, strict=False):
            extractor.model = model
        self.regressors = _make_regressors(*networks, hints, student.dtype_policy)
        self._terms = {
            "attention_loss": (Weight("beta", beta), _attention_term(pair_loss, self.pairs)),
            "distillation_loss": (
                self._alpha,
                _distillation_term(temperature, self._multi_label),
            ),
            "hint_loss": (
                Weight("hint_weight", hint_weight),
                _hint_term(hint_loss or HintLoss(), hints, self.regressors),
            ),
            "gradient_loss": (Weight("gradient", 1.0), _gradient_term(terms, self._multi_label)),
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
        self._last_outputs: dict[int, tuple[ModelOutputs, list[ModelOutputs]]] = {}
        self.built = True

    def _build_extractors(
        self, networks: tuple[Any, Any], hints: Any, terms: Any, form: tuple[Any, Any]
    ) -> Any:
        """Builds the feature extractors and returns the loss of a pair of their maps."""
        with_outputs = not self._alpha.is_zero
        student, teachers = networks
        pairs = [*self.pairs, *hints]
        if not self.precomputed:
            _check_models(student, teachers, pairs, with_outputs, terms)
            _check_maps(student, teachers, self.pairs)
        loss, mean_squares = _mean_square_loss(self.attention)
        is_plain = not (hints or terms or self.precomputed)
        if not is_plain or not _have_same_sides(student, teachers, self.pairs, mean_squares):
            loss, mean_squares = self.attention, None
        kinds: list[tuple[str, ...]] = [()] * (1 + len(teachers))
        needs_kinds = with_outputs or bool(terms)
        if needs_kinds:
            compared = teachers if with_outputs or _transfers(terms) else []
            kinds = _output_kinds(student, compared, form[0])
            kinds += [()] * (1 + len(teachers) - len(kinds))
        self._multi_label = _multi_label(student, kinds, form) if needs_kinds else []
        self._student, self._teachers = _feature_extractors(
            student, teachers, pairs, with_outputs, terms, kinds, mean_squares
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
    def teacher(self) -> Any:
        """The teacher or the list of teachers, whose weights do not belong to the distiller."""
        models = self._teacher_models()
        return models if self._has_list else next(iter(models), None)

    def _teacher_models(self) -> list[keras.Model]:
        return [extractor.model for extractor in self._teachers]

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The student's and the teacher's: JAX passes these variables to the compiled step."""
        own = super().non_trainable_variables
        known = {id(variable) for variable in self.variables}
        others = [weight for teacher in self._teacher_models() for weight in teacher.variables]
        return [*own, *(weight for weight in others if id(weight) not in known)]

    def call(self, inputs: Any, training: bool = False) -> Any:
        # The teacher is called first: its activations are freed before the student's are kept.
        teachers = self._call_teachers(inputs) if training else []
        if teachers:
            tensors = [tensor for teacher in teachers for tensor in teacher.tensors]
            inputs = backend.after(inputs, tensors)
        student = self._student(inputs, training, self.add_loss)
        self._last_outputs[threading.get_ident()] = student, teachers
        return student.outputs

    def teacher_inputs(self, inputs: Any) -> list[Any]:
        """Returns the inputs of each teacher: images are resized to its input size."""
        return [_resized(inputs, teacher.input_shapes) for teacher in self._teachers]

    @property
    def uses_gradients(self) -> bool:
        """True if the loss contains terms of `gradient`."""
        return "gradient_loss" in self._terms

    def input_gradients(self, x: Any, y: Any = None) -> tuple[Tensor, list[Tensor]]:
        """Computes J (equation 3) of the student and of the teachers, in inference mode.

        Args:
            x: Images.
            y: Labels, or one class for each image. Default: the classes that the student predicts.

        Returns:
            The gradient of the student, and those of the teachers that `gradient` compares with it,
            in the shape of the images, or of the layer's output of the `GradientAttention`.
        """
        student = self._student(x, training=False)
        multi_label = self._multi_label[0]
        if y is None:
            logits = student.logits[0]
            y = ops.cast(logits > 0.0, "float32") if multi_label else ops.argmax(logits, axis=-1)
        elif multi_label and len(ops.shape(y)) == 1 and student.logits[0].shape[-1] > 1:
            y = ops.one_hot(y, student.logits[0].shape[-1])
        teachers = self._call_teachers(x)
        gradients = [one.gradient(y, multi_label) for one in teachers if one.vjp is not None]
        return student.gradient(y, multi_label), gradients

    def _call_teachers(self, inputs: Any) -> list[ModelOutputs]:
        return [
            teacher(own_inputs, training=False).stop_gradient()
            for teacher, own_inputs in zip(self._teachers, self.teacher_inputs(inputs), strict=True)
        ]

    def _teachers_of_batch(self, x: Any, y: Any) -> list[ModelOutputs]:
        """Returns the outputs of the teachers, or those in the dataset."""
        if not self.precomputed:
            return self._call_teachers(x)
        return [_stored_outputs(y, self._student.kinds, not self._alpha.is_zero, self.pairs)]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        student, teachers = self._last_outputs.pop(threading.get_ident(), (None, []))
        if student is None or student.outputs is not y_pred:
            student, teachers = self._student(x, training, self.add_loss), []
        # Collected now, because another call of the student would clear them.
        own_losses = [ops.cast(loss, "float32") / backend.replicas() for loss in self.losses]
        batch = DistillationBatch(
            student=student,
            teachers=teachers or self._teachers_of_batch(x, y),
            call_student=lambda images: self._student(images, training),
            x=x,
            y=self._labels(y),
            weights=_example_weights(sample_weight),
            step=ops.convert_to_tensor(self._batches),
        )
        task = (1.0 - self._alpha(batch.step)) * self._task_loss(batch.y, y_pred, sample_weight)
        others = [weight(batch.step) * term(batch) for weight, term in self._terms.values()]
        terms = [ops.cast(term, "float32") for term in (task, *others)]
        self._update_trackers(terms, ops.shape(keras.tree.flatten(x)[0])[0])
        if training:
            self._batches.assign_add(1)
        return ops.sum(ops.stack([*terms, *own_losses]))

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        return super().compute_metrics(x, self._labels(y), y_pred, sample_weight)

    def _labels(self, y: Any) -> Any:
        return y[LABELS] if self.precomputed else y

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
        return self._teacher_models()

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
        teachers: Outputs of each teacher; empty if no term needs them.
        call_student: Function that calls the student on other images.
        x: Images.
        y: Labels.
        weights: Sample weights `(B,)`, or None.
        step: Number of completed batches.
    """

    student: ModelOutputs
    teachers: list[ModelOutputs]
    call_student: Callable[[Any], ModelOutputs]
    x: Any
    y: Any
    weights: Tensor | None
    step: Tensor


def _attention_term(loss: Loss, pairs: Sequence[Pair]) -> Term:
    """Returns the sum of attention losses over pairs (equation 2)."""

    def term(batch: DistillationBatch) -> Tensor:
        total = 0.0
        for own, others in pairs:
            maps = [one.maps[name] for one, name in zip(batch.teachers, others, strict=True)]
            target = maps[0] if len(maps) == 1 else maps
            total += loss(target, batch.student.maps[own], batch.weights)
        return total

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


def _distillation_term(temperature: float, multi_label: Sequence[bool]) -> Term:
    """Returns the knowledge distillation loss, the sum over the outputs of the student."""
    losses = [KnowledgeDistillationLoss(temperature, multi_label=one) for one in multi_label]
    # Without outputs, the temperature is still validated.
    KnowledgeDistillationLoss(temperature)

    def term(batch: DistillationBatch) -> Tensor:
        of_teachers = zip(*(teacher.logits for teacher in batch.teachers), strict=True)
        return sum(
            loss(_mean_logits(targets, loss), logits, batch.weights)
            for loss, targets, logits in zip(losses, of_teachers, batch.student.logits, strict=True)
        )

    return term


def _mean_logits(logits: Sequence[Tensor], loss: KnowledgeDistillationLoss) -> Tensor:
    """Returns logits whose softened outputs are the mean of those of several teachers."""
    if len(logits) == 1:
        return logits[0]
    soften, kind = (ops.sigmoid, SIGMOID) if loss.multi_label else (ops.softmax, SOFTMAX)
    mean = sum(soften(one / loss.temperature) for one in logits) / len(logits)
    return loss.temperature * logits_of(mean, kind)


def _hint_term(loss: Loss, pairs: Sequence[Pair], regressors: Sequence[keras.layers.Layer]) -> Term:
    """Returns the sum of feature losses over pairs, after the regressors of the student."""

    def term(batch: DistillationBatch) -> Tensor:
        total = 0.0
        for (own, others), regressor in zip(pairs, regressors, strict=True):
            features = regressor(batch.student.maps[own])
            for teacher, name in zip(batch.teachers, others, strict=True):
                total += loss(teacher.maps[name], features, batch.weights) / len(others)
        return total

    return term


def _gradient_term(terms: Sequence[GradientAttention], multi_label: Sequence[bool]) -> Term:
    """Returns the sum of gradient terms (equations 4 to 6)."""

    def term(batch: DistillationBatch) -> Tensor:
        gradient = batch.student.gradient(batch.y, multi_label[0])
        total = 0.0
        for one in terms:
            target = _target_gradient(one, batch, gradient, multi_label[0])
            total += one.weight(batch.step) * one.distance(target, gradient, batch.weights)
        return total

    return term


def _target_gradient(
    term: GradientAttention, batch: DistillationBatch, gradient: Tensor, multi_label: bool
) -> Tensor:
    """Returns the gradient to which the student's J is compared."""
    if term.kind == "transfer":
        gradients = [one.gradient(batch.y, multi_label) for one in batch.teachers]
        return ops.stop_gradient(sum(gradients) / len(gradients))
    if term.kind == "min_l2":
        return ops.zeros_like(gradient)
    flipped = batch.call_student(flip_horizontally(batch.x))
    return flip_horizontally(flipped.gradient(batch.y, multi_label))


def _stored_outputs(
    y: Any, kinds: Sequence[str], with_outputs: bool, pairs: Sequence[Pair]
) -> ModelOutputs:
    """Returns the teacher's outputs that are stored in the dataset beside the labels."""
    needed = [LABELS] + [TEACHER_OUTPUTS] * with_outputs + [TEACHER_MAPS] * bool(pairs)
    if not isinstance(y, dict) or any(key not in y for key in needed):
        raise ValueError(
            "With `precomputed`, the labels of the dataset must be dictionaries with the keys "
            f"{', '.join(map(repr, needed))}. Received: "
            + (f"keys {sorted(y)}" if isinstance(y, dict) else f"y={type(y).__name__}")
        )
    maps = {others[0]: y[TEACHER_MAPS][others[0]] for _, others in pairs}
    outputs = y[TEACHER_OUTPUTS] if with_outputs else None
    return ModelOutputs(outputs, maps, kinds).stop_gradient()


def _resized(inputs: Any, shapes: Sequence[tuple[int | None, ...]]) -> Any:
    """Resizes images to the input size of a model, if it is known and another one."""
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return inputs
    images = keras.tree.flatten(inputs)[0]
    sides = slice(1, 3) if keras.config.image_data_format() == "channels_last" else slice(2, 4)
    wanted: Any = shapes[0][sides]
    if None in wanted or tuple(images.shape)[sides] == wanted:
        return inputs
    return ops.image.resize(images, wanted)


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


def _list_of_models(teacher: Any) -> list[keras.Model]:
    """Returns the teachers as a list, after validation."""
    if teacher is None:
        return []
    teachers = list(teacher) if isinstance(teacher, (list, tuple)) else [teacher]
    if not teachers or not all(isinstance(one, keras.Model) for one in teachers):
        raise ValueError(
            "`teacher` must be a Keras model, a list of Keras models, or None. "
            f"Received: teacher={teacher!r}"
        )
    return teachers


def _validate_precomputed(precomputed: Any, teacher: Any, hints: Any, gradient: Any) -> bool:
    if boolean("precomputed", precomputed) and not (teacher is None and not hints and not gradient):
        raise ValueError(
            "With `precomputed`, `teacher` must be None, without `hints` and `gradient`. "
            f"Received: teacher={teacher!r}, hints={hints!r}, gradient={gradient!r}"
        )
    return precomputed


def _layer_pairs(argument: str, pairs: Any, teachers: int = 1) -> list[Pair]:
    """Returns pairs of a name in the student and one name for each teacher.

    Example:
    >>> _layer_pairs("pairs", ["group1", ("block2", "group2")])
    [('group1', ('group1',)), ('block2', ('group2',))]
    """
    if isinstance(pairs, (list, tuple)):
        named = [(pair, pair) if isinstance(pair, str) else pair for pair in pairs]
        found = [_pair(pair, teachers) for pair in named]
        if None not in found:
            return [pair for pair in found if pair is not None]
    raise ValueError(
        f"`{argument}` must be a list of layer names, or of pairs (in student, in teacher). "
        f"Received: {argument}={pairs!r}"
    )


def _pair(pair: Any, teachers: int) -> Pair | None:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        return None
    own, others = pair
    others = (others,) * teachers if isinstance(others, str) else tuple(others or ())
    is_valid = len(others) == teachers and all(isinstance(name, str) for name in (own, *others))
    return (own, others) if is_valid else None


def _check_models(
    student: keras.Model,
    teachers: Sequence[keras.Model],
    pairs: Sequence[Pair],
    with_outputs: bool,
    terms: Sequence[GradientAttention],
) -> None:
    """Checks that the teachers exist, if they are needed, and match the student."""
    if terms and len(student.outputs) != 1:
        raise ValueError(
            "`student` must have one output if `gradient` is set. "
            f"Received: student={student.name!r} with {len(student.outputs)} outputs"
        )
    if not _needs_teacher(pairs, with_outputs, terms):
        return
    if not teachers:
        raise ValueError(
            "`teacher` must be a Keras model if maps, outputs or gradients are compared. "
            "Received: teacher=None"
        )
    for teacher in teachers:
        _check_inputs(student, teacher, _transfers(terms))
        if with_outputs or _transfers(terms):
            _check_outputs(student, teacher)


def _output_kinds(
    student: keras.Model, teachers: Sequence[keras.Model], from_logits: bool | None
) -> list[tuple[str, ...]]:
    """Returns the kind of each output of each model, after a check that they can be compared."""
    kinds = [
        tuple(
            require_output_kind(argument, model, from_logits, index)
            for index in range(len(model.outputs))
        )
        for argument, model in [("student", student), *(("teacher", one) for one in teachers)]
    ]
    for of_output in zip(*kinds, strict=True):
        if {SOFTMAX, SIGMOID} <= set(of_output):
            raise ValueError(
                "Student and teacher must both return probabilities of a softmax or both of a "
                f"sigmoid, or logits. Received: outputs of the kinds {', '.join(of_output)}"
            )
    return kinds


def _multi_label(
    student: keras.Model, kinds: Sequence[tuple[str, ...]], form: tuple[Any, bool | None]
) -> list[bool]:
    """Returns for each output of the student if its units are independent labels."""
    found = []
    for index, output in enumerate(student.outputs):
        of_output = {one[index] for one in kinds if one}
        is_multi = SIGMOID in of_output or (of_output == {LOGITS} and output.shape[-1] == 1)
        if form[1] is not None and of_output != {LOGITS} and form[1] != is_multi:
            raise ValueError(
                "`multi_label` must be True for outputs of a sigmoid and False for those of a "
                f"softmax. Received: multi_label={form[1]!r} for outputs of the kinds "
                f"{', '.join(sorted(of_output))}"
            )
        found.append(is_multi if form[1] is None else boolean("multi_label", form[1]))
        if output.shape[-1] == 1 and not found[-1]:
            raise ValueError(
                "The outputs of `student` must have at least two classes, or be those of a "
                "sigmoid: a softmax over one class is constant. "
                f"Received: output shape {tuple(output.shape)}"
            )
    return found


def _feature_extractors(
    student: keras.Model,
    teachers: Sequence[keras.Model],
    pairs: Sequence[Pair],
    with_outputs: bool,
    terms: Sequence[GradientAttention],
    kinds: Sequence[Sequence[str]],
    mean_squares: str | None = None,
) -> tuple[FeatureExtractor, list[FeatureExtractor]]:
    """Returns feature extractors of the student and of the teachers (none if not needed)."""
    student_layer, teacher_layer = terms[0].layers if terms else (None, None)
    names = [name for name, _ in pairs]
    own = FeatureExtractor(student, names, True, bool(terms), student_layer, kinds[0], mean_squares)
    if not _needs_teacher(pairs, with_outputs, terms):
        return own, []
    transfers = _transfers(terms)
    teacher_layer = teacher_layer if transfers else None
    others = []
    for index, teacher in enumerate(teachers):
        names = [names[index] for _, names in pairs]
        options = (with_outputs, transfers, teacher_layer, kinds[1 + index], mean_squares)
        others.append(FeatureExtractor(teacher, names, *options))
    return own, others


def _needs_teacher(pairs: Sequence[Pair], with_outputs: bool, terms: Sequence[Any]) -> bool:
    return bool(pairs) or with_outputs or _transfers(terms)


def _transfers(terms: Sequence[GradientAttention]) -> bool:
    return any(term.kind == "transfer" for term in terms)


def _check_inputs(student: keras.Model, teacher: keras.Model, same_sides: bool) -> None:
    shapes = [[tuple(tensor.shape) for tensor in model.inputs] for model in (student, teacher)]
    is_image = [len(own) == 1 and len(own[0]) == 4 for own in shapes]
    if all(is_image) and not same_sides:
        axis = channel_axis()
        if shapes[0][0][axis] == shapes[1][0][axis]:
            return
    if len(shapes[0]) != len(shapes[1]) or not all(map(compatible_shapes, *shapes)):
        raise ValueError(
            "Student and teacher must have inputs of the same shape, or images of the same number "
            f"of channels. Received: input shapes {shapes[0]} and {shapes[1]}"
        )


def _check_outputs(student: keras.Model, teacher: keras.Model) -> None:
    shapes = [[tuple(tensor.shape) for tensor in model.outputs] for model in (student, teacher)]
    if len(shapes[0]) != len(shapes[1]) or not all(map(compatible_shapes, *shapes)):
        raise ValueError(
            "Student and teacher must have the same outputs with the same classes if `alpha` is "
            "above 0 or gradients are transferred. "
            f"Received: output shapes {shapes[0]} and {shapes[1]}"
        )


def _have_same_sides(
    student: keras.Model,
    teachers: Sequence[keras.Model],
    pairs: Sequence[Pair],
    data_format: str | None,
) -> bool:
    """Returns True if the maps of each pair have the same, known spatial sizes."""
    axis = channel_axis(data_format)
    for pair in pairs:
        own, *others = [list(shape) for shape in _output_shapes(student, teachers, pair)]
        for shape in (own, *others):
            shape.pop(axis)
        if any(shape != own for shape in others) or None in own[1:]:
            return False
    return True


def _check_maps(
    student: keras.Model, teachers: Sequence[keras.Model], pairs: Sequence[Pair]
) -> None:
    for pair in pairs:
        own, *others = _output_shapes(student, teachers, pair)
        for shape, name in zip(others, pair[1], strict=True):
            if len(own) != len(shape) or len(own) < 3:
                raise ValueError(
                    "The layers of a pair must return maps (B, H, W, C) with the same number of "
                    f"axes. Received: {pair[0]!r} with shape {own}, {name!r} with {shape}"
                )


def _output_shapes(
    student: keras.Model, teachers: Sequence[keras.Model], pair: Pair
) -> list[tuple[int | None, ...]]:
    """Returns the output shapes of the layers of a pair, the student's first."""
    names = (pair[0], *pair[1])
    return [
        tuple(layer_output(model, name).shape)
        for model, name in zip((student, *teachers), names, strict=True)
    ]


def _make_regressors(
    student: keras.Model, teachers: Sequence[keras.Model], pairs: Sequence[Pair], dtype: Any
) -> list[keras.layers.Layer]:
    """Returns 1x1 convolutions from the student's channels to the teacher's, as in FitNets."""
    axis = channel_axis()
    layers: list[keras.layers.Layer] = []
    for index, pair in enumerate(pairs, start=1):
        own, target, *others = _output_shapes(student, teachers, pair)
        regressed = list(own)
        regressed[axis] = target[axis]
        if not all(compatible_shapes(tuple(regressed), shape) for shape in (target, *others)):
            raise ValueError(
                "The layers of a hint must return maps with the same spatial sizes. "
                f"Received: {pair[0]!r} with shape {own}, {pair[1][0]!r} with shape {target}"
            )
        if own[axis] == target[axis]:
            layer: keras.layers.Layer = keras.layers.Identity(name=f"hint{index}", dtype=dtype)
        else:
            layer = keras.layers.Conv2D(target[axis], 1, name=f"hint{index}", dtype=dtype)
        layer.build(own)
        layers.append(layer)
    return layers
