"""Keeps the slicing of target layers fast while their regions move."""

import time
from typing import Any

import keras

from keras_attention.layers import TargetLayer
from keras_attention.layers.targeted import SlicePlan
from keras_attention.ops.roi_grouping import TRAINING_COST, ConvolutionCost
from keras_attention.utils.validation import non_negative_number, positive_integer

Plans = list[tuple[TargetLayer, SlicePlan]]


class RegroupROIs(keras.callbacks.Callback):
    """Groups the kernels of `TargetLayer(roi="slice")` anew between epochs, where that pays.

    The values and gradients are the same whatever the groups. A new grouping has to be traced, so
    it is taken when the seconds that it saves in the epochs that are left are more than the first
    step took, and where the estimated gain is large enough to be real.

    It is for TensorFlow: on JAX and a CPU, XLA's gradients of sliced convolutions take many times
    as long as those of whole maps (`benchmarks/on_jax.py`), which is what layers compute without
    this callback.

    Args:
        every: Epochs between two looks; 1 by default.
        min_gain: Smallest share of the target layers' time to save; 0.1 by default.
        batch_size: Images of a step, for the estimate; 64 by default.
        cost: Rates of the machine, see `ops.convolution_cost`; those of 2 CPU cores by default.

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
        Chitta, Targeted Kernel Networks (2018), section 3.5, which slices each kernel alone.
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
        self._first_step, self._is_new = 0.0, False

    def on_train_begin(self, logs: Any = None) -> None:
        """Groups by the regions that the model starts with."""
        self.layers = [
            layer
            for layer in self.model._flatten_layers()
            if isinstance(layer, TargetLayer) and layer.slices
        ]
        if not self.layers:
            raise ValueError(
                'RegroupROIs needs a model with a TargetLayer of roi="slice", and of an activation '
                "that acts on each value by itself. "
                f"Received: {self.model.name!r} without one"
            )
        self._is_new = True  # the first step may be traced
        self._taken: dict[TargetLayer, SlicePlan] = {}
        plans = self._plans()
        if _gain(plans) > self.min_gain:
            self._take(plans)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._is_new:  # this step was traced
            self._first_step = time.perf_counter() - self._epoch_start
            self._is_new = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Groups again where the time that is left makes it worth another tracing."""
        left = self.params.get("epochs", 0) - epoch - 1
        if left <= 0 or (epoch + 1) % self.every:
            return
        seconds = time.perf_counter() - self._epoch_start
        plans = self._plans()
        gain = _gain(plans)
        if gain > self.min_gain and gain * seconds * left > self._first_step:
            self._take(plans)

    def get_state(self) -> dict[str, Any]:
        """The groups of now, for `training.resumable_fit`."""
        return {"layers": [self._groups_of(layer) for layer in self.layers]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes the groups that `get_state` returned, after training has begun again."""
        for layer, groups in zip(self.layers, state["layers"], strict=True):
            layer.slice_groups = groups["groups"]
            if groups["sides"] is not None:
                partition, sides = layer.slice_groups, tuple(groups["sides"])
                self._taken[layer] = SlicePlan(partition, sides, groups["rectangles"], 0.0, 0.0)
                layer.regroup(self._taken[layer])
        self._drop_compiled()

    def _groups_of(self, layer: TargetLayer) -> dict[str, Any]:
        plan = self._taken.get(layer)
        sides, rectangles = (None, None) if plan is None else (plan.sides, plan.rectangles)
        return {"groups": layer.slice_groups, "sides": sides, "rectangles": rectangles}

    def _plans(self) -> Plans:
        """A plan for each layer that has seen a map of known size."""
        known = [layer for layer in self.layers if None not in layer.map_sides]
        options: dict[str, Any] = {"cost": self.cost, "batch_size": self.batch_size}
        options["fixed_shapes"] = self.model.jit_compile or None
        return [(layer, layer.plan_groups(**options)) for layer in known]

    def _take(self, plans: Plans) -> None:
        """Regroups, and has the step traced again."""
        for layer, plan in plans:
            layer.regroup(plan)
        self._taken.update(plans)
        self._drop_compiled()

    def _drop_compiled(self) -> None:
        """Of groups that were; fit looks these functions up in each step."""
        self._is_new = True
        self.model.make_train_function(force=True)
        self.model.test_function = self.model.predict_function = None


def _gain(plans: Plans) -> float:
    """The share of the layers' time that plans save, by estimate."""
    before = sum(plan.seconds_before for _, plan in plans)
    return 1 - sum(plan.seconds for _, plan in plans) / before if before else 0.0
