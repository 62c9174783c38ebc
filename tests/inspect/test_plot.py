"""Selection of the mechanism that is drawn, checks of arguments, and files."""

import re

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.inspect.figures import resize_to_image
from keras_attention.layers.attention_by_name import IMAGE_ATTENTIONS
from tests.harness import ON_TENSORFLOW, cross_section

SEQUENCE_MODELS = ("LSTM4",)
# One model of each family; JAX compiles each operation of a wide network by itself, in minutes.
NARROW = {"VGG16": {"width": 4}, "ResNet18": {"width": 4}, "ResNet50": {"width": 4}}
NAMES = ["LeNet5", "LSTM4", *(NARROW if ON_TENSORFLOW else ())]
# The positions of attention are tested in tests/applications.
ONE_OF_EACH = {"VGG16": ["san-c"], "ResNet18": ["cbam"], "ResNet50": ["bam"]}
CASES = [
    (name, attention)
    for name in NAMES
    for attention in ONE_OF_EACH.get(
        name, ("ran", "san") if name in SEQUENCE_MODELS else IMAGE_ATTENTIONS
    )
]


@pytest.fixture(scope="module")
def targeted():
    layers = [ka.layers.TargetLayer(4, 3), keras.layers.MaxPooling2D(), ka.layers.TargetLayer(2, 3)]
    return keras.Sequential([keras.Input((16, 12, 1)), *layers])


@pytest.fixture(scope="module")
def windows_and_transformer():
    return ka.applications.TSTN(input_shape=(16, 16, 3))


@pytest.mark.parametrize(
    ("name", "attention"), cross_section(CASES, fast=[("LeNet5", "cbam"), ("LSTM4", "san")])
)
def test_attention_of_applications(name, attention, rng):
    shape = (8, 5) if name in SEQUENCE_MODELS else (32, 32, 3)
    # A network without its top has the same attention and is built faster.
    options = {"include_top": False, "attention": attention, **NARROW.get(name, {})}
    model = ka.applications.build(name, input_shape=shape, **options)
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, *shape)))
    columns = {"ran": 4, "cbam": 6, "bam": 6}.get(attention, 7)
    bars = columns - (name not in SEQUENCE_MODELS)
    assert len(figure.axes) == columns + bars
    assert all(axes.get_title() for axes in figure.axes[:columns])
    assert all(axes.get_xlabel() for axes in figure.axes[columns:]), "labels of color bars"
    label = figure.axes[0].get_ylabel()
    assert label == ("sequence 1\nfeature" if name in SEQUENCE_MODELS else "image 1")


@pytest.mark.parametrize(
    ("name", "attention", "shape"), [("LeNet5", "bam", (16, 16, 1)), ("LSTM4", "ran", (4, 5))]
)
def test_has_attention(name, attention, shape):
    with_attention = ka.applications.build(name, input_shape=shape, attention=attention)
    assert ka.inspect.has_attention(with_attention)
    assert not ka.inspect.has_attention(ka.applications.build(name, input_shape=shape))


def test_writes_an_image_file(targeted, rng, tmp_path):
    path = tmp_path / "figures" / "attention.png"
    figure = ka.inspect.plot_attention(targeted, rng.uniform(size=(2, 16, 12, 1)), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 10_000
    assert [item.name for item in path.parent.iterdir()] == ["attention.png"], "no temporary file"
    assert len(figure.axes) == 2 * 3 + 1


@pytest.mark.parametrize("attention", cross_section(["san", "ran"], fast={"san"}))
def test_writes_image_files_of_sequences(attention, rng, tmp_path):
    model = ka.applications.LSTM4((None, 4), 3, attention=attention)
    path = tmp_path / "figures" / "attention.png"
    ka.inspect.plot_attention(model, rng.uniform(size=(1, 9, 4)), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [item.name for item in path.parent.iterdir()] == ["attention.png"]
    with pytest.raises(ValueError, match=r"Received: images.shape=\(1, 9, 4, 1\)"):
        ka.inspect.plot_attention(model, rng.uniform(size=(1, 9, 4, 1)))


def test_windows_precede_spatial_transformers(windows_and_transformer):
    figure = ka.inspect.plot_attention(windows_and_transformer)
    assert len(figure.axes) == 3 * 3 + 1


def test_another_mechanism_by_name(windows_and_transformer, rng):
    images = rng.uniform(size=(2, 16, 16, 3))
    model = windows_and_transformer
    warped = ka.inspect.plot_attention(model, images, layer="align")
    assert warped.axes[0].get_ylabel() == "align: input"
    assert len(warped.axes) == 4
    dense = model.layers[-1].name
    with pytest.raises(ValueError, match=f"one of None, .*'align'.*Received: layer='{dense}'"):
        ka.inspect.plot_attention(model, images, layer=dense)


def test_another_layer_of_a_mechanism_by_name(rng):
    images = rng.uniform(size=(2, 16, 16, 3))
    san = ka.applications.LeNet5((16, 16, 3), attention="san-c")
    assert "conv1_attention" in ka.inspect.plot_attention(san, images).get_suptitle()
    figure = ka.inspect.plot_attention(san, images, layer="conv2_attention", title="Second")
    assert figure.axes[1].get_title() == "y_prev\n6 channels"
    assert figure.get_suptitle() == "Second"
    with pytest.raises(ValueError, match="Did you mean 'conv2_attention'"):
        ka.inspect.plot_attention(san, images, layer="conv2_attenton")
    with pytest.raises(ValueError, match="Received: layer=2"):
        ka.inspect.plot_attention(san, images, layer=2)


def test_models_of_unknown_size_need_images():
    layers = [keras.Input((None, None, 1)), ka.layers.TargetLayer(2, 3)]
    with pytest.raises(ValueError, match="accepts any image size"):
        ka.inspect.plot_attention(keras.Sequential(layers))


def test_models_without_attention():
    with pytest.raises(ValueError, match=r"must contain an attention mechanism.*'dn10'"):
        ka.inspect.plot_attention(ka.applications.DN10())


@pytest.mark.parametrize("shape", [(16, 12, 1), (0, 16, 12, 1)])
def test_images_of_another_shape(targeted, shape):
    with pytest.raises(ValueError, match="at least one image"):
        ka.inspect.plot_attention(targeted, np.zeros(shape))


def test_a_failed_write_leaves_no_file(targeted, tmp_path):
    with pytest.raises(ValueError, match="nonsense"):
        ka.inspect.plot_attention(targeted, path=tmp_path / "a.nonsense")
    assert list(tmp_path.iterdir()) == []


def suggested(error):
    """The last quoted name in an error."""
    return re.findall(r"'([^']+)'", str(error.value).split("Received")[0])[-1]


def conv_model(name, end=(), shape=(8, 6, 3)):
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(3, 3, padding="same", name="conv")(inputs)
    for layer in end:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def shared_layers():
    inputs, shared = keras.Input((8, 6, 3)), keras.layers.Conv2D(3, 3, name="conv")
    return keras.Model(inputs, shared(shared(inputs)), name="shared")


def equal_names():
    inputs = keras.Input((8, 6, 3))
    return keras.Model(inputs, conv_model("right")(conv_model("left")(inputs)), name="outer")


def three_deep():
    inputs = keras.Input((8, 6, 3))
    middle = keras.Model(inputs, conv_model("inner")(conv_model("other")(inputs)), name="middle")
    outer = keras.Input((8, 6, 3))
    x = keras.layers.GlobalAveragePooling2D()(middle(conv_model("inner2")(outer)))
    return keras.Model(outer, keras.layers.Dense(2)(x), name="outer")


def named_like_the_model():
    inputs = keras.Input((8, 6, 3))
    return keras.Model(inputs, conv_model("same")(inputs), name="same")


def equal_paths():
    class Two(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="two")
            self.parts = [keras.layers.Conv2D(3, 1, name="conv") for _ in range(2)]

        def call(self, inputs):
            return self.parts[1](self.parts[0](inputs))

    layers = [keras.Input((8, 6, 3)), keras.layers.Conv2D(3, 3, name="start"), Two()]
    return keras.Sequential([*layers, keras.layers.Flatten()])


def subclassed():
    class Model(keras.Model):
        def __init__(self):
            super().__init__(name="subclassed")
            self.inner = conv_model("inner")

        def call(self, inputs):
            return keras.ops.mean(self.inner(inputs), axis=(1, 2))

    return Model()


MODELS_WITHOUT_ATTENTION = {
    "shared": shared_layers,
    "equal names": equal_names,
    "three deep": three_deep,
    "named like the model": named_like_the_model,
    "equal paths": equal_paths,
    "subclassed": subclassed,
}


@pytest.mark.parametrize("wrong", [None, "nothing", 3])
@pytest.mark.parametrize("kind", MODELS_WITHOUT_ATTENTION)
def test_names_that_errors_suggest_are_accepted(kind, wrong, rng):
    model, images = MODELS_WITHOUT_ATTENTION[kind](), rng.uniform(size=(1, 8, 6, 3))
    with pytest.raises(ValueError, match="such as") as error:
        ka.inspect.plot_attention(model, images, layer=wrong)
    name = suggested(error)
    figure = ka.inspect.plot_attention(model, images, layer=name)
    assert figure.axes[2].get_title() == f"{name}\nover the image"


def test_names_of_several_layers(rng):
    images = rng.uniform(size=(1, 8, 6, 3))
    for name, count in (("conv", 3), ("inner/conv", 1), ("middle/inner/conv", 1)):
        model = three_deep()
        if count == 1:
            assert ka.inspect.plot_attention(model, images, layer=name).axes
            continue
        with pytest.raises(ValueError, match=r"name of 3 layers.*Use one of") as error:
            ka.inspect.plot_attention(model, images, layer=name)
        for path in re.findall(r"'([^']+)'", str(error.value).split("Use one of")[1]):
            assert ka.inspect.plot_attention(model, images, layer=path).axes
    with pytest.raises(ValueError, match=r"'two/conv'. Rename these layers"):
        ka.inspect.plot_attention(equal_paths(), images, layer="two/conv")


def test_mechanisms_of_the_same_name(rng):
    images = rng.uniform(size=(1, 8, 6, 3))

    def part(name):
        return conv_model(name, [ka.layers.CBAM(reduction=1, name="mask")])

    inputs = keras.Input((8, 6, 3))
    model = keras.Model(inputs, part("right")(part("left")(inputs)), name="outer")
    figure = ka.inspect.plot_attention(model, images)
    assert figure.get_supxlabel() == 'Not shown: right/mask. To show one: layer="right/mask"'
    right = ka.inspect.plot_attention(model, images, layer="right/mask")
    assert right.get_supxlabel() == ""
    maps = [np.asarray(one.axes[3].images[0].get_array()) for one in (figure, right)]
    assert np.abs(maps[0] - maps[1]).max() > 0.01
    with pytest.raises(ValueError, match=r"name of 2 layers.*'left/mask', 'right/mask'"):
        ka.inspect.plot_attention(model, images, layer="mask")
    windows = [keras.Input((8, 6, 3))]
    windows += [
        keras.Sequential([windows[0], ka.layers.TargetLayer(3, 3, name="t")], name=name)
        for name in "ab"
    ]
    nested = keras.Sequential(windows)
    nested.layers[1].layers[0].scale.assign(np.full((2, 3), 0.1))
    figure = ka.inspect.plot_attention(nested, images)
    areas = [np.nanmean(figure.axes[index].images[0].get_array()) for index in (0, 1, 3, 4)]
    assert areas[0] == areas[1] == areas[2] > areas[3], "before and now, of each layer"


def test_layers_that_are_not_shown(rng, windows_and_transformer):
    images = rng.uniform(size=(1, 32, 32, 3))
    model = ka.applications.LeNet5((32, 32, 3), attention="cbam")
    below = ka.inspect.plot_attention(model, images).get_supxlabel()
    assert below == 'Not shown: conv2_attention. To show one: layer="conv2_attention"'
    below = ka.inspect.plot_attention(windows_and_transformer).get_supxlabel()
    assert below == 'Not shown: align. To show one: layer="align"'
    for other in (ka.applications.TDN10(), ka.applications.STN((16, 16, 1))):
        assert ka.inspect.plot_attention(other).get_supxlabel() == ""
    many = [keras.Input((8, 6, 3)), *(ka.layers.CBAM(1, name=f"mask{i}") for i in range(12))]
    below = ka.inspect.plot_attention(keras.Sequential(many)).get_supxlabel()
    assert " ".join(below.split()) == (
        "Not shown: mask1, mask2, mask3, mask4, mask5, mask6, mask7, mask8 and 3 more. "
        'To show one: layer="mask1"'
    )


def test_grad_cam_beside_attention_and_alone(rng):
    images = rng.uniform(size=(2, 16, 16, 1))
    model = ka.applications.DN10((16, 16, 1), classes=3)
    figure = ka.inspect.plot_attention(model, images, grad_cam=True)
    assert [axes.get_title() for axes in figure.axes] == [
        "image",
        "Grad-CAM\nover the image",
        "",
        "",
    ]
    heat = ka.inspect.grad_cam(model, images)
    overlay = np.asarray(figure.axes[3].images[0].get_array())
    assert overlay.shape == (16, 16, 3)
    shares = resize_to_image(heat[1][..., None], (16, 16))[..., 0]
    if heat[1].any():
        brightness = overlay[..., :2].sum(axis=-1)
        assert brightness[shares > 0.9].min() > brightness[shares < 0.1].max(initial=0.0)
    lenet = ka.applications.LeNet5((16, 16, 1), attention="cbam")
    titles = [a.get_title() for a in ka.inspect.plot_attention(lenet, images, grad_cam=True).axes]
    assert titles[6] == "Grad-CAM\nover the image"


def test_heat_maps_of_another_output(rng):
    """An error about an option of `grad_cam` explains how to set it in a plot."""
    images = rng.uniform(size=(2, 16, 16, 1))
    model = ka.applications.LeNet5((16, 16, 1), classes=3, attention="cbam")
    model = keras.Model(model.input, [model.output, keras.layers.Dense(2)(model.output)])
    with pytest.raises(
        ValueError, match=r"`output` must be.*pass the result of `inspect.grad_cam`"
    ):
        ka.inspect.plot_attention(model, images, grad_cam=True)
    heat = ka.inspect.grad_cam(model, images, output=1, class_index=0)
    figure = ka.inspect.plot_attention(model, images, grad_cam=heat)
    assert figure.axes[6].get_title() == "Grad-CAM\nover the image"


def test_windows_of_subclassed_models(rng):
    class Model(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.target = ka.layers.TargetLayer(4, 3)

        def call(self, inputs):
            return self.target(inputs)

    figure = ka.inspect.plot_attention(Model(), rng.uniform(size=(1, 8, 6, 3)))
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["", "12 kernels per layer", "all regions,\non an image"]
