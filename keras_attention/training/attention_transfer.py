"""Teaching a student by a teacher's attention, with plain compile and fit."""

import os
import threading
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.losses.attention_transfer import (
    AttentionTransferLoss,
    HintLoss,
    KnowledgeDistillationLoss,
)
from keras_attention.surgery.unrolled import traced
from keras_attention.training.gradient_attention import gradient_terms
from keras_attention.training.lesson import (
    Lesson,
    attention_part,
    distillation_part,
    example_weights,
    gradient_part,
    hint_part,
    of_activity,
)
from keras_attention.training.matching import (
    check,
    check_maps,
    named_pairs,
    observed,
    regressors,
    same_sides,
)
from keras_attention.training.observed import Observation
from keras_attention.training.weights import Schedule, Weight

Tensor = Any
Pairs = Sequence[str | tuple[str, str]]


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
