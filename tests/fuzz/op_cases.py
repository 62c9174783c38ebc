"""Valid arguments of every public function in `ka.ops`."""

import keras
import numpy as np

import keras_attention as ka
from tests.fuzz.data import array

CENTER, SCALE = np.full((2, 3), 0.5, "float32"), np.full((2, 3), 0.4, "float32")
MAPS, IMAGES = array((2, 6, 5, 3)), array((2, 8, 7, 3))
KERNEL, SUMS = array((3, 3, 3, 4)), array((2, 4, 9, 3))
POSITIONS = np.array([[[0, 1], [2, 3]], [[1, 1], [0, 0]]], "int32")
SHARES = np.full((2, 5, 4), 0.25, "float32")
PROBABILITIES = [SHARES[:, 0, :2], SHARES[:, 0], SHARES[:, 1]]
LABELS = np.array([[1, 0, 2], [0, 1, 3]], "int32")
MATRICES = np.tile(np.array([[1.0, 0, 0], [0, 1, 0]], "float32"), (2, 1, 1))
BOUNDS = np.array([[0, 3], [1, 4], [2, 2]], "int32")

OP_CASES = {
    "affine_grid": {"transforms": MATRICES, "source": (6, 5), "target": (4, 3)},
    "aggregate_hypotheses": {"hypotheses": array((2, 3, 4)), "gates": array((2, 3))},
    "attend": {"features": MAPS, "kernel": KERNEL},
    "head_outputs": {"sums": SUMS, "kernel": array((3, 3, 3, 8))},
    "attention_map": {"features": MAPS},
    "adaptive_average_pool": {"features": MAPS, "sides": (3, 2)},
    "bilinear_sample": {"images": IMAGES, "points": array((2, 4, 3, 2))},
    "bounding_range": {"bounds": BOUNDS, "side": 9},
    "cauchy_window": {"length": 5, "center": CENTER[0], "scale": SCALE[0]},
    "difference_of_convolutions": {"y_prev": MAPS, "y": MAPS},
    "distillation_divergence": {"teacher": array((2, 4)), "student": array((2, 4))},
    "entropy": {"values": SHARES},
    "entropy_saliency": {"top": keras.ops.softmax, "features": MAPS},
    "gated_output": {"sums": SUMS, "outputs": array((3, 3, 3, 8)), "scores": KERNEL},
    "gather_patches": {"images": IMAGES, "positions": POSITIONS, "patch_size": 3},
    "gaussian_window": {"length": 5, "center": CENTER[0], "scale": SCALE[0]},
    "global_gates": {"scores": array((2, 3))},
    "head_overlap": {"masks": MAPS},
    "hint_loss": {"coarse": array((2, 3, 4)), "fine": array((2, 3, 4))},
    "input_gradient": {"function": keras.ops.sin, "inputs": MAPS},
    "inverse_entropy_weights": {"probabilities": np.full((2, 3, 4, 4), 0.25, "float32")},
    "most_probable_sequence": {"probabilities": PROBABILITIES},
    "pad_to_map": {"patch": MAPS, "rows": (1, 7), "columns": (0, 5), "sides": (8, 9)},
    "roi_bounds": {"length": 5, "center": CENTER[0], "scale": SCALE[0]},
    "roi_indicator": {"length": 5, "bounds": BOUNDS},
    "roi_rectangles": {"sides": (6, 5), "center": CENTER, "scale": SCALE},
    "scale_gradient": {"inputs": MAPS, "scale": 0.5},
    "separable_window": {"sides": (6, 5), "center": CENTER, "scale": SCALE},
    "sequence_hits": {"probabilities": PROBABILITIES, "labels": LABELS},
    "sequence_probability": {"probabilities": PROBABILITIES, "labels": LABELS},
    "sliced_convolution": {"inputs": MAPS, "kernel": KERNEL, "rows": (0, 5), "columns": (2, 4)},
    "sliced_targeted_convolution": {
        "inputs": MAPS,
        "kernel": KERNEL,
        "window": array((6, 5, 4)),
        "rectangles": np.tile(np.array([[[0, 3], [1, 4]]], "int32"), (4, 1, 1)),
        "groups": [[0, 1], [2, 3]],
    },
    "soft_extrema": {"doc": MAPS},
    "spatial_softmax": {"logits": MAPS},
    "spatial_transform": {"images": IMAGES, "transforms": MATRICES},
    "split_sequence_labels": {"labels": LABELS},
    "swap_vectors": {"features": MAPS, "positions": POSITIONS, "vectors": array((2, 2, 3))},
    "targeted_convolution": {"inputs": MAPS, "kernel": KERNEL, "window": array((6, 5, 4))},
    "top_positions": {"saliency": array((2, 5, 4)), "patches": 3},
    "weighted_extrema": {"y_prev": MAPS, "y": MAPS},
}
MISSING = set(ka.ops.__all__) - set(OP_CASES)
