"""What `load` knows by name; importing this module registers it."""

from functools import partial

from keras_attention.datasets.digits import read_digits
from keras_attention.datasets.faces import serve_faces
from keras_attention.datasets.gtsdb import MOST_BOXES, read_gtsdb
from keras_attention.datasets.gtsrb import read_gtsrb
from keras_attention.datasets.in_memory import plain
from keras_attention.datasets.pain_archive import read_pain_archive
from keras_attention.datasets.registry import register
from keras_attention.datasets.scenes import serve_scenes
from keras_attention.datasets.tensorflow_sets import read_tensorflow_set
from keras_attention.datasets.top_left import top_left

# Each set of images is served as it is and by every generator of scenes.
for _name, _about, _needs_network, _read in (
    ("digits", "1,797 handwritten digits bundled with scikit-learn", False, read_digits),
    ("mnist", "70,000 handwritten digits", True, partial(read_tensorflow_set, "mnist")),
):
    _facts = {"classes": 10, "channels": 1, "needs_network": _needs_network, "read": _read}
    register(name=_name, description=_about, size=28, generate=plain, **_facts)
    register(
        name=f"top_left_{_name}",
        description=f"{_about}: one in the top-left quadrant, three distractors",
        size=56,
        generate=top_left,
        parts_per_side=2,
        **_facts,
    )

register(
    name="svhn_cropped",
    description="99,289 digits of house numbers with their neighbors",
    classes=10,
    size=32,
    channels=3,
    needs_network=True,
    read=partial(read_tensorflow_set, "svhn_cropped"),
    generate=plain,
)
register(
    name="gtsrb",
    description="German traffic signs: the official folder, or visual_domain_decathlon/gtsrb",
    classes=43,
    size=32,
    channels=3,
    needs_network=True,
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
    detection=True,
    streamed=True,
    options={"keep_aspect_ratio": True, "max_boxes": MOST_BOXES, "superclasses": False},
    read=read_gtsdb,
    generate=serve_scenes,
)
register(
    name="pain_archive",
    description="48,398 faces in pain of 0 to 16, warped to one shape: UNBC-McMaster Pain Archive",
    classes=1,
    size=48,
    channels=3,
    needs_files=True,
    label_dtype="float32",
    options={"landmark_noise": 0.01, "test_subjects": None},
    read=read_pain_archive,
    generate=serve_faces,
)
