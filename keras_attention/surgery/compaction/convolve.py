"""A target layer over fixed regions, computed in the way that costs the least."""

from keras_attention.surgery.compaction import by_groups, by_matrix
from keras_attention.surgery.compaction.entry_map import EntryMap, entry_map
from keras_attention.surgery.compaction.region_map import RegionMap
from keras_attention.surgery.compaction.target import Target

Map = RegionMap | EntryMap


def convolve(target: Target, source: Map, batch: int) -> Map:
    """Computes a target layer's regions, and only them.

    Args:
        target: The layer.
        source: The map that it reads.
        batch: Images of a call, for the cost.
    """
    channels = source.layout.channels
    groups = by_groups.groups_of(target, channels, batch)
    of_groups = by_groups.groups_seconds(target, channels, groups, batch)
    if by_matrix.matrix_seconds(target, source, batch) < of_groups:
        entries = source if isinstance(source, EntryMap) else entry_map(source)
        return by_matrix.by_matrix(target, entries, batch)
    regions = source.as_regions() if isinstance(source, EntryMap) else source
    return by_groups.by_groups(target, regions, groups)
