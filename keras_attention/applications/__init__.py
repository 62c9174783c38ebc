"""Prebuilt models with the conventions of keras.applications."""

from keras_attention.applications.cluttered_cnn import ClutteredCNN
from keras_attention.applications.densenet import DN10, DN40, TDN10, TDN40
from keras_attention.applications.dynamic_capacity import DCN, DCNCoarse, DCNFine
from keras_attention.applications.lenet import LeNet5
from keras_attention.applications.lstm import LSTM4
from keras_attention.applications.multi_digit import SVHNDCN, SVHNCoarse, SVHNFine, decode_digits
from keras_attention.applications.network_in_network import NINThin, NINWide
from keras_attention.applications.registry import build, builder, list_models
from keras_attention.applications.resnet import ResNet18, ResNet34, ResNet50
from keras_attention.applications.targeted_cnn import CNN6, TKN6
from keras_attention.applications.targeted_stn import STN, TSTN
from keras_attention.applications.vgg import VGG16, VGG19
from keras_attention.applications.wide_resnet import WARN, WideResNet

__all__ = [
    "CNN6",
    "DCN",
    "DN10",
    "DN40",
    "LSTM4",
    "STN",
    "SVHNDCN",
    "TDN10",
    "TDN40",
    "TKN6",
    "TSTN",
    "VGG16",
    "VGG19",
    "WARN",
    "ClutteredCNN",
    "DCNCoarse",
    "DCNFine",
    "LeNet5",
    "NINThin",
    "NINWide",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "SVHNCoarse",
    "SVHNFine",
    "WideResNet",
    "build",
    "builder",
    "decode_digits",
    "list_models",
]
