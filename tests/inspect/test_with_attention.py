"""Models that return their attention maps beside their predictions."""

import keras
import numpy as np
import pytest

import keras_attention as ka

L = keras.layers


def numbers(outputs):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def check(model, images, names):
    """Compares the predictions with the model's, and checks names and precision of the maps."""
    attending = ka.inspect.with_attention(model)
    outputs = numbers(attending(images))
    assert list(attending.output) == names
    np.testing.assert_array_equal(outputs["predictions"], numbers(model(images)))
    assert {str(outputs[name].dtype) for name in names[1:]} == {"float32"}
    assert [weight.path for weight in attending.weights] == [
        weight.path for weight in model.weights
    ]
    assert all(a is b for a, b in zip(attending.weights, model.weights, strict=True))
    return attending, outputs


def head_names(count):
    return [*(f"rectify_masks{depth}" for depth in range(1, count + 1)), "rectify_gates"]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_head(data_format, policy, rng, tmp_path):
    keras.config.set_image_data_format(data_format)
    keras.config.set_dtype_policy(policy)
    last = data_format == "channels_last"
    shape = (8, 12, 3) if last else (3, 8, 12)
    inputs = keras.Input(shape)
    logits = L.Dense(5)(L.Flatten()(inputs))
    pooled = L.GlobalAveragePooling2D()(inputs)
    outputs = ka.layers.AttendRectifyHead(5, name="rectify")([inputs, inputs], logits, pooled)
    model = keras.Model(inputs, L.Softmax(dtype="float32")(outputs))
    images = rng.uniform(size=(3, *shape)).astype("float32")
    attending, outputs = check(model, images, ["predictions", *head_names(2)])
    assert outputs["rectify_masks2"].shape == ((3, 8, 12, 4) if last else (3, 4, 8, 12))
    np.testing.assert_allclose(outputs["rectify_gates"].sum(axis=1), 1.0, rtol=1e-5)
    attending.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    keras.tree.map_structure(np.testing.assert_array_equal, outputs, numbers(again(images)))


def test_layers_run_once_and_the_model_does_not_change(rng):
    model = ka.applications.ClutteredCNN(filters=2, units=4)
    before, nodes = model.get_config(), len(model.get_layer("conv1")._inbound_nodes)
    names = ["predictions", *head_names(4)]
    attending, _ = check(model, rng.uniform(size=(2, 40, 40, 1)), names)
    assert ka.inspect.count_macs(attending) == ka.inspect.count_macs(model)
    assert len(model.get_layer("conv1")._inbound_nodes) == nodes, (
        "layers before the mechanism are not called"
    )
    assert model.get_config() == before
    assert ka.inspect.has_attention(attending)


def test_several_mechanisms_in_a_row(rng):
    inputs = keras.Input((8, 8, 4))
    x = ka.layers.TargetLayer(4, 3, name="target")(inputs)
    x = ka.layers.CBAM(reduction=2, name="cbam")(x)
    y = L.Conv2D(4, 3, padding="same")(x)
    y = ka.layers.SANBlock(name="san")([x, y])
    y = ka.layers.SpatialTransformer(keras.Sequential([L.Flatten()]), name="align")(y)
    module = ka.layers.AttentionModule(3, name="module")
    model = keras.Model(inputs, module(y) + module(x))
    maps = ["target_attention", "cbam_attention", "san_attention", "align_attention"]
    twice = ["module_masks", "module_gates", "module_masks_2", "module_gates_2"]
    attending = ka.inspect.with_attention(model)
    assert sorted(attending.output) == sorted(["predictions", *maps, *twice])
    images = rng.uniform(size=(2, 8, 8, 4)).astype("float32")
    outputs = numbers(attending(images))
    np.testing.assert_allclose(outputs["predictions"], numbers(model(images)), rtol=1e-6)
    assert outputs["align_attention"].shape == (2, 2, 3)
    assert outputs["san_attention"].shape == (2, 8, 8, 4)


def test_sequential_and_nested_models(rng, tmp_path):
    part = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            L.Conv2D(4, 3, padding="same"),
            ka.layers.BAM(reduction=2, name="bam"),
        ],
        name="part",
    )
    check(part, rng.uniform(size=(2, 6, 6, 4)), ["predictions", "bam_attention"])
    plain = keras.Sequential([keras.Input((6, 6, 4)), L.ReLU()], name="plain")
    inputs = keras.Input((6, 6, 4))
    model = keras.Model(inputs, L.GlobalMaxPooling2D()(part(part(plain(inputs)))))
    images = rng.uniform(size=(2, 6, 6, 4)).astype("float32")
    names = ["predictions", "part_bam_attention", "part_bam_attention_2"]
    attending, outputs = check(model, images, names)
    attending.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    keras.tree.map_structure(np.testing.assert_array_equal, outputs, numbers(again(images)))


@pytest.mark.parametrize("option", ["return_attention", "return_gates"])
def test_calls_that_return_maps_already(option, rng):
    inputs = keras.Input((6, 6, 4), name="a")
    logits, maps = ka.layers.AttentionModule(3, name="module")(inputs, **{option: True})
    model = keras.Model({"a": inputs}, {"logits": logits, "maps": maps})
    images = {"a": rng.uniform(size=(2, 6, 6, 4)).astype("float32")}
    outputs = numbers(ka.inspect.with_attention(model)(images))
    name = "module_masks" if option == "return_attention" else "module_gates"
    np.testing.assert_array_equal(outputs["maps"], outputs[name])
    assert sorted(outputs) == ["logits", "maps", "module_gates", "module_masks"]


def test_several_outputs_in_a_list(rng):
    inputs = keras.Input((6, 6, 4))
    x = ka.layers.CBAM(reduction=2, name="cbam")(inputs)
    outputs = ka.inspect.with_attention(keras.Model(inputs, [x, inputs])).output
    assert sorted(outputs) == ["cbam_attention", "predictions1", "predictions2"]


def test_models_without_attention_or_graph():
    plain = keras.Sequential([keras.Input((4,)), L.Dense(2)], name="plain")
    with pytest.raises(ValueError, match=r"call option `return_attention`.*Received: 'plain'"):
        ka.inspect.with_attention(plain)
    with pytest.raises(ValueError, match=r"functional or sequential.*Received: model="):
        ka.inspect.with_attention(keras.Sequential([ka.layers.BAM()]))
