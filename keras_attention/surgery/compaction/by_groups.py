"""A target layer's regions as convolutions of groups of kernels, each over a rectangle."""

from typing import Any

import numpy as np

from keras_attention.layers.region import RegionConvolution
from keras_attention.ops.roi_grouping import ConvolutionCost, Groups, group_rois, union_of
from keras_attention.surgery.compaction.region_map import Piece, RegionMap
from keras_attention.surgery.compaction.target import Target

Array = Any


def groups_of(target: Target, channels: int, batch: int) -> Groups:
    """The groups of kernels that cost the least together."""
    return group_rois(
        target.rectangles,
        target.sides,
        target.layer.kernel_size,
        channels,
        batch=batch,
        dilation_rate=target.layer.dilation_rate,
    )


def groups_seconds(target: Target, channels: int, groups: Groups, batch: int) -> float:
    """Estimates what the groups' convolutions take."""
    cost = ConvolutionCost()
    seconds = 0.0
    for group in groups:
        union = union_of(target.rectangles[list(group)])
        reads = target.reads(union)[0]
        pixels = np.prod(union[:, 1] - union[:, 0])
        read = np.prod(reads[:, 1] - reads[:, 0]) * channels
        products = int(np.prod(target.kernel.shape[:3]))
        seconds += float(cost.seconds(pixels, len(group), products, read, batch))
    return seconds


def by_groups(target: Target, source: RegionMap, groups: Groups) -> RegionMap:
    """Convolves each group over the rectangle that holds its regions."""
    unions = [union_of(target.rectangles[list(group)]) for group in groups]
    # Pieces in the order of their places, so that those out of a group's reach lie at an end.
    pieces = tuple(sorted(source.pieces, key=lambda piece: piece.rectangle.sum(axis=1).tolist()))
    source = RegionMap(source.layout, pieces, source.name, source.steps)
    everything = target.reads(union_of(np.stack(unions)))[0]
    tensor = source.assembled(everything)
    order = source.order()
    skips = not source.background().any()
    results = []
    for group, union in zip(groups, unions, strict=True):
        kernels = np.array(group)
        reads, padding = target.reads(union)
        start, stop = _channels_in(source, reads) if skips else (0, len(order))
        (top, bottom), (left, right) = union
        layer = RegionConvolution(
            len(kernels),
            target.layer.kernel_size,
            read=reads - everything[:, :1],
            padding=padding,
            channels=None if (start, stop) == (0, len(order)) else (start, stop),
            dilation_rate=target.layer.dilation_rate,
            name=source.name(target.layer.name),
            **target.config(),
        )
        outputs = layer(tensor)
        weights = [target.kernel[:, :, order[start:stop]][..., kernels]]
        if target.bias is not None:
            weights.append(target.bias[kernels])
        layer.set_weights([*weights, target.window[top:bottom, left:right, kernels]])
        results.append(Piece(outputs, union, kernels))
    return RegionMap(target.layout(), tuple(results), source.name)


def _channels_in(source: RegionMap, rectangle: Array) -> tuple[int, int]:
    """The channels, in the order of the pieces, between which all that meet a rectangle lie."""
    starts = np.cumsum([0, *(len(piece.channels) for piece in source.pieces)])
    meets = [
        index
        for index, piece in enumerate(source.pieces)
        if (piece.rectangle[:, 0] < rectangle[:, 1]).all()
        and (piece.rectangle[:, 1] > rectangle[:, 0]).all()
    ]
    if not meets:
        return 0, int(starts[1])  # all are zero there, and one has to be read
    return int(starts[meets[0]]), int(starts[meets[-1] + 1])
