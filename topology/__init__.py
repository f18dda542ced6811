"""Graphs for decentralised learning, and what each does to information."""
