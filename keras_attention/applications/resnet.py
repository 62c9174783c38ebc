"""Residual networks of 18, 34 and 50 layers, with attention where it is asked for.

Reference: He et al., Deep Residual Learning for Image Recognition (2016), as in Garg et al., SAN:
Scale-Space Attention Networks (2020), section IV-B, figures 6c and 7, and in Zagoruyko and
Komodakis, Paying More Attention to Attention (2017), section 4.2.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_attention.applications.conventions import (
    Shape,
    Tensor,
    classifier,
    finish,
    image_input,
    l2,
    pool,
)
from keras_attention.applications.placement import Attention
from keras_attention.applications.registry import register
from keras_attention.applications.residual import ResNet

# Blocks of each stage.
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


@register
def ResNet18(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "resnet18",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    stem: str | None = None,
    width: int = 64,
    weight_decay: float = 0.0,
) -> keras.Model:
    """18 layers with weights, in residual blocks, stages of [2, 2, 2, 2].

    Two 3x3 convolutions a block, batch normalization and ReLU; the mean of the last map.
    11,689,512 trainable parameters with 1000 classes at 224x224x3, 11,173,962 with 10 at 32x32x3.

    Taps for attention transfer: `stage1` to `stage4`, the last ReLU of each stage, in front of the
    attention that may follow it.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layer; without it H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        placement: `"bottleneck"`, attention before each reduction of the map, or `"full"`, after
            every convolution.
        attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
        stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 one of stride 2 and a max pool of
            stride 2; None for the first where both sides are known and under 64 pixels.
        width: Channels of the stem and the first stage, doubled by each of the others; 64 by
            default.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = ResNet18((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attends = Attention(attention, placement, attention_options)
    network = ResNet(STAGES[18], width, False, attends, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (classes, classifier_activation, network.decay)
    x = classifier(pool(x, "avg"), *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def ResNet34(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "resnet34",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    stem: str | None = None,
    width: int = 64,
    weight_decay: float = 0.0,
) -> keras.Model:
    """34 layers with weights, in residual blocks, stages of [3, 4, 6, 3].

    Two 3x3 convolutions a block, batch normalization and ReLU; the mean of the last map.
    21,797,672 trainable parameters with 1000 classes at 224x224x3, 21,282,122 with 10 at 32x32x3.

    Taps for attention transfer: `stage1` to `stage4`, the last ReLU of each stage, in front of the
    attention that may follow it.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layer; without it H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        placement: `"bottleneck"`, attention before each reduction of the map, or `"full"`, after
            every convolution.
        attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
        stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 one of stride 2 and a max pool of
            stride 2; None for the first where both sides are known and under 64 pixels.
        width: Channels of the stem and the first stage, doubled by each of the others; 64 by
            default.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = ResNet34((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attends = Attention(attention, placement, attention_options)
    network = ResNet(STAGES[34], width, False, attends, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (classes, classifier_activation, network.decay)
    x = classifier(pool(x, "avg"), *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)


@register
def ResNet50(
    input_shape: Shape | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    include_top: bool = True,
    weights: Any = None,
    input_tensor: Tensor = None,
    pooling: str | None = None,
    name: str = "resnet50",
    *,
    attention: str | None = None,
    placement: str = "bottleneck",
    attention_options: Mapping[str, Any] | None = None,
    stem: str | None = None,
    width: int = 64,
    weight_decay: float = 0.0,
) -> keras.Model:
    """50 layers with weights, in residual blocks, stages of [3, 4, 6, 3].

    Convolutions of 1x1, 3x3 and 1x1 a block, batch normalization and ReLU; the mean of the last
    map.
    25,557,032 trainable parameters with 1000 classes at 224x224x3, 23,520,842 with 10 at 32x32x3.

    Taps for attention transfer: `stage1` to `stage4`, the last ReLU of each stage, in front of the
    attention that may follow it.

    Args:
        input_shape: `(H, W, channels)`; `(224, 224, 3)` by default.
        classes: Units of the last layer; 1000 by default.
        classifier_activation: Activation of the last layer; None returns logits.
        include_top: Whether to add the dense layer; without it H and W may be None.
        weights: None for random ones, or a weights file.
        input_tensor: A Keras tensor to build on.
        pooling: Without the top: None for the map, `"avg"` or `"max"` for a vector.
        name: The model's name.
        attention: None, `"cbam"`, `"bam"`, `"san-c"` or `"san-d"`.
        placement: `"bottleneck"`, attention before each reduction of the map, or `"full"`, after
            every convolution.
        attention_options: More arguments of `CBAM`, `BAM` or `SANBlock`.
        stem: `"cifar"`, a 3x3 convolution, or `"imagenet"`, a 7x7 one of stride 2 and a max pool of
            stride 2; None for the first where both sides are known and under 64 pixels.
        width: Channels of the stem and the first stage, doubled by each of the others; 64 by
            default.
        weight_decay: L2 weight of all kernels; 0 by default, the SAN paper has none.

    Returns:
        A `keras.Model` from images in `[0, 1]` to float32 probabilities.

    Raises:
        ValueError: For a shape, a number of classes, weights or options that cannot be.

    Example:
    >>> model = ResNet50((32, 32, 3), 10, attention="bam")
    >>> model.output_shape, sum("attention" in layer.name for layer in model.layers)
    ((None, 10), 4)
    """
    attends = Attention(attention, placement, attention_options)
    network = ResNet(STAGES[50], width, True, attends, l2(weight_decay, "weight_decay"))
    inputs = image_input(input_shape, (224, 224, 3), input_tensor)
    x = network.features(inputs, stem)
    top = (classes, classifier_activation, network.decay)
    x = classifier(pool(x, "avg"), *top) if include_top else pool(x, pooling)
    return finish(inputs, input_tensor, x, name, weights)
