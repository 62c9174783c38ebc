"""Images and sequences as tf.data pipelines: bundled, generated, downloaded or from files."""

from keras_attention.datasets import catalog  # noqa: F401 registers the data sets
from keras_attention.datasets.flights import flight_scaling, read_flights
from keras_attention.datasets.gtsdb import CATEGORIES as GTSDB_CATEGORIES
from keras_attention.datasets.gtsdb import read_gtsdb
from keras_attention.datasets.gtsrb import read_gtsrb
from keras_attention.datasets.imagenet import read_imagenet
from keras_attention.datasets.loading import load
from keras_attention.datasets.mocap import mocap_classes, read_mocap
from keras_attention.datasets.pain_archive import read_pain_archive
from keras_attention.datasets.registry import DatasetInfo, find, list_datasets
from keras_attention.datasets.top_left import top_left

__all__ = [
    "GTSDB_CATEGORIES",
    "DatasetInfo",
    "find",
    "flight_scaling",
    "list_datasets",
    "load",
    "mocap_classes",
    "read_flights",
    "read_gtsdb",
    "read_gtsrb",
    "read_imagenet",
    "read_mocap",
    "read_pain_archive",
    "top_left",
]
