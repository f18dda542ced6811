"""Predictions of theory for the networks and problems of runs."""
