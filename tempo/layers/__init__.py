"""Layers that networks are made of: convolution, normalisation, pooling, temporal modules."""
