"""How a model is traced for converters, and what keeps them from failing."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from keras_attention import backend

CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")


@contextmanager
def for_onnx() -> Iterator[None]:
    """Plain operations of shapes that no values decide: target layers compute whole maps.

    TensorFlow's optimizer, which tf2onnx calls, multiplies kernels by what follows convolutions,
    and ends the process where the shape of that is not known (TensorFlow 2.21, a failed check in
    `MulConvPushDown`). It leaves nodes alone that are asked for.
    """
    from tf2onnx import tf_loader

    optimize = tf_loader.tf_optimize_grappler

    def around_convolutions(inputs: list[str], outputs: list[str], graph: Any) -> Any:
        kept = [f"{node.name}:0" for node in graph.node if node.op in CONVOLUTIONS]
        return optimize([*inputs, *kept], outputs, graph)

    changed = _with_attribute(tf_loader, "tf_optimize_grappler", around_convolutions)
    with backend.without_fusion(), backend.with_fixed_shapes(), changed:
        yield


@contextmanager
def for_litert(model: keras.Model) -> Iterator[None]:
    """Plain operations, and recurrent layers step by step: LiteRT has no loops over lists.

    Raises:
        ValueError: For a recurrent model of sequences whose length is open.
    """
    recurrent = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    shapes = [tuple(tensor.shape) for tensor in getattr(model, "inputs", None) or []]
    if recurrent and any(len(shape) > 1 and shape[1] is None for shape in shapes):
        raise ValueError(
            "`model` must take sequences of a known length, since recurrent layers go to LiteRT "
            f"step by step. Received: model={model.name!r} with inputs {shapes}"
        )
    with backend.without_fusion(), ExitStack() as stack:
        for layer in recurrent:
            stack.enter_context(_with_attribute(layer, "unroll", True))
        yield


@contextmanager
def _with_attribute(holder: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, before)
