"""Exports of models for serving, verified after they are written."""

from keras_attention.export.litert import export_litert
from keras_attention.export.onnx import export_onnx
from keras_attention.export.saved_model import export_saved_model

__all__ = ["export_litert", "export_onnx", "export_saved_model"]
