"""Where the networks hold their attention, and what that adds."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import cross_section

SMALL = {"input_shape": (32, 32, 3), "classes": 10}


def attended(model):
    """Names of what is attended to."""
    return [
        layer.name.removesuffix("_attention")
        for layer in model.layers
        if layer.name.endswith("_attention")
    ]


def read_by(model, name):
    """The layers that a block of SAN compares."""
    layer = model.get_layer(f"{name}_attention")
    return [tensor._keras_history.operation.name for tensor in layer.input]


def test_lenet():
    model = ka.applications.LeNet5(attention="san-c")
    assert attended(model) == ["conv1", "conv2"]
    assert read_by(model, "conv1") == ["images", "conv1"]
    assert read_by(model, "conv2") == ["pool1", "conv2"]
    assert [model.get_layer(f"conv{i}_attention").kernel_size for i in (1, 2)] == [5, 5]


@pytest.mark.parametrize(("name", "last"), [("VGG16", (2, 2, 3, 3, 3)), ("VGG19", (2, 2, 4, 4, 4))])
def test_vgg(name, last):
    options = {**SMALL, "attention": "san-d", "width": 4, "units": 8}
    model = ka.applications.build(name, **options)
    ends = [f"block{block}_conv{count}" for block, count in enumerate(last, start=1)]
    assert attended(model) == ends
    assert read_by(model, "block1_conv2") == ["block1_conv1", "block1_conv2"]
    full = ka.applications.build(name, **options, placement="full")
    assert len(attended(full)) == sum(last)
    assert read_by(full, "block1_conv2") == ["block1_conv1_attention", "block1_conv2"]
    assert read_by(full, "block2_conv1") == ["block1_pool", "block2_conv1"]
    assert full.get_layer("block1_conv1_attention").dilation_rate == 4


@pytest.mark.parametrize(
    ("name", "convolutions", "blocks"),
    cross_section(
        [
            ("ResNet18", 2, (2, 2, 2, 2)),
            ("ResNet34", 2, (3, 4, 6, 3)),
            ("ResNet50", 3, (3, 4, 6, 3)),
        ],
        fast={"ResNet18"},
    ),
)
def test_resnet(name, convolutions, blocks):
    options = {**SMALL, "attention": "san-c", "width": 4}
    model = ka.applications.build(name, **options)
    assert attended(model) == ["stage1", "stage2", "stage3", "stage4"]
    last = f"stage1_block{blocks[0]}"
    before = f"{last}_conv{convolutions - 1}_relu"
    assert read_by(model, "stage1") == [before, "stage1"]
    assert model.get_layer("stage1_attention").kernel_size == 3
    full = ka.applications.build(name, **options, placement="full")
    assert len(attended(full)) == 1 + convolutions * sum(blocks)
    assert read_by(full, f"{last}_conv2")[1] == (
        f"{last}_conv2_bn" if convolutions == 2 else f"{last}_conv2_relu"
    )
    large = ka.applications.build(name, **{**options, "stem": "imagenet"})
    assert attended(large)[0] == "stem"


def test_lstm():
    model = ka.applications.LSTM4((16, 5), attention="san")
    assert attended(model) == ["lstm2", "lstm4"]
    assert read_by(model, "lstm2") == ["lstm1", "lstm2"]
    assert attended(ka.applications.LSTM4((16, 5), attention="san", placement="full")) == [
        f"lstm{index}" for index in range(1, 5)
    ]
    for placement, indices in (("bottleneck", [2, 4]), ("full", [1, 2, 3, 4])):
        model = ka.applications.LSTM4((16, 5), attention="ran", placement=placement)
        cells = [getattr(model.get_layer(f"lstm{index}"), "cell", None) for index in range(1, 5)]
        found = [i for i, cell in enumerate(cells, 1) if type(cell) is ka.layers.RecurrentAttention]
        assert found == indices


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    cross_section(
        [
            ("LeNet5", {}, 61_706),
            # Without the three dense layers of 25,088 x 4096, 4096 x 4096 and 4096 x 1000.
            ("VGG16", {"include_top": False}, 138_357_544 - 123_642_856),
            ("VGG19", {"include_top": False}, 143_667_240 - 123_642_856),
            ("ResNet18", {"classes": 1000, "input_shape": (224, 224, 3)}, 11_689_512),
            ("ResNet18", SMALL, 11_173_962),
            ("ResNet34", {"classes": 1000, "input_shape": (224, 224, 3)}, 21_797_672),
            ("ResNet34", SMALL, 21_282_122),
            ("ResNet50", {"classes": 1000, "input_shape": (224, 224, 3)}, 25_557_032),
            ("ResNet50", SMALL, 23_520_842),
            ("LSTM4", {}, 132_104),
            # One smoothing convolution with bias after each of the two.
            ("LeNet5", {"attention": "san-c"}, 61_706 + 25 * (6 * 6 + 16 * 16) + 22),
            ("LeNet5", {"attention": "san-d"}, 61_706 + 25 * (6 * 6 + 16 * 16) + 22),
        ],
        fast={"LSTM4", "LeNet5"},
    ),
)
def test_parameters(name, options, parameters):
    model = ka.applications.build(name, **options)
    assert ka.inspect.trainable_parameters(model) == parameters


@pytest.mark.parametrize("name", cross_section(["VGG16", "VGG19"], fast={"VGG16"}))
def test_weights_of_keras_applications_fit(name, rng):
    theirs = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    ours = ka.applications.build(name, input_shape=(32, 32, 3), include_top=False)
    ours.set_weights(theirs.get_weights())
    x = rng.uniform(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize(
    "name", cross_section(["LeNet5", "VGG16", "ResNet18", "LSTM4"], fast={"LeNet5"})
)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "se"}, "Received: attention='se'"),
        ({"attention": "san-e"}, "Received: attention='san-e'"),
        ({"placement": "top"}, "Received: placement='top'"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        ka.applications.build(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("LeNet5", {"attention": "cbam", "attention_options": {"reduction": 64}}, "reduction=64"),
        ("LeNet5", {"attention": "bam", "attention_options": {"smoothing": None}}, "smoothing"),
        ("LSTM4", {"attention": "cbam"}, "Received: attention='cbam'"),
        ("VGG16", {"width": 0}, "Received: width=0"),
        ("VGG16", {"units": -1}, "Received: units=-1"),
        ("ResNet18", {"width": "wide"}, "Received: width='wide'"),
        ("ResNet18", {"stem": "big"}, "Received: stem='big'"),
    ],
)
def test_bad_options_of_some(name, options, message):
    with pytest.raises(ValueError, match=message):
        ka.applications.build(name, **options)
