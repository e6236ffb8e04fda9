"""Implementations as one compiled graph, with the parameters and buffers of the references."""
