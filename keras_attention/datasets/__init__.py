"""Images and sequences as tf.data pipelines: bundled, generated, downloaded or from files."""

from keras_attention.datasets.adience import read_adience
from keras_attention.datasets.augmentation import cifar_augmentation, crop_and_flip
from keras_attention.datasets.flights import flight_scaling, read_flights
from keras_attention.datasets.generators import (
    cluttered,
    cluttered_translated,
    read_cluttered,
    top_left,
)
from keras_attention.datasets.gtsdb import CATEGORIES as GTSDB_CATEGORIES
from keras_attention.datasets.gtsdb import read_gtsdb
from keras_attention.datasets.gtsrb import read_gtsrb
from keras_attention.datasets.loader import find_local, how_to_obtain, load
from keras_attention.datasets.mit_scenes import read_mit_scenes
from keras_attention.datasets.mocap import mocap_classes, read_mocap
from keras_attention.datasets.number_photographs import read_number_photographs
from keras_attention.datasets.pain_archive import read_pain_archive
from keras_attention.datasets.registry import DatasetInfo, find, list_datasets
from keras_attention.datasets.svhn import read_svhn_numbers
from keras_attention.datasets.tensorflow_sets import read_imagenet, read_tensorflow_stream
from keras_attention.datasets.uec_food import read_uec_food

__all__ = [
    "GTSDB_CATEGORIES",
    "DatasetInfo",
    "cifar_augmentation",
    "cluttered",
    "cluttered_translated",
    "crop_and_flip",
    "find",
    "find_local",
    "flight_scaling",
    "how_to_obtain",
    "list_datasets",
    "load",
    "mocap_classes",
    "read_adience",
    "read_cluttered",
    "read_flights",
    "read_gtsdb",
    "read_gtsrb",
    "read_imagenet",
    "read_mit_scenes",
    "read_mocap",
    "read_number_photographs",
    "read_pain_archive",
    "read_svhn_numbers",
    "read_tensorflow_stream",
    "read_uec_food",
    "top_left",
]
