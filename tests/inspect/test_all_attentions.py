"""Networks that take `attention`, with each mechanism that they take."""

import pytest

import keras_attention as ka
from keras_attention.layers.by_name import IMAGE_ATTENTIONS
from tests.harness import ON_TENSORFLOW

TAKE_SEQUENCES = ("LSTM4",)
# A family each; JAX compiles every operation of a wide network by itself, for minutes.
WIDE = {"VGG16": {"width": 4}, "ResNet18": {"width": 4}, "ResNet50": {"width": 4}}
NAMES = ["LeNet5", "LSTM4", *(WIDE if ON_TENSORFLOW else ())]
# Where each attends is for tests of placement.
ONE_OF_EACH = {"VGG16": ["san-c"], "ResNet18": ["cbam"], "ResNet50": ["bam"]}
CASES = [
    (name, attention)
    for name in NAMES
    for attention in ONE_OF_EACH.get(
        name, ("ran", "san") if name in TAKE_SEQUENCES else IMAGE_ATTENTIONS
    )
]


@pytest.mark.parametrize(("name", "attention"), CASES)
def test_gives_a_figure_with_labels(name, attention, rng):
    shape = (8, 5) if name in TAKE_SEQUENCES else (32, 32, 3)
    # A network without its top is as attentive, and faster to make.
    options = {"include_top": False, "attention": attention, **WIDE.get(name, {})}
    model = ka.applications.build(name, input_shape=shape, **options)
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, *shape)))
    columns = {"ran": 4, "cbam": 6, "bam": 6}.get(attention, 7)
    bars = columns - (name not in TAKE_SEQUENCES)
    assert len(figure.axes) == columns + bars
    assert all(axes.get_title() for axes in figure.axes[:columns])
    assert all(axes.get_xlabel() for axes in figure.axes[columns:]), "a color bar says of what"
    label = figure.axes[0].get_ylabel()
    assert label == ("sequence 1\nfeature" if name in TAKE_SEQUENCES else "image 1")


@pytest.mark.parametrize(("name", "attention"), [("LeNet5", "bam"), ("LSTM4", "ran")])
def test_has_attention(name, attention):
    assert ka.inspect.has_attention(ka.applications.build(name, attention=attention))
    assert not ka.inspect.has_attention(ka.applications.build(name))
