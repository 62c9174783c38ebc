import fine_tuning
import keras
import numpy as np
import pytest

import keras_attention as ka

SMALL = ["--data", "digits", "--weights", "none", "--side", "32", "--train-size", "20"]
SHORT = ["--test-size", "20", "--epochs", "1", "1"]


def small_backbone(weights, side):
    inputs = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same", activation="relu")(inputs)
    residual = keras.layers.Conv2D(4, 3, padding="same")(x)
    return keras.Model(inputs, keras.layers.Add()([x, residual]))


@pytest.mark.parametrize(
    ("attention", "backbone"),
    [
        ("cbam", small_backbone),
        ("none", small_backbone),
        pytest.param("san-c", fine_tuning.load_backbone, marks=pytest.mark.slow),
    ],
)
def test_trains_in_two_stages(attention, backbone, tmp_path, capsys, monkeypatch):
    exported = []
    monkeypatch.setattr(fine_tuning, "load_backbone", backbone)
    monkeypatch.setattr(ka.export, "export_saved_model", lambda *args, **_: exported.append(args))
    arguments = ["--attention", attention, "--output", str(tmp_path)]
    assert fine_tuning.main([*SMALL, *SHORT, *arguments]) == 0
    printed = capsys.readouterr().out
    assert "changes the features by 0.0e+00" in printed
    assert "new layers: 1 epochs of 20 images" in printed
    assert "all layers: 1 epochs of 20 images" in printed
    model = keras.saving.load_model(tmp_path / "model.keras")
    image = np.zeros((1, *model.input_shape[1:]))
    np.testing.assert_allclose(exported[0][0].predict(image), model.predict(image), atol=1e-6)


def test_other_data_sets_are_refused(tmp_path, capsys):
    arguments = ["--data", "digit_sequences", "--output", str(tmp_path)]
    assert fine_tuning.main(arguments) == 2
    assert "must have images with one class each" in capsys.readouterr().err


def test_images_of_the_network(rng):
    images = rng.uniform(size=(2, 8, 8, 1)).astype("float32")
    expected = np.repeat(keras.ops.image.resize(2 * images - 1, (32, 32)), 3, axis=-1)
    np.testing.assert_allclose(fine_tuning.network_images(images, 32), expected, atol=1e-6)
