"""KerasHub's RetinaNet over VGG16 with attention."""

import keras
import keras_hub
import numpy as np

import keras_attention as ka

BOXES = "xyxy"
# Blocks of VGG16 whose outputs form the pyramid: strides 8, 16 and 32.
LEVELS = (3, 4, 5)
# Lin et al., Focal Loss for Dense Object Detection (2017), section 4.1.
PRIOR = 0.01
LAST_STDDEV = 0.01
MIN_CONFIDENCE = 0.05
MAX_DETECTIONS = 100
IOU_THRESHOLD = 0.5
SCALES = 3


@keras.saving.register_keras_serializable(package="scale_space_detection")
class AttendedVGG16(keras_hub.models.FeaturePyramidBackbone):
    """VGG16 without its classifier, with the outputs of blocks 3 to 5 as a feature pyramid.

    Args:
        attention: Name of the attention modules, or None.
        placement: `"bottleneck"` for one before each pooling, `"full"` for one after each layer.
        image_shape: `(H, W, 3)`.
        **kwargs: Arguments of KerasHub's `Backbone`.
    """

    def __init__(self, attention, placement, image_shape, **kwargs):
        encoder = ka.applications.VGG16(
            tuple(image_shape), include_top=False, attention=attention, placement=placement
        )
        ends = {f"P{level}": encoder.get_layer(f"block{level}_pool").output for level in LEVELS}
        super().__init__(inputs=encoder.input, outputs=ends, **kwargs)
        self.pyramid_outputs = ends
        self.attention, self.placement = attention, placement
        self.image_shape = tuple(image_shape)

    def get_config(self):
        names = ("attention", "placement", "image_shape")
        return super().get_config() | {name: getattr(self, name) for name in names}


def build(
    attention: str | None, placement: str, size: int, classes: int, anchor_size: float
) -> keras.Model:
    """Builds the untrained detector of images `(size, size, 3)` in `[0, 1]`.

    Args:
        attention: Name of the attention modules of the backbone, or None.
        placement: Placement of the modules.
        size: Side of the images in pixels.
        classes: Number of classes of signs.
        anchor_size: Side of the smallest anchors divided by the stride of the finest level, 8.
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
        # Signs are about as wide as they are high.
        anchor_generator=keras_hub.layers.AnchorGenerator(
            BOXES, min(LEVELS), max(LEVELS), SCALES, [1.0], anchor_size
        ),
        use_prediction_head_norm=True,
        prediction_decoder=keras_hub.layers.NonMaxSuppression(
            BOXES,
            from_logits=True,
            iou_threshold=IOU_THRESHOLD,
            confidence_threshold=MIN_CONFIDENCE,
            max_detections=MAX_DETECTIONS,
        ),
    )
    initialize_heads(detector)
    return detector


def initialize_heads(detector: keras.Model) -> None:
    """Initializes the last layers as in the paper: every anchor predicts the background.

    Training from random weights needs this. KerasHub (0.32) sets that bias for the boxes instead of
    the classes, and initializes the last kernels five times as large as the paper. With pretrained
    weights, this makes no difference.
    """
    bias = -np.log((1 - PRIOR) / PRIOR)
    draw = keras.initializers.RandomNormal(stddev=LAST_STDDEV)
    for head, value in ((detector.classification_head, bias), (detector.box_head, 0.0)):
        last = head.prediction_layer
        last.kernel.assign(draw(last.kernel.shape))
        last.bias.assign(np.full(last.bias.shape, value, "float32"))


def for_inference(detector: keras.Model) -> keras.Model:
    """Returns a copy of the detector without its optimizer, whose state would triple the file."""
    same = type(detector).from_config(detector.get_config())
    same.set_weights(detector.get_weights())
    return same


def anchor_size(boxes: np.ndarray) -> float:
    """Returns the anchor size for boxes `(n, 4)`: the 5th percentile of their sides, divided by 8.

    Example: for boxes with sides of 16 to 100 pixels, the smallest anchors have about 16 pixels and
    the size is about 2.
    """
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return float(round(np.quantile(sides, 0.05)) / 2 ** min(LEVELS))
