"""Average precision of COCO, which KerasHub reports for its detectors."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from scale_space_detection_experiment.report import METRICS, Boxes


def average_precision(truth: Sequence[Boxes], detected: Sequence[Boxes]) -> dict[str, float]:
    """Computes the average precision of COCO over all images with pycocotools.

    Args:
        truth: For each image `"boxes"`, `(n, 4)`: left, top, right, bottom, and `"labels"`, `(n,)`.
            Rows with label -1 are padding.
        detected: The same for the detector, with `"confidence"`, `(n,)`.

    Returns:
        Means over the classes in `truth`, in percent: `"mAP"` over IoU thresholds from 0.5 to 0.95,
        `"AP50"` and `"AP75"`.
    """
    signs = [sign for index, boxes in enumerate(truth) for sign in _coco_boxes(index, boxes)]
    found = [box for index, boxes in enumerate(detected) for box in _coco_boxes(index, boxes)]
    if not signs:
        raise ValueError("`truth` must have at least one box. Received: no boxes")
    if not found:
        return dict.fromkeys(METRICS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = _coco(signs, len(truth))
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: 100 * float(evaluation.stats[index]) for index, name in enumerate(METRICS)}


def _coco_boxes(image: int, boxes: Boxes) -> list[dict]:
    """Returns the boxes of an image in COCO's format: left, top, width and height."""
    corners = np.asarray(boxes["boxes"], "float64")
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    confidence = boxes.get("confidence", np.ones(len(sides)))
    return [
        {
            "image_id": image,
            "category_id": int(label),
            "bbox": side.tolist(),
            "area": float(side[2] * side[3]),
            "iscrowd": 0,
            "score": float(score),
        }
        for side, label, score in zip(sides, boxes["labels"], confidence, strict=True)
        if label >= 0
    ]


def _coco(signs: list[dict], images: int) -> COCO:
    """Returns the annotations as a COCO data set; COCO numbers them from 1, as 0 means none."""
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": index} for index in range(images)],
        "categories": [{"id": label} for label in sorted({sign["category_id"] for sign in signs})],
        "annotations": [{**sign, "id": index} for index, sign in enumerate(signs, start=1)],
    }
    coco.createIndex()
    return coco
