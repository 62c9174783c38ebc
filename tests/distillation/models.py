"""Small student and teacher models, and options of the distiller."""

import keras

import keras_attention as ka
from tests.harness import EAGERLY

GradientAttention = ka.training.GradientAttention
layers = keras.layers
PAIRS = ["first", ("second", "deep")]
TASK = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(channels, name, seed=0, side=8, activation=None, normalized=True, **options):
    """Returns a CNN with maps of 8x8 and 4x4 pixels, named as in PAIRS."""
    keras.utils.set_random_seed(seed)
    is_last = keras.config.image_data_format() == "channels_last"
    images = keras.Input((side, side, 2) if is_last else (2, side, side))
    x = layers.Conv2D(channels, 3, padding="same", name="first", **options)(images)
    if normalized:
        x = layers.BatchNormalization(-1 if is_last else 1, name="norm", momentum=0.5)(x)
    x = layers.AveragePooling2D(2)(layers.Activation("tanh")(x))
    x = layers.Conv2D(channels, 3, padding="same", name=name)(x)
    x = layers.GlobalAveragePooling2D()(layers.Activation("tanh")(x))
    return keras.Model(images, layers.Dense(3, activation=activation, name="top")(x))


def student_of(**options):
    return network(3, "second", **options)


def teacher_of(**options):
    return network(5, "deep", seed=1, **options)


def batch(rng, count=8):
    return rng.normal(size=(count, 8, 8, 2)).astype("float32"), rng.integers(0, 3, count)


def ready(distiller, rate=0.1, loss=TASK, **options):
    options = {"jit_compile": False, "run_eagerly": EAGERLY, **options}
    distiller.compile(keras.optimizers.SGD(rate), loss, **options)
    return distiller


SEVERAL = {"pairs": PAIRS, "alpha": 0.9, "hints": ["first"], "gradient": "min_l2"}
KINDS = {
    "attention": {"pairs": PAIRS},
    "distillation": {"alpha": 0.5},
    "hints": {"hints": PAIRS},
    "transfer": {"gradient": "transfer"},
    "symmetry": {"gradient": "symmetry"},
    "min_l2": {"gradient": "min_l2"},
    "all": {
        "pairs": PAIRS,
        "alpha": 0.9,
        "hints": ["first"],
        "gradient": ["transfer", GradientAttention("symmetry", 0.1, "norm"), "min_l2"],
    },
    "at a layer": {
        "pairs": PAIRS,
        "gradient": [
            GradientAttention("symmetry", layer="second"),
            GradientAttention("min_l2", layer="second"),
        ],
    },
}
