"""What `load` knows by name; importing this module registers it."""

from functools import partial

from keras_attention.datasets.adience import AGES, GENDERS, read_adience
from keras_attention.datasets.by_size import serve_picture_batches, serve_pictures
from keras_attention.datasets.clutter import (
    CLUTTERED,
    DISTRACTORS,
    TRANSLATED,
    read_cluttered,
    serve_cluttered,
)
from keras_attention.datasets.digit_rows import read_digit_forecast, read_digit_sequences
from keras_attention.datasets.digits import read_digits
from keras_attention.datasets.faces import serve_faces
from keras_attention.datasets.flights import TARGET, read_flights
from keras_attention.datasets.gtsdb import MOST_BOXES, read_gtsdb
from keras_attention.datasets.gtsrb import OTHER_SOURCE, read_gtsrb
from keras_attention.datasets.imagenet import read_imagenet
from keras_attention.datasets.in_memory import plain
from keras_attention.datasets.mit_scenes import read_mit_scenes
from keras_attention.datasets.mocap import read_mocap
from keras_attention.datasets.number_labels import LABEL_CLASSES, NO_DIGIT
from keras_attention.datasets.number_photographs import TEST_SIZE, read_number_photographs
from keras_attention.datasets.pain_archive import read_pain_archive
from keras_attention.datasets.registry import register
from keras_attention.datasets.scenes import serve_scenes
from keras_attention.datasets.streams import serve_stream
from keras_attention.datasets.svhn_numbers import CROP, SIDES, read_svhn_numbers
from keras_attention.datasets.tensorflow_sets import read_tensorflow_set
from keras_attention.datasets.tensorflow_streams import SHUFFLE_BUFFER, read_tensorflow_stream
from keras_attention.datasets.top_left import top_left
from keras_attention.datasets.uec_food import read_uec_food
from keras_attention.datasets.windows import serve_windows

# Each set of images is served as it is and by every generator of scenes.
for _name, _about, _source, _read in (
    ("digits", "1,797 handwritten digits bundled with scikit-learn", "", read_digits),
    ("mnist", "70,000 handwritten digits", "mnist", partial(read_tensorflow_set, "mnist")),
):
    _facts = {"classes": 10, "channels": 1, "source": _source, "read": _read}
    _facts["needs_network"] = bool(_source)
    register(name=_name, description=_about, size=28, generate=plain, **_facts)
    register(
        name=f"top_left_{_name}",
        description=f"{_about}: one in the top-left quadrant, three distractors",
        size=56,
        generate=top_left,
        parts_per_side=2,
        **_facts,
    )
    for _prefix, _larger, _proportions in (
        ("cluttered_translated", "a larger", TRANSLATED),
        ("cluttered", "a much larger", CLUTTERED),
    ):
        register(
            name=f"{_prefix}_{_name}",
            description=f"{_about}: one anywhere in {_larger} image, pieces of others around it",
            size=_proportions.size,
            generate=serve_cluttered,
            options={"distractors": DISTRACTORS},
            **_facts | {"read": partial(read_cluttered, _read, proportions=_proportions)},
        )

# Photographs in color, each with its own name and the label's at tensorflow-datasets.
for _name, _about, _classes, _source, _label in (
    ("svhn_cropped", "99,289 digits of houses with their neighbors", 10, "svhn_cropped", "label"),
    ("cifar10", "60,000 photographs of animals and vehicles", 10, "cifar10", "label"),
    ("cifar100", "60,000 photographs of 100 kinds of things", 100, "cifar100", "label"),
    ("cifar20", "cifar100 by its 20 groups of kinds", 20, "cifar100", "coarse_label"),
):
    register(
        name=_name,
        description=_about,
        classes=_classes,
        size=32,
        channels=3,
        needs_network=True,
        source=_source,
        read=partial(read_tensorflow_set, _source, label=_label),
        generate=plain,
    )

register(
    name="fashion_mnist",
    description="70,000 gray pictures of clothes, shoes and bags",
    classes=10,
    size=28,
    channels=1,
    needs_network=True,
    source="fashion_mnist",
    read=partial(read_tensorflow_set, "fashion_mnist"),
    generate=plain,
)
register(
    name="gtsrb",
    description="German traffic signs: the official folder, or visual_domain_decathlon/gtsrb",
    classes=43,
    size=32,
    channels=3,
    needs_network=True,
    source=OTHER_SOURCE,
    folder="gtsrb",
    options={"crop": True},
    read=read_gtsrb,
    generate=plain,
)
register(
    name="gtsdb",
    description="900 street scenes with German traffic signs in boxes: the official folder",
    classes=43,
    size=512,
    channels=3,
    needs_files=True,
    folder="gtsdb",
    detection=True,
    keeps=False,
    options={"keep_aspect_ratio": True, "max_boxes": MOST_BOXES, "superclasses": False},
    read=read_gtsdb,
    generate=serve_scenes,
)
register(
    name="number_photographs",
    description="Numbers of 1 to 5 bundled digits painted on photographs, in the form of SVHN",
    classes=NO_DIGIT + 1,
    size=None,
    sides={"train": CROP, "test": (None, None)},
    channels=1,
    label_classes=LABEL_CLASSES,
    keeps=False,
    options={"test_size": TEST_SIZE, "whole": None, "sizes": "mixed", "batching": "bucketed"},
    read=read_number_photographs,
    generate=serve_pictures,
    generate_batches=serve_picture_batches,
)
register(
    name="svhn_numbers",
    description="248,823 photographs of houses' numbers of 1 to 5 digits: the folders of SVHN",
    classes=NO_DIGIT + 1,
    size=None,
    sides={"train": CROP, "test": (None, None)},
    channels=1,
    needs_files=True,
    folder="svhn_numbers",
    label_classes=LABEL_CLASSES,
    keeps=False,
    options={
        "extra": True,
        "sides": SIDES,
        "crop": CROP,
        "whole": None,
        "smallest": None,
        "largest": None,
        "validation": 0,
        "batching": "bucketed",
    },
    read=read_svhn_numbers,
    generate=serve_pictures,
    generate_batches=serve_picture_batches,
)
register(
    name="pain_archive",
    description="48,398 faces in pain of 0 to 16, warped to one shape: UNBC-McMaster Pain Archive",
    classes=1,
    size=48,
    channels=3,
    needs_files=True,
    folder="pain_archive",
    label_dtype="float32",
    options={"landmark_noise": 0.01, "test_subjects": None},
    read=read_pain_archive,
    generate=serve_faces,
)
register(
    name="imagenet2012",
    description="1,331,167 photographs of 1,000 kinds of things, read from disk in every pass",
    classes=1000,
    size=224,
    channels=3,
    needs_files=True,
    source="imagenet2012",
    options={"shuffle_buffer": 10_000},
    read=read_imagenet,
    generate=serve_stream,
    keeps=False,
)

# Kinds that look alike, read from disk in every pass.
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
        name=_name,
        description=_about,
        classes=_classes,
        size=224,
        channels=3,
        needs_network=True,
        source=_name,
        options={"shuffle_buffer": SHUFFLE_BUFFER} | _options,
        read=partial(read_tensorflow_stream, _name),
        generate=serve_stream,
        keeps=False,
    )
for _name, _about, _classes in (
    ("age", "19,370 faces of 8 groups of ages: the folder of Adience", len(AGES)),
    ("gender", "19,370 faces of women and men: the folder of Adience", len(GENDERS)),
):
    register(
        name=f"adience_{_name}",
        description=_about,
        classes=_classes,
        size=224,
        channels=3,
        needs_files=True,
        folder="adience",
        options={"fold": 0, "aligned": True},
        read=partial(read_adience, _name),
        generate=serve_stream,
        keeps=False,
    )
register(
    name="uec_food100",
    description="100 Japanese dishes, cut out by their boxes: the folder of UEC Food 100",
    classes=100,
    size=224,
    channels=3,
    needs_files=True,
    folder="uec_food100",
    options={"test_share": 0.2},
    read=read_uec_food,
    generate=serve_stream,
    keeps=False,
)
register(
    name="mit_scenes",
    description="6,700 photographs of 67 kinds of rooms: the folder of MIT's Indoor Scenes",
    classes=67,
    size=224,
    channels=3,
    needs_files=True,
    folder="mit_scenes",
    read=read_mit_scenes,
    generate=serve_stream,
    keeps=False,
)

register(
    name="digit_sequences",
    description="The bundled digits row by row: which digit is it?",
    classes=10,
    size=28,
    channels=28,
    kind="sequences",
    read=read_digit_sequences,
    generate=plain,
)
register(
    name="digit_forecast",
    description="Some rows of the bundled digits at 8x8: what is in the next row?",
    classes=8,
    size=4,
    channels=8,
    kind="sequences",
    label_dtype="float32",
    read=read_digit_forecast,
    generate=plain,
)
register(
    name="mocap",
    description="Human motion of 8 classes by 62 sensors: CMU's database, .amc or CSV files",
    classes=8,
    size=128,
    channels=62,
    kind="sequences",
    needs_files=True,
    folder="mocap",
    options={"fit": "resample", "test_share": 0.2, "classes": 8, "sensors": 62},
    read=read_mocap,
    generate=plain,
)
register(
    name="flights",
    description="Flights second by second, to forecast their fuel flow: NASA DASHlink, CSV files",
    classes=1,
    size=60,
    channels=None,
    kind="sequences",
    needs_files=True,
    folder="flights",
    label_dtype="float32",
    options={"target": TARGET, "columns": None, "horizon": 1, "test_share": 0.2},
    read=read_flights,
    generate=serve_windows,
    keeps=False,
)
