"""Decisions when a peer may train: readings of the machine, a pure decision, and its enforcement."""
