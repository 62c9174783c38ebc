"""Exports for serving that are checked before they count."""

from keras_attention.export.litert import export_litert
from keras_attention.export.onnx import export_onnx
from keras_attention.export.saved_model import export_saved_model
from keras_attention.export.triton import triton_config

__all__ = ["export_litert", "export_onnx", "export_saved_model", "triton_config"]
