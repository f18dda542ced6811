"""Runs as values, read from directories of the simulator and homes of real peers."""
