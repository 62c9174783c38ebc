"""The small DenseNet DN10 and its targeted version TDN10.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3.
"""

from typing import Any

import keras

from keras_attention.applications.conventions import Shape, Tensor, finish, image_input, l2
from keras_attention.applications.densenet import DenseNet
from keras_attention.applications.registry import register

SIZES = {"stem": 24, "layers": 2, "growth": 12}


@register
def DN10(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "dn10",
    *,
    weight_decay: float = 1e-4,
) -> keras.Model:
    """A DenseNet of three blocks with two 3x3 convolutions each, growth 12.

    44,746 trainable parameters at any size; 11.3M MACs at 28x28x1, 45.2M at 56x56x1.

    Args:
        input_shape: `(H, W, channels)`; `(28, 28, 1)` by default; H and W may be None.
        classes: Units of the last layer.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add global pooling and the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        weight_decay: L2 weight of all kernels, section 4.2.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes or weights that cannot be.

    Example:
    >>> model = DN10(input_shape=(None, None, 3), classes=43)
    >>> model.output_shape
    (None, 43)
    """
    network = DenseNet(**SIZES, decay=l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (28, 28, 1), input_tensor)
    x = network.features(inputs)
    x = network.top(x, include_top, classes, classifier_activation, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def TDN10(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "tdn10",
    *,
    window: str = "cauchy",
    scale_l2: float = 1e-4,
    beta: float = 2.0,
    roi: str = "slice",
    roi_groups: int | None = None,
    min_roi_size: int | None = None,
    weight_decay: float = 1e-4,
) -> keras.Model:
    """DN10 whose 3x3 convolutions inside the blocks are target layers.

    45,034 trainable parameters at any size; as many MACs as DN10 at first, 25.6M at 56x56x1 after
    training in the paper's table 3.

    Args:
        input_shape: `(H, W, channels)`; `(28, 28, 1)` by default; H and W may be None.
        classes: Units of the last layer.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add global pooling and the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        window: `"cauchy"` or `"gaussian"`.
        scale_l2: L2 weight of the scales in the first block, for about 9,000 steps of training
            (section 4.2); shorter training wants more.
        beta: Factor of that weight from each block to the next, section 4.3.
        roi: `"slice"`, `"mask"` or `"full"`, see `TargetLayer`.
        roi_groups: None for one region per kernel, or the number of shared regions per layer.
        min_roi_size: Smallest region in pixels; None for the kernel size, 3.
        weight_decay: L2 weight of all kernels, section 4.2.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = TDN10(input_shape=(56, 56, 1), roi_groups=3)
    >>> model.output_shape
    (None, 10)
    """
    network = DenseNet(**SIZES, decay=l2(weight_decay, "weight_decay"))
    convolution = network.target_layers(
        window=window,
        scale_l2=scale_l2,
        beta=beta,
        roi=roi,
        roi_groups=roi_groups,
        min_roi_size=min_roi_size,
    )
    inputs = image_input(input_shape, (28, 28, 1), input_tensor)
    x = network.features(inputs, convolution)
    x = network.top(x, include_top, classes, classifier_activation, pooling)
    return finish(inputs, input_tensor, x, name, weights)
