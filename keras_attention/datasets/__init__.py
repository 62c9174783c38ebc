"""Data sets as tf.data pipelines: bundled digits, generators, tensorflow-datasets."""

from keras_attention.datasets.loading import load
from keras_attention.datasets.registry import DatasetInfo, find, list_datasets
from keras_attention.datasets.top_left import top_left

__all__ = ["DatasetInfo", "find", "list_datasets", "load", "top_left"]
