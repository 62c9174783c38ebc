"""COCO's average precision, by pycocotools: what KerasHub states for its detectors."""

import contextlib
import io
from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Where COCOeval keeps them: the mean over overlaps from 0.5 to 0.95, and those of 0.5 and 0.75.
METRICS = ("mAP", "AP50", "AP75")
Boxes = Mapping[str, np.ndarray]


def average_precision(truth: Sequence[Boxes], found: Sequence[Boxes]) -> dict[str, float]:
    """Compares the boxes of all pictures.

    Args:
        truth: Of each picture `"boxes"`, `(n, 4)`, left, top, right, bottom, and `"labels"`,
            `(n,)`; rows with a label of -1 are none.
        found: The same of a detector, with `"confidence"`, `(n,)`.

    Returns:
        In percent, the mean over the classes that are there: `"mAP"`, over overlaps from 0.5 to
        0.95, `"AP50"` and `"AP75"`.

    Raises:
        ValueError: Without a single box in `truth`.
    """
    signs = [sign for number, boxes in enumerate(truth) for sign in annotations(number, boxes)]
    guesses = [guess for number, boxes in enumerate(found) for guess in annotations(number, boxes)]
    if not signs:
        raise ValueError("`truth` must have a box at least. Received: no boxes")
    if not guesses:
        return dict.fromkeys(METRICS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco(signs, len(truth))
        evaluation = COCOeval(known, known.loadRes(guesses), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: 100 * float(evaluation.stats[place]) for place, name in enumerate(METRICS)}


def annotations(number: int, boxes: Boxes) -> list[dict]:
    """A picture's boxes as COCO has them: left, top, width and height."""
    corners = np.asarray(boxes["boxes"], "float64")
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    confidence = boxes.get("confidence", np.ones(len(sides)))
    return [
        {
            "image_id": number,
            "category_id": int(label),
            "bbox": side.tolist(),
            "area": float(side[2] * side[3]),
            "iscrowd": 0,
            "score": float(score),
        }
        for side, label, score in zip(sides, boxes["labels"], confidence, strict=True)
        if label >= 0
    ]


def coco(signs: list[dict], pictures: int) -> COCO:
    """The truth; COCO counts its annotations from 1, as 0 stands for none."""
    known = COCO()
    known.dataset = {
        "info": {},
        "images": [{"id": number} for number in range(pictures)],
        "categories": [{"id": label} for label in sorted({sign["category_id"] for sign in signs})],
        "annotations": [{**sign, "id": number} for number, sign in enumerate(signs, start=1)],
    }
    known.createIndex()
    return known
