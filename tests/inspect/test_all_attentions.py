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
    assert ka.inspect.has_attention(model)
    figure = ka.inspect.plot_attention(model, rng.uniform(size=(2, *shape)))
    columns = {"ran": 4, "cbam": 6, "bam": 6}.get(attention, 7)
    bars = columns - (name not in TAKE_SEQUENCES)
    assert len(figure.axes) == 2 * columns + bars
    assert all(axes.get_title() for axes in figure.axes[:columns])
    kind = "sequence" if name in TAKE_SEQUENCES else "image"
    for row in (0, 1):
        assert f"{kind} {row + 1}" in figure.axes[row * columns].get_ylabel()
