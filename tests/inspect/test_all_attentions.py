"""Every network of the registry that takes `attention`, with each mechanism that it takes."""

import inspect

import pytest

import keras_attention as ka
from keras_attention.layers.by_name import IMAGE_ATTENTIONS

TAKE_SEQUENCES = ("LSTM4",)
CASES = [
    (name, attention)
    for name in ka.applications.list_models()
    if "attention" in inspect.signature(ka.applications.builder(name)).parameters
    for attention in (("ran", "san") if name in TAKE_SEQUENCES else IMAGE_ATTENTIONS)
]


@pytest.mark.parametrize(("name", "attention"), CASES)
def test_gives_a_figure_with_labels(name, attention, rng):
    shape = (8, 5) if name in TAKE_SEQUENCES else (32, 32, 3)
    # A network without its top is as attentive, and faster to make.
    model = ka.applications.build(name, input_shape=shape, include_top=False, attention=attention)
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(1, *shape)))
    columns = {"ran": 4, "cbam": 6, "bam": 6}.get(attention, 7)
    bars = columns - (name not in TAKE_SEQUENCES)
    assert len(figure.axes) == columns + bars
    assert all(axes.get_title() for axes in figure.axes[:columns])
    label = figure.axes[0].get_ylabel()
    assert label == ("sequence 1\nfeature" if name in TAKE_SEQUENCES else "image 1")


@pytest.mark.parametrize(("name", "attention"), [("LeNet5", "bam"), ("LSTM4", "ran")])
def test_has_attention(name, attention):
    assert ka.inspect.has_attention(ka.applications.build(name, attention=attention))
    assert not ka.inspect.has_attention(ka.applications.build(name))
