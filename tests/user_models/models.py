"""Networks of keras.applications, and models as users build them, with random weights."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

L = keras.layers
CLASSES, IMAGE = 4, (16, 16, 3)
SIDES = {"InceptionV3": 75, "Xception": 71}
# Networks of keras.applications, and a layer behind their first stages, with all kinds of blocks.
FAMILIES = {
    "ResNet50": "conv3_block2_out",
    "ResNet50V2": "conv3_block2_out",
    "VGG16": "block3_pool",
    "MobileNetV2": "block_4_add",
    "MobileNetV3Small": "expanded_conv_4_add",
    "EfficientNetB0": "block3b_add",
    "EfficientNetV2B0": "block4b_add",
    "DenseNet121": "conv3_block2_concat",
    "InceptionV3": "mixed3",
    "Xception": "block5_sepconv1_act",
    "NASNetMobile": "normal_concat_1",
    "ConvNeXtTiny": "convnext_tiny_stage_1_block_1_depthwise_conv",
}


@dataclass(frozen=True)
class UserModel:
    """A row of the matrix, with inputs from `[0, largest)`.

    If `last` names a layer, `small` returns the network up to this layer with a classifier.
    """

    name: str
    make: Callable[[], keras.Model]
    largest: float = 1.0
    last: str = ""

    def small(self) -> keras.Model:
        """The first stages of the model; small models as they are."""
        model = self.make()
        if not self.last:
            return model
        return keras.Model(model.inputs, top(model.get_layer(self.last).output), name=model.name)

    def data(self, model: keras.Model, count: int = 2):
        """Inputs and labels of a batch."""
        rng = np.random.default_rng(0)
        shapes = [tensor.shape[1:] for tensor in getattr(model, "inputs", None) or ()] or [IMAGE]
        inputs = [
            rng.uniform(0, self.largest, (count, *shape)).astype("float32") for shape in shapes
        ]
        inputs = inputs if len(inputs) > 1 else inputs[0]
        labels = rng.integers(CLASSES, size=model(inputs, training=False).shape[:-1])
        return inputs, labels


def user_models() -> dict[str, UserModel]:
    """All rows of the matrix by name."""
    rows = [
        UserModel(name, lambda name=name: family(name), 255.0, last)
        for name, last in FAMILIES.items()
    ]
    rows += [
        UserModel("operations and Rescaling inside", operations, 255.0),
        UserModel("augmentation inside", augmentation),
        UserModel("nested three deep", nested),
        UserModel("shared layers with two inputs", siamese),
        UserModel("U-Net", u_net),
        UserModel("subclassed", subclassed),
    ]
    return {row.name: row for row in rows}


def family(name: str) -> keras.Model:
    """A network of keras.applications; its batch normalization layers have statistics."""
    side = SIDES.get(name, 64)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3), classes=CLASSES
    )
    for layer in model.layers:
        if isinstance(layer, L.Normalization) and layer.weights:  # of EfficientNetB0
            layer.set_weights([np.full(3, 0.5), np.full(3, 0.25), np.array(1)])
            layer.finalize_state()
    _set_statistics(model)
    return model


def _set_statistics(model: keras.Model) -> None:
    """Sets the statistics of batch normalization layers to those of random images."""
    norms = [layer for layer in model.layers if isinstance(layer, L.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    images = np.random.default_rng(1).uniform(0, 255, (16, *model.input_shape[1:]))
    model(images.astype("float32"), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def block(x, filters: int, name: str | None = None):
    """Convolution, batch normalization and ReLU."""
    x = L.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return L.ReLU()(L.BatchNormalization()(x))


def top(x):
    """Global average pooling and a softmax classifier."""
    return L.Dense(CLASSES, activation="softmax")(L.GlobalAveragePooling2D()(x))


def operations() -> keras.Model:
    """Python operators, slices, keras.ops and an adapted Normalization in the graph."""
    inputs = keras.Input(IMAGE)
    normalization = L.Normalization()
    normalization.adapt(np.random.default_rng(1).uniform(0, 1, (8, 16, 16, 3)))
    x = normalization(L.Rescaling(1 / 255)(inputs)[..., ::-1])
    x = block(keras.ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 8) / 2.0
    x = L.MaxPooling2D()(x + keras.ops.sigmoid(x))
    x = keras.ops.concatenate([block(x, 8), -x], axis=-1)
    return keras.Model(inputs, top(L.MaxPooling2D()(block(x, 16))), name="operations")


def augmentation() -> keras.Model:
    """Layers that only act in training."""
    inputs = keras.Input(IMAGE)
    x = L.RandomTranslation(0.2, 0.2)(L.RandomFlip()(inputs))
    x = L.SpatialDropout2D(0.2)(L.MaxPooling2D()(block(L.GaussianNoise(0.1)(x), 8)))
    return keras.Model(inputs, top(L.MaxPooling2D()(block(x, 16))), name="augmentation")


def nested() -> keras.Model:
    """A model in a model in a Sequential model."""
    inputs = keras.Input((8, 8, 8))
    deepest = keras.Model(inputs, L.MaxPooling2D()(block(inputs, 8)), name="deepest")
    inputs = keras.Input((16, 16, 8))
    middle = keras.Model(inputs, deepest(L.MaxPooling2D()(block(inputs, 8))), name="middle")
    layers = [keras.Input(IMAGE), L.Conv2D(8, 3, padding="same"), middle]
    layers += [L.GlobalAveragePooling2D(), L.Dense(CLASSES, activation="softmax")]
    return keras.Sequential(layers, name="outer")


def siamese() -> keras.Model:
    """One encoder for two images."""
    image = keras.Input(IMAGE)
    x = L.MaxPooling2D()(block(L.MaxPooling2D()(block(image, 8)), 16))
    encoder = keras.Model(image, L.GlobalAveragePooling2D()(x), name="encoder")
    inputs = [keras.Input(IMAGE, name="one"), keras.Input(IMAGE, name="two")]
    one, two = map(encoder, inputs)
    x = L.Concatenate()([one, two, keras.ops.abs(one - two)])
    return keras.Model(inputs, L.Dense(CLASSES, activation="softmax")(x), name="siamese")


def u_net() -> keras.Model:
    """An encoder and a decoder with skips, and a class for each pixel."""
    inputs = keras.Input(IMAGE)
    skips, x = [], inputs
    for filters in (8, 16):
        x = block(x, filters)
        skips.append(x)
        x = L.MaxPooling2D()(x)
    x = block(x, 16)
    for skip in reversed(skips):
        x = L.Conv2DTranspose(skip.shape[-1], 2, strides=2)(x)
        x = block(L.Concatenate()([x, skip]), skip.shape[-1])
    return keras.Model(inputs, L.Conv2D(CLASSES, 1, activation="softmax")(x), name="u_net")


@keras.saving.register_keras_serializable("user_models")
class SubclassedNetwork(keras.Model):
    """A model whose graph is found by calling it on Keras tensors."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = (L.Conv2D(n, 3, padding="same") for n in (8, 16))
        self.pool, self.mean = L.MaxPooling2D(), L.GlobalAveragePooling2D()
        self.top = L.Dense(CLASSES, activation="softmax")

    def call(self, inputs):
        """Two convolutions, each pooled, and a classifier."""
        x = self.pool(keras.ops.relu(self.first(inputs)))
        return self.top(self.mean(self.pool(keras.ops.relu(self.second(x)))))


def subclassed() -> keras.Model:
    """A built subclassed model."""
    model = SubclassedNetwork()
    model(np.zeros((1, *IMAGE), "float32"))
    return model
