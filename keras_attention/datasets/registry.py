"""The data sets by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import tensorflow as tf

from keras_attention.datasets.adience import AGES, GENDERS, read_adience
from keras_attention.datasets.digits import read_digit_forecast, read_digit_sequences, read_digits
from keras_attention.datasets.flights import TARGET, read_flights
from keras_attention.datasets.generators import (
    CLUTTERED,
    DISTRACTORS,
    TRANSLATED,
    read_cluttered,
    serve_cluttered,
    top_left,
)
from keras_attention.datasets.gtsdb import MAX_BOXES, read_gtsdb, serve_scenes
from keras_attention.datasets.gtsrb import OTHER_SOURCE, read_gtsrb
from keras_attention.datasets.mit_scenes import read_mit_scenes
from keras_attention.datasets.mocap import read_mocap
from keras_attention.datasets.number_photographs import TEST_SIZE, read_number_photographs
from keras_attention.datasets.pain_archive import read_pain_archive, serve_faces
from keras_attention.datasets.pipelines import (
    serve_arrays,
    serve_image_batches,
    serve_images,
    serve_stream,
)
from keras_attention.datasets.sequences import serve_windows
from keras_attention.datasets.svhn import CROP, LABEL_CLASSES, NO_DIGIT, SIDES, read_svhn_numbers
from keras_attention.datasets.tensorflow_sets import (
    SHUFFLE_BUFFER,
    read_imagenet,
    read_tensorflow_set,
    read_tensorflow_stream,
)
from keras_attention.datasets.uec_food import read_uec_food
from keras_attention.utils.validation import did_you_mean

# Return value of `read` and arguments of `generate`: all images of a split (or the images that they
# are generated from) and all labels, or one object that reads both from disk.
Parts = tuple[Any, ...]


@dataclass(frozen=True)
class DatasetInfo:
    """Description of a data set, available before it is loaded.

    Attributes:
        name: Name for `load`.
        description: Description in one line.
        classes: Number of classes; for regression, number of targets per example.
        size: Default side of the square images in pixels, or default number of time steps of the
            sequences. None if images are not square; see `sides`.
        channels: Default number of channels of an image or features of a sequence. None if it
            depends on the files.
        kind: `"images"`, or `"sequences"` of shape `(steps, features)`.
        needs_network: If True, the data set is downloaded on first use.
        needs_files: If True, `load` needs a folder that the user has obtained from the owners.
        label_dtype: Data type of the labels. A float type means regression.
        detection: If True, an image has several boxes with a label each, instead of one label.
        label_classes: For examples with several class labels, such as the digits of a number: the
            number of classes of each label.
        sides: If `size` is None: default height and width of an image for each split, None for
            images of different sizes.
        source: Name at tensorflow-datasets, if the data set is prepared by it.
        folder: Name from which the environment variable with the data set's folder is derived.
        options: Options that `load` accepts for this data set, with their defaults.
    """

    name: str
    description: str
    classes: int
    size: int | None
    channels: int | None
    kind: str = "images"
    needs_network: bool = False
    needs_files: bool = False
    label_dtype: str = "int64"
    detection: bool = False
    label_classes: tuple[int, ...] = ()
    sides: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict, hash=False)
    source: str = ""
    folder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    read: Callable[..., Parts] = field(repr=False, kw_only=True)
    generate: Callable[..., tf.data.Dataset] = field(repr=False, kw_only=True)
    generate_batches: Callable[..., tf.data.Dataset] | None = field(default=None, repr=False)
    tiles_per_side: int = field(default=1, repr=False)
    cacheable: bool = field(default=True, repr=False)

    @property
    def example_shape(self) -> tuple[int | None, ...]:
        """Default shape of an example: `(H, W, channels)` or `(steps, features)`.

        If the splits differ, it is that of the training split; see `shape_of`.
        """
        return self.shape_of("train")

    def shape_of(self, split: str) -> tuple[int | None, ...]:
        """Returns the shape of an example of a split; None for dimensions that vary."""
        if self.size is None:
            return (*self.sides[split], self.channels)
        return (self.size,) * (2 if self.kind == "images" else 1) + (self.channels,)

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """Default shape `(H, W, channels)` of an image.

        Raises:
            ValueError: If the data set has sequences; use `example_shape` for these.
        """
        if self.kind == "images":
            return self.example_shape
        raise ValueError(
            f"`image_shape` is for images; use `example_shape`. Received: kind={self.kind!r}"
        )

    @property
    def regression(self) -> bool:
        """True if the labels are real numbers instead of classes."""
        return self.label_dtype.startswith("float")

    @property
    def single_label(self) -> bool:
        """True if an example has exactly one class label: no regression and no boxes."""
        return not (self.regression or self.detection or self.label_classes)


_DATASETS: dict[str, DatasetInfo] = {}


def register(name: str, description: str, classes: int, **facts: Any) -> None:
    """Registers a data set; the arguments are those of `DatasetInfo`.

    `read(split, size=, train_size=, **options)` returns the contents of a split, such as all images
    and all labels. It also accepts `data_dir` if the data set is downloaded or read from a folder,
    and no `size` if `DatasetInfo.size` is None. `generate(*parts, seed=, shuffle=, augment=)`
    builds the pipeline from the result. `generate_batches` also accepts `batch_size` and builds a
    pipeline of batches, for images of different sizes that cannot be stacked. `tiles_per_side` is
    the number of images returned by `read` along a side of an image from `generate`. If
    `cacheable`, `load` caches examples that are equal in every epoch.
    """
    _DATASETS[name] = DatasetInfo(name, description, classes, **facts)


def _register_folder(name: str, description: str, classes: int, **facts: Any) -> None:
    """Registers a data set that is read from the folder that its owners publish."""
    register(name, description, classes, **{"needs_files": True, "folder": name} | facts)


def list_datasets() -> dict[str, DatasetInfo]:
    """Lists all data sets: a dictionary from names to `DatasetInfo`.

    Example:
    >>> list_datasets()["digits"].needs_network
    False
    >>> list_datasets()["mnist"].needs_network
    True
    >>> [name for name, info in list_datasets().items() if info.needs_files]
    ['adience_age', 'adience_gender', 'flights', 'gtsdb', 'imagenet2012', 'mit_scenes', 'mocap',
     'pain_archive', 'svhn_numbers', 'uec_food100']
    """
    return dict(sorted(_DATASETS.items()))


def find(name: str) -> DatasetInfo:
    """Finds a data set by name.

    Raises:
        ValueError: If the name is unknown. The message suggests the closest name.

    Example:
    >>> find("top_left_digits").image_shape
    (56, 56, 1)
    >>> find("mocap").example_shape
    (128, 62)
    """
    if isinstance(name, str) and name in _DATASETS:
        return _DATASETS[name]
    raise ValueError(
        f"`name` must be one of {', '.join(sorted(_DATASETS))}. Received: name={name!r}."
        + did_you_mean(name, _DATASETS)
    )


# Each set of digits is registered as it is and with every generator.
for _name, _about, _source, _read in (
    ("digits", "1,797 handwritten digits bundled with scikit-learn", "", read_digits),
    ("mnist", "70,000 handwritten digits", "mnist", partial(read_tensorflow_set, "mnist")),
):
    _facts = {"channels": 1, "source": _source, "needs_network": bool(_source), "read": _read}
    register(_name, _about, 10, size=28, generate=serve_arrays, **_facts)
    register(
        f"top_left_{_name}",
        f"{_about}: one digit in the top-left quadrant, three distractors",
        10,
        size=56,
        generate=top_left,
        tiles_per_side=2,
        **_facts,
    )
    for _prefix, _larger, _proportions in (
        ("cluttered_translated", "a larger", TRANSLATED),
        ("cluttered", "a much larger", CLUTTERED),
    ):
        register(
            f"{_prefix}_{_name}",
            f"{_about}: one digit in {_larger} image, with patches of other digits",
            10,
            size=_proportions.size,
            generate=serve_cluttered,
            options={"distractors": DISTRACTORS},
            **_facts | {"read": partial(read_cluttered, _read, proportions=_proportions)},
        )


def _register_in_memory(
    name: str,
    description: str,
    classes: int = 10,
    source: str = "",
    label: str = "label",
    size: int = 32,
    channels: int = 3,
) -> None:
    """Registers a set of small images; `source` and `label` are names at tensorflow-datasets."""
    register(
        name,
        description,
        classes,
        size=size,
        channels=channels,
        needs_network=True,
        source=source or name,
        read=partial(read_tensorflow_set, source or name, label=label),
        generate=serve_arrays,
    )


_register_in_memory("svhn_cropped", "99,289 house-number digits with parts of their neighbors")
_register_in_memory("cifar10", "60,000 photographs of animals and vehicles")
_register_in_memory("cifar100", "60,000 photographs of 100 classes", 100)
_register_in_memory("cifar20", "cifar100 with its 20 superclasses", 20, "cifar100", "coarse_label")
_register_in_memory(
    "fashion_mnist", "70,000 gray images of clothes, shoes and bags", size=28, channels=1
)
register(
    "gtsrb",
    "German traffic signs: the official folder, or visual_domain_decathlon/gtsrb",
    43,
    size=32,
    channels=3,
    needs_network=True,
    source=OTHER_SOURCE,
    folder="gtsrb",
    options={"crop": True},
    read=read_gtsrb,
    generate=serve_arrays,
)
_register_folder(
    "gtsdb",
    "900 street scenes with boxes of German traffic signs: the official folder",
    43,
    size=512,
    channels=3,
    detection=True,
    cacheable=False,
    options={"keep_aspect_ratio": True, "max_boxes": MAX_BOXES, "superclasses": False},
    read=read_gtsdb,
    generate=serve_scenes,
)
_NUMBERS: dict[str, Any] = {
    "size": None,
    "sides": {"train": CROP, "test": (None, None)},
    "channels": 1,
    "label_classes": LABEL_CLASSES,
    "cacheable": False,
    "generate": serve_images,
    "generate_batches": serve_image_batches,
}
register(
    "number_photographs",
    "Numbers of 1 to 5 bundled digits painted on photographs, in the form of SVHN",
    NO_DIGIT + 1,
    options={"test_size": TEST_SIZE, "whole": None, "sizes": "mixed", "batching": "bucketed"},
    read=read_number_photographs,
    **_NUMBERS,
)
_register_folder(
    "svhn_numbers",
    "248,823 photographs of house numbers with 1 to 5 digits: the folders of SVHN",
    NO_DIGIT + 1,
    options={"extra": True, "sides": SIDES, "crop": CROP, "whole": None, "smallest": None}
    | {"largest": None, "validation": 0, "batching": "bucketed"},
    read=read_svhn_numbers,
    **_NUMBERS,
)
_register_folder(
    "pain_archive",
    "48,398 aligned faces with pain scores of 0 to 16: UNBC-McMaster Pain Archive",
    1,
    size=48,
    channels=3,
    label_dtype="float32",
    options={"landmark_noise": 0.01, "test_subjects": None},
    read=read_pain_archive,
    generate=serve_faces,
)
# Photographs that are read from disk in every epoch: prepared by tensorflow-datasets, or folders.
_PHOTOS: dict[str, Any] = {"size": 224, "channels": 3, "generate": serve_stream, "cacheable": False}
register(
    "imagenet2012",
    "1,331,167 photographs of 1,000 classes, read from disk in every epoch",
    1000,
    needs_files=True,
    source="imagenet2012",
    options={"shuffle_buffer": 10_000},
    read=read_imagenet,
    **_PHOTOS,
)
for _name, _about, _classes, _options in (
    ("stanford_dogs", "20,580 photographs of 120 breeds of dogs", 120, {}),
    ("cars196", "16,185 photographs of 196 models of cars", 196, {}),
    (
        "caltech_birds2011",
        "11,788 photographs of 200 species of birds, whole or by their boxes",
        200,
        {"crop": False},
    ),
):
    register(
        _name,
        _about,
        _classes,
        needs_network=True,
        source=_name,
        options={"shuffle_buffer": SHUFFLE_BUFFER} | _options,
        read=partial(read_tensorflow_stream, _name),
        **_PHOTOS,
    )
for _name, _about, _classes in (
    ("age", "19,370 faces of 8 groups of ages: the folder of Adience", len(AGES)),
    ("gender", "19,370 faces of women and men: the folder of Adience", len(GENDERS)),
):
    _register_folder(
        f"adience_{_name}",
        _about,
        _classes,
        folder="adience",
        options={"fold": 0, "aligned": True},
        read=partial(read_adience, _name),
        **_PHOTOS,
    )
_register_folder(
    "uec_food100",
    "100 Japanese dishes, cropped to their boxes: the folder of UEC Food 100",
    100,
    options={"test_share": 0.2},
    read=read_uec_food,
    **_PHOTOS,
)
_register_folder(
    "mit_scenes",
    "6,700 photographs of 67 kinds of rooms: the folder of MIT's Indoor Scenes",
    67,
    read=read_mit_scenes,
    **_PHOTOS,
)
register(
    "digit_sequences",
    "Classification of the bundled digits, read row by row",
    10,
    size=28,
    channels=28,
    kind="sequences",
    read=read_digit_sequences,
    generate=serve_arrays,
)
register(
    "digit_forecast",
    "Forecast of the next row of the bundled digits at 8x8",
    8,
    size=4,
    channels=8,
    kind="sequences",
    label_dtype="float32",
    read=read_digit_forecast,
    generate=serve_arrays,
)
_register_folder(
    "mocap",
    "Human motion of 8 classes by 62 sensors: CMU's database, .amc or CSV files",
    8,
    size=128,
    channels=62,
    kind="sequences",
    options={"fit": "resample", "test_share": 0.2, "classes": 8, "sensors": 62},
    read=read_mocap,
    generate=serve_arrays,
)
_register_folder(
    "flights",
    "Flights second by second, to forecast their fuel flow: NASA DASHlink, CSV files",
    1,
    size=60,
    channels=None,
    kind="sequences",
    label_dtype="float32",
    options={"target": TARGET, "columns": None, "horizon": 1, "test_share": 0.2},
    read=read_flights,
    generate=serve_windows,
    cacheable=False,
)
