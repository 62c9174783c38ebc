"""What a trained network is worth on the test part: accuracies, or how far its forecasts are off.

Reference: Garg et al., SAN: Scale-Space Attention Networks (2020), section IV-E.
"""

import numpy as np

import keras_attention as ka
from keras_attention.datasets import DatasetInfo


def metrics(info: DatasetInfo) -> tuple[str, ...]:
    """What is measured on data: as the paper does on images, recordings of motion and flights."""
    if info.regression:
        return ("cosine", "MAE")
    return ("top-1 %", "top-5 %") if info.kind == "images" else ("accuracy %", "MAE")


def measure(info: DatasetInfo, predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The scores of predictions.

    Args:
        info: What is known of the data.
        predicted: Probabilities `(N, classes)`, or numbers `(N, values)`.
        labels: `(N,)` or `(N, values)`.

    Returns:
        One a metric. Top-k is the share of examples whose class is among the k likeliest, in
        percent. Of classes MAE is the mean of `|p - y|` over examples and classes, with 1 for the
        right class and 0 for others; of forecasts it is in the unit of what is forecast. Cosine is
        that of the angle between all forecasts and all that came, each as one vector.
    """
    if info.regression:
        return _forecasts(*(own_unit(info, values) for values in (predicted, labels)))
    top_1, top_5 = (100 * _among_likeliest(predicted, labels, count) for count in (1, 5))
    if info.kind == "images":
        return {"top-1 %": top_1, "top-5 %": top_5}
    error = np.abs(predicted - np.eye(predicted.shape[1])[labels]).mean()
    return {"accuracy %": top_1, "MAE": float(error)}


def own_unit(info: DatasetInfo, values: np.ndarray) -> np.ndarray:
    """Values of the data set as they were before they were scaled."""
    values = values.astype("float64")
    if info.name != "flights":
        return values
    mean, deviation = ka.datasets.flight_scaling().mean_and_deviation(info.options["target"])
    return values * deviation + mean


def _among_likeliest(predicted: np.ndarray, labels: np.ndarray, count: int) -> float:
    likeliest = np.argsort(-predicted, axis=1, kind="stable")[:, :count]
    return float(np.mean((likeliest == labels[:, None]).any(axis=1)))


def _forecasts(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    lengths = np.linalg.norm(predicted) * np.linalg.norm(labels)
    cosine = float(np.sum(predicted * labels) / lengths) if lengths else 0.0
    return {"cosine": cosine, "MAE": float(np.abs(predicted - labels).mean())}
