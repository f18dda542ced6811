"""Yamux: streams over one secured connection."""
