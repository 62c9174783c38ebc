"""How a target layer slices: which kernels together, and inside which rectangles."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_attention import backend
from keras_attention.ops.convolution_cost import ConvolutionCost
from keras_attention.ops.grouped_convolution import SLICED_SHARE
from keras_attention.ops.roi_grouping import (
    Groups,
    checked_partition,
    group_rois,
    grouping_seconds,
    union_of,
    with_a_pixel,
)

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
        self._groups: Groups | None = None
        self._fixed: dict[Sides, Any] = {}

    @property
    def groups(self) -> Groups:
        """All kernels together before a partition is chosen."""
        if self._groups is None:
            self._groups = (tuple(range(self.filters)),)
        return self._groups

    def partition(self, groups: Sequence[Sequence[int]]) -> None:
        """Takes groups of the user's choice.

        Raises:
            ValueError: Where they are not a partition of the kernels.
        """
        partition = checked_partition("slice_groups", groups, self.filters)
        self._groups, self._fixed = partition, {}

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
        fixed_shapes: bool,
    ) -> SlicePlan:
        """Finds the groups that cost the least with the given regions `(C, 2, 2)`."""
        rest = (sides, kernel_size, channels, cost, batch_size, dilation_rate)
        groups = group_rois(regions, *rest)
        rectangles = self._fix(regions, groups, sides, margin)

        def seconds(partition: Groups, fixed: Any) -> float:
            computed, together = _computed(regions, sides, partition, fixed, fixed_shapes)
            return grouping_seconds(computed, together, *rest)

        before = seconds(self.groups, self._fixed.get(sides))
        return SlicePlan(groups, sides, rectangles, before, seconds(groups, rectangles))

    def take(self, plan: SlicePlan) -> None:
        """Slices by a plan from now on."""
        self._groups = plan.groups
        self._fixed = {} if plan.rectangles is None else {plan.sides: plan.rectangles}

    def is_possible(self, sides: Sequence[Any]) -> bool:
        """Whether to slice a map of these sides, or to compute it whole."""
        if backend.supports_dynamic_shapes():
            return True
        # What chooses between a rectangle and the map is not for other formats.
        return backend.fuses() and tuple(sides) in self._fixed

    def fixed(self, sides: Sequence[Any]) -> Any:
        """The groups' fixed rectangles; None where they are sized by the regions in each step."""
        return None if backend.supports_dynamic_shapes() else self._fixed[tuple(sides)]

    def pixels(self, regions: Array, sides: Sequence[int]) -> int:
        """Pixels computed for all kernels together."""
        map_sides = (int(sides[0]), int(sides[1]))
        slices = (self.groups, self._fixed.get(map_sides))
        fixed_shapes = not backend.supports_dynamic_shapes()
        return _pixels(_computed(regions, map_sides, *slices, fixed_shapes)[0])

    def _fix(self, regions: Array, groups: Groups, sides: Sides, margin: int) -> Any:
        unions = np.stack([union_of(regions[list(group)]) for group in groups])
        around = with_a_pixel(unions) + np.array([-margin, margin])
        rectangles = np.clip(around, 0, np.array(sides)[:, None])
        kernels = np.repeat(rectangles, [len(group) for group in groups], axis=0)
        pays = _pixels(kernels) <= SLICED_SHARE * self.filters * np.prod(sides)
        return rectangles.tolist() if pays else None


def _computed(
    regions: Array, sides: Sides, groups: Groups, fixed: Any, fixed_shapes: bool
) -> tuple[Array, Groups]:
    """The rectangle that is computed for each kernel, and the groups: one where it is the map."""
    whole = np.broadcast_to(np.array([[0, sides[0]], [0, sides[1]]]), regions.shape)
    everything = (whole, (tuple(range(len(regions))),))
    if fixed_shapes and fixed is None:
        return everything
    rectangles = np.empty_like(regions)
    for number, group in enumerate(groups):
        union = with_a_pixel(union_of(regions[list(group)]))
        if fixed_shapes:
            smallest, union = union, np.array(fixed[number])
            if not np.array_equal(union_of(np.stack([smallest, union])), union):
                return everything  # a region has left its rectangle
        rectangles[list(group)] = union
    if _pixels(rectangles) > SLICED_SHARE * _pixels(whole):
        return everything
    return rectangles, groups


def _pixels(rectangles: Array) -> int:
    return int(np.prod(rectangles[..., 1] - rectangles[..., 0], axis=-1).sum())
