"""Models that return feature maps and gradients beside their outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
from keras import ops

from keras_attention import backend
from keras_attention.distillation.gradient_attention import cross_entropies
from keras_attention.graph.classifier import LOGITS, SIGMOID
from keras_attention.graph.features import feature_extractor, names_before, split_model
from keras_attention.graph.functional import functional_graph
from keras_attention.layers.attend_rectify import SMALLEST_PROBABILITY
from keras_attention.ops.attention_transfer import at_least_float32, attach_activity

Tensor = Any


class cached_property:  # noqa: N801 - a decorator, named as functools.cached_property
    """Cached property like `functools.cached_property`, without its lock.

    Until Python 3.11 that lock is shared by all objects. Replicas of TensorFlow are threads that
    wait for each other while they compute, so a replica that holds the lock would cause a deadlock.

    Example:
    >>> class Circle:
    ...     @cached_property
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
class ModelOutputs:
    """Outputs, feature maps and gradients of one call of a model.

    Attributes:
        outputs: Output of the model, or None if it is not needed.
        maps: Outputs of layers, by name.
        kinds: Kind of each output: `"softmax"`, `"sigmoid"` or `"logits"`.
        vjp: Function from the gradient with respect to the output to the gradient with respect to
            the input (or to the output of a layer).
    """

    outputs: Any
    maps: dict[str, Tensor]
    kinds: Sequence[str]
    vjp: Any = None

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors."""
        outputs = [] if self.outputs is None else keras.tree.flatten(self.outputs)
        return [*outputs, *self.maps.values()]

    def stop_gradient(self) -> "ModelOutputs":
        """Returns the same tensors without gradients."""
        outputs = self.outputs
        if outputs is not None:
            outputs = keras.tree.map_structure(ops.stop_gradient, outputs)
        maps = {name: ops.stop_gradient(values) for name, values in self.maps.items()}
        return ModelOutputs(outputs, maps, self.kinds, self.vjp)

    @cached_property
    def logits(self) -> list[Tensor]:
        """The outputs as logits in float32 or higher precision; log-probabilities are logits."""
        return [
            logits_of(output, kind)
            for output, kind in zip(keras.tree.flatten(self.outputs), self.kinds, strict=True)
        ]

    def gradient(self, y: Tensor, multi_label: bool = False) -> Tensor:
        """Computes J, the gradient of each example's cross-entropy (equation 3)."""

        def loss(outputs: Tensor) -> Tensor:
            logits = ModelOutputs(outputs, {}, self.kinds).logits[0]
            return cross_entropies(y, logits, multi_label)

        return self.vjp(backend.input_gradient(loss, self.outputs))


def logits_of(output: Tensor, kind: str) -> Tensor:
    """Computes logits of which an output is the softmax or sigmoid, in float32 or wider.

    Example:
    >>> logits = logits_of(ops.convert_to_tensor([0.5, 0.9]), "sigmoid")
    >>> [round(float(logit), 4) for logit in logits]
    [0.0, 2.1972]
    """
    output = at_least_float32(output)
    if kind == LOGITS:
        return output
    logarithm = ops.log(ops.maximum(output, SMALLEST_PROBABILITY))
    if kind == SIGMOID:
        return logarithm - ops.log(ops.maximum(1.0 - output, SMALLEST_PROBABILITY))
    return logarithm


class FeatureExtractor:
    """Calls a model and returns feature maps and gradients beside its output.

    Args:
        model: A functional or sequential Keras model that is built.
        names: Names of the layers whose outputs are returned.
        with_outputs: If True, the output of the model is returned too.
        with_gradient: If True, gradients can be computed.
        gradient_layer: Name of the layer with respect to whose output gradients are computed; None
            for the input of the model.
        kinds: Kind of each output, if the logits are needed.
        mean_squares: If not None, the mean squares over the channels are returned in place of the
            outputs of the layers, which saves memory; the value is the data format of the maps.
    """

    def __init__(
        self,
        model: keras.Model,
        names: Sequence[str],
        with_outputs: bool = True,
        with_gradient: bool = False,
        gradient_layer: str | None = None,
        kinds: Sequence[str] = (),
        mean_squares: str | None = None,
    ):
        self.model = model
        self.names = list(dict.fromkeys(names))
        self.with_outputs = with_outputs or with_gradient
        self.kinds = kinds
        self.input_shapes = [tuple(tensor.shape) for tensor in functional_graph(model).inputs]
        make_layer = None if mean_squares is None else partial(ChannelMeanSquare, mean_squares)
        self._extractor = feature_extractor(model, self.names, self.with_outputs, make_layer)
        self._with_gradient = with_gradient
        self._parts: tuple[keras.Model, keras.Model] | None = None
        if gradient_layer is not None:
            self._parts = split_model(model, self.names, gradient_layer)
            before = names_before(model, self.names, gradient_layer)
            self._names_of_parts = [*before, *(name for name in self.names if name not in before)]
        if with_gradient and len(keras.tree.flatten(model.input)) != 1:
            raise ValueError(
                "A model must have one input for gradients with respect to it. "
                f"Received: {model.name!r} with {len(keras.tree.flatten(model.input))} inputs"
            )

    def __call__(
        self, inputs: Any, training: bool, add_loss: Callable[[Tensor], None] | None = None
    ) -> ModelOutputs:
        """Calls the model once.

        Args:
            inputs: Inputs of the model.
            training: Training flag of the call.
            add_loss: See `backend.vjp`.
        """
        if not self._with_gradient:
            results = self._extractor(inputs, training=training)
            outputs, maps = results if self.with_outputs else (None, results)
            return self._model_outputs(outputs, self.names, maps)
        images = at_least_float32(keras.tree.flatten(inputs)[0])
        if self._parts is None:
            (outputs, maps), vjp = backend.vjp(
                lambda values: self._extractor(values, training=training),
                images,
                self._extractor.variables,
                add_loss,
            )
            return self._model_outputs(outputs, self.names, maps, vjp)
        first, second = self._parts
        features, lower = first(images, training=training)
        (outputs, upper), vjp = backend.vjp(
            lambda values: second([values, images], training=training),
            features,
            second.variables,
            add_loss,
        )
        return self._model_outputs(outputs, self._names_of_parts, [*lower, *upper], vjp)

    def _model_outputs(
        self, outputs: Any, names: Sequence[str], maps: Any, vjp: Any = None
    ) -> ModelOutputs:
        by_name = dict(zip(names, keras.tree.flatten(maps), strict=True))
        return ModelOutputs(outputs, by_name, self.kinds, vjp)


class ChannelMeanSquare(keras.layers.Layer):
    """Returns a map `(B, H, W, C)`, and the mean of its squares over the channels in float32.

    Both gradients are computed together when the gradient of the map arrives. The gradient of the
    mean alone, which is as large as the map, would otherwise be held in memory until then.

    Example:
    >>> [tuple(tensor.shape) for tensor in ChannelMeanSquare()(keras.ops.ones((2, 4, 3, 8)))]
    [(2, 4, 3, 8), (2, 4, 3, 1)]
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        # The map keeps its dtype.
        super().__init__(autocast=False, **kwargs)
        self.data_format = data_format or keras.config.image_data_format()

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return attach_activity(inputs, self._axis)

    def compute_output_spec(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        shape = list(inputs.shape)
        shape[self._axis] = 1
        activity = keras.KerasTensor(tuple(shape), "float32")
        return keras.KerasTensor(inputs.shape, inputs.dtype), activity

    @property
    def _axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1
