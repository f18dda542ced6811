"""Metrics of a simulation: of single nodes, and of the network."""
