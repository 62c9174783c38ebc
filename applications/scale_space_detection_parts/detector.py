"""KerasHub's RetinaNet over VGG16 with attention."""

import keras
import keras_hub
import numpy as np

import keras_attention as ka

BOXES = "xyxy"
# Ends of VGG16's blocks 3, 4 and 5: strides 8, 16 and 32.
LEVELS = (3, 4, 5)
# Lin et al., Focal Loss for Dense Object Detection (2017), section 4.1.
PRIOR = 0.01
LAST_DEVIATION = 0.01
LEAST_CONFIDENCE = 0.05
MOST_DETECTIONS = 100
MOST_OVERLAP = 0.5
SCALES = 3


@keras.saving.register_keras_serializable(package="scale_space_detection")
class AttendedVGG16(keras_hub.models.FeaturePyramidBackbone):
    """VGG16 without its top, with the ends of its blocks 3 to 5 as a pyramid.

    Args:
        attention: Name of the modules in it, or None.
        placement: `"bottleneck"` for one before each pool, `"full"` for one after each layer.
        image_shape: `(H, W, 3)`.
        **kwargs: Arguments of KerasHub's `Backbone`.
    """

    def __init__(self, attention, placement, image_shape, **kwargs):
        encoder = backbone(attention, placement, tuple(image_shape))
        ends = {f"P{level}": encoder.get_layer(f"block{level}_pool").output for level in LEVELS}
        super().__init__(inputs=encoder.input, outputs=ends, **kwargs)
        self.pyramid_outputs = ends
        self.attention, self.placement = attention, placement
        self.image_shape = tuple(image_shape)

    def get_config(self):
        names = ("attention", "placement", "image_shape")
        return super().get_config() | {name: getattr(self, name) for name in names}


def backbone(
    attention: str | None, placement: str, image_shape: tuple[int, int, int]
) -> keras.Model:
    """VGG16 from random weights, its layers named as those of keras.applications."""
    return ka.applications.VGG16(
        image_shape, include_top=False, attention=attention, placement=placement
    )


def build(
    attention: str | None, placement: str, size: int, classes: int, anchor_size: float
) -> keras.Model:
    """The untrained detector of images `(size, size, 3)` in `[0, 1]`.

    Args:
        attention: Name of the backbone's modules, or None.
        placement: Of the modules.
        size: Pixels along the sides of the images.
        classes: Of the signs.
        anchor_size: The smallest anchors' sides over the stride of the finest level, 8.
    """
    shape = (size, size, 3)
    encoder = AttendedVGG16(attention, placement, shape, name="vgg16")
    pyramid = keras_hub.models.RetinaNetBackbone(
        encoder, min(LEVELS), max(LEVELS), use_p5=False, image_shape=shape
    )
    detector = keras_hub.models.RetinaNetObjectDetector(
        pyramid,
        classes,
        bounding_box_format=BOXES,
        # Signs are about as wide as high.
        anchor_generator=keras_hub.layers.AnchorGenerator(
            BOXES, min(LEVELS), max(LEVELS), SCALES, [1.0], anchor_size
        ),
        use_prediction_head_norm=True,
        prediction_decoder=keras_hub.layers.NonMaxSuppression(
            BOXES,
            from_logits=True,
            iou_threshold=MOST_OVERLAP,
            confidence_threshold=LEAST_CONFIDENCE,
            max_detections=MOST_DETECTIONS,
        ),
    )
    start_as_published(detector)
    return detector


def start_as_published(detector: keras.Model) -> None:
    """Makes every anchor say "nothing here" at first, which training from scratch needs.

    KerasHub (0.32) gives that bias to the boxes and none to the classes, and draws the last kernels
    five times as large as the paper; with published weights it makes no difference.
    """
    bias = -np.log((1 - PRIOR) / PRIOR)
    draw = keras.initializers.RandomNormal(stddev=LAST_DEVIATION)
    for head, value in ((detector.classification_head, bias), (detector.box_head, 0.0)):
        last = head.prediction_layer
        last.kernel.assign(draw(last.kernel.shape))
        last.bias.assign(np.full(last.bias.shape, value, "float32"))


def for_inference(detector: keras.Model) -> keras.Model:
    """The same detector without its optimizer, whose moments would triple the file."""
    same = type(detector).from_config(detector.get_config())
    same.set_weights(detector.get_weights())
    return same


def anchor_size(boxes: np.ndarray) -> float:
    """The smallest anchors for boxes `(n, 4)`: as large as one of twenty is at most, over 8.

    Example: boxes of 16 to 100 pixels a side have anchors from 16 pixels on and a size near 2.
    """
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return float(round(np.quantile(sides, 0.05)) / 2 ** min(LEVELS))
