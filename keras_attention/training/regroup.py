"""Callback that regroups the kernels of target layers while their ROIs move."""

import time
from typing import Any

import keras

from keras_attention.layers import TargetLayer
from keras_attention.layers.targeted import GroupingPlan
from keras_attention.ops.roi_grouping import TRAINING_COST, ConvolutionCost
from keras_attention.utils.validation import non_negative_number, positive_integer

Plans = list[tuple[TargetLayer, GroupingPlan]]


class RegroupROIs(keras.callbacks.Callback):
    """Regroups the kernels of `TargetLayer(roi="slice")` between epochs, if that saves time.

    Values and gradients do not depend on the groups. A new grouping must be traced, so it is
    applied only if the time that it saves in the remaining epochs is more than the first step took,
    and if the estimated gain is large enough to be reliable.

    Use it with TensorFlow. With JAX on a CPU, XLA's gradients of sliced convolutions take many
    times as long as those of whole maps (`benchmarks/on_jax.py`), which is what the layers compute
    without this callback.

    Args:
        every: Number of epochs between two checks. Defaults to 1.
        min_gain: Smallest fraction of the time of all target layers that a new grouping must save.
            Defaults to 0.1.
        batch_size: Batch size for the estimate. Defaults to 64.
        cost: Rates of the machine, see `ops.ConvolutionCost`. Defaults to those measured on 2 CPU
            cores.

    Raises:
        ValueError: For numbers that are not positive, or a model without sliced target layers.

    Example:
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), TargetLayer(4, 3)])
    >>> model.compile("sgd", "mse")
    >>> x, y = keras.ops.zeros((2, 8, 8, 1)), keras.ops.zeros((2, 8, 8, 4))
    >>> history = model.fit(x, y, epochs=2, callbacks=[RegroupROIs()], verbose=0)
    >>> history.history["loss"]
    [0.0, 0.0]

    Reference:
        Chitta, Targeted Kernel Networks (2018), section 3.5, which slices each kernel by itself.
    """

    def __init__(
        self,
        every: int = 1,
        min_gain: float = 0.1,
        batch_size: int = 64,
        cost: ConvolutionCost = TRAINING_COST,
    ):
        super().__init__()
        self.every = positive_integer("every", every)
        self.min_gain = non_negative_number("min_gain", min_gain)
        self.batch_size = positive_integer("batch_size", batch_size)
        self.cost = cost
        self._first_step_seconds, self._is_traced_next = 0.0, False

    def on_train_begin(self, logs: Any = None) -> None:
        """Groups by the initial ROIs."""
        self.layers = [
            layer
            for layer in self.model._flatten_layers()
            if isinstance(layer, TargetLayer) and layer.uses_slicing
        ]
        if not self.layers:
            raise ValueError(
                'RegroupROIs needs a model with a TargetLayer with roi="slice" and an elementwise '
                "activation. "
                f"Received: {self.model.name!r} without one"
            )
        self._is_traced_next = True  # the first step of the training may be traced
        self._plans_in_use: dict[TargetLayer, GroupingPlan] = {}
        plans = self._plans()
        if _gain(plans) > self.min_gain:
            self._apply(plans)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._is_traced_next:  # this step was traced
            self._first_step_seconds = time.perf_counter() - self._epoch_start
            self._is_traced_next = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Regroups if the remaining epochs are worth another trace."""
        remaining = self.params.get("epochs", 0) - epoch - 1
        if remaining <= 0 or (epoch + 1) % self.every:
            return
        seconds = time.perf_counter() - self._epoch_start
        plans = self._plans()
        gain = _gain(plans)
        if gain > self.min_gain and gain * seconds * remaining > self._first_step_seconds:
            self._apply(plans)

    def get_state(self) -> dict[str, Any]:
        """Returns the current groups, for `training.resumable_fit`."""
        return {"layers": [self._groups_of(layer) for layer in self.layers]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the groups that `get_state` returned, after training has started."""
        for layer, groups in zip(self.layers, state["layers"], strict=True):
            layer.slice_groups = groups["groups"]
            if groups["sides"] is not None:
                partition, sides = layer.slice_groups, tuple(groups["sides"])
                self._plans_in_use[layer] = GroupingPlan(
                    partition, sides, groups["rectangles"], 0.0, 0.0
                )
                layer.regroup(self._plans_in_use[layer])
        self._discard_traced_functions()

    def _groups_of(self, layer: TargetLayer) -> dict[str, Any]:
        plan = self._plans_in_use.get(layer)
        sides, rectangles = (None, None) if plan is None else (plan.sides, plan.rectangles)
        return {"groups": layer.slice_groups, "sides": sides, "rectangles": rectangles}

    def _plans(self) -> Plans:
        """Returns a plan for each layer that has been called on a map of known size."""
        known = [layer for layer in self.layers if None not in layer.map_sides]
        options: dict[str, Any] = {"cost": self.cost, "batch_size": self.batch_size}
        options["fixed_shapes"] = self.model.jit_compile or None
        return [(layer, layer.plan_groups(**options)) for layer in known]

    def _apply(self, plans: Plans) -> None:
        """Applies the plans; the next step is traced again."""
        for layer, plan in plans:
            layer.regroup(plan)
        self._plans_in_use.update(plans)
        self._discard_traced_functions()

    def _discard_traced_functions(self) -> None:
        """Discards functions traced with previous groups; `fit` looks them up in each step."""
        self._is_traced_next = True
        self.model.make_train_function(force=True)
        self.model.test_function = self.model.predict_function = None


def _gain(plans: Plans) -> float:
    """Returns the estimated fraction of the layers' time that the plans save."""
    before = sum(plan.seconds_before for _, plan in plans)
    return 1 - sum(plan.seconds for _, plan in plans) / before if before else 0.0
