"""Modules composed at random of every kind of layer."""
