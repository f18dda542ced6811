"""Algorithms that run in rounds, one module a paper."""
