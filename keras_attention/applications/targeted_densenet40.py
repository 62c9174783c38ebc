"""The deep DenseNet DN40 and its targeted version TDN40.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3.
"""

from typing import Any

import keras

from keras_attention.applications.conventions import Shape, Tensor, finish, image_input, l2
from keras_attention.applications.densenet import DenseNet
from keras_attention.applications.registry import register
from keras_attention.arguments import share

SIZES: dict[str, Any] = {
    "stem": 72,
    "layers": 6,
    "growth": 36,
    "bottleneck": 72,
    "compression": 0.5,
}


@register
def DN40(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "dn40",
    *,
    weight_decay: float = 1e-4,
    dropout: float = 0.2,
) -> keras.Model:
    """A DenseNet-BC of three blocks with six 1x1 and six 3x3 convolutions each, growth 36.

    832,474 trainable parameters at any size; 357M MACs at 32x32x3, 802M at 48x48x3. The paper's
    network for house numbers (SVHN) and, as a regression, for pain: with `classes=1` and
    `classifier_activation=None` the one unit is the intensity, on the data's scale of 0 to 16,
    and the loss is the mean squared error.

    Args:
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default; H and W may be None.
        classes: Units of the last layer.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add global pooling and the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        weight_decay: L2 weight of all kernels, section 4.2.
        dropout: Share of the activations that training drops after each convolution but the
            first, section 4.3; 0 for no such layers.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities, or to what
        `classifier_activation` makes of the last units.

    Raises:
        ValueError: For a shape, a number of classes or weights that cannot be.

    Example:
    >>> import keras_attention as ka
    >>> ka.inspect.trainable_parameters(DN40())
    832474
    """
    network = DenseNet(
        **SIZES, dropout=share("dropout", dropout), decay=l2(weight_decay, "weight_decay")
    )
    inputs = image_input(input_shape, (32, 32, 3), input_tensor)
    x = network.features(inputs)
    x = network.top(x, include_top, classes, classifier_activation, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def TDN40(
    input_shape: Shape | None = None,
    classes: int = 10,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "tdn40",
    *,
    window: str = "cauchy",
    scale_l2: float = 1e-4,
    beta: float = 2.0,
    roi: str = "slice",
    roi_groups: int | None = None,
    min_roi_size: int | None = None,
    weight_decay: float = 1e-4,
    dropout: float = 0.2,
) -> keras.Model:
    """DN40 whose 3x3 convolutions inside the blocks are target layers.

    835,066 trainable parameters at any size; as many MACs as DN40 at first. After training 205M
    at 32x32x3 in the paper's table 4, and 391M at 48x48x3 with `beta=4` in table 6, where it is a
    regression: `classes=1, classifier_activation=None`, one unit on the scale of 0 to 16.

    Args:
        input_shape: `(H, W, channels)`; `(32, 32, 3)` by default; H and W may be None.
        classes: Units of the last layer.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add global pooling and the dense layer.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        window: `"cauchy"` or `"gaussian"`.
        scale_l2: L2 weight of the scales in the first block, for about 46,000 steps of training
            (section 4.2); shorter training wants more.
        beta: Factor of that weight from each block to the next, section 4.3.
        roi: `"slice"`, `"mask"` or `"full"`, see `TargetLayer`.
        roi_groups: None for one region per kernel, or the number of shared regions per layer.
        min_roi_size: Smallest region in pixels; None for the kernel size, 3.
        weight_decay: L2 weight of all kernels, section 4.2.
        dropout: Share of the activations that training drops after each convolution but the
            first, section 4.3; 0 for no such layers.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities, or to what
        `classifier_activation` makes of the last units.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> pain = TDN40(input_shape=(48, 48, 3), classes=1, classifier_activation=None, beta=4)
    >>> pain.output_shape
    (None, 1)
    """
    network = DenseNet(
        **SIZES, dropout=share("dropout", dropout), decay=l2(weight_decay, "weight_decay")
    )
    convolution = network.target_layers(
        window=window,
        scale_l2=scale_l2,
        beta=beta,
        roi=roi,
        roi_groups=roi_groups,
        min_roi_size=min_roi_size,
    )
    inputs = image_input(input_shape, (32, 32, 3), input_tensor)
    x = network.features(inputs, convolution)
    x = network.top(x, include_top, classes, classifier_activation, pooling)
    return finish(inputs, input_tensor, x, name, weights)
