import keras
import numpy as np
import pytest

import keras_attention as ka

L = keras.layers


def network(top=True):
    inputs = keras.Input((8, 8, 3))
    inner_inputs = keras.Input((8, 8, 4))
    inner = L.BatchNormalization(name="norm")(
        L.Conv2D(4, 3, padding="same", name="deep")(inner_inputs)
    )
    inner = keras.Model(inner_inputs, L.MaxPooling2D()(inner), name="inner")
    x = inner(L.Conv2D(4, 3, padding="same", name="first")(inputs))
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(3, activation="softmax", name="top")(x) if top else x)


def trainable(model):
    return sorted({weight.path.split("/")[-2] for weight in model.trainable_weights})


def test_attention_and_classifier_train(rng, tmp_path):
    model = ka.surgery.add_attention(network(), "cbam", "full", identity=True)
    assert ka.surgery.freeze_backbone(model) is model
    names = trainable(model)
    assert "top" in names
    assert not {"first", "deep", "norm"} & set(names)
    assert sum("rezero" in name for name in names) == 2
    frozen = {name: model.get_layer(name).get_weights() for name in ("first",)}
    model.compile("adam", "sparse_categorical_crossentropy")
    x = rng.uniform(size=(6, 8, 8, 3)).astype("float32")
    model.fit(x, np.arange(6) % 3, epochs=2, verbose=0)
    for weight, old in zip(model.get_layer("first").get_weights(), frozen["first"], strict=True):
        np.testing.assert_array_equal(weight, old)
    model.save(tmp_path / "frozen.keras")
    assert trainable(keras.saving.load_model(tmp_path / "frozen.keras")) == names
    ka.surgery.freeze_backbone(model, frozen=False)
    assert {"first", "deep"} <= set(trainable(model))


def test_windows_train_and_kernels_do_not(rng, tmp_path):
    model = ka.surgery.freeze_backbone(ka.surgery.to_targeted(network(), identity=True))
    names = {
        weight.name
        for layer in model._flatten_layers()
        for weight in layer.trainable_weights
        if isinstance(layer, ka.layers.TargetLayer)
    }
    assert names == {"center", "scale", "share"}
    model.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    paths = [weight.path for weight in model.trainable_weights]
    assert [weight.path for weight in loaded.trainable_weights] == paths
    layer = loaded.get_layer("first")
    layer.train_kernel, layer.train_window = True, False
    assert [weight.name for weight in layer.trainable_weights] == ["kernel", "bias"]


def test_rectified_models_train_their_heads():
    model = ka.surgery.add_attend_rectify(network(), ["first"], 3)
    ka.surgery.freeze_backbone(model)
    assert all("rectify" in weight.path for weight in model.trainable_weights)
    assert model.get_layer("rectify_logits").trainable


def test_nothing_to_train():
    with pytest.raises(ValueError, match="must contain attention layers or a classifier"):
        ka.surgery.freeze_backbone(network(top=False))
    with pytest.raises(ValueError, match="functional or sequential"):
        ka.surgery.freeze_backbone("model")
