"""Records of the layers that a model calls."""

import threading

import keras
import numpy as np
import pytest

from keras_attention.inspect.calls import layer_outputs, record_call, trace_calls

L = keras.layers


def record(model, input_shape=None):
    """Name, shapes and names of the callers of each call."""
    return [
        (call.layer.name, call.input_shape, call.output_shape, [c.name for c in call.callers])
        for call in trace_calls(model, input_shape)
    ]


def chain(*layers, name, shape=(4,)):
    """A functional model; a layer may occur several times."""
    x = inputs = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def has_own_methods(model):
    names = ("call", "quantized_call")
    return any(name in layer.__dict__ for layer in model._flatten_layers() for name in names)


def test_nested_and_shared_layers():
    shared = L.Dense(4, name="shared")
    inner = chain(shared, shared, name="inner")
    outer = chain(
        inner, shared, keras.Sequential([L.ReLU(name="relu")], name="stack"), name="outer"
    )
    shape = (1, 4)
    names = [("shared", ["outer", "inner"]), ("shared", ["outer", "inner"]), ("inner", ["outer"])]
    names += [("shared", ["outer"]), ("relu", ["outer", "stack"]), ("stack", ["outer"])]
    layers = [row for row in record(outer) if "input" not in row[0]]
    assert layers == [*((name, shape, shape, callers) for name, callers in names), layers[-1]]
    assert layers[-1] == ("outer", shape, shape, [])


def test_cells_and_wrappers():
    cell = L.StackedRNNCells([L.LSTMCell(3, name="a"), L.GRUCell(2, name="b")], name="cells")
    recurrent = L.Bidirectional(L.RNN(cell, name="rnn"), name="both")
    names = [name for name, *_ in record(chain(recurrent, name="model", shape=(2, 4)))]
    assert {"both", "forward_rnn", "backward_rnn", "model"} <= set(names)
    inside = record(chain(L.RNN(cell, name="rnn"), name="m", shape=(2, 4)))
    assert {row[0]: row[3] for row in inside}["b"] == ["m", "rnn", "cells"]
    # The wrapper calls `layer.call` for every step, so the layer inside is not counted.
    distributed = L.TimeDistributed(keras.Sequential([L.Dense(3, name="dense")], name="stack"))
    callers = {row[0]: row[3] for row in record(chain(distributed, name="m", shape=(2, 4)))}
    assert "stack" not in callers
    assert callers["dense"] == ["m", "time_distributed"]


def test_several_inputs_by_name():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((3,), name="b")}
    joined = L.Concatenate(name="join")([inputs["a"], inputs["b"]])
    rows = record(keras.Model(inputs, {"joined": joined}, name="model"))
    assert ("join", [(1, 4), (1, 3)], (1, 7), ["model"]) in rows
    assert rows[-1] == ("model", {"a": (1, 4), "b": (1, 3)}, {"joined": (1, 7)}, [])


class Creates(keras.Model):
    """Subclassed model that creates a layer in its first call."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first = L.Dense(3, name="first")
        self.second = None

    def call(self, inputs):
        if self.second is None:
            self.second = L.Dense(2, name="second")
        return self.second(self.first(inputs))


@pytest.mark.parametrize("built", [False, True])
def test_subclassed_models_and_layers_that_a_call_creates(built):
    model = Creates(name="creates")
    if built:
        model.first.build((None, 4))
        model.built = True
    assert record(model, (4,)) == [
        ("first", (1, 4), (1, 3), ["creates"]),
        ("second", (1, 3), (1, 2), ["creates"]),
        ("creates", (1, 4), (1, 2), []),
    ]


def test_quantized_layers():
    model = chain(L.Dense(4, name="dense"), name="model", shape=(3,))
    model.get_layer("dense").quantize("int8")
    assert ("dense", (1, 3), (1, 4), ["model"]) in record(model)


def test_values(rng):
    layer = L.Dense(2, name="dense")
    model = chain(layer, L.ReLU(name="relu"), name="model", shape=(3,))
    x = rng.normal(size=(5, 3)).astype("float32")
    call = record_call(model, layer, x)
    np.testing.assert_array_equal(call.inputs, x)
    np.testing.assert_array_equal(call.outputs, layer(x))
    relu = record_call(model, model.get_layer("relu"), x)
    np.testing.assert_array_equal(relu.args[0], call.outputs)
    assert not relu.kwargs
    predictions, found = layer_outputs(model, ["dense", "relu", "missing"], x)
    assert list(found) == ["dense", "relu"]
    np.testing.assert_array_equal(predictions, found["relu"])


def test_errors_in_a_call_leave_the_model_as_it_was():
    class Fails(L.Layer):
        def call(self, inputs):
            if inputs.shape[0] == 1:  # not in the symbolic call
                raise OverflowError("too much")
            return inputs

    model = chain(L.Dense(3, name="dense"), Fails(), name="model")
    with pytest.raises(OverflowError, match="too much"):
        trace_calls(model)
    assert not has_own_methods(model)
    part = keras.Model(model.input, model.get_layer("dense").output, name="part")
    assert record(part)[-2:] == [
        ("dense", (1, 4), (1, 3), ["part"]),
        ("part", (1, 4), (1, 3), []),
    ]


def test_methods_that_an_instance_has_are_kept():
    layer = L.Dense(3, name="dense")
    model = chain(layer, name="model")
    plain = layer.call
    layer.call = own = lambda inputs, training=None: 2.0 * plain(inputs)
    assert ("dense", (1, 4), (1, 3), ["model"]) in record(model)
    assert layer.__dict__["call"] is own


def test_models_in_several_threads(rng):
    """Each thread records its own calls, of models of its own and of one that all share."""
    both = threading.Barrier(2, timeout=60)

    class Waits(L.Layer):
        def call(self, inputs):
            if inputs.shape[0] == 1:
                both.wait()  # the other thread is inside its model, too
            return inputs

    def trace(model, rows):
        rows += record(model)

    common = L.Dense(4, name="common")
    models = [
        chain(L.Dense(4, name=name), common, Waits(name=f"waits_{name}"), name=name)
        for name in "ab"
    ]
    for pair in (models, [models[0]] * 2):
        rows = [[], []]
        jobs = [threading.Thread(target=trace, args=job) for job in zip(pair, rows, strict=True)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        for model, own in zip(pair, rows, strict=True):
            called = [name for name, *_ in own if "input" not in name]
            assert called == [model.name, "common", f"waits_{model.name}", model.name]
            assert not has_own_methods(model)


def test_other_calls_of_an_observed_model_are_not_recorded(rng):
    inside, done = threading.Event(), threading.Event()

    class Waits(L.Layer):
        def call(self, inputs):
            if inputs.shape[0] == 1:
                inside.set()
                assert done.wait(60)
            return inputs

    model = chain(L.Dense(4, name="dense"), Waits(name="waits"), name="model")
    rows = []
    job = threading.Thread(target=lambda: rows.extend(record(model)))
    job.start()
    assert inside.wait(60)
    x = rng.normal(size=(3, 4)).astype("float32")
    expected = model.get_layer("dense")(x)
    np.testing.assert_array_equal(model(x), expected)
    done.set()
    job.join()
    assert [name for name, *_ in rows if "input" not in name] == ["dense", "waits", "model"]
    assert all(shape == (1, 4) for _, shape, _, _ in rows)
