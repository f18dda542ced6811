"""Calibration of scenarios to recorded peers."""
