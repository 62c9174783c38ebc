"""Packaging of keras-cnn-attention, imported as keras_attention."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
SOURCE = (HERE / "keras_attention" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "(.+)"$', SOURCE, re.MULTILINE).group(1)

setup(
    name="keras-cnn-attention",
    version=VERSION,
    description="Five published attention mechanisms for CNNs, for Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["keras_attention", "keras_attention.*"]),
    package_data={"keras_attention": ["py.typed"]},
    install_requires=[
        "keras>=3.10",
        "tensorflow>=2.18",
        "numpy",
        "h5py",
        "matplotlib>=3.8",
        "tensorflow-datasets>=4.9.7",
        "importlib_resources",  # imported by tensorflow-datasets, which does not declare it
        "scikit-learn",
        "scipy",
        "pillow",
        "rich",
        "shtab",
        'tomli; python_version < "3.11"',
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]"],
        "jax": ["jax"],
        "export": ["tf2onnx", "onnx", "onnxruntime"],
        # Other projects' clients and servers, for `make test-serving`.
        "serving": ["mlflow>=3", "python-rapidjson"],
        # KerasHub needs Python 3.11 or later.
        "detection": ["keras-hub>=0.32", "pycocotools>=2.0.8"],
        # Material for MkDocs supports MkDocs 1 only.
        "docs": [
            "mkdocs>=1.6,<2",
            "mkdocs-material>=9.7",
            "mkdocstrings[python]>=1.0",
            "mkdocs-htmlproofer-plugin>=1.4",
            "latex2mathml>=3.77",
        ],
        "notebooks": ["notebook", "ipykernel"],
        "dev": [
            "pytest",
            "pytest-xdist",
            "pytest-timeout",
            "hypothesis",
            "import-linter",
            "ruff",
            "mypy",
            "nbformat",
            "nbmake",
            "ipykernel",
            "pycocotools",
            "tf2onnx",
            "onnx",
            "onnxruntime",
            "tensorboard",
        ],
    },
    entry_points={"console_scripts": ["keras-attention=keras_attention.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
