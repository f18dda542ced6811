"""Calibration: a scenario fitted to recorded peers."""
