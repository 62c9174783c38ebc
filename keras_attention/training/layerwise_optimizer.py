"""Optimizer with a learning rate factor per layer."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_attention.utils.validation import positive_number

Variable = Any
# New in Keras 3.15, which needs Python 3.11. Everything else works with older versions.
HAS_MULTI_OPTIMIZER = hasattr(keras.optimizers, "MultiOptimizer")
_MultiOptimizer: Any = getattr(keras.optimizers, "MultiOptimizer", keras.optimizers.Optimizer)


@keras.saving.register_keras_serializable(package="keras_attention")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate schedule multiplied by a factor.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`.
        factor: A number above 0.

    Example:
    >>> schedule = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.1, 0.01])
    >>> round(float(ScaledSchedule(schedule, 10.0)(11)), 6)
    0.1
    """

    def __init__(self, schedule: Any, factor: float):
        self.schedule = schedule
        self.factor = positive_number("factor", factor)

    def __call__(self, step: Any) -> Any:
        return self.factor * self.schedule(step)

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScaledSchedule":
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["factor"])


@keras.saving.register_keras_serializable(package="keras_attention")
class LayerwiseOptimizer(_MultiOptimizer):
    """Optimizer that trains some layers with a higher or lower learning rate than the others.

    It works with plain `compile` and `fit`, and with callbacks that set the learning rate, such as
    `keras.callbacks.ReduceLROnPlateau`: `learning_rate` is the rate of layers without a factor, and
    setting it scales the other rates in proportion. `global_clipnorm` applies separately to each
    group of layers that share a factor.

    Args:
        optimizer: Any Keras optimizer that has not been used yet; all layers use its settings.
        factors: Dictionary from layer names to factors of the learning rate, above 0. Sublayers
            share the factor of their layer. To freeze a layer, set `trainable = False` instead.
        loss_scale_factor: See `keras.optimizers.Optimizer`.
        name: Name of the optimizer.

    Raises:
        ValueError: For an invalid factor; when the optimizer is built, for a name that no trainable
            weight has.
        ImportError: With Keras versions before 3.15.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="top")])
    >>> model.compile(LayerwiseOptimizer(keras.optimizers.SGD(0.01), {"top": 10}), "mse")
    >>> [round(float(one.learning_rate), 3) for one in model.optimizer.optimizers]
    [0.01, 0.1]

    Reference:
        Rodriguez et al., Attend and Rectify (2018), section 4.4: a factor of 10 for the attention
        modules and the classifier.
    """

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        factors: Mapping[str, float],
        loss_scale_factor: float | None = None,
        name: str | None = None,
    ):
        if not HAS_MULTI_OPTIMIZER:
            raise ImportError(
                "LayerwiseOptimizer needs Keras 3.15 or later, and thus Python 3.11 or later. "
                f"Received: keras {keras.__version__}"
            )
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise ValueError(
                "`optimizer` must be a Keras optimizer, such as keras.optimizers.SGD(1e-3). "
                f"Received: optimizer={optimizer!r}"
            )
        if not isinstance(factors, Mapping) or not factors:
            raise ValueError(
                "`factors` must be a dictionary from layer names to factors. "
                f"Received: factors={factors!r}"
            )
        super().__init__(self._select_optimizer, loss_scale_factor, name)
        self.factors = {
            layer: positive_number(f"factors[{layer!r}]", factor)
            for layer, factor in factors.items()
        }
        self._optimizer_factors = list(dict.fromkeys([1.0, *self.factors.values()]))
        scaled = [_scaled(optimizer, factor) for factor in self._optimizer_factors[1:]]
        self._inner_optimizers.extend([optimizer, *scaled])
        self.loss_scale_factor = loss_scale_factor

    def build(self, variables: list[Variable]) -> None:
        layers = sorted({part for variable in variables for part in variable.path.split("/")[:-1]})
        unknown = [layer for layer in self.factors if layer not in layers]
        if unknown:
            raise ValueError(
                f"`factors` must name layers with trainable weights: {', '.join(layers)}. "
                f"Received: {unknown[0]!r}"
            )
        super().build(variables)

    def _select_optimizer(self, variable: Variable) -> keras.optimizers.Optimizer:
        for part in reversed(variable.path.split("/")):
            if part in self.factors:
                return self.optimizers[self._optimizer_factors.index(self.factors[part])]
        return self.optimizers[0]

    @property
    def learning_rate(self) -> Any:
        """The rate of layers without a factor."""
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: float) -> None:
        for factor, optimizer in zip(self._optimizer_factors, self.optimizers, strict=True):
            optimizer.learning_rate = factor * learning_rate

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizers[0]),
            "factors": self.factors,
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "LayerwiseOptimizer":
        config = dict(config)
        config["optimizer"] = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        return cls(**config)


def _scaled(optimizer: keras.optimizers.Optimizer, factor: float) -> keras.optimizers.Optimizer:
    """Returns an optimizer with the same settings and a scaled learning rate."""
    schedule = optimizer._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        rate: Any = ScaledSchedule(schedule, factor)
    else:
        rate = factor * float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    config = optimizer.get_config()
    return type(optimizer).from_config({**config, "learning_rate": rate})
