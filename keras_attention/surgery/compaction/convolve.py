"""A target layer over fixed regions, computed in the way that costs the least."""

from collections.abc import Mapping

from keras_attention.surgery.compaction import by_groups, by_matrix
from keras_attention.surgery.compaction.entry_map import EntryMap, Map, entry_map
from keras_attention.surgery.compaction.target import Target


def convolve(target: Target, source: Map, batches: Mapping[int, float]) -> Map:
    """Computes a target layer's regions, and only them.

    Args:
        target: The layer.
        source: The map that it reads.
        batches: Images of a call to be fast for, and what each weighs: the way is taken whose
            times over those of the whole convolution have the smallest weighted sum.
    """
    channels = source.layout.channels
    weights = {
        batch: weight / by_groups.whole_seconds(target, channels, batch)
        for batch, weight in batches.items()
    }
    costs = {
        groups: sum(
            by_groups.groups_seconds(target, channels, groups, batch) * weight
            for batch, weight in weights.items()
        )
        for groups in [by_groups.groups_of(target, channels, batch) for batch in batches]
    }
    groups = min(costs, key=lambda choice: costs[choice])
    matrix = sum(
        by_matrix.matrix_seconds(target, source, batch) * weight
        for batch, weight in weights.items()
    )
    if matrix < costs[groups]:
        entries = source if isinstance(source, EntryMap) else entry_map(source)
        return by_matrix.by_matrix(target, entries, max(batches))
    regions = source.as_regions() if isinstance(source, EntryMap) else source
    return by_groups.by_groups(target, regions, groups)
