"""Gossip: exchanges with random neighbours, without synchronisation."""
