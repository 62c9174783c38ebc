"""DN10 and DN40, dense networks of three blocks, and their targeted versions TDN10 and TDN40.

Reference: Chitta, Targeted Kernel Networks (2018), table 1 and section 4.3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    add_dropout,
    batch_norm_relu,
    build_model,
    convolution,
    image_input,
    l2,
    pooled_classifier,
    target_layers,
)
from keras_attention.applications.registry import register
from keras_attention.utils.data_format import channel_axis
from keras_attention.utils.validation import fraction

SIZES_10 = {"stem": 24, "layers": 2, "growth": 12}
SIZES_40: dict[str, Any] = {
    "stem": 72,
    "layers": 6,
    "growth": 36,
    "bottleneck": 72,
    "compression": 0.5,
}


@dataclass(frozen=True)
class DenseNet:
    """Feature extractor with three densely connected blocks.

    Attributes:
        stem: Channels of the first convolution.
        layers: Number of 3x3 convolutions in a block.
        growth: Channels that each of them adds.
        bottleneck: Channels of the 1x1 convolution before each of them, 0 for none.
        compression: Fraction of the channels that a transition keeps.
        dropout: Dropout rate after each convolution but the first.
        decay: Regularizer of all kernels.
    """

    stem: int
    layers: int
    growth: int
    bottleneck: int = 0
    compression: float = 1.0
    dropout: float = 0.0
    decay: Any = None

    def features(self, x: Tensor, target_layer: Callable[..., Any] | None = None) -> Tensor:
        """Builds the network without its top.

        Args:
            x: Images.
            target_layer: Function of `target_layers`, for the layers in place of the 3x3
                convolutions of the blocks. None uses `Conv2D`.
        """
        x = self._plain(self.stem, 3, "stem")(x)
        for block in range(3):
            if block > 0:
                x = self._transition(x, f"transition{block}")
            for layer in range(self.layers):
                name = f"block{block + 1}_conv{layer + 1}"
                new = x
                if self.bottleneck:
                    before = name.replace("conv", "bottleneck")
                    new = self._plain(self.bottleneck, 1, before)(batch_norm_relu(new, before))
                    new = add_dropout(new, self.dropout, before)
                convolved = batch_norm_relu(new, name)
                if target_layer is None:
                    convolved = self._plain(self.growth, 3, name)(convolved)
                else:
                    target_name = name.replace("conv", "target")
                    convolved = target_layer(block, self.growth, 3, target_name)(convolved)
                new = add_dropout(convolved, self.dropout, name)
                x = keras.layers.Concatenate(axis=channel_axis(), name=f"{name}_concat")([x, new])
        return batch_norm_relu(x, "final")

    def _transition(self, x: Tensor, name: str) -> Tensor:
        filters = int(x.shape[channel_axis()] * self.compression)
        x = self._plain(filters, 1, f"{name}_conv")(batch_norm_relu(x, name))
        x = add_dropout(x, self.dropout, name)
        return keras.layers.AveragePooling2D(2, name=f"{name}_pool")(x)

    def _plain(self, filters: int, kernel_size: int, name: str) -> keras.Layer:
        return convolution(filters, kernel_size, self.decay, name)


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
    """DenseNet with three blocks of two 3x3 convolutions, growth 12.

    44,746 trainable parameters at any size; 11.3M MACs at 28x28x1, 45.2M at 56x56x1.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(28, 28, 1)`; H and W may be None.
        {common_arguments}
        weight_decay: L2 weight of all kernels (section 4.2).

    {returns}

    Example:
    >>> model = DN10(input_shape=(None, None, 3), classes=43)
    >>> model.output_shape
    (None, 43)
    """
    network = DenseNet(**SIZES_10, decay=l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (28, 28, 1), input_tensor)
    x = network.features(inputs)
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, network.decay)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """DN10 with target layers in place of the 3x3 convolutions of its blocks.

    45,034 trainable parameters at any size. It starts with as many MACs as DN10; after training it
    has 25.6M at 56x56x1 in the paper's table 3.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(28, 28, 1)`; H and W may be None.
        {common_arguments}
        {targeted_arguments}
        min_roi_size: Smallest region of interest in pixels. None uses the kernel size, 3.
        weight_decay: L2 weight of all kernels (section 4.2).

    {returns}

    Example:
    >>> model = TDN10(input_shape=(56, 56, 1), roi_groups=3)
    >>> model.output_shape
    (None, 10)
    """
    network = DenseNet(**SIZES_10, decay=l2(weight_decay, "weight_decay"))
    options = {"window": window, "roi": roi, "roi_groups": roi_groups, "min_roi_size": min_roi_size}
    target_layer = target_layers(network.decay, scale_l2, beta, **options)
    inputs = image_input(input_shape, (28, 28, 1), input_tensor)
    x = network.features(inputs, target_layer)
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, network.decay)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """DenseNet-BC with three blocks of six 1x1 and six 3x3 convolutions, growth 36.

    832,474 trainable parameters at any size; 357M MACs at 32x32x3, 802M at 48x48x3. The paper uses
    it for house numbers (SVHN) and for pain estimation. The latter is a regression with `classes=1`
    and `classifier_activation=None`: the output is the pain intensity on the scale of the data, 0
    to 16, and the loss is the mean squared error.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(32, 32, 3)`; H and W may be None.
        {common_arguments}
        weight_decay: L2 weight of all kernels (section 4.2).
        dropout: Dropout rate after each convolution but the first (section 4.3); with 0 these
            layers are left out.

    {returns}

    Example:
    >>> import keras_attention as ka
    >>> ka.inspect.trainable_parameters(DN40())
    832474
    """
    network = DenseNet(
        **SIZES_40, dropout=fraction("dropout", dropout), decay=l2(weight_decay, "weight_decay")
    )
    inputs = image_input(input_shape, (32, 32, 3), input_tensor)
    x = network.features(inputs)
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, network.decay)
    return build_model(inputs, input_tensor, x, name, weights)


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
    """DN40 with target layers in place of the 3x3 convolutions of its blocks.

    835,066 trainable parameters at any size. It starts with as many MACs as DN40; after training it
    has 205M at 32x32x3 in the paper's table 4, and 391M at 48x48x3 with `beta=4` in table 6, where
    it is a regression with `classes=1, classifier_activation=None` on the scale of 0 to 16.

    Args:
        input_shape: `(H, W, channels)`. Defaults to `(32, 32, 3)`; H and W may be None.
        {common_arguments}
        {targeted_arguments}
        min_roi_size: Smallest region of interest in pixels. None uses the kernel size, 3.
        weight_decay: L2 weight of all kernels (section 4.2).
        dropout: Dropout rate after each convolution but the first (section 4.3); with 0 these
            layers are left out.

    {returns}

    Example:
    >>> pain = TDN40(input_shape=(48, 48, 3), classes=1, classifier_activation=None, beta=4)
    >>> pain.output_shape
    (None, 1)
    """
    network = DenseNet(
        **SIZES_40, dropout=fraction("dropout", dropout), decay=l2(weight_decay, "weight_decay")
    )
    options = {"window": window, "roi": roi, "roi_groups": roi_groups, "min_roi_size": min_roi_size}
    target_layer = target_layers(network.decay, scale_l2, beta, **options)
    inputs = image_input(input_shape, (32, 32, 3), input_tensor)
    x = network.features(inputs, target_layer)
    top = (include_top, classes, classifier_activation, pooling)
    x = pooled_classifier(x, *top, network.decay)
    return build_model(inputs, input_tensor, x, name, weights)
