"""Selection of the mechanism that is drawn, checks of arguments, and files."""

import keras
import numpy as np
import pytest

import keras_attention as ka
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
