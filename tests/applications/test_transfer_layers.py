"""Layers for attention transfer: their names, output shapes and positions."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from tests.harness import cross_section

IMAGES = {"input_shape": (32, 32, 3), "classes": 10}
NARROW = {**IMAGES, "width": 4}
GROUPS = {"group1": (32, 32, 16), "group2": (16, 16, 32), "group3": (8, 8, 64)}
STAGES = {"stage1": (32, 32, 4), "stage2": (16, 16, 8), "stage3": (8, 8, 16), "stage4": (4, 4, 32)}
BLOCKS = {"block1": (32, 32, 56), "block2": (16, 16, 104), "block3": (8, 8, 10)}
WIDE_BLOCKS = {"block1": (32, 32, 128), "block2": (16, 16, 232), "block3": (8, 8, 10)}
WIDE_STAGES = {name: (*shape[:2], 4 * shape[2]) for name, shape in STAGES.items()}
TRANSFER_LAYERS = [
    ("WideResNet", {"depth": 10, "width": 1, "variant": "at"}, GROUPS),
    ("WideResNet", {"depth": 16, "width": 1}, GROUPS),
    ("WARN", {"depth": 10, "width": 1}, GROUPS),
    ("ResNet18", NARROW, STAGES),
    ("ResNet18", {**NARROW, "attention": "cbam"}, STAGES),
    ("ResNet34", {**NARROW, "attention": "san-c", "placement": "full"}, STAGES),
    ("ResNet50", NARROW, WIDE_STAGES),
    ("NINThin", {}, BLOCKS),
    ("NINThin", {"batch_normalization": False, "dropout": 0.5}, BLOCKS),
    ("NINWide", {"relu_before_pool": False}, WIDE_BLOCKS),
]


def readers(layer):
    """Returns the layers that read the output of a layer."""
    return [node.operation for node in layer._outbound_nodes]


@pytest.mark.parametrize(
    ("name", "arguments", "shapes"),
    cross_section(TRANSFER_LAYERS, fast={"WideResNet", "NINThin", "WARN"}),
    ids=str,
)
def test_transfer_layers_return_maps(name, arguments, shapes):
    model = ka.applications.build(name, **arguments)
    assert {layer: model.get_layer(layer).output.shape[1:] for layer in shapes} == shapes


@pytest.mark.parametrize("variant", ["warn", "at"])
def test_groups_end_before_normalization(variant):
    model = ka.applications.WideResNet(16, 1, variant)
    for group in (1, 2, 3):
        group_output = model.get_layer(f"group{group}")
        assert isinstance(group_output, keras.layers.Add)
        following = {layer.name for layer in readers(group_output)}
        first = f"group{group + 1}_block1"
        # The convolution of the shortcut reads the output of the group, or its activations.
        raw = {f"{first}_shortcut"} if variant == "warn" else set()
        assert following == ({"group3_bn"} if group == 3 else {f"{first}_pre_bn", *raw})


@pytest.mark.parametrize(("attention", "reader"), [(None, "avg_pool"), ("bam", "stage4_attention")])
def test_stages_end_with_relu(attention, reader):
    model = ka.applications.ResNet18(**NARROW, attention=attention)
    assert [layer.name for layer in readers(model.get_layer("stage4"))] == [reader]
    for stage, block in ((1, 2), (2, 2), (3, 2), (4, 2)):
        relu = model.get_layer(f"stage{stage}")
        assert isinstance(relu, keras.layers.ReLU)
        assert relu.input._keras_history.operation.name == f"stage{stage}_block{block}_add"


@pytest.mark.slow
def test_add_attention_comes_after_transfer_layers():
    model = ka.applications.ResNet18(**NARROW)
    attentive = ka.surgery.add_attention(model, "cbam")
    names = [f"stage{stage}" for stage in range(1, 5)]
    before = keras.Model(model.input, [model.get_layer(name).output for name in names])
    after = keras.Model(attentive.input, [attentive.get_layer(name).output for name in names])
    x = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(after(x)[0], before(x)[0], atol=1e-6)
    assert [tensor.shape for tensor in after.outputs] == [tensor.shape for tensor in before.outputs]
