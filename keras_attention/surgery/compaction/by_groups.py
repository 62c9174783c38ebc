"""A target layer's regions as convolutions of groups of kernels, each over a rectangle."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from keras_attention.layers.region import RegionConvolution
from keras_attention.ops.roi_grouping import Groups, group_rois, grouping_seconds, union_of
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
    return grouping_seconds(
        target.rectangles,
        groups,
        target.sides,
        target.layer.kernel_size,
        channels,
        batch=batch,
        dilation_rate=target.layer.dilation_rate,
    )


def whole_seconds(target: Target, channels: int, batch: int) -> float:
    """Estimates what the convolution of the whole map takes."""
    whole = np.array([[0, target.sides[0]], [0, target.sides[1]]])
    everywhere = replace(target, rectangles=np.broadcast_to(whole, target.rectangles.shape))
    return groups_seconds(everywhere, channels, (tuple(range(len(target.rectangles))),), batch)


def by_groups(target: Target, source: RegionMap, groups: Groups) -> RegionMap:
    """Convolves each group over the rectangle that holds its regions."""
    # Pieces in the order of their places, so that those out of a group's reach lie at an end.
    pieces = tuple(sorted(source.pieces, key=lambda piece: piece.rectangle.sum(axis=1).tolist()))
    source = RegionMap(source.layout, pieces, source.name, source.steps)
    unions = [union_of(target.rectangles[list(group)]) for group in groups]
    reads = [_read(target, source, union) for union in unions]
    everything = union_of(np.stack([read.rectangle for read in reads]))
    tensor = source.assembled(everything)
    results = []
    for group, union, read in zip(groups, unions, reads, strict=True):
        kernels = np.array(group)
        channels = source.order()[slice(*read.channels)]
        layer = RegionConvolution(
            len(kernels),
            target.layer.kernel_size,
            read=read.rectangle - everything[:, :1],
            padding=read.padding,
            channels=None if len(channels) == source.layout.channels else read.channels,
            dilation_rate=target.layer.dilation_rate,
            name=source.name(target.layer.name),
            **target.config(),
        )
        outputs = layer(tensor)
        weights = [target.kernel[:, :, channels][..., kernels]]
        if target.bias is not None:
            weights.append(target.bias[kernels])
        (top, bottom), (left, right) = union
        layer.set_weights([*weights, target.window[top:bottom, left:right, kernels]])
        results.append(Piece(outputs, union, kernels))
    return RegionMap(target.layout(), tuple(results), source.name)


class _Read(NamedTuple):
    """What a rectangle of the output reads: the rest of its reach is zero."""

    rectangle: Array
    padding: Array
    channels: tuple[int, int]


def _read(target: Target, source: RegionMap, union: Array) -> _Read:
    """Leaves out the channels and the rim where the map is zero.

    Padding is not computed by the convolutions of the CPU library, so a narrow input saves time.
    """
    inside, padding = target.reads(union)
    starts = np.cumsum([0, *(len(piece.channels) for piece in source.pieces)])
    if source.background().any():
        return _Read(inside, padding, (0, int(starts[-1])))
    meets = [
        index
        for index, piece in enumerate(source.pieces)
        if (piece.rectangle[:, 0] < inside[:, 1]).all()
        and (piece.rectangle[:, 1] > inside[:, 0]).all()
    ]
    if not meets:
        return _Read(inside, padding, (0, int(starts[1])))  # zeros, of which some have to be read
    channels = (int(starts[meets[0]]), int(starts[meets[-1] + 1]))
    filled = union_of(np.stack([source.pieces[index].rectangle for index in meets]))
    # A kernel must reach something: libraries want no more padding than that.
    spans = np.array([sum(reach) for reach in target.reach])
    wide = np.stack([inside[:, 0] - padding[:, 0], inside[:, 1] + padding[:, 1]], axis=-1)
    low = np.maximum(inside[:, 0], np.minimum(filled[:, 0], wide[:, 0] + spans))
    high = np.minimum(inside[:, 1], np.maximum(filled[:, 1], wide[:, 1] - spans))
    narrow = np.stack([low, high], axis=-1)
    return _Read(narrow, np.abs(wide - narrow), channels)
