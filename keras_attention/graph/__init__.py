"""Reads and rebuilds functional models. No other package walks the nodes of a model."""
