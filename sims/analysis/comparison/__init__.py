"""Comparison of runs: measured, grouped by configuration, with findings in sentences."""
