"""Measures of runs: cost of a target, fairness, pooled training, and the loss landscape."""
