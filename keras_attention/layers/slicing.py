"""How a target layer slices: which kernels together, and inside which rectangles."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_attention import backend
from keras_attention.ops.convolution_cost import ConvolutionCost
from keras_attention.ops.grouped_convolution import SLICED_SHARE
from keras_attention.ops.roi_grouping import Groups, group_rois, grouping_seconds, union_of

Array = Any
Sides = tuple[int, int]


class SlicePlan(NamedTuple):
    """A grouping to take, with what it is worth.

    Attributes:
        groups: A partition of the kernels.
        sides: Height and width of the map that it is for.
        rectangles: One for each group, for programs whose shapes are fixed; None where they would
            be most of the map.
        seconds_before: Estimate of a step with the groups of now.
        seconds: Estimate of a step with the new ones.
    """

    groups: Groups
    sides: Sides
    rectangles: list[Any] | None
    seconds_before: float
    seconds: float


class Slicing:
    """The groups that a target layer slices by; one group at first."""

    def __init__(self, filters: int):
        self.filters = filters
        self.groups: Groups = (tuple(range(filters)),)
        self._fixed: dict[Sides, Any] = {}

    def partition(self, groups: Sequence[Sequence[int]]) -> None:
        """Takes groups of the user's choice.

        Raises:
            ValueError: Where they are not a partition of the kernels.
        """
        partition = tuple(tuple(int(kernel) for kernel in group) for group in groups)
        kernels = sorted(kernel for group in partition for kernel in group)
        if kernels != list(range(self.filters)) or not all(partition):
            raise ValueError(
                f"`slice_groups` must hold each of the {self.filters} kernels once, in groups "
                f"that are not empty. Received: slice_groups={groups}"
            )
        self.groups, self._fixed = partition, {}

    def plan(
        self,
        regions: Array,
        sides: Sides,
        kernel_size: Sequence[int],
        dilation_rate: Sequence[int],
        channels: int,
        cost: ConvolutionCost,
        batch_size: int,
        margin: int,
    ) -> SlicePlan:
        """Finds the groups that cost the least with the given regions `(C, 2, 2)`."""
        rest = (sides, kernel_size, channels, cost, batch_size, dilation_rate)
        groups = group_rois(regions, *rest)
        before, after = (
            grouping_seconds(regions, partition, *rest) for partition in (self.groups, groups)
        )
        return SlicePlan(groups, sides, self._fix(regions, groups, sides, margin), before, after)

    def take(self, plan: SlicePlan) -> None:
        """Slices by a plan from now on."""
        self.groups = plan.groups
        self._fixed = {} if plan.rectangles is None else {plan.sides: plan.rectangles}

    def is_possible(self, sides: Sequence[Any]) -> bool:
        """Whether to slice a map of these sides, or to compute it whole."""
        return backend.supports_dynamic_shapes() or tuple(sides) in self._fixed

    def fixed(self, sides: Sequence[Any]) -> Any:
        """The groups' fixed rectangles; None where they are sized by the regions in each step."""
        return None if backend.supports_dynamic_shapes() else self._fixed[tuple(sides)]

    def pixels(self, regions: Array, sides: Sequence[int]) -> int:
        """Pixels computed for all kernels together."""
        whole = self.filters * int(np.prod(sides))
        if not self.is_possible(sides):
            return whole
        unions = [union_of(regions[list(group)]) for group in self.groups]
        if self.fixed(sides) is not None:
            fixed = [np.array(rectangle) for rectangle in self.fixed(sides)]
            if any(
                not np.array_equal(union_of(np.stack(pair)), pair[1])
                for pair in zip(unions, fixed, strict=True)
            ):
                return whole
            unions = fixed
        pixels = self._sum(unions, self.groups)
        return whole if pixels > SLICED_SHARE * whole else pixels

    def _fix(self, regions: Array, groups: Groups, sides: Sides, margin: int) -> Any:
        unions = np.stack([union_of(regions[list(group)]) for group in groups])
        low = np.maximum(unions[..., 0] - margin, 0)
        high = np.minimum(np.maximum(unions[..., 1] + margin, low + 1), sides)
        rectangles = np.stack([np.minimum(low, high - 1), high], axis=-1)
        pays = self._sum(rectangles, groups) <= SLICED_SHARE * self.filters * np.prod(sides)
        return rectangles.tolist() if pays else None

    def _sum(self, rectangles: Any, groups: Groups) -> int:
        return sum(
            len(group) * int(np.prod(np.maximum(rectangle[:, 1] - rectangle[:, 0], 1)))
            for rectangle, group in zip(rectangles, groups, strict=True)
        )
