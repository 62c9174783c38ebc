"""A model whose maps are watched while it is called, and its gradient by what it reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.distillation.gradient_attention import cross_entropies
from keras_attention.graph.classifier import says_probabilities
from keras_attention.graph.features import cut, names_before, tapped, tapped_behind
from keras_attention.layers.attend_rectify import LEAST
from keras_attention.ops.attention_transfer import at_least_float32, watched_activity

Tensor = Any


class Once:
    """A property that is kept, like `functools.cached_property` without its lock.

    Up to Python 3.11 that lock is one for all objects. Replicas of TensorFlow are threads that wait
    for each other while they compute: the one that holds the lock would wait for ever.

    Args:
        function: From the object to the value.

    Example:
    >>> class Circle:
    ...     @Once
    ...     def area(self):
    ...         print("computed")
    ...         return 3.14
    >>> circle = Circle()
    >>> circle.area + circle.area
    computed
    6.28
    """

    def __init__(self, function: Callable[[Any], Any]):
        self.function, self.name = function, function.__name__
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.function(instance)
        return value


@dataclass
class Observation:
    """What one call of a model showed.

    Attributes:
        answer: What the model returned; None where nobody asked.
        maps: What the watched layers put out, by name.
        says_probabilities: Whether the answer is probabilities, or logits.
        pull: From the gradient of a value by the answer to that by what was read.
    """

    answer: Any
    maps: dict[str, Tensor]
    says_probabilities: bool
    pull: Any = None

    @property
    def tensors(self) -> list[Tensor]:
        """All that was shown."""
        answers = [] if self.answer is None else keras.tree.flatten(self.answer)
        return [*answers, *self.maps.values()]

    def constant(self) -> "Observation":
        """The same, but no gradient goes through it."""
        answer = self.answer
        if answer is not None:
            answer = keras.tree.map_structure(ops.stop_gradient, answer)
        maps = {name: ops.stop_gradient(values) for name, values in self.maps.items()}
        return Observation(answer, maps, self.says_probabilities, self.pull)

    @Once
    def logits(self) -> Tensor:
        """The answer as logits, in float32 at least: logarithms of probabilities are."""
        answer = at_least_float32(self.answer)
        return ops.log(ops.maximum(answer, LEAST)) if self.says_probabilities else answer

    def gradient(self, y: Tensor) -> Tensor:
        """J, the gradient of each example's cross-entropy by what was read (equation 3)."""

        def loss(answer: Tensor) -> Tensor:
            said = Observation(answer, {}, self.says_probabilities)
            return cross_entropies(y, said.logits)

        return self.pull(backend.input_gradient(loss, self.answer))


class Observed:
    """A model to call and watch.

    Args:
        model: A functional or sequential Keras model that is built.
        names: Layers whose outputs are wanted.
        answer: Whether the model's own answer is wanted.
        gradient: Whether gradients by what is read are wanted.
        at: The layer whose output is what is read; None for the model's input.
        from_logits: Whether the answer is logits; None to look whether a softmax ends the model.
        activity: In which data format not the layers' outputs are wanted but their mean squares
            over the channels, which take less memory; None for the outputs.

    Raises:
        ValueError: As `tapped` does; or for several inputs where gradients are wanted.
    """

    def __init__(
        self,
        model: keras.Model,
        names: Sequence[str],
        answer: bool = True,
        gradient: bool = False,
        at: str | None = None,
        from_logits: bool | None = None,
        activity: str | None = None,
    ):
        self.model = model
        self.names = list(dict.fromkeys(names))
        self.answers = answer or gradient
        if activity is None:
            self._whole = tapped(model, self.names, self.answers)
        else:
            made = partial(ChannelActivity, activity)
            self._whole = tapped_behind(model, self.names, lambda _: made(), self.answers)
        self._gradient = gradient
        self._cut: tuple[keras.Model, keras.Model] | None = None
        if at is not None:
            self._cut = cut(model, self.names, at)
            before = names_before(model, self.names, at)
            self._split_names = [*before, *(name for name in self.names if name not in before)]
        if gradient and len(keras.tree.flatten(model.input)) != 1:
            raise ValueError(
                "Gradients by the input need a model of one input. "
                f"Received: {model.name!r} with {len(keras.tree.flatten(model.input))}"
            )
        if from_logits is None:
            self._says_probabilities = self.answers and says_probabilities(model)
        else:
            self._says_probabilities = not from_logits

    def __call__(
        self, inputs: Any, training: bool, add_loss: Callable[[Tensor], None] | None = None
    ) -> Observation:
        """Calls the model once.

        Args:
            inputs: Of the model.
            training: As of a model's call.
            add_loss: See `backend.with_pullback`.
        """
        if not self._gradient:
            outputs = self._whole(inputs, training=training)
            answer, maps = outputs if self.answers else (None, outputs)
            return self._observation(answer, self.names, maps)
        images = at_least_float32(keras.tree.flatten(inputs)[0])
        if self._cut is None:
            (answer, maps), pull = backend.with_pullback(
                lambda values: self._whole(values, training=training),
                images,
                self._whole.variables,
                add_loss,
            )
            return self._observation(answer, self.names, maps, pull)
        first, second = self._cut
        place, lower = first(images, training=training)
        (answer, upper), pull = backend.with_pullback(
            lambda values: second([values, images], training=training),
            place,
            second.variables,
            add_loss,
        )
        return self._observation(answer, self._split_names, [*lower, *upper], pull)

    def _observation(
        self, answer: Any, names: Sequence[str], maps: Any, pull: Any = None
    ) -> Observation:
        by_name = dict(zip(names, keras.tree.flatten(maps), strict=True))
        return Observation(answer, by_name, self._says_probabilities, pull)


class ChannelActivity(keras.layers.Layer):
    """Returns a map, and the mean of its squares over the channels, in float32.

    The gradient of both is made at once, when that of the map has come back through the network
    behind it: that of the mean alone, as large as the map, would wait for it in memory.

    Args:
        data_format: `"channels_last"`, `"channels_first"`, or None for Keras's setting.
        **kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        `(B, H, W, C)`, or other axes in the place of H and W.

    Output shape:
        That of the input, and the same with one channel.

    Example:
    >>> [tuple(tensor.shape) for tensor in ChannelActivity()(keras.ops.ones((2, 4, 3, 8)))]
    [(2, 4, 3, 8), (2, 4, 3, 1)]
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        # The map goes on in the type in which it came.
        super().__init__(autocast=False, **kwargs)
        self.data_format = data_format or keras.config.image_data_format()

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return watched_activity(inputs, self._axis)

    def compute_output_spec(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        shape = list(inputs.shape)
        shape[self._axis] = 1
        activity = keras.KerasTensor(tuple(shape), "float32")
        return keras.KerasTensor(inputs.shape, inputs.dtype), activity

    @property
    def _axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1
